/**
 * What one lab looks like in the kernel right now, read once and given to every kind's `observe`.
 *
 * Reading is one pass over the fabric and one over each namespace; after it, observing is pure. Namespaces are held open
 * (by descriptor, identified by inode) until `close`, so that what is changed afterwards is what was looked at.
 */
import type { KernelError } from "../linux/errors.ts"
import * as Fabric from "../linux/fabric.ts"
import * as Netns from "../linux/netns.ts"
import { dump } from "../linux/rtnetlink.ts"
import * as Address from "../wire/rtnetlink/address.ts"
import * as Link from "../wire/rtnetlink/link.ts"
import * as Neighbour from "../wire/rtnetlink/neighbour.ts"
import * as Nexthop from "../wire/rtnetlink/nexthop.ts"
import * as Route from "../wire/rtnetlink/route.ts"
import * as Rule from "../wire/rtnetlink/rule.ts"
import { byHand, protocol } from "./protocol.ts"
import type { Message } from "../wire/netlink.ts"

export interface NodeSnapshot {
  readonly netns: Netns.Netns
  readonly links: ReadonlyMap<string, Link.Link>
  readonly addresses: ReadonlyArray<Address.Address>
  /** Ours, and those that ip(8) made: a node may hold a million others (a BGP table). */
  readonly routes: ReadonlyArray<Route.Route>
  readonly nexthops: ReadonlyArray<Nexthop.Nexthop>
  readonly rules: ReadonlyArray<Rule.Rule>
  /** Static ones only. */
  readonly neighbours: ReadonlyArray<Neighbour.Neighbour>
}

export interface Snapshot {
  readonly nodes: ReadonlyMap<string, NodeSnapshot>
  /** Nodes whose name somebody else's namespace bears, and whose: never touched. */
  readonly foreign: ReadonlyMap<string, KernelError>
  /** `node:ifname` -> host side in the fabric. */
  readonly fabricPorts: ReadonlyMap<string, Fabric.FabricPort>
  /** All TAPs of the fabric, by ifindex. */
  readonly taps: ReadonlyMap<number, Link.Link>
}

const messageType = { link: 16, address: 20, route: 24, rule: 32, neighbour: 28, nexthop: 104 } as const

const sort = (netns: Netns.Netns, answers: Iterable<Message>): NodeSnapshot => {
  const links = new Map<string, Link.Link>()
  const addresses: Address.Address[] = []
  const routes: Route.Route[] = []
  const nexthops: Nexthop.Nexthop[] = []
  const rules: Rule.Rule[] = []
  const neighbours: Neighbour.Neighbour[] = []
  for (const { type, body } of answers) {
    if (type === messageType.link) {
      const link = Link.decode(body)
      links.set(link.name, link)
    } else if (type === messageType.address) addresses.push(Address.decode(body))
    else if (type === messageType.nexthop) nexthops.push(Nexthop.decode(body))
    else if (type === messageType.route) {
      const route = Route.decode(body)
      if (route !== undefined) routes.push(route)
    } else if (type === messageType.rule) {
      const rule = Rule.decode(body)
      if (rule !== undefined) rules.push(rule)
    } else if (type === messageType.neighbour) {
      const neighbour = Neighbour.decode(body)
      if (neighbour?.permanent === true) neighbours.push(neighbour)
    }
  }
  return { netns, links, addresses, routes, nexthops, rules, neighbours }
}

/** Reads one open namespace. */
export const readNode = (netns: Netns.Netns): NodeSnapshot =>
  sort(
    netns,
    dump(netns.fd, (out) => {
      Link.dumpLinks(out)
      Address.dumpAddresses(out)
      Route.dumpRoutes(out, protocol)
      Route.dumpRoutes(out, byHand)
      Nexthop.dumpNexthops(out)
      Rule.dumpRules(out, "ipv4")
      Rule.dumpRules(out, "ipv6")
      Neighbour.dumpNeighbours(out)
    })
  )

/** Reads the lab. `nodes`: names that may exist (desired now or before). Call `close` when done. */
export const take = (lab: string, instance: string, fabric: Netns.Netns, nodes: Iterable<string>): Snapshot => {
  const found = new Map<string, NodeSnapshot>()
  const foreign = new Map<string, KernelError>()
  try {
    for (const node of nodes) {
      const name = Netns.nodeName(lab, node)
      const netns = Netns.open(name)
      if (netns === undefined) continue
      const snapshot = readNode(netns)
      const refusal = Netns.refusal(name, instance, [...snapshot.links.values()])
      if (refusal === undefined) {
        found.set(node, snapshot)
        continue
      }
      foreign.set(node, refusal)
      Netns.close(netns)
    }
    const fabricPorts = new Map<string, Fabric.FabricPort>()
    const { marked, taps } = Fabric.ports(fabric.fd)
    for (const port of marked) {
      if (port.lab === lab) fabricPorts.set(`${port.node}:${port.ifname}`, port)
    }
    return { nodes: found, foreign, fabricPorts, taps: new Map(taps.map((link) => [link.index, link])) }
  } catch (error) {
    close({ nodes: found, foreign, fabricPorts: new Map(), taps: new Map() })
    throw error
  }
}

export const close = (snapshot: Snapshot): void => {
  for (const { netns } of snapshot.nodes.values()) Netns.close(netns)
}
