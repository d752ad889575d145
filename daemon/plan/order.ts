/**
 * The order in which kinds are made; they are removed in the reverse order.
 *
 * A resource may depend only on kinds before its own (an `exec` also on the one before it in its node), so this list *is*
 * the dependency order: all resources of one kind can be made at once. `dependsOn` says which single ones must have
 * succeeded.
 */
import type { Kind } from "./resource.ts"

export const kindOrder: ReadonlyArray<Kind> = [
  "node",
  "hosts-file",
  "resolver",
  "port",
  "segment",
  "address",
  "bfd",
  "nexthop",
  "route",
  "rule",
  "nat",
  "filter",
  "bgp",
  "container",
  "publish",
  "exec"
]

export const rank = (kind: Kind): number => kindOrder.indexOf(kind)
