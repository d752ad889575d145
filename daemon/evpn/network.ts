/** What EVPN has to know of this host's networks, out of the parts of labs; and the routes by which they are announced. */
import type { Plan, Resource, SegmentSpec } from "../plan/resource.ts"
import * as Evpn from "../wire/bgp/evpn.ts"
import * as Ip from "../wire/ip.ts"
import {
  type Community, derivedTarget, encodeCommunity, Encapsulation, plainTarget, PmsiTunnelType, routedTarget
} from "../wire/bgp/evpn-attributes.ts"
import { Origin } from "../wire/bgp/iana.ts"
import type { PathAttributes } from "../wire/bgp/path-attributes.ts"
import { type LocalPrefix, prefixesIn } from "./prefixes.ts"
import { type Path, pathOf, self } from "./rib.ts"

/** A port of a network, here. */
export interface LocalPort {
  /** `node:ifname` */
  readonly port: string
  readonly mac: string
  /** Canonical text, without prefix length. */
  readonly addresses: ReadonlyArray<string>
  /** Its node forwards. */
  readonly router: boolean
}

export interface LocalNetwork {
  readonly lab: string
  readonly name: string
  readonly vni: number
  /** UDP port of its tunnels. */
  readonly udpPort: number
  /** Underlay addresses of the other hosts that have ports of it, as the plan says. */
  readonly vteps: ReadonlyArray<string>
  readonly ports: ReadonlyArray<LocalPort>
  /** What is behind its routers here. */
  readonly prefixes: ReadonlyArray<LocalPrefix>
}

/** Where we are. */
export interface Identity {
  /** Underlay address, canonical text. */
  readonly vtep: string
  /** Dotted quad. */
  readonly routerId: string
  /** Two octets. */
  readonly asn: number
}

const usualPort = 4789

/** Networks that VXLAN can carry; Geneve and GRE have no room in what EVPN tells here. */
const isCarried = ({ segmentKind, tunnel }: SegmentSpec): boolean =>
  segmentKind === "network" && (tunnel === undefined || tunnel.encapsulation === "vxlan")

/** The networks of one host's part of a lab. */
export const networksIn = (plan: Plan): ReadonlyArray<LocalNetwork> => {
  const segments = plan.resources.filter((resource): resource is Extract<Resource, { kind: "segment" }> => resource.kind === "segment")
  if (!segments.some(({ spec }) => isCarried(spec))) return []
  const macs = new Map<string, string>()
  const addresses = new Map<string, string[]>()
  const routers = new Set<string>()
  for (const { kind, spec } of plan.resources) {
    if (kind === "port") macs.set(`${spec.node}:${spec.ifname}`, spec.mac)
    else if (kind === "node" && spec.nodeKind === "router") routers.add(spec.node)
    else if (kind === "address") {
      const port = `${spec.node}:${spec.ifname}`
      addresses.set(port, [...(addresses.get(port) ?? []), spec.address.split("/")[0]!])
    }
  }
  const localPort = (port: string): ReadonlyArray<LocalPort> => {
    const mac = macs.get(port)
    const node = port.slice(0, port.indexOf(":"))
    return mac === undefined ? [] : [{ port, mac, addresses: addresses.get(port) ?? [], router: routers.has(node) }]
  }
  const behind = prefixesIn(plan)
  return segments.flatMap(({ spec }) => {
    if (!isCarried(spec)) return []
    const { name, ports, tunnel, vni } = spec
    const where = { udpPort: tunnel?.port ?? usualPort, vteps: tunnel?.vteps ?? [] }
    return [{ lab: plan.lab, name, vni, ...where, ports: ports.flatMap(localPort), prefixes: behind(ports) }]
  })
}

/** RFC 7432 7.9: an IPv4 address and a number of 16 bits that we give each VNI: its lower half, where that is free. */
export class Distinguishers {
  readonly #routerId: string
  readonly #numbers = new Map<number, number>()
  readonly #taken = new Set<number>()

  constructor(routerId: string) {
    this.#routerId = routerId
  }

  of(vni: number): string {
    let number = this.#numbers.get(vni)
    if (number === undefined) {
      number = vni & 0xffff
      while (number === 0 || this.#taken.has(number)) number = (number + 1) & 0xffff
      this.#numbers.set(vni, number)
      this.#taken.add(number)
    }
    return Evpn.rdOf(this.#routerId, number)
  }
}

/** A router id for a host: its IPv4 address; of an IPv6 one the last 32 bits, mixed with the others and not zero. */
export const routerIdOf = (vtep: string): string => {
  const octets = Ip.parse(vtep)!
  if (octets.length === 4) return vtep
  const mixed = [0, 1, 2, 3].map((i) => octets[12 + i]! ^ octets[8 + i]! ^ octets[4 + i]! ^ octets[i]!)
  return (mixed.some((octet) => octet !== 0) ? mixed : [0, 0, 0, 1]).join(".")
}

/** Both forms that others derive by themselves, so that nobody has to be told a target. */
const communitiesOf = ({ asn }: Identity, vni: number): ReadonlyArray<Community> => [
  derivedTarget(asn, vni),
  plainTarget(asn, vni),
  { kind: "encapsulation", tunnelType: Encapsulation.vxlan }
]

const attributesOf = (communities: ReadonlyArray<Community>, more: Partial<PathAttributes> = {}): PathAttributes => ({
  origin: Origin.igp,
  asPath: [],
  localPref: 100,
  atomicAggregate: false,
  communities: [],
  extendedCommunities: communities.map(encodeCommunity),
  largeCommunities: [],
  clusterList: [],
  unknown: [],
  ...more
})

const own = { peer: self, isExternal: false, peerId: 0 } as const

/** RFC 7432 7.3, 11.1: what is flooded in the network is to be sent to us, too. */
export const multicastPath = (identity: Identity, rd: string, vni: number): Path => {
  const { vtep } = identity
  const pmsiTunnel = { flags: 0, tunnelType: PmsiTunnelType.ingressReplication, label: vni, tunnelIdentifier: Ip.parse(vtep)! }
  const attributes = attributesOf(communitiesOf(identity, vni), { pmsiTunnel })
  return pathOf({ ...own, route: { type: 3, rd, tag: 0, originator: vtep }, nextHop: vtep, attributes })
}

export interface LocalStation {
  readonly vni: number
  readonly mac: string
  readonly addresses: ReadonlyArray<string>
  readonly router: boolean
  readonly sequence: number
}

/** RFC 7432 7.2: one route for the address alone, and one for each of its IP addresses. */
export const stationPaths = (identity: Identity, rd: string, station: LocalStation): ReadonlyArray<Path> => {
  const { addresses, mac, router, sequence, vni } = station
  const mobility: ReadonlyArray<Community> = sequence === 0 ? [] : [{ kind: "mac-mobility", sticky: false, sequence }]
  const common = [...communitiesOf(identity, vni), ...mobility]
  const pathTo = (ip: string | undefined): Path => {
    const nd: ReadonlyArray<Community> = ip !== undefined && router ? [{ kind: "nd", router: true, override: true, immutable: false }] : []
    const route: Evpn.MacIp = { type: 2, rd, esi: Evpn.zeroEsi, tag: 0, mac, ...(ip === undefined ? {} : { ip }), label: vni }
    return pathOf({ ...own, route, nextHop: identity.vtep, attributes: attributesOf([...common, ...nd]) })
  }
  return [pathTo(undefined), ...addresses.map(pathTo)]
}

/**
 * RFC 9136 3.1, 4.1: the gateway's route of type 2 says where packets go, so the label is 0. The target is not that of the
 * segment: FRR 8.4 imports whatever has that one into the segment, and floods to a prefix as if it were a VTEP.
 */
export const prefixPath = (identity: Identity, rd: string, vni: number, { gateway, prefix }: LocalPrefix): Path => {
  const route: Evpn.Prefix = { type: 5, rd, esi: Evpn.zeroEsi, tag: 0, prefix, gateway, label: 0 }
  const communities: ReadonlyArray<Community> = [
    routedTarget(identity.asn, vni), { kind: "encapsulation", tunnelType: Encapsulation.vxlan }
  ]
  return pathOf({ ...own, route, nextHop: identity.vtep, attributes: attributesOf(communities) })
}
