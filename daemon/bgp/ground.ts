/** What a speaker stands on in its node's namespace: what is there, who can be reached, the kernel's routes, its sessions' sockets. */
import type { BgpNeighborSpec, BgpVrfSpec } from "../plan/bgp.ts"
import type { FibApi, MonitorApi, NextHopsApi } from "./fib/api.ts"
import type { NewSpeaker } from "./messages.ts"
import type { Door } from "./neighbor-group.ts"
import type { Scheduler } from "./scheduler.ts"
import type { LocalSpeaker, Session, SessionCallbacks } from "./session/api.ts"
import { DynamicSessions } from "./session/dynamic.ts"
import { NeighborSession, type SessionOptions } from "./session/session.ts"
import { Transport } from "./session/transport.ts"
import { scopeOf } from "./table.ts"

export interface GroundEvents {
  /** The kernel's routes have space again. */
  readonly drained: () => void
  /** Something that the kernel refuses. */
  readonly report: (text: string) => void
}

/** Who has a session, and in which table. */
export interface SessionPlace {
  readonly speaker: () => LocalSpeaker
  readonly vrf: BgpVrfSpec
}

export interface Ground {
  readonly monitor: MonitorApi
  readonly nextHops: NextHopsApi
  readonly fib: FibApi
  /** There were routes of BGP when it was opened: of a speaker before this one. */
  readonly hasRoutes: boolean
  openSession(neighbor: BgpNeighborSpec, place: SessionPlace, callbacks: SessionCallbacks): Session
  /** Lets peers in that come from the neighbour's prefix. */
  openDoor(neighbor: BgpNeighborSpec, place: SessionPlace, callbacks: SessionCallbacks, created: (session: Session) => void): Door
  /** `flush`: takes the routes out of the kernel first. */
  close(flush: boolean): Promise<void>
}

/** @throws Error with what the namespace refuses */
export const openGround = ({ netns, spec }: NewSpeaker, scheduler: Scheduler, { drained, report }: GroundEvents): Ground => {
  throw new Error("not there yet")
}
