/** What a speaker stands on in its node's namespace: what is there, who can be reached, the kernel's routes, its sessions' sockets. */
import type { BgpNeighborSpec } from "../plan/bgp.ts"
import type { FibApi, MonitorApi, NextHopsApi } from "./fib/api.ts"
import type { NewSpeaker } from "./messages.ts"
import type { Scheduler } from "./scheduler.ts"
import type { LocalSpeaker, Session, SessionCallbacks } from "./session/api.ts"

export interface GroundEvents {
  /** The kernel's routes have space again. */
  readonly drained: () => void
  /** Something that the kernel refuses. */
  readonly report: (text: string) => void
}

export interface Ground {
  readonly monitor: MonitorApi
  readonly nextHops: NextHopsApi
  readonly fib: FibApi
  /** There were routes of BGP when it was opened: of a speaker before this one. */
  readonly hasRoutes: boolean
  openSession(neighbor: BgpNeighborSpec, speaker: LocalSpeaker, callbacks: SessionCallbacks): Session
  /** `flush`: takes the routes out of the kernel first. */
  close(flush: boolean): Promise<void>
}

/** @throws Error with what the namespace refuses */
export const openGround = (_init: NewSpeaker, _scheduler: Scheduler, _events: GroundEvents): Ground => {
  throw new Error("not there yet")
}
