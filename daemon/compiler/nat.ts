/**
 * NAT and MSS clamping of one node -> one table, and the public addresses that must be on a port so that the neighbours'
 * ARP and neighbour solicitations for them are answered.
 */
import type { NatSpec } from "../plan/resource.ts"
import { type Path, quote } from "../topology/diagnostic.ts"
import * as Ip from "../topology/ip.ts"
import type { Node, Port } from "../topology/model.ts"
import { findPort, type RoutingContext } from "./routing.ts"

export interface CompiledNat {
  readonly spec: NatSpec
  readonly publicAddresses: ReadonlyArray<{ readonly port: Port; readonly address: Ip.Prefix; readonly path: Path }>
}

/** `undefined` for a node without NAT and clamping. */
export const compileNat = (node: Node, context: RoutingContext): CompiledNat | undefined => {
  const { masquerade, oneToOne, portForward, mssClamp } = node.nat
  if (masquerade.length + oneToOne.length + portForward.length + mssClamp.length === 0) return undefined
  const { reporter } = context
  const publicAddresses = new Map<string, CompiledNat["publicAddresses"][number]>()
  /** Makes sure that the node answers for `address`, by `on` or the port whose subnet it is in. */
  const answerFor = (text: string, on: Port | undefined, path: Path): void => {
    const address = Ip.parseAddress(text)!
    const ports = node.ports.map((port) => ({ port, subnets: context.addressing.ofPort(port).map((a) => a.address) }))
    const own = [...ports.flatMap(({ subnets }) => subnets), ...context.addressing.ofLoopback(node.name).map((a) => a.address)]
    if (own.some((a) => a.family === address.family && a.bits === address.bits)) return
    // Outside of every subnet the address is routed to this node, and nobody asks for it on a link.
    const port = on ?? ports.find(({ subnets }) => subnets.some((subnet) => Ip.contains(subnet, address)))?.port
    if (port === undefined) return
    const host = { ...address, length: Ip.hostLength(address.family) }
    publicAddresses.set(Ip.formatPrefix(host), { port, address: host, path })
  }
  const port = (ifname: string | undefined, path: Path): Port | undefined =>
    ifname === undefined ? undefined : findPort(node, ifname, path, reporter)

  const spec: NatSpec = {
    node: node.name,
    masquerade: masquerade.flatMap((item) => {
      port(item.value.out, item.path)
      const exceptTo = item.value.except.map(canonical)
      const from = item.value.from.map(canonical)
      return from.length === 0
        ? [{ out: item.value.out, exceptTo }]
        : from.map((prefix) => ({ out: item.value.out, from: prefix, exceptTo }))
    }),
    oneToOne: oneToOne.map(({ value, path }) => {
      const on = port(value.on, [...path, "on"])
      const [outside, inside] = [Ip.parseAddress(value.public)!, Ip.parseAddress(value.private)!]
      if (outside.family !== inside.family) reporter.error(path, "public and private are of different address families")
      answerFor(value.public, on, [...path, "public"])
      return { public: Ip.formatAddress(outside), private: Ip.formatAddress(inside), ...(value.on === undefined ? {} : { on: value.on }) }
    }),
    portForward: portForward.flatMap(({ value, path }) => {
      const on = port(value.on, [...path, "on"])
      if (value.address !== undefined) answerFor(value.address, on, [...path, "address"])
      const target = forwardTarget(value.to, value.address, [...path, "to"], context)
      if (target === undefined) return []
      return [{
        protocol: value.protocol,
        port: value.port,
        to: target.address,
        toPort: target.port ?? value.port,
        ...(value.on === undefined ? {} : { on: value.on }),
        ...(value.address === undefined ? {} : { address: Ip.formatAddress(Ip.parseAddress(value.address)!) })
      }]
    }),
    mssClamp: mssClamp.map(({ value, path }) => {
      port(value.out, [...path, "out"])
      return value
    })
  }
  refuseRepeatedForwards(node, context)
  return { spec, publicAddresses: [...publicAddresses.values()] }
}

const canonical = (prefix: string): string => Ip.formatPrefix(Ip.parsePrefix(prefix)!)

interface ForwardTarget {
  readonly address: string
  readonly port: number | undefined
}

/** `10.0.0.5`, `10.0.0.5:80`, `2001:db8::5`, `[2001:db8::5]:80`, `NODE`, `NODE:80`. */
const forwardTarget = (text: string, publicAddress: string | undefined, path: Path, context: RoutingContext): ForwardTarget | undefined => {
  const { topology, addressing, reporter } = context
  const wanted = publicAddress === undefined ? undefined : Ip.parseAddress(publicAddress)!.family
  const bare = Ip.parseAddress(text)
  const match = bare === undefined ? /^(?:\[([0-9a-fA-F:.]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text) : null
  const host = match?.[1] ?? match?.[2] ?? text
  const port = match?.[3] === undefined ? undefined : Number(match[3])
  if (bare === undefined && (match === null || (port !== undefined && (port < 1 || port > 65535)))) {
    reporter.error(path, `${quote(text)}: expected ADDRESS:PORT, [IPV6]:PORT or NODE:PORT`)
    return undefined
  }
  const address = bare ?? Ip.parseAddress(host)
  if (address !== undefined) {
    if (wanted !== undefined && wanted !== address.family) {
      reporter.error(path, `${quote(text)} and the public address are of different address families`)
      return undefined
    }
    return { address: Ip.formatAddress(address), port }
  }
  const target = topology.nodes.get(host)
  if (target === undefined) {
    // A node that is left out because it is wrong has been complained about.
    if (!context.portsByNode.has(host)) {
      reporter.error(path, `there is no node ${quote(host)}`, { meant: { word: host, among: topology.nodes.keys() } })
    }
    return undefined
  }
  const all = [...target.ports.flatMap(addressing.ofPort), ...addressing.ofLoopback(host)].map((assigned) => assigned.address)
  const found = wanted === undefined
    ? all.find((a) => a.family === "ipv4") ?? all[0]
    : all.find((a) => a.family === wanted)
  if (found === undefined) {
    reporter.error(path, `${quote(host)} has no ${wanted === "ipv6" ? "IPv6" : wanted === "ipv4" ? "IPv4" : ""} address`.replace("  ", " "))
    return undefined
  }
  return { address: Ip.formatAddress(found), port }
}

const refuseRepeatedForwards = (node: Node, { reporter }: RoutingContext): void => {
  const seen = new Map<string, Path>()
  for (const { value, path } of node.nat.portForward) {
    const key = [value.on ?? "", value.address ?? "", value.protocol, value.port].join(" ")
    const earlier = seen.get(key)
    if (earlier === undefined) seen.set(key, path)
    else reporter.error(path, `${value.protocol} port ${value.port} is already forwarded at line ${reporter.locate(earlier).line}`)
  }
}
