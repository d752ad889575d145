/**
 * Sessions of BFD: for every next hop that a static route watches, for the other end of each of these where it is a node of
 * the lab, and for the peers that nodes name themselves. Those of BGP neighbours belong to their speakers.
 */
import type { BfdTimers } from "../plan/bgp.ts"
import { type BfdSpec, id, type NexthopMember } from "../plan/resource.ts"
import type { Path } from "../topology/diagnostic.ts"
import * as Ip from "../topology/ip.ts"
import type { Node, Port } from "../topology/model.ts"
import { bfdTimers } from "./bfd.ts"
import type { RoutingContext } from "./routing.ts"
import { findPort } from "./routing.ts"

export interface CompiledBfd {
  readonly spec: BfdSpec
  /** Its address must be there first; absent where any may do. */
  readonly port?: Port
  readonly path: Path
}

/** A next hop of `node` with BFD. */
export interface WatchedHop {
  readonly node: Node
  readonly hop: Pick<NexthopMember, "gateway" | "ifname" | "bfd">
  readonly path: Path
}

const shortest = (a: BfdSpec, b: BfdSpec): BfdSpec => ({
  ...a,
  minTxMs: Math.min(a.minTxMs, b.minTxMs),
  minRxMs: Math.min(a.minRxMs, b.minRxMs),
  multiplier: Math.min(a.multiplier, b.multiplier)
})

/** All sessions of a lab; those that several ask for are one, with the shortest of their times. */
export const compileBfdSessions = (hops: ReadonlyArray<WatchedHop>, context: RoutingContext): ReadonlyArray<CompiledBfd> => {
  const sessions = new Map<string, CompiledBfd>()
  const add = (session: CompiledBfd): void => {
    const { ifname, node, peer } = session.spec
    const key = id.bfd(node, peer, ifname)
    const before = sessions.get(key)
    sessions.set(key, before === undefined ? session : { ...before, spec: shortest(before.spec, session.spec) })
  }
  for (const node of context.topology.nodes.values()) for (const session of namedPeers(node, context)) add(session)
  for (const { hop, node, path } of hops) {
    const { bfd, gateway, ifname } = hop
    const port = node.ports.find((one) => one.ifname === ifname)
    if (bfd === undefined || gateway === undefined || port === undefined) continue
    add({ spec: singleHop(node.name, gateway, ifname, bfd), port, path })
    const far = farEnd(port, gateway, context)
    if (far !== undefined) add({ spec: singleHop(far.port.node, far.peer, far.port.ifname, bfd), port: far.port, path })
  }
  return [...sessions.values()]
}

const singleHop = (node: string, peer: string, ifname: string, timers: BfdTimers): BfdSpec =>
  ({ node, peer, ifname, multihop: false, ...timers, state: "running" })

/** The port of the lab that has the gateway's address, and our address in the same subnet. What runs in a container does its own BFD. */
const farEnd = (port: Port, gateway: string, { addressing, topology }: RoutingContext): { port: Port; peer: string } | undefined => {
  const address = Ip.parseAddress(gateway)!
  const text = Ip.formatAddress(address)
  for (const far of port.segment.ports) {
    if (far === port || topology.nodes.get(far.node)?.container !== undefined) continue
    if (!addressing.ofPort(far).some((one) => Ip.formatAddress(one.address) === text)) continue
    const own = addressing.ofPort(port).find((one) => Ip.contains(one.address, address))
    return own === undefined ? undefined : { port: far, peer: Ip.formatAddress(own.address) }
  }
  return undefined
}

const namedPeers = (node: Node, context: RoutingContext): ReadonlyArray<CompiledBfd> =>
  (node.bfdPeers ?? []).flatMap(({ path, value }): ReadonlyArray<CompiledBfd> => {
    const raw = typeof value === "string" ? { address: value } : value
    const address = Ip.parseAddress(raw.address)!
    const multihop = raw.multihop ?? false
    const port = raw.dev === undefined
      ? node.ports.find((one) => context.addressing.ofPort(one).some((own) => Ip.contains(own.address, address)))
      : findPort(node, raw.dev, [...path, "dev"], context.reporter)
    if (port === undefined && raw.dev !== undefined) return []
    if (port === undefined && !multihop) {
      const far = 'it is in no subnet of the node: further away, write "multihop: true"'
      const hint = Ip.isLinkLocal(address) ? 'a link-local address needs "dev"' : far
      context.reporter.error(path, `${node.name} cannot watch ${raw.address} by BFD: ${hint}`)
      return []
    }
    const base = { node: node.name, peer: Ip.formatAddress(address), multihop, ...bfdTimers(raw), state: "running" }
    const local = raw.local === undefined ? {} : { local: Ip.formatAddress(Ip.parseAddress(raw.local)!) }
    if (multihop || port === undefined) return [{ spec: { ...base, ...local }, path }]
    return [{ spec: { ...base, ...local, ifname: port.ifname }, port, path }]
  })
