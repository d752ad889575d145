/** What a speaker stands on in its node's namespace: what is there, who can be reached, the kernel's routes, its sessions' sockets. */
import type { BgpNeighborSpec, BgpVrfSpec } from "../plan/bgp.ts"
import type { FibApi, MonitorApi, NextHopsApi } from "./fib/api.ts"
import { openForwarding } from "./fib/forwarding.ts"
import type { NewSpeaker } from "./messages.ts"
import type { Door } from "./neighbor-group.ts"
import type { Scheduler, Task } from "./scheduler.ts"
import type { LocalSpeaker, Session, SessionCallbacks } from "./session/api.ts"
import { DynamicSessions } from "./session/dynamic.ts"
import { PausableClock } from "./session/pausable-clock.ts"
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
  /** Sessions stand still, with their sockets and timers, and what happens in the namespace is not heard; or all goes on. */
  setPaused(isPaused: boolean): void
  /** `flush`: takes the routes out of the kernel first. */
  close(flush: boolean): Promise<void>
}

/** @throws Error with what the namespace refuses */
export const openGround = ({ netns, spec }: NewSpeaker, scheduler: Scheduler, { drained, report }: GroundEvents): Ground => {
  const task: Task = { run: (budgetMs) => forwarding.fib.run(budgetMs) }
  const wanted = (): void => scheduler.wakeLater(task)
  const forwarding = openForwarding(netns, spec.vrfs.map(scopeOf), { wanted, resumed: () => scheduler.wake(task), drained, report })
  const transport = new Transport(netns, { warn: report })
  const clock = new PausableClock()
  wanted()
  const optionsOf = (neighbor: BgpNeighborSpec, { speaker, vrf }: SessionPlace, callbacks: SessionCallbacks): SessionOptions => ({
    transport,
    speaker,
    neighbor,
    callbacks,
    clock,
    ...(vrf.ifnames.length === 0 ? {} : { devices: vrf.ifnames })
  })
  const { fib, monitor, nextHops } = forwarding
  return {
    monitor,
    nextHops,
    fib,
    hasRoutes: fib.hasPredecessor,
    openSession: (neighbor, place, callbacks) => new NeighborSession(optionsOf(neighbor, place, callbacks)),
    openDoor: (neighbor, place, callbacks, created) => {
      const door = new DynamicSessions({ ...optionsOf(neighbor, place, callbacks), created })
      door.start()
      return door
    },
    setPaused: (isPaused) => {
      transport.setFrozen(isPaused)
      monitor.setPaused(isPaused)
      if (isPaused) clock.pause()
      else clock.resume()
    },
    close: async (flush) => {
      transport.close()
      if (flush) await flushed(fib, scheduler)
      scheduler.forget(task)
      forwarding.close()
    }
  }
}

/** How long the kernel may take to forget the routes of a speaker: a million are some seconds. */
const flushMs = 60_000

/** Resolves when the speaker's routes have left the kernel. */
const flushed = (fib: FibApi, scheduler: Scheduler): Promise<void> =>
  new Promise((resolve) => {
    const began = performance.now()
    fib.flush()
    const task: Task = {
      run: (budgetMs) => {
        const hasMore = fib.run(budgetMs) && performance.now() - began < flushMs
        if (!hasMore) resolve()
        return hasMore
      }
    }
    scheduler.wake(task)
  })
