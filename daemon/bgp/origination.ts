/**
 * What a table says of itself: networks of the topology, connected and static routes of the kernel, aggregates.
 *
 * Networks are told whether or not the table has a route to them. Redistributed routes follow the kernel: the monitor says
 * which prefixes changed. Each source has its policy, which may refuse a route or change what goes with it.
 */
import type { BgpVrfSpec, Family } from "../plan/bgp.ts"
import type { PathAttributes } from "../wire/bgp/path-attributes.ts"
import { Origin } from "../wire/bgp/iana.ts"
import { familyOf, parsePrefix } from "../wire/ip.ts"
import type { ForeignRoute, MonitorApi, Scope } from "./fib/api.ts"
import type { CompiledPolicy } from "./policy/policy.ts"
import type { Rib } from "./rib/rib.ts"
import { withTargets } from "./rib/route-targets.ts"
import { FamilyIndex, type RibPolicy, Source } from "./rib/types.ts"

export interface OriginationParts {
  readonly rib: Rib
  readonly monitor: MonitorApi
  readonly scope: Scope
}

type Redistributed = "connected" | "static"

const anyAddress: Readonly<Record<Family, string>> = { ipv4: "0.0.0.0", ipv6: "::" }

/** RFC 4271 4.3: `igp` for what was configured as a network, `incomplete` for what came from elsewhere. */
const attributesOf = (prefix: string, origin: number, med?: number): PathAttributes => ({
  origin,
  asPath: [],
  nextHop: anyAddress[familyOf(prefix)],
  ...(med === undefined ? {} : { med }),
  atomicAggregate: false,
  communities: [],
  extendedCommunities: [],
  largeCommunities: [],
  clusterList: [],
  unknown: []
})

/** Never told, whatever the topology redistributes: it means something on one link only. */
const isLocalOnly = (prefix: string): boolean => prefix.startsWith("fe80:") || prefix.startsWith("127.") || prefix.startsWith("::1/")

export class Origination {
  readonly #rib: Rib
  readonly #monitor: MonitorApi
  #scope: Scope
  #policies: ReadonlyMap<string, CompiledPolicy> = new Map()
  #spec: BgpVrfSpec | undefined
  /** What has been told, by source. */
  readonly #told = new Map<Source, Set<string>>()
  readonly #unlisten: () => void

  constructor({ monitor, rib, scope }: OriginationParts) {
    this.#rib = rib
    this.#monitor = monitor
    this.#scope = scope
    this.#unlisten = monitor.listen({ routes: (table, prefixes) => table === this.#scope.table && this.#changed(prefixes) })
  }

  /** Tells what `spec` says, and withdraws what it does not say any more. */
  set(spec: BgpVrfSpec, scope: Scope, policies: ReadonlyMap<string, CompiledPolicy>): void {
    this.#spec = spec
    this.#scope = scope
    this.#policies = policies
    const networks = new Map(spec.networks.map(({ policy, prefix }) => [prefix, policy]))
    this.#replace(Source.network, networks.keys(), (prefix) => {
      return this.#tell(prefix, Source.network, networks.get(prefix), attributesOf(prefix, Origin.igp))
    })
    for (const source of ["connected", "static"] as const) {
      const routes = new Map(Array.from(this.#redistributable(source), (route) => [route.prefix, route]))
      this.#replace(Source[source], routes.keys(), (prefix) => this.#redistribute(routes.get(prefix)!, source))
    }
    this.#rib.setAggregates(spec.aggregates.map(({ policy: name, ...aggregate }) => {
      const policy = name === undefined ? undefined : policies.get(name)
      const change = (attributes: PathAttributes) => applied(policy!, aggregate.prefix, Source.aggregate, attributes)
      return policy === undefined ? aggregate : { ...aggregate, change }
    }))
  }

  close(): void {
    this.#unlisten()
  }

  *#redistributable(source: Redistributed): Generator<ForeignRoute> {
    if (this.#redistribution(source) === undefined) return
    for (const route of this.#monitor.redistributable(this.#scope, source)) if (!isLocalOnly(route.prefix)) yield route
  }

  #redistribution(source: Redistributed): { readonly policy?: string } | undefined {
    return this.#spec?.redistribute.find((one) => one.source === source)
  }

  #redistribute(route: ForeignRoute, source: Redistributed): boolean {
    const { policy } = this.#redistribution(source) ?? {}
    return this.#tell(route.prefix, Source[source], policy, attributesOf(route.prefix, Origin.incomplete, route.metric))
  }

  /** Has `tell` tell each prefix; withdraws those that are told and not among them, or that `tell` refuses. */
  #replace(source: Source, prefixes: Iterable<string>, tell: (prefix: string) => boolean): void {
    const before = this.#told.get(source) ?? new Set<string>()
    const now = new Set<string>()
    for (const prefix of prefixes) if (tell(prefix)) now.add(prefix)
    for (const prefix of before) if (!now.has(prefix)) this.#rib.withdraw(prefix, source)
    this.#told.set(source, now)
  }

  /** False: the policy refuses it. */
  #tell(prefix: string, source: Source, policyName: string | undefined, attributes: PathAttributes): boolean {
    const policy = policyName === undefined ? undefined : this.#policies.get(policyName)
    const targeted = withTargets(attributes, this.#rib.options.exportTargets ?? [])
    const passed = policy === undefined ? targeted : applied(policy, prefix, source, targeted)
    if (passed === undefined) return false
    this.#rib.originate(prefix, source, passed)
    return true
  }

  /** The kernel's routes of these prefixes came, went or changed. */
  #changed(prefixes: ReadonlySet<string>): void {
    for (const source of ["connected", "static"] as const) {
      if (this.#redistribution(source) === undefined) continue
      const told = this.#told.get(Source[source])!
      const routeOf = this.#lookup(source)
      for (const prefix of prefixes) {
        const route = routeOf(prefix)
        if (route !== undefined && this.#redistribute(route, source)) told.add(prefix)
        else if (told.delete(prefix)) this.#rib.withdraw(prefix, Source[source])
      }
    }
  }

  /** Connected networks are few; of static routes there may be a million, and some that have changed are asked for one by one. */
  #lookup(source: Redistributed): (prefix: string) => ForeignRoute | undefined {
    if (source === "connected") {
      const routes = new Map(Array.from(this.#redistributable(source), (route) => [route.prefix, route]))
      return (prefix) => routes.get(prefix)
    }
    return (prefix) => {
      const route = isLocalOnly(prefix) ? undefined : this.#monitor.route(this.#scope.table, prefix)
      return route?.source === source ? route : undefined
    }
  }
}

/** What a policy makes of a route of our own; undefined: it refuses it. */
const applied = (policy: RibPolicy, prefix: string, source: Source, attributes: PathAttributes): PathAttributes | undefined => {
  const { address, length } = parsePrefix(prefix)!
  const family = familyOf(prefix) === "ipv4" ? FamilyIndex.ipv4 : FamilyIndex.ipv6
  return policy.apply(attributes, { family, source }, address, 0, length)?.attributes
}
