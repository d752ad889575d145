/**
 * What of a change waits until BGP has taken over. Pure.
 *
 * Where speakers start or change, their routes come only when their sessions are up. What goes at the same time (static routes, the links
 * that they use) is the way until then: it goes in a round of its own, after sessions have settled and their routes are in the kernel.
 * So a lab goes from static routes to BGP without a gap. The other way round needs no rule: what is made is made before anything is
 * removed.
 */
import type { Step } from "./diff.ts"

/** Steps for now, and those for when BGP has settled; all in their order. */
export const handOver = (steps: ReadonlyArray<Step>): { readonly now: ReadonlyArray<Step>; readonly later: ReadonlyArray<Step> } => {
  const isTakingOver = steps.some(({ action, kind }) => kind === "bgp" && action !== "remove")
  const isLater = ({ action }: Step): boolean => isTakingOver && action === "remove"
  return { now: steps.filter((step) => !isLater(step)), later: steps.filter(isLater) }
}
