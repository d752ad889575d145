/**
 * What people make in a node with `ip`, `nft` and `tc`: routes and rules that have the protocol number of whoever types them,
 * static neighbours, nftables tables, queues, interfaces without ARP. In a node whose own programs or commands may make such
 * things (a container, a node with `exec`) they are that node's; in any other they are drift, and the next deploy removes them.
 * Routing daemons have protocol numbers of their own, and are left alone everywhere.
 */
import type { Lab } from "./lab.ts"

/** Tells in which nodes such things are drift. */
export const strictNodes = (lab: Lab): (node: string) => boolean => {
  const free = new Set<string>()
  for (const kind of ["container", "exec"] as const) for (const { spec } of lab.knownOf(kind)) free.add(spec.node)
  return (node) => !free.has(node)
}
