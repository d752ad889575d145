/** Every kind of resource and who handles it: to add a kind is to add a file and a line here. */
import type { Kind } from "../plan/resource.ts"
import { handler as address } from "./address.ts"
import { handler as bfd } from "./bfd.ts"
import { handler as bgp } from "./bgp.ts"
import { handler as container } from "./container.ts"
import { handler as exec } from "./exec.ts"
import { handler as filter } from "./filter.ts"
import type { Handler } from "./handler.ts"
import { handler as hostsFile } from "./hosts-file.ts"
import { handler as nat } from "./nat.ts"
import { handler as nexthop } from "./nexthop.ts"
import { handler as node } from "./node.ts"
import { handler as port } from "./port.ts"
import { handler as publish } from "./publish.ts"
import { handler as resolver } from "./resolver.ts"
import { handler as route } from "./route.ts"
import { handler as rule } from "./rule.ts"
import { handler as segment } from "./segment.ts"

export const handlers: { readonly [K in Kind]: Handler<K> } = {
  node,
  "hosts-file": hostsFile,
  resolver,
  port,
  segment,
  address,
  nexthop,
  route,
  rule,
  nat,
  filter,
  bgp,
  bfd,
  container,
  publish,
  exec
}
