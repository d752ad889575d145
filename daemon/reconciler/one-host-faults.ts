/** The books of faults of a weftd of its own: they are in its store, and its reconciler makes them true. */
import { bookOf } from "../faults/ledger.ts"
import type { ChangeWatch } from "./control.ts"
import type { FaultedLabs } from "./faults.ts"
import { failuresOf, watching } from "./one-host.ts"
import type { Reconciler } from "./reconciler.ts"

/** How long injecting waits for somebody who deploys. */
export const turnPatienceMs = 30_000

/** @param host name of this host */
export const faultedLabs = (reconciler: Reconciler, host: string): FaultedLabs => ({
  books: async () => (await reconciler.labs()).map((entry) => ({ lab: entry.name, book: bookOf(entry) })),
  resolve: async (lab) => (lab === "" ? reconciler.onlyLab() : (await reconciler.require(lab)).name),
  alter: async (lab, change, watch?: ChangeWatch) => {
    const more = watch === undefined ? {} : { watch: watching(watch) }
    const outcome = await reconciler.alter(lab, change, { patienceMs: turnPatienceMs, ...more })
    return outcome === undefined ? undefined : { ...outcome, failures: failuresOf(outcome, host) }
  },
  patienceMs: () => 0,
  // There is no other: a lease that bears another name is from before this host was called as it is.
  isHostLost: () => true
})
