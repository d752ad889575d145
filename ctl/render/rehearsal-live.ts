/** A rehearsal while it runs. */
import type { RehearsalEvent } from "../rehearsal/messages.ts"
import type { Style } from "../terminal.ts"
import type { Target } from "./progress.ts"

export interface LiveView {
  readonly feed: (event: RehearsalEvent) => void
  /** Prints a line that stays, above what is redrawn. */
  readonly say: (line: string) => void
  /** Redraws if it is time; call it some times a second, for the clock goes on when no events come. */
  readonly tick: () => void
  /** Removes what is redrawn. */
  readonly end: () => void
}

/** @param options.now milliseconds that only go forward; `title`: such as `run 2 of 5` */
export const liveView = (target: Target, { style }: { readonly style: Style; readonly now: () => number; readonly title?: string }): LiveView => ({
  feed: ({ event }) => void target.write(`${style.dim(event)}\n`),
  say: (line) => void target.write(`${line}\n`),
  tick: () => {},
  end: () => {}
})
