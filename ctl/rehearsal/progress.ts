/** How far a run came, in steps. Those that roll back count only once they have begun: nobody misses them otherwise. */

import type { Step } from "./record.ts"

/** `5 of 5` */
export const progressOf = (steps: ReadonlyArray<Pick<Step, "role" | "startMs">>): string => {
  const begun = steps.filter(({ startMs }) => startMs !== null)
  return `${begun.length} of ${steps.filter(({ role, startMs }) => role !== "roll-back" || startMs !== null).length}`
}
