/**
 * What of a change waits until BGP has taken over. Pure.
 *
 * Where speakers start or change, their routes come only when their sessions are up. What goes at the same time (static routes, the links
 * that they use) is the way until then: it goes in a round of its own, after sessions have settled and their routes are in the kernel.
 * So a lab goes from static routes to BGP without a gap. The other way round needs no rule: what is made is made before anything is
 * removed.
 *
 * On one of many hosts a node that goes may have gone to another one, where its addresses are in use already: it never waits.
 */
import type { Step } from "./diff.ts"

export interface HandOver {
  readonly now: ReadonlyArray<Step>
  readonly later: ReadonlyArray<Step>
}

/** Steps for now, and those for when BGP has settled; all in their order. `isPart`: other hosts have nodes of the lab, too. */
export const handOver = (steps: ReadonlyArray<Step>, { isPart }: { readonly isPart: boolean }): HandOver => {
  const isTakingOver = steps.some(({ action, kind }) => kind === "bgp" && action !== "remove")
  const gone = new Set(steps.flatMap(({ action, kind, node }) => (isPart && kind === "node" && action === "remove" ? [node] : [])))
  const isLater = ({ action, node }: Step): boolean => isTakingOver && action === "remove" && !gone.has(node)
  return { now: steps.filter((step) => !isLater(step)), later: steps.filter(isLater) }
}
