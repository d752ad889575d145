/** Every kind of check, by the key that names it in a suite. To add one: a file in `kinds/`, and a line here. */
import type { Kind } from "./kind.ts"
import { exec } from "./kinds/exec.ts"
import { failover } from "./kinds/failover.ts"
import { latency, throughput } from "./kinds/measure.ts"
import { allPairs, reachable, unreachable } from "./kinds/reachable.ts"
import { dns, http } from "./kinds/service.ts"
import { source } from "./kinds/source.ts"
import { bfd, bgpRoute, bgpSession, route } from "./kinds/table.ts"
import { ecmp, mtu, path } from "./kinds/way.ts"

export const kinds = {
  reachable,
  unreachable,
  "all-pairs": allPairs,
  http,
  dns,
  path,
  source,
  route,
  "bgp-session": bgpSession,
  "bgp-route": bgpRoute,
  bfd,
  ecmp,
  mtu,
  latency,
  throughput,
  exec,
  failover
} as const

export type KindName = keyof typeof kinds

export const kindNames = Object.keys(kinds) as ReadonlyArray<KindName>

/** A kind whose spec is not known any more: what it takes has been checked by its own schema. */
export const kindOf = (name: KindName): Kind<unknown> => kinds[name] as unknown as Kind<unknown>
