/**
 * The receiving speaker's side of graceful restart at work: `graceful-restart.ts` with its timers, for one neighbour.
 */
import type { Open } from "../../wire/bgp/open.ts"
import {
  type Action,
  type Ending,
  type Event,
  initial,
  type Phase,
  type Retained,
  retainable,
  type State,
  transition
} from "./graceful-restart.ts"
import type { Clock } from "./timers.ts"

export class StaleRoutes {
  readonly #clock: Clock
  readonly #stale: (family: number, what: "flush" | "longLived") => void
  readonly #handles = new Set<unknown>()
  #state: State = initial

  constructor(clock: Clock, stale: (family: number, what: "flush" | "longLived") => void) {
    this.#clock = clock
    this.#stale = stale
  }

  /** Families whose routes wait for their renewal. */
  get waiting(): ReadonlyMap<number, Phase> {
    return this.#state.waiting
  }

  retain(ours: Open, theirs: Open, ending: Ending): Retained | undefined {
    return retainable(ours, theirs, ending)
  }

  feed(event: Event): void {
    const [state, actions] = transition(this.#state, event)
    this.#state = state
    for (const action of actions) this.#perform(action)
  }

  close(): void {
    for (const handle of this.#handles) this.#clock.clearTimeout(handle)
    this.#handles.clear()
  }

  #perform(action: Action): void {
    switch (action._tag) {
      case "StartRestartTimer":
        return this.#start(action.seconds, { _tag: "RestartTimerExpires" })
      case "StartStaleTimer":
        return this.#start(action.seconds, { _tag: "StaleTimerExpires" })
      case "StartLongLivedTimer":
        return this.#start(action.seconds, { _tag: "LongLivedTimerExpires", family: action.family })
      case "StopTimers":
        return this.close()
      case "Flush":
        return this.#stale(action.family, "flush")
      case "LongLived":
        return this.#stale(action.family, "longLived")
      default:
        return action satisfies never
    }
  }

  #start(seconds: number, event: Event): void {
    // 24 bits of seconds are more than the event loop's timers can count.
    const handle = this.#clock.setTimeout(() => {
      this.#handles.delete(handle)
      this.feed(event)
    }, Math.min(seconds * 1000, 2 ** 31 - 1))
    this.#handles.add(handle)
  }
}
