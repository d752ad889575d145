/**
 * Routing tables of a speaker, and what sends packets to them: policy rules and routes.
 *
 * A VRF is a kernel table and rules by which packets of its interfaces look there: those that come in by one (`iif`), and those
 * that a program of the node sends by one it is bound to (`oif`). The table has the subnets of its interfaces and ends in an
 * `unreachable` default, so that nothing falls through to the main table. What comes in elsewhere does not get to these subnets
 * though the main table has them, too: rules behind send it to a table that has nothing but `unreachable` for them.
 */
import type { BgpVrfSpec, Family } from "../plan/bgp.ts"
import type { RouteSpec, RuleSpec } from "../plan/resource.ts"
import { quote, type Path } from "../topology/diagnostic.ts"
import * as Ip from "../topology/ip.ts"
import type { BgpTable, Port } from "../topology/model.ts"
import type { Policies } from "./bgp-policy.ts"
import type { Speaker } from "./bgp-sessions.ts"
import { findPort, type RoutingContext } from "./routing.ts"

export interface CompiledVrfs {
  readonly vrfs: ReadonlyArray<BgpVrfSpec>
  readonly rules: ReadonlyArray<{ readonly spec: RuleSpec; readonly path: Path }>
  readonly routes: ReadonlyArray<{ readonly spec: RouteSpec; readonly ports: ReadonlyArray<Port>; readonly path: Path }>
}

const mainTable = 254
const firstTable = 1001
/** Of all VRFs of a node: their subnets, unreachable. The numbers before are for people. */
const closedTable = 4294967294
/** Asked before `rules` of the file, which count from 1000. */
const firstPriority = 500
/** As Documentation/networking/vrf.rst has it: behind every other route. */
const lastMetric = 4278198272
const families: ReadonlyArray<Family> = ["ipv4", "ipv6"]
const connectedMetric: Readonly<Record<Family, number>> = { ipv4: 0, ipv6: 1024 }
const everyFamily = families

/** Which VRF an interface is in; complains about those that do not exist or are in two. */
export const interfacesOf = ({ node, bgp }: Speaker, { reporter }: RoutingContext): ReadonlyMap<string, string> => {
  const owners = new Map<string, string>()
  for (const [name, { interfaces }] of bgp.vrfs) {
    for (const { value, path } of interfaces) {
      if (findPort(node, value, path, reporter) === undefined) continue
      const other = owners.get(value)
      if (other !== undefined) reporter.error(path, `${quote(value)} is in the VRF ${other} already: an interface is in one`)
      else owners.set(value, name)
    }
  }
  return owners
}

export const compileVrfs = (speaker: Speaker, policies: Policies, context: RoutingContext): CompiledVrfs => {
  const { node, bgp } = speaker
  const { reporter } = context
  const rules: Array<CompiledVrfs["rules"][number]> = []
  const routes: Array<CompiledVrfs["routes"][number]> = []
  const tables = new Map<number, string>([[mainTable, "default"], [255, "local"], [253, "the kernel's default table"]])
  const vrfs: Array<BgpVrfSpec> = [{
    name: "default", table: mainTable, ifnames: [], ...originated(bgp, policies, everyFamily), exportTargets: [], importTargets: []
  }]
  const closed = new Map<string, { readonly subnet: Ip.Prefix; readonly path: Path }>()
  let priority = firstPriority
  const rule = (path: Path, spec: Partial<RuleSpec>, of: ReadonlyArray<Family> = families): void => {
    for (const family of of) rules.push({ spec: { node: node.name, family, priority, table: mainTable, ...spec }, path })
    priority++
  }
  for (const [name, vrf] of bgp.vrfs) {
    if (name === "default") {
      reporter.error(vrf.path, '"default" is the table that every router has: give the VRF another name', { at: "key" })
      continue
    }
    const table = vrf.table?.value ?? freeTable(tables)
    const owner = tables.get(table)
    if (owner !== undefined) reporter.error(vrf.table!.path, `table ${table} is taken by ${owner}`)
    tables.set(table, name)
    const ports = vrf.interfaces.flatMap(({ value }) => node.ports.find(({ ifname }) => ifname === value) ?? [])
    for (const { ifname } of ports) {
      rule(vrf.path, { iif: ifname, table })
      rule(vrf.path, { oif: ifname, table })
    }
    for (const port of ports) {
      for (const { address } of context.addressing.ofPort(port)) {
        const subnet = Ip.network(address)
        const metric = connectedMetric[subnet.family]
        const spec = { node: node.name, to: Ip.formatPrefix(subnet), table, metric, type: "unicast" as const }
        routes.push({ spec: { ...spec, via: { ifname: port.ifname } }, ports: [port], path: vrf.path })
        closed.set(Ip.formatPrefix(subnet), { subnet, path: vrf.path })
      }
    }
    for (const to of ["0.0.0.0/0", "::/0"]) routes.push({ spec: unreachable(node.name, to, table, lastMetric), ports: [], path: vrf.path })
    vrfs.push({
      name, table, ifnames: ports.map(({ ifname }) => ifname), ...originated(vrf, policies, everyFamily),
      exportTargets: vrf.exportTargets, importTargets: vrf.importTargets
    })
  }
  // The node itself reaches all its subnets; whoever it forwards for only those of its own table.
  const [first] = closed.values()
  if (first !== undefined) rule(first.path, { iif: "lo" })
  for (const [to, { subnet, path }] of closed) {
    rule(path, { to, table: closedTable }, [subnet.family])
    routes.push({ spec: unreachable(node.name, to, closedTable, connectedMetric[subnet.family]), ports: [], path })
  }
  return { vrfs, rules, routes }
}

const unreachable = (node: string, to: string, table: number, metric: number): RouteSpec =>
  ({ node, to, table, metric, type: "unreachable" })

const freeTable = (tables: ReadonlyMap<number, string>): number => {
  let table = firstTable
  while (tables.has(table)) table++
  return table
}

const originated = (table: BgpTable, policies: Policies, all: ReadonlyArray<Family>) => {
  const named = (policy: string | undefined, path: Path, families: ReadonlyArray<Family>): { readonly policy?: string } => {
    if (policy === undefined) return {}
    policies.use(policy, [...path, "policy"], families)
    return { policy }
  }
  return {
    networks: unique(table.networks.map(({ value, path }) => {
      const prefix = Ip.parsePrefix(value.prefix)!
      return { prefix: Ip.formatPrefix(prefix), ...named(value.policy, path, [prefix.family]) }
    }), ({ prefix }) => prefix),
    aggregates: unique(table.aggregates.map(({ value, path }) => {
      const prefix = Ip.parsePrefix(value.prefix)!
      return {
        prefix: Ip.formatPrefix(prefix),
        summaryOnly: value["summary-only"] ?? false,
        asSet: value["as-set"] ?? false,
        ...named(value.policy, path, [prefix.family])
      }
    }), ({ prefix }) => prefix),
    redistribute: unique(
      table.redistribute.map(({ value, path }) => ({ source: value.source, ...named(value.policy, path, all) })),
      ({ source }) => source
    )
  }
}

/** Of several with one key the last, which is the nearest; in the order of the first. */
const unique = <T>(items: ReadonlyArray<T>, key: (item: T) => string): ReadonlyArray<T> =>
  [...new Map(items.map((item) => [key(item), item])).values()]
