/**
 * Who speaks BGP with whom: the sessions of a lab, both ends of each.
 *
 *     links, networks   every two speakers on one segment: of different AS; of one AS, if neither has a mesh or reflectors
 *     ibgp: mesh        every two of an AS that say so, from loopback to loopback
 *     route-reflector   a client and each of its reflectors; reflectors among each other
 *     neighbors         whoever is named and has no session yet: nodes of the lab get theirs at both ends
 *
 * A session has two ends in the lab, or one and an address, interface or prefix beyond.
 */
import type { BgpRemote, Family } from "../plan/bgp.ts"
import { layerOf } from "../topology/bgp.ts"
import type { RawNeighbor } from "../topology/bgp-schema.ts"
import { type Path, quote } from "../topology/diagnostic.ts"
import * as Ip from "../topology/ip.ts"
import type { Bgp, Located, Node, Port, Segment } from "../topology/model.ts"
import { addressKey, label } from "./addressing.ts"
import type { RoutingContext } from "./routing.ts"

export interface Speaker {
  readonly node: Node
  readonly bgp: Bgp
}

/** One end of a session. */
export interface End extends Speaker {
  /** Absent: the loopback. */
  readonly port?: Port
  /** Absent: the session is by interface. */
  readonly address?: Ip.Prefix
}

export interface Session {
  readonly ends: readonly [End, End]
  readonly families: ReadonlyArray<Family>
  /** The end that is a client of the other, which reflects routes for it. */
  readonly client?: 0 | 1
}

/** A session with somebody that the topology does not have. */
export interface LoneSession {
  readonly end: End
  readonly remote: BgpRemote
  readonly families: ReadonlyArray<Family>
  readonly neighbor: Located<RawNeighbor>
}

export interface Sessions {
  readonly pairs: ReadonlyArray<Session>
  readonly lone: ReadonlyArray<LoneSession>
}

const families: ReadonlyArray<Family> = ["ipv4", "ipv6"]

export const peersOf = (neighbor: RawNeighbor): ReadonlyArray<string> =>
  neighbor.peer === undefined ? [] : typeof neighbor.peer === "string" ? [neighbor.peer] : neighbor.peer

/** What the remote end of a session is called in the speaker: its address, or the interface that leads to it. */
export const nameOf = (end: End, other: End): string =>
  other.address === undefined ? end.port!.ifname : Ip.formatAddress(other.address)

export const findSessions = (context: RoutingContext): Sessions => new Finder(context).find()

class Finder {
  private readonly pairs: Array<Session> = []
  private readonly lone: Array<LoneSession> = []
  /** Ends of every session, as `keyOf` has them. */
  private readonly taken = new Set<string>()
  /** Sessions of two nodes, by their names in order. */
  private readonly between = new Map<string, Array<Session>>()
  private readonly speakers = new Map<string, Speaker>()
  private readonly ownerOf = new Map<string, End>()
  private readonly context: RoutingContext

  constructor(context: RoutingContext) {
    this.context = context
    const { addressing } = context
    for (const node of context.topology.nodes.values()) {
      if (node.bgp === undefined) continue
      const speaker = { node, bgp: node.bgp }
      this.speakers.set(node.name, speaker)
      for (const { address } of addressing.ofLoopback(node.name)) this.ownerOf.set(addressKey(address), { ...speaker, address })
      for (const port of node.ports) {
        for (const { address } of addressing.ofPort(port)) this.ownerOf.set(addressKey(address), { ...speaker, port, address })
      }
    }
  }

  find(): Sessions {
    for (const segment of this.context.topology.segments) this.ofSegment(segment)
    for (const members of this.bySystem().values()) this.withinSystem(members)
    for (const { node, bgp } of this.speakers.values()) {
      if (!bgp.external) for (const neighbor of bgp.neighbors) this.explicit({ node, bgp }, neighbor)
    }
    return { pairs: this.pairs, lone: this.lone }
  }

  private bySystem(): Map<number, Array<Speaker>> {
    const systems = new Map<number, Array<Speaker>>()
    for (const speaker of this.speakers.values()) {
      const list = systems.get(speaker.bgp.as.value)
      if (list === undefined) systems.set(speaker.bgp.as.value, [speaker])
      else list.push(speaker)
    }
    return systems
  }

  private add(session: Session): void {
    const [a, b] = session.ends
    const keys = [keyOf(a, nameOf(a, b)), keyOf(b, nameOf(b, a))]
    if (keys.some((key) => this.taken.has(key))) return
    for (const key of keys) this.taken.add(key)
    this.pairs.push(session)
    const pair = pairKey(a.node, b.node)
    const list = this.between.get(pair)
    if (list === undefined) this.between.set(pair, [session])
    else list.push(session)
  }

  private ofSegment(segment: Segment): void {
    if (segment.bgp?.value === "none") return
    const ports = segment.ports.flatMap((port) => {
      const speaker = this.speakers.get(port.node)
      return speaker === undefined || isSilent(port) ? [] : [{ port, speaker }]
    })
    for (const [index, a] of ports.entries()) {
      for (const b of ports.slice(index + 1)) {
        if (a.speaker === b.speaker || (a.speaker.bgp.external && b.speaker.bgp.external)) continue
        if (!a.speaker.bgp.derive || !b.speaker.bgp.derive) continue
        if (a.speaker.bgp.as.value === b.speaker.bgp.as.value && !(isLinked(a.speaker.bgp) && isLinked(b.speaker.bgp))) continue
        this.onSegment(a.port, b.port, undefined)
      }
    }
  }

  /** Sessions of two ports of one segment: by interface, or one for each family in which both are in a subnet. */
  private onSegment(a: Port, b: Port, client: 0 | 1 | undefined): boolean {
    const { reporter } = this.context
    const [one, other] = [this.speakers.get(a.node)!, this.speakers.get(b.node)!]
    const role = client === undefined ? {} : { client }
    if (this.isUnnumbered(a, b)) {
      this.refuseWithoutIpv6(a)
      this.refuseWithoutIpv6(b)
      this.add({ ends: [{ ...one, port: a }, { ...other, port: b }], families, ...role })
      return true
    }
    const common = families.flatMap((family) => {
      const pair = this.commonSubnet(a, b, family)
      return pair === undefined ? [] : [{ family, pair }]
    })
    for (const { family, pair } of common) {
      this.add({ ends: [{ ...one, port: a, address: pair[0] }, { ...other, port: b, address: pair[1] }], families: [family], ...role })
    }
    if (common.length > 0) return true
    const hint = a.segment.kind === "p2p"
      ? 'give the link a cidr, or write "bgp: unnumbered" or "bgp: none" there'
      : 'write "bgp: none" there if they shall not speak'
    reporter.error(a.segment.path, `${label(a)} and ${label(b)} have no common subnet for their BGP session: ${hint}`)
    return false
  }

  private commonSubnet(a: Port, b: Port, family: Family): readonly [Ip.Prefix, Ip.Prefix] | undefined {
    const ofFamily = (port: Port) =>
      this.context.addressing.ofPort(port).map(({ address }) => address).filter((address) => address.family === family)
    for (const address of ofFamily(a)) {
      const found = ofFamily(b).find((candidate) => Ip.contains(address, candidate) && candidate.length === address.length)
      if (found !== undefined) return [address, found]
    }
    return undefined
  }

  /** The segment or a port says so; else either node, of links. */
  private isUnnumbered(a: Port, b: Port): boolean {
    const { segment } = a
    const near = [...(a.bgp ?? []), ...(b.bgp ?? []), ...(segment.bgp === undefined ? [] : [segment.bgp])]
      .map((item) => ({ path: item.path, unnumbered: layerOf(item)?.raw.unnumbered }))
      .find(({ unnumbered }) => unnumbered !== undefined)
    const isPair = segment.ports.length === 2
    if (near !== undefined) {
      if (!near.unnumbered || isPair) return near.unnumbered!
      this.context.reporter.error(near.path, `unnumbered sessions are between two: ${segment.name} has ${segment.ports.length} ports`)
      return false
    }
    if (!isPair) return false
    const ofNode = (port: Port) =>
      this.speakers.get(port.node)!.bgp.sessions.findLast(({ raw }) => raw.unnumbered !== undefined)?.raw.unnumbered
    return ofNode(a) ?? ofNode(b) ?? false
  }

  private refuseWithoutIpv6(port: Port): void {
    const mtu = port.mtu ?? port.segment.mtu ?? this.context.topology.nodes.get(port.node)?.mtu
    if (mtu === undefined || mtu.value >= 1280) return
    const message = `${label(port)} has MTU ${mtu.value}: its unnumbered BGP session needs IPv6, and that at least 1280`
    this.context.reporter.error(mtu.path, message)
  }

  private withinSystem(members: ReadonlyArray<Speaker>): void {
    const byName = new Map(members.map((speaker) => [speaker.node.name, speaker]))
    const reflectors = new Set<Speaker>()
    const clients = new Set<Speaker>()
    const served: Array<readonly [reflector: Speaker, client: Speaker]> = []
    for (const speaker of members) {
      const { bgp, node } = speaker
      const isOne = bgp.reflectors.some(({ value }) => value === node.name)
      for (const item of bgp.reflectors) {
        const reflector = this.member(item, speaker, byName)
        if (reflector === undefined) continue
        reflectors.add(reflector)
        if (!isOne) {
          served.push([reflector, speaker])
          clients.add(speaker)
        }
      }
      for (const item of bgp.clients) {
        const client = this.member(item, speaker, byName)
        if (client === undefined || client === speaker) continue
        reflectors.add(speaker)
        served.push([speaker, client])
        clients.add(client)
      }
    }
    for (const [reflector, client] of served) this.byLoopback(reflector, client, 1)
    const meshed = members.filter((speaker) => reflectors.has(speaker) || (speaker.bgp.ibgp === "mesh" && !clients.has(speaker)))
    for (const [index, a] of meshed.entries()) {
      for (const b of meshed.slice(index + 1)) {
        if ((a.bgp.external && b.bgp.external) || this.between.has(pairKey(a.node, b.node))) continue
        this.byLoopback(a, b, undefined)
      }
    }
  }

  /** A reflector or client by its name: a speaker of the same AS. */
  private member(item: Located<string>, of: Speaker, members: ReadonlyMap<string, Speaker>): Speaker | undefined {
    const found = members.get(item.value)
    if (found !== undefined) return found
    const speaker = this.speaker(item.value, item.path)
    if (speaker !== undefined) {
      const systems = `${item.value} is in AS ${speaker.bgp.as.value}, ${of.node.name} in AS ${of.bgp.as.value}`
      this.context.reporter.error(item.path, `${systems}: routes are reflected within one AS`)
    }
    return undefined
  }

  private speaker(name: string, path: Path): Speaker | undefined {
    const { reporter, topology } = this.context
    const speaker = this.speakers.get(name)
    if (speaker !== undefined) return speaker
    if (topology.nodes.has(name)) reporter.error(path, `${quote(name)} speaks no BGP: give it bgp: {as: ...}`)
    else reporter.error(path, `there is no node ${quote(name)}`, { meant: { word: name, among: topology.nodes.keys() } })
    return undefined
  }

  /** From loopback to loopback; where somebody has none, over a segment that both are on. */
  private byLoopback(a: Speaker, b: Speaker, client: 0 | 1 | undefined): void {
    const loopback = ({ node }: Speaker, family: Family) =>
      this.context.addressing.ofLoopback(node.name).find(({ address }) => address.family === family)?.address
    const role = client === undefined ? {} : { client }
    let found = false
    for (const family of families) {
      const [here, there] = [loopback(a, family), loopback(b, family)]
      if (here === undefined || there === undefined) continue
      found = true
      this.add({ ends: [{ ...a, address: here }, { ...b, address: there }], families: [family], ...role })
    }
    const shared = found ? [] : this.sharedPorts(a, b)
    if (found || (shared[0] !== undefined && this.onSegment(shared[0][0], shared[0][1], client))) return
    const names = `${a.node.name} and ${b.node.name}`
    const message = `${names} have no way to each other for their BGP session: give both a "loopback", or put them on one link`
    this.context.reporter.error(b.bgp.path, message)
  }

  private sharedPorts(a: Speaker, b: Speaker): ReadonlyArray<readonly [Port, Port]> {
    const [few, many] = a.node.ports.length <= b.node.ports.length ? [a, b] : [b, a]
    return few.node.ports.flatMap((port) =>
      (this.context.portsBySegment.get(port.segment)!.get(many.node.name) ?? []).map((other) =>
        few === a ? ([port, other] as const) : ([other, port] as const)
      )
    )
  }

  private explicit(speaker: Speaker, neighbor: Located<RawNeighbor>): void {
    const { value, path } = neighbor
    if (value.range !== undefined) {
      const prefix = Ip.parsePrefix(value.range)!
      const remote = { kind: "prefix", prefix: Ip.formatPrefix(prefix), limit: value.limit ?? 100 } as const
      this.lone.push({ end: speaker, remote, families: [prefix.family], neighbor })
      return
    }
    const port = value.interface === undefined ? undefined : this.port(speaker, value.interface, [...path, "interface"])
    if (value.interface !== undefined && port === undefined) return
    if (value.peer === undefined) return this.byInterface(speaker, port!, neighbor)
    for (const peer of peersOf(value)) {
      const address = Ip.parseAddress(peer)
      const at = typeof value.peer === "string" ? [...path, "peer"] : path
      if (peer === "external" || peer === "internal") continue
      if (address === undefined) this.byNode(speaker, peer, at)
      else this.byAddress({ speaker, address, port, at, neighbor })
    }
  }

  private port({ node }: Speaker, ifname: string, path: Path): Port | undefined {
    const port = node.ports.find((candidate) => candidate.ifname === ifname)
    if (port !== undefined) return port
    const names = node.ports.map((candidate) => candidate.ifname)
    const message = `${node.name} has no port ${quote(ifname)}: it has ${names.length === 0 ? "none" : names.slice(0, 8).join(", ")}`
    this.context.reporter.error(path, message, { meant: { word: ifname, among: names } })
    return undefined
  }

  private byInterface(speaker: Speaker, port: Port, neighbor: Located<RawNeighbor>): void {
    if (this.taken.has(keyOf({ ...speaker, port }, port.ifname))) return
    const others = port.segment.ports.filter((other) => other !== port)
    const other = others.length === 1 ? this.speakers.get(others[0]!.node) : undefined
    this.refuseWithoutIpv6(port)
    if (other !== undefined) this.add({ ends: [{ ...speaker, port }, { ...other, port: others[0]! }], families })
    else this.lone.push({ end: { ...speaker, port }, remote: { kind: "interface", ifname: port.ifname }, families, neighbor })
  }

  private byNode(speaker: Speaker, peer: string, path: Path): void {
    const { reporter } = this.context
    const colon = peer.indexOf(":")
    const name = colon < 0 ? peer : peer.slice(0, colon)
    const ifname = colon < 0 ? undefined : peer.slice(colon + 1)
    const other = this.speaker(name, path)
    if (other === undefined) return
    if (other.node === speaker.node) return reporter.error(path, `${quote(name)} is the node itself: a neighbour is another one`)
    const isMeant = (end: End): boolean => ifname === undefined || end.port?.ifname === ifname
    const known = this.between.get(pairKey(speaker.node, other.node)) ?? []
    if (known.some(({ ends }) => ends.some((end) => end.node === other.node && isMeant(end)))) return
    const shared = this.sharedPorts(speaker, other).filter(([, port]) => ifname === undefined || port.ifname === ifname)
    for (const [a, b] of shared) this.onSegment(a, b, undefined)
    if (shared.length > 0) return
    if (ifname === undefined) return this.byLoopback(speaker, other, undefined)
    reporter.error(path, `${speaker.node.name} and ${quote(peer)} share no network or link`)
  }

  private byAddress(options: {
    readonly speaker: Speaker
    readonly address: Ip.Address
    readonly port: Port | undefined
    readonly at: Path
    readonly neighbor: Located<RawNeighbor>
  }): void {
    const { speaker, address, port, at, neighbor } = options
    const { reporter } = this.context
    const text = Ip.formatAddress(address)
    if ([undefined, ...speaker.node.ports].some((from) => this.taken.has(keyOf({ ...speaker, port: from }, text)))) return
    if (Ip.isLinkLocal(address) && port === undefined) {
      return reporter.error(at, `the link-local address ${text} may be on any link: give "interface", too`)
    }
    const owner = this.ownerOf.get(addressKey(address))
    if (owner?.node === speaker.node) return reporter.error(at, `${text} is an address of ${speaker.node.name} itself`)
    const here = this.localEnd(speaker, address, owner, port)
    if (owner !== undefined && here?.address !== undefined) {
      return this.add({ ends: [here, owner], families: [address.family] })
    }
    if (neighbor.value.as === undefined) {
      const message = `no node of the lab that speaks BGP has ${text}: give its AS number, "as: 65001" or "as: external"`
      return reporter.error(neighbor.path, message)
    }
    const onLink = Ip.isLinkLocal(address) ? { ifname: port!.ifname } : {}
    this.lone.push({ end: here ?? speaker, remote: { kind: "address", address: text, ...onLink }, families: [address.family], neighbor })
  }

  /** Our own address towards the other: in the same subnet, or the loopback. */
  private localEnd(speaker: Speaker, address: Ip.Address, owner: End | undefined, port: Port | undefined): End | undefined {
    const { addressing } = this.context
    for (const candidate of port === undefined ? speaker.node.ports : [port]) {
      const found = addressing.ofPort(candidate).find((assigned) => Ip.contains(assigned.address, address))
      if (found !== undefined) return { ...speaker, port: candidate, address: found.address }
    }
    if (port !== undefined) return { ...speaker, port }
    if (owner === undefined) return undefined
    const loopback = addressing.ofLoopback(speaker.node.name).find((assigned) => assigned.address.family === address.family)
    return loopback === undefined ? undefined : { ...speaker, address: loopback.address }
  }
}

/** Has sessions with neighbours of its own AS on its links. */
const isLinked = ({ ibgp, reflectors, clients }: Bgp): boolean => ibgp === "links" && reflectors.length === 0 && clients.length === 0

const isSilent = (port: Port): boolean => port.bgp?.some(({ value }) => value === "none") ?? false

/** Two VRFs of a node may have neighbours with one address: the port tells them apart. */
const keyOf = ({ node, port }: { readonly node: Node; readonly port?: Port | undefined }, name: string): string =>
  `${node.name} ${port?.ifname ?? ""} ${name}`

const pairKey = (a: Node, b: Node): string => (a.name < b.name ? `${a.name} ${b.name}` : `${b.name} ${a.name}`)
