/** A large change leaves a large heap behind, and V8 is in no hurry to shrink it: a daemon that waits should be small. */
import { addon } from "../native/index.ts"

/** Collects garbage and gives memory back to the system. Takes tens of ms: call it when there is nothing else to do. */
export const release = (): void => {
  globalThis.gc?.({ execution: "sync", flavor: "last-resort", type: "major" })
  addon.trimMemory()
}
