/**
 * `bgp` of all nodes -> one `BgpSpec` for each that runs weft's speaker, and the rules and routes of their VRFs.
 *
 *     bgp-sessions.ts   who speaks with whom
 *     bgp-neighbor.ts   a session's settings, at one end
 *     bgp-policy.ts     policies and prefix lists that are used
 *     bgp-vrf.ts        tables, and how packets get there
 */
import type { BgpNeighborSpec, BgpSpec } from "../plan/bgp.ts"
import type { Path } from "../topology/diagnostic.ts"
import * as Ip from "../topology/ip.ts"
import { compileNeighbor, loneSide, type Side, sidesOf } from "./bgp-neighbor.ts"
import { Policies } from "./bgp-policy.ts"
import { findSessions, type Speaker } from "./bgp-sessions.ts"
import { type CompiledVrfs, compileVrfs, interfacesOf } from "./bgp-vrf.ts"
import { routerId } from "./derive.ts"
import type { RoutingContext } from "./routing.ts"

export interface CompiledBgp extends Pick<CompiledVrfs, "routes" | "rules"> {
  readonly spec: BgpSpec
  readonly path: Path
}

/** Nodes without a speaker of weft's are left out. Reports what cannot work. */
export const compileBgp = (context: RoutingContext): ReadonlyArray<CompiledBgp> => {
  const speakers: Array<Speaker> = []
  for (const node of context.topology.nodes.values()) if (node.bgp !== undefined) speakers.push({ node, bgp: node.bgp })
  if (speakers.length === 0) return []
  const sides = sidesByNode(context)
  const interfaces = new Map(speakers.map((speaker) => [speaker.node.name, interfacesOf(speaker, context)]))
  const own = speakers.filter(({ bgp }) => !bgp.external)
  const identifiers = new Map(own.map((speaker) => [speaker, identifierOf(speaker, context)]))
  refuseSharedIdentifiers(identifiers, context)
  return own.map((speaker): CompiledBgp => {
    const { node, bgp } = speaker
    const policies = new Policies(node.name, bgp, context.reporter)
    const { vrfs, rules, routes } = compileVrfs(speaker, policies, context)
    const neighbors = distinct((sides.get(node.name) ?? []).map(([mine, theirs]): BgpNeighborSpec =>
      compileNeighbor(mine, theirs, policies, {
        addressing: context.addressing,
        reporter: context.reporter,
        vrfOf: ({ node: of }, ifname) => interfaces.get(of.name)?.get(ifname)
      })
    ))
    const spec: BgpSpec = {
      node: node.name,
      asn: bgp.as.value,
      routerId: identifiers.get(speaker)!,
      ...(bgp.clusterId === undefined ? {} : { clusterId: bgp.clusterId.value }),
      vrfs,
      neighbors,
      policies: policies.policies,
      prefixLists: policies.prefixLists,
      multipath: bgp.multipath,
      alwaysCompareMed: bgp.alwaysCompareMed,
      ...(bgp.missingMedIsWorst ? { missingMedIsWorst: true } : {}),
      ...(bgp.ignoreAsPath ? { ignoreAsPath: true } : {}),
      ...(bgp.compareRouterId ? { compareRouterId: true } : {}),
      gracefulShutdown: bgp.gracefulShutdown,
      ...(bgp.updateDelayS === undefined ? {} : { updateDelayS: bgp.updateDelayS }),
      state: "running"
    }
    if (neighbors.length === 0) {
      const message = `${node.name} has no BGP neighbour: nobody on its links and networks has bgp, and "neighbors" names none`
      context.reporter.warning(bgp.as.path, message)
    }
    return { spec, rules, routes, path: bgp.path }
  })
}

/** Two VRFs may have neighbours with one address: those after the first are called `ADDRESS%VRF`. */
const distinct = (neighbors: ReadonlyArray<BgpNeighborSpec>): ReadonlyArray<BgpNeighborSpec> => {
  const names = new Set<string>()
  return neighbors.map((neighbor) => {
    const name = names.has(neighbor.name) ? `${neighbor.name}%${neighbor.vrf}` : neighbor.name
    names.add(name)
    return name === neighbor.name ? neighbor : { ...neighbor, name }
  })
}

type Pair = readonly [mine: Side, theirs: Side | undefined]

/** What each node's speaker has to do with, in the order of the file. */
const sidesByNode = (context: RoutingContext): ReadonlyMap<string, ReadonlyArray<Pair>> => {
  const byNode = new Map<string, Array<Pair>>()
  const put = (pair: Pair): void => {
    const { name } = pair[0].end.node
    const list = byNode.get(name)
    if (list === undefined) byNode.set(name, [pair])
    else list.push(pair)
  }
  const { pairs, lone } = findSessions(context)
  for (const session of pairs) {
    const [a, b] = sidesOf(session)
    put([a, b])
    put([b, a])
  }
  for (const session of lone) put([loneSide(session), undefined])
  return byNode
}

/** As given; else the first IPv4 address of the loopback, or of a port; else a number of its own. */
const identifierOf = ({ node, bgp }: Speaker, { addressing, topology }: RoutingContext): string => {
  if (bgp.routerId !== undefined) return bgp.routerId.value
  const addresses = [...addressing.ofLoopback(node.name), ...node.ports.flatMap((port) => addressing.ofPort(port))]
  const found = addresses.find(({ address }) => address.family === "ipv4")
  return found === undefined ? routerId(topology.lab, node.name) : Ip.formatAddress(found.address)
}

/** RFC 6286 2.1: unique within an AS. */
const refuseSharedIdentifiers = (identifiers: ReadonlyMap<Speaker, string>, { reporter }: RoutingContext): void => {
  const seen = new Map<string, Speaker>()
  for (const [speaker, identifier] of identifiers) {
    const key = `${speaker.bgp.as.value} ${identifier}`
    const other = seen.get(key)
    if (other === undefined) seen.set(key, speaker)
    else {
      const path = speaker.bgp.routerId?.path ?? speaker.bgp.as.path
      const message = `${other.node.name} in AS ${speaker.bgp.as.value} has the router id ${identifier}, too: give each its own router-id`
      reporter.error(path, message)
    }
  }
}
