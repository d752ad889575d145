/**
 * All that EVPN decides on one host, without a clock, a socket or a kernel:
 *
 *      networks of the parts  --setNetworks()-->  +------+ --take().changes--> what peers are told
 *      addresses that ports showed  --seen()--->  | core | --take().tell, forget, neighbors, floods--> the data path
 *      UPDATEs of peers  -----> rib ----------->  +------+ --take().happenings--> people
 *
 * Ours are routes of the RIB like others', from `self`. A network that is not here takes no part: its routes wait in the RIB.
 */
import type { Neighbor } from "../linux/bpf.ts"
import { formatRd, isContradictory, keyOf, type MacIp } from "../wire/bgp/evpn.ts"
import { Encapsulation, PmsiTunnelType, routedVni } from "../wire/bgp/evpn-attributes.ts"
import * as Ip from "../wire/ip.ts"
import { Distinguishers, type Identity, type LocalNetwork, type LocalPort, multicastPath, prefixPath, stationPaths } from "./network.ts"
import { type Change, mobilityOf, type Path, Rib, self, vnisOf } from "./rib.ts"
import { type Happening, type StationId, Stations, type StationView } from "./stations.ts"

export interface Work {
  /** For the peers. */
  readonly changes: ReadonlyArray<Change>
  readonly tell: ReadonlyArray<StationId & { readonly vtep: string }>
  readonly forget: ReadonlyArray<StationId>
  readonly neighbors: { readonly set: ReadonlyArray<Neighbor>; readonly remove: ReadonlyArray<Neighbor> }
  /** VNIs whose `floods` are others now. */
  readonly floods: ReadonlyArray<number>
  readonly happenings: ReadonlyArray<Happening>
}

export interface NetworkView {
  readonly lab: string
  readonly name: string
  readonly vni: number
  /** As people read it. */
  readonly rd: string
  /** Who wants a copy of what is flooded, sorted. */
  readonly floods: ReadonlyArray<string>
  readonly stations: ReadonlyArray<StationView & { readonly addresses: ReadonlyArray<string> }>
}

export interface PrefixView {
  readonly rd: string
  readonly prefix: string
  readonly gateway: string
  /** Of the label, if it has one; else of its targets. 0: neither. */
  readonly vni: number
  readonly vtep: string
  /** The network here that it is for: `lab/name`; empty: none. */
  readonly network: string
  /** The network's station that has the gateway's address (RFC 9136 3.2); empty: none is known. */
  readonly mac: string
  /** VTEP of that station; empty: it is here, or not known. */
  readonly at: string
}

interface Network {
  readonly network: LocalNetwork
  readonly macs: ReadonlyMap<string, LocalPort>
}

const stationKey = ({ mac, vni }: StationId): string => `${vni}|${mac}`

/** The VNI that the path is for, if its targets and its label agree and it is VXLAN (RFC 8365 5.1.2). */
const vniOf = (path: Path, label: number): number | undefined => {
  const encapsulations = path.communities.filter((one) => one.kind === "encapsulation")
  if (encapsulations.length > 0 && !encapsulations.some(({ tunnelType }) => tunnelType === Encapsulation.vxlan)) return undefined
  return vnisOf(path).find((vni) => vni === label)
}

export class Core {
  readonly rib = new Rib()
  readonly #identity: Identity
  readonly #stations: Stations
  readonly #distinguishers: Distinguishers
  readonly #networks = new Map<number, Network>()
  /** Other hosts' routes of type 2, by station and key; and of type 3, by VNI and key. */
  readonly #claims = new Map<string, Map<string, Path>>()
  readonly #floods = new Map<number, Map<string, string>>()
  readonly #dirty = new Map<string, StationId>()
  readonly #dirtyFloods = new Set<number>()
  /** Requests that are answered, by station. */
  readonly #neighbors = new Map<string, ReadonlyArray<Neighbor>>()
  /** Our own routes, by station. */
  readonly #own = new Map<string, ReadonlyArray<string>>()
  /** Stations that ports here have shown and the plan does not have, by VNI. */
  readonly #learnt = new Map<number, Set<string>>()

  constructor(identity: Identity) {
    this.#identity = identity
    this.#stations = new Stations(identity.vtep)
    this.#distinguishers = new Distinguishers(identity.routerId)
  }

  get identity(): Identity {
    return this.#identity
  }

  networks(): ReadonlyArray<LocalNetwork> {
    return Array.from(this.#networks.values(), ({ network }) => network)
  }

  /** These are the networks that have ports here. */
  setNetworks(networks: ReadonlyArray<LocalNetwork>, nowMs: number): void {
    const wanted = new Set(networks.map(({ vni }) => vni))
    for (const vni of [...this.#networks.keys()]) if (!wanted.has(vni)) this.#leave(vni, nowMs)
    for (const network of networks) this.#join(network, nowMs)
  }

  #join(network: LocalNetwork, nowMs: number): void {
    const { ports, vni } = network
    const before = this.#networks.get(vni)
    const macs = new Map(ports.map((port) => [port.mac, port]))
    this.#announcePrefixes(vni, before?.network.prefixes ?? [], network.prefixes)
    this.#networks.set(vni, { network, macs })
    for (const mac of before?.macs.keys() ?? []) if (!macs.has(mac)) this.#goneFrom({ vni, mac })
    for (const [mac, port] of macs) {
      const id = { vni, mac }
      this.#stations.seen(id, false, nowMs)
      // Its addresses may be others now.
      if (before !== undefined && JSON.stringify(before.macs.get(mac)) !== JSON.stringify(port)) this.#advertiseAgain(id)
    }
    if (before !== undefined) return
    this.rib.announce(multicastPath(this.#identity, this.#distinguishers.of(vni), vni))
    this.#dirtyFloods.add(vni)
    for (const paths of this.#claims.values()) {
      const { mac, label } = [...paths.values()][0]!.route as MacIp
      if (label === vni) this.#dirty.set(stationKey({ vni, mac }), { vni, mac })
    }
  }

  #leave(vni: number, nowMs: number): void {
    const { macs, network } = this.#networks.get(vni)!
    this.#networks.delete(vni)
    this.rib.withdraw(self, keyOf(multicastPath(this.#identity, this.#distinguishers.of(vni), vni).route))
    this.#announcePrefixes(vni, network.prefixes, [])
    for (const mac of new Set([...macs.keys(), ...(this.#learnt.get(vni) ?? [])])) this.#stations.gone({ vni, mac })
    this.#learnt.delete(vni)
    for (const { mac, vni: other } of [...this.#stations.views()]) if (other === vni) this.#stations.heard({ vni, mac }, [], nowMs)
    this.#dirtyFloods.add(vni)
  }

  /** Routes that stay as they are stay untouched: peers are told of changes only. */
  #announcePrefixes(vni: number, before: LocalNetwork["prefixes"], after: LocalNetwork["prefixes"]): void {
    if (before === after) return
    const rd = this.#distinguishers.of(vni)
    const gateways = new Map(before.map(({ gateway, prefix }) => [prefix, gateway]))
    const wanted = new Set(after.map(({ prefix }) => prefix))
    for (const one of before) {
      if (!wanted.has(one.prefix)) this.rib.withdraw(self, keyOf(prefixPath(this.#identity, rd, vni, one).route))
    }
    for (const one of after) if (gateways.get(one.prefix) !== one.gateway) this.rib.announce(prefixPath(this.#identity, rd, vni, one))
  }

  /** A port of the plan that has gone may still be heard behind another one. */
  #goneFrom(id: StationId): void {
    if (this.#learnt.get(id.vni)?.has(id.mac) !== true) this.#stations.gone(id)
  }

  /**
   * What ports here have shown in one network, all of it. `fresh`: a moment ago; else some time since the last look.
   */
  seen(vni: number, macs: ReadonlyMap<string, { readonly fresh: boolean }>, nowMs: number): void {
    const network = this.#networks.get(vni)
    if (network === undefined) return
    for (const mac of this.#learnt.get(vni) ?? []) {
      if (!macs.has(mac) && !network.macs.has(mac)) this.#stations.gone({ vni, mac })
    }
    this.#learnt.set(vni, new Set(macs.keys()))
    for (const [mac, { fresh }] of macs) this.#stations.seen({ vni, mac }, fresh, nowMs)
  }

  /** What there is to do since the last call. */
  take(nowMs: number): Work {
    // Routes change stations, and stations change our own routes: the second round has only those.
    const changes = [...this.rib.take()]
    for (const change of changes) this.#changed(change)
    for (const id of this.#dirty.values()) if (this.#networks.has(id.vni)) this.#stations.heard(id, this.#claimsOf(id), nowMs)
    this.#stations.thaw(nowMs)
    const { advertise, forget, happenings, tell, withdraw } = this.#stations.take()
    for (const { sequence, ...id } of advertise) this.#advertise(id, sequence)
    for (const id of withdraw) this.#withdraw(id)
    changes.push(...this.rib.take())
    for (const id of [...tell, ...forget, ...advertise]) this.#dirty.set(stationKey(id), { vni: id.vni, mac: id.mac })
    const neighbors = this.#answer()
    this.#dirty.clear()
    const floods = [...this.#dirtyFloods]
    this.#dirtyFloods.clear()
    return { changes, tell, forget, neighbors, floods, happenings }
  }

  /** VTEPs of others that want a copy of what is flooded in the network, sorted. */
  floods(vni: number): ReadonlyArray<string> {
    return [...new Set(this.#floods.get(vni)?.values())].filter((vtep) => vtep !== this.#identity.vtep).toSorted()
  }

  /** Stations elsewhere, as the data path should know them. */
  told(): ReadonlyArray<StationId & { readonly vtep: string }> {
    return [...this.#stations.views()].flatMap(({ frozen, mac, vni, vtep }) => (vtep === undefined || frozen ? [] : [{ vni, mac, vtep }]))
  }

  /** All requests that are answered. */
  answered(): ReadonlyArray<Neighbor> {
    return [...this.#neighbors.values()].flat()
  }

  views(lab: string): ReadonlyArray<NetworkView> {
    const stations = [...this.#stations.views()]
    return this.networks()
      .filter((network) => lab === "" || network.lab === lab)
      .map(({ lab, name, vni }) => ({
        lab,
        name,
        vni,
        rd: formatRd(this.#distinguishers.of(vni)),
        floods: this.floods(vni),
        stations: stations
          .filter((station) => station.vni === vni)
          .map((station) => ({ ...station, addresses: this.#addressesOf(station) }))
          .toSorted((a, b) => (a.mac < b.mac ? -1 : 1))
      }))
  }

  /**
   * Routes to prefixes (RFC 9136), ours and others', without those for networks of labs other than `lab` (empty: all). Their
   * gateways are looked up; nothing here forwards by them.
   */
  prefixes(lab = ""): ReadonlyArray<PrefixView> {
    const stations = new Map(this.views("").map(({ stations, vni }) => [vni, stations]))
    return [...this.rib.bests()].flatMap(([, path]) => {
      const { nextHop, route } = path
      if (route.type !== 5) return []
      const targets = [...path.communities.flatMap((one) => routedVni(one) ?? []), ...vnisOf(path)]
      const vni = targets.find((one) => this.#networks.has(one))
      const network = vni === undefined ? undefined : this.#networks.get(vni)!.network
      if (lab !== "" && network !== undefined && network.lab !== lab) return []
      const station = vni === undefined ? undefined : stations.get(vni)?.find(({ addresses }) => addresses.includes(route.gateway))
      return [{
        rd: formatRd(route.rd),
        prefix: route.prefix,
        gateway: route.gateway,
        vni: route.label === 0 ? (vni ?? targets[0] ?? 0) : route.label,
        vtep: nextHop,
        network: network === undefined ? "" : `${network.lab}/${network.name}`,
        mac: station?.mac ?? "",
        at: station?.vtep ?? ""
      }]
    })
  }

  #addressesOf({ mac, vni, vtep }: StationView): ReadonlyArray<string> {
    if (vtep === undefined) return this.#networks.get(vni)?.macs.get(mac)?.addresses ?? []
    const paths = [...(this.#claims.get(stationKey({ vni, mac }))?.values() ?? [])].filter(({ nextHop }) => nextHop === vtep)
    return paths.flatMap(({ route }) => (route as MacIp).ip ?? []).toSorted()
  }

  #changed({ after, before, key }: Change): void {
    for (const path of [before, after]) {
      if (path === undefined || path.peer === self) continue
      if (path.route.type === 2) this.#claim(key, path, path === after)
      else if (path.route.type === 3) this.#flood(key, path, path === after)
    }
  }

  #claim(key: string, path: Path, isThere: boolean): void {
    const { label, mac } = path.route as MacIp
    const vni = vniOf(path, label)
    if (vni === undefined) return
    const id = { vni, mac }
    const station = stationKey(id)
    this.#dirty.set(station, id)
    let paths = this.#claims.get(station)
    if (isThere) {
      if (paths === undefined) this.#claims.set(station, (paths = new Map()))
      paths.set(key, path)
    } else if (paths?.delete(key) === true && paths.size === 0) this.#claims.delete(station)
  }

  #flood(key: string, path: Path, isThere: boolean): void {
    const pmsi = path.attributes.pmsiTunnel
    if (pmsi === undefined || pmsi.tunnelType !== PmsiTunnelType.ingressReplication) return
    const vni = vniOf(path, pmsi.label)
    if (vni === undefined) return
    const { length } = pmsi.tunnelIdentifier
    const vtep = length === 4 || length === 16 ? Ip.format(pmsi.tunnelIdentifier) : path.nextHop
    this.#dirtyFloods.add(vni)
    let keys = this.#floods.get(vni)
    if (isThere) {
      if (keys === undefined) this.#floods.set(vni, (keys = new Map()))
      keys.set(key, vtep)
    } else if (keys?.delete(key) === true && keys.size === 0) this.#floods.delete(vni)
  }

  #claimsOf(id: StationId) {
    return Array.from(this.#claims.get(stationKey(id))?.values() ?? [], (path) => ({ vtep: path.nextHop, ...mobilityOf(path) }))
  }

  #advertise({ mac, vni }: StationId, sequence: number): void {
    const network = this.#networks.get(vni)
    if (network === undefined) return
    const { addresses = [], router = false } = network.macs.get(mac) ?? {}
    const paths = stationPaths(this.#identity, this.#distinguishers.of(vni), { vni, mac, addresses, router, sequence })
    const keys = paths.map(({ route }) => keyOf(route))
    for (const key of this.#ownKeys({ vni, mac })) if (!keys.includes(key)) this.rib.withdraw(self, key)
    for (const path of paths) this.rib.announce(path)
    this.#own.set(stationKey({ vni, mac }), keys)
  }

  #advertiseAgain(id: StationId): void {
    const own = [...this.#ownKeys(id)][0]
    const path = own === undefined ? undefined : this.rib.best(own)
    if (path !== undefined) this.#advertise(id, mobilityOf(path).sequence)
  }

  #withdraw(id: StationId): void {
    for (const key of this.#ownKeys(id)) this.rib.withdraw(self, key)
    this.#own.delete(stationKey(id))
  }

  /** Keys of our own routes about the station. */
  #ownKeys(id: StationId): ReadonlyArray<string> {
    return this.#own.get(stationKey(id)) ?? []
  }

  /** Brings what is answered in line with where the changed stations are. */
  #answer(): Work["neighbors"] {
    const set: Neighbor[] = []
    const remove: Neighbor[] = []
    for (const [key, { mac, vni }] of this.#dirty) {
      const before = this.#neighbors.get(key) ?? []
      const network = this.#networks.get(vni)
      const vtep = this.#stations.vtepOf({ vni, mac })
      const here = new Set(network?.network.ports.flatMap(({ addresses }) => addresses))
      const paths = network === undefined || vtep === undefined ? [] : [...(this.#claims.get(key)?.values() ?? [])]
      const after = paths.flatMap(({ communities, nextHop, route }): ReadonlyArray<Neighbor> => {
        const { ip } = route as MacIp
        if (ip === undefined || nextHop !== vtep || here.has(ip)) return []
        return [{ segment: vni, address: ip, mac, router: communities.some((one) => one.kind === "nd" && one.router) }]
      })
      remove.push(...before.filter((old) => !after.some(({ address }) => address === old.address)))
      set.push(...after)
      if (after.length === 0) this.#neighbors.delete(key)
      else this.#neighbors.set(key, after)
    }
    if (remove.length === 0) return { set, remove }
    const answeredNow = new Set(this.answered().map(({ address, segment }) => `${segment}|${address}`))
    return { set, remove: remove.filter(({ address, segment }) => !answeredNow.has(`${segment}|${address}`)) }
  }
}

/** Whether a peer's announcement must be taken as a withdrawal (RFC 4271 9.1.2, RFC 4456 8, RFC 9136 3.1). */
export const isRefused = ({ asn, routerId }: Identity, { attributes, isExternal, route }: Path): boolean =>
  (isExternal && attributes.asPath.some(({ asns }) => asns.includes(asn))) ||
  attributes.originatorId === new DataView(Ip.parse(routerId)!.buffer).getUint32(0) ||
  (route.type === 5 && isContradictory(route))
