/**
 * What is behind the routers of a network, as others of the network should know it: routes of type 5 whose overlay index is
 * the gateway's address (RFC 9136 4.1).
 *
 *      lan 10.1.0.0/24 --- r:lan 10.1.0.1 | r:back 10.2.0.1/24           10.2.0.0/24 by way of 10.1.0.1
 *                                         | static 10.9.0.0/16 via back  10.9.0.0/16 by way of 10.1.0.1
 *
 * The gateway is a station of the network, so its route of type 2 says where packets go (RFC 9136 3.2): that is why these
 * routes have neither an ESI nor a label of their own.
 *
 * The plan says what is there: subnets of the router's other interfaces and its static routes, of the routing table that packets
 * from the network are looked up in; not what its BGP learns, nor whether BFD holds a route back. Pure.
 */
import type { AddressSpec, NexthopSpec, Plan, PortSpec, RouteSpec, RuleSpec } from "../plan/resource.ts"
import * as Ip from "../wire/ip.ts"

export interface LocalPrefix {
  /** Canonical text with its length. */
  readonly prefix: string
  /** Address of a router's port on the network, of the same family. */
  readonly gateway: string
}

interface Router {
  readonly addresses: AddressSpec[]
  readonly routes: RouteSpec[]
  readonly rules: RuleSpec[]
  readonly nexthops: Map<number, NexthopSpec>
  /** Interfaces that are down or have no carrier: as a router does, it does not announce what is behind them. */
  readonly dead: Set<string>
}

interface Candidate extends LocalPrefix {
  /** Lower wins; what is connected is better than any route. */
  readonly metric: number
}

const mainTable = 254
const connected = -1

/** `10.2.0.1/24` -> `10.2.0.0/24` */
const subnetOf = (address: string): string => {
  const { address: octets, length } = Ip.parsePrefix(address)!
  const subnet = octets.map((octet, i) => octet & (0xff00 >> Math.min(8, Math.max(0, length - i * 8))))
  return `${Ip.format(subnet)}/${length}`
}

/** Loopback and link-local addresses mean nothing to others. */
const isLocal = (address: string): boolean => /^(127\.|169\.254\.|::1\/|fe[89ab])/.test(address)

const isDead = ({ carrier, state }: PortSpec): boolean => carrier === "lost" || state !== "up"

const routersIn = ({ resources }: Plan): ReadonlyMap<string, Router> => {
  const routers = new Map<string, Router>()
  for (const { kind, spec } of resources) {
    if (kind !== "node" || spec.nodeKind !== "router") continue
    routers.set(spec.node, { addresses: [], routes: [], rules: [], nexthops: new Map(), dead: new Set() })
  }
  for (const { kind, spec } of resources) {
    const router = "node" in spec ? routers.get(spec.node) : undefined
    if (router === undefined) continue
    if (kind === "address" && !isLocal(spec.address)) router.addresses.push(spec)
    else if (kind === "route") router.routes.push(spec)
    else if (kind === "rule") router.rules.push(spec)
    else if (kind === "nexthop") router.nexthops.set(spec.id, spec)
    else if (kind === "port" && isDead(spec)) router.dead.add(spec.ifname)
  }
  return routers
}

/** The table of packets that come in by the interface: that of its VRF, else the main one. */
const tableOf = ({ rules }: Router, ifname: string, family: Ip.Family): number => {
  const isAll = (rule: RuleSpec): boolean => rule.from === undefined && rule.to === undefined && rule.fwmark === undefined
  const own = rules.filter((rule) => rule.iif === ifname && rule.family === family && isAll(rule))
  return own.toSorted((a, b) => a.priority - b.priority)[0]?.table ?? mainTable
}

/** Interfaces by which packets leave that take the route. */
const waysOf = ({ nexthops }: Router, { nexthop, via }: RouteSpec): ReadonlyArray<string> =>
  nexthop === undefined ? (via === undefined ? [] : [via.ifname]) : (nexthops.get(nexthop)?.members ?? []).map(({ ifname }) => ifname)

/** What is behind the router for those who reach it by `ifname`; `near`: all its interfaces on the network, this one included. */
const behind = (router: Router, ifname: string, near: ReadonlySet<string>): ReadonlyArray<Candidate> => {
  const { addresses, dead, routes } = router
  if (dead.has(ifname)) return []
  const own = new Set(addresses.filter((one) => near.has(one.ifname)).map(({ address }) => subnetOf(address)))
  return (["ipv4", "ipv6"] as const).flatMap((family) => {
    const gateway = addresses.find((one) => one.ifname === ifname && Ip.familyOf(one.address) === family)?.address.split("/")[0]
    if (gateway === undefined) return []
    const table = tableOf(router, ifname, family)
    const isBehind = (way: string): boolean => !near.has(way) && !dead.has(way)
    const subnets = addresses
      .filter((one) => Ip.familyOf(one.address) === family && isBehind(one.ifname) && tableOf(router, one.ifname, family) === table)
      .map(({ address }) => ({ prefix: subnetOf(address), gateway, metric: connected }))
    const beyond = routes.flatMap((route): ReadonlyArray<Candidate> => {
      if (route.type !== "unicast" || route.table !== table || Ip.familyOf(route.to) !== family) return []
      const ways = waysOf(router, route)
      // A packet that would come back to the network is none of ours.
      if (ways.some((way) => near.has(way)) || !ways.some(isBehind)) return []
      return [{ prefix: route.to, gateway, metric: route.metric }]
    })
    return [...subnets, ...beyond].filter(({ prefix }) => !own.has(prefix))
  })
}

/**
 * Reads the plan once; the function that it returns says what is behind the routers among these ports (`node:ifname`) of one
 * network, sorted. A prefix behind several of them has one gateway: by what is connected, the lower metric, the port's name.
 */
export const prefixesIn = (plan: Plan): ((ports: ReadonlyArray<string>) => ReadonlyArray<LocalPrefix>) => {
  const routers = routersIn(plan)
  return (ports) => {
    const best = new Map<string, Candidate>()
    for (const port of ports.toSorted()) {
      const colon = port.indexOf(":")
      const [node, ifname] = [port.slice(0, colon), port.slice(colon + 1)]
      const router = routers.get(node)
      if (router === undefined) continue
      const near = new Set(ports.filter((other) => other.startsWith(`${node}:`)).map((other) => other.slice(colon + 1)))
      for (const candidate of behind(router, ifname, near)) {
        const before = best.get(candidate.prefix)
        if (before === undefined || candidate.metric < before.metric) best.set(candidate.prefix, candidate)
      }
    }
    return [...best.values()].map(({ gateway, prefix }) => ({ prefix, gateway })).toSorted((a, b) => (a.prefix < b.prefix ? -1 : 1))
  }
}
