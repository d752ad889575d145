/**
 * EVPN between hosts: what each host knows of its networks' MAC addresses, it tells the others by BGP, so that they need not
 * flood to find out.
 *
 *      parts of labs ---networksIn--> +-----------+ <--UPDATEs--> speaker.ts <--BGP--> other hosts, reflectors, routers
 *      eBPF fdb -------news, seen---> |  core.ts  |
 *      eBPF fdb, neighbors <--tell--- +-----------+ --views--> weft evpn; happenings --> weft events
 *      ForeignVteps <--floods---------'
 *
 *   core.ts      decides, pure: rib.ts (paths of routes), stations.ts (RFC 7432 15), network.ts and prefixes.ts (our routes)
 *   speaker.ts   the sessions
 *   this file    clock and kernel: looks for news ten times a second, which costs one system call; reads the table when there is some
 *
 * The plan says which hosts a network is flooded to, as it does without EVPN; only VTEPs that are no hosts of ours come and go
 * with their routes (resources/foreign-vteps.ts). What is told holds for 30 s at a time (linux/bpf-stations.ts). So a lost
 * session, or a daemon that died, costs knowledge and never a lab.
 *
 * It does not do: multihoming (types 1 and 4 are read and shown to nobody), routing between VNIs (routes of type 5 tell others
 * what is behind the plan's routers, prefixes.ts; theirs are shown and not installed), Geneve and GRE, or VXLAN by the engine:
 * those flood and learn.
 */
import { leaseS } from "../linux/bpf-stations.ts"
import { isTunnelEnd, type Neighbor, type Port, type PortProgram, type ToldStation } from "../linux/bpf.ts"
import { reasonOf } from "../linux/errors.ts"
import type { EventLog } from "../observe/events.ts"
import type { ForeignVteps } from "../resources/foreign-vteps.ts"
import type { Store } from "../store/store.ts"
import { Core, type NetworkView, type PrefixView } from "./core.ts"
import type { EvpnSettings } from "./flags.ts"
import { type Identity, type LocalNetwork, networksIn, routerIdOf } from "./network.ts"
import { type Peer, type PeerView, Speaker } from "./speaker.ts"
import type { Happening, StationId } from "./stations.ts"

const newsEveryMs = 100
const plansEveryMs = 500
const leasesEveryMs = (leaseS * 1000) / 3
const complainEveryMs = 60_000
/** For how long after a change of a lab stations on other hosts are left to be learnt: until all hosts have looked at their plans. */
const movingMs = 4 * plansEveryMs
/** A station that was heard that long ago, at most, is here now. */
const freshS = 2

export interface EvpnParts {
  /** Name of this host. */
  readonly host: string
  /** Its underlay address. */
  readonly underlay: string
  readonly settings: EvpnSettings
  readonly program: PortProgram
  readonly foreign: ForeignVteps
  readonly store: Store
  readonly events: EventLog
  /** All hosts that are known, this one included. */
  readonly hosts: () => ReadonlyArray<{ readonly name: string; readonly underlay: string }>
}

export interface EvpnView {
  readonly host: string
  readonly asn: number
  readonly routerId: string
  readonly vtep: string
  readonly peers: ReadonlyArray<PeerView>
  readonly networks: ReadonlyArray<NetworkView & { /** Requests answered here. */ readonly answered: number }>
  readonly prefixes: ReadonlyArray<PrefixView>
  /** Routes discarded because nobody here knows their type. */
  readonly unknown: number
}

export class Evpn {
  readonly #parts: EvpnParts
  readonly #core: Core
  readonly #speaker: Speaker
  readonly #timers: ReadonlyArray<NodeJS.Timeout>
  #working: NodeJS.Immediate | undefined
  #isLooking = false
  #isClosed = false
  #news = -1n
  #nextReadMs = 0
  /** When all stations were told last. */
  #toldMs = -Infinity
  /** Plans that `networks` were made from. */
  #plans: ReadonlyArray<unknown> = []
  #all: ReadonlyArray<LocalNetwork> = []
  /** Networks that the program has, by VNI. */
  #present = new Map<number, LocalNetwork>()
  /** Stations that could not be told yet, since there is no way to their VTEP. */
  readonly #waiting = new Map<string, StationId & { readonly vtep: string }>()
  readonly #floodsWaiting = new Set<number>()
  /** What was complained of, and when: once a minute will do. */
  readonly #complaints = new Map<string, number>()

  constructor(parts: EvpnParts) {
    this.#parts = parts
    const { host, program, settings, underlay } = parts
    const identity: Identity = { vtep: underlay, routerId: routerIdOf(underlay), asn: settings.asn }
    this.#core = new Core(identity)
    this.#speaker = new Speaker({
      identity,
      port: settings.port,
      netns: -1,
      host,
      rib: this.#core.rib,
      changed: () => this.#wake(),
      tell: (kind, peer, text) => this.#tellOfPeer(kind, peer, text)
    })
    program.stations.clearNeighbors()
    this.#timers = [
      setInterval(() => this.#attempt(() => this.#lookForNews()), newsEveryMs),
      setInterval(() => void this.#lookForPlans(), plansEveryMs),
      setInterval(() => this.#attempt(() => this.#renew()), leasesEveryMs)
    ]
    void this.#lookForPlans()
  }

  /** What `lab` (empty: all labs) looks like from here. */
  view(lab: string): EvpnView {
    const { host, program, settings, underlay } = this.#parts
    const { routerId } = this.#core.identity
    const ports = program.ports()
    const slotsOf = (vni: number): ReadonlyArray<number> =>
      [...ports.values()].flatMap(({ port, slot }) => (isHere(port) && port.segment === vni ? [slot] : []))
    const networks = this.#core.views(lab).map((network) => ({ ...network, answered: program.stations.answered(slotsOf(network.vni)) }))
    const own = { host, asn: settings.asn, routerId, vtep: underlay }
    return { ...own, peers: this.#speaker.views(), networks, prefixes: this.#core.prefixes(lab), unknown: this.#speaker.unknown }
  }

  close(): void {
    this.#isClosed = true
    for (const timer of this.#timers) clearInterval(timer)
    if (this.#working !== undefined) clearImmediate(this.#working)
    this.#speaker.close()
  }

  /** Does once, soon, what there is to do. */
  #wake(): void {
    if (this.#isClosed) return
    this.#working ??= setImmediate(() => {
      this.#working = undefined
      this.#attempt(() => this.#work())
    })
  }

  /** What fails is told and tried again with the next look. */
  #attempt(action: () => void): void {
    try {
      action()
    } catch (error) {
      this.#complain("failed", "evpn", reasonOf(error))
    }
  }

  #complain(kind: string, subject: string, reason: string): void {
    const nowMs = Date.now()
    const lastMs = this.#complaints.get(reason)
    if (lastMs !== undefined && nowMs - lastMs < complainEveryMs) return
    if (this.#complaints.size > 100) this.#complaints.clear()
    this.#complaints.set(reason, nowMs)
    this.#emit("", `evpn.${kind}`, subject, reason)
  }

  #work(): void {
    const { program, settings } = this.#parts
    const { changes, floods, forget, happenings, neighbors, tell } = this.#core.take(Date.now())
    this.#speaker.advertise(changes)
    for (const happening of happenings) this.#tellOf(happening)
    for (const id of forget) {
      this.#waiting.delete(keyOf(id))
      program.stations.forget([{ segment: id.vni, mac: id.mac }])
    }
    this.#place(tell)
    if (settings.suppression) {
      program.stations.removeNeighbors(neighbors.remove)
      program.stations.setNeighbors(neighbors.set.filter(({ segment }) => this.#present.has(segment)))
    }
    for (const vni of floods) this.#floodsWaiting.add(vni)
    this.#flood()
  }

  /** Tells the data path of stations; those to whose VTEP there is no way yet wait. While nodes move, all wait for `#renew`. */
  #place(stations: ReadonlyArray<StationId & { readonly vtep: string }>): void {
    const { program } = this.#parts
    if (this.#areMoving()) return
    const ports = program.ports()
    const told: ToldStation[] = []
    for (const station of stations) {
      const { mac, vni, vtep } = station
      const ifindex = [...program.tunnelEndsOf(vni)].find((index) => program.tunnelEnds().get(index)?.remote === vtep)
      const serial = ifindex === undefined ? undefined : ports.get(ifindex)?.serial
      if (ifindex === undefined || serial === undefined) this.#waiting.set(keyOf(station), station)
      else {
        this.#waiting.delete(keyOf(station))
        told.push({ segment: vni, mac, ifindex, serial })
      }
    }
    program.stations.tell(told)
  }

  /** Leads networks to VTEPs that the plan does not have, and to no others. */
  #flood(): void {
    const { foreign, hosts } = this.#parts
    const own = new Set(hosts().map(({ underlay }) => underlay))
    for (const vni of [...this.#floodsWaiting]) {
      const network = this.#present.get(vni)
      if (network === undefined) {
        foreign.forget(vni)
        this.#floodsWaiting.delete(vni)
        continue
      }
      const remotes = this.#core.floods(vni).filter((vtep) => !own.has(vtep) && !network.vteps.includes(vtep))
      this.#floodsWaiting.delete(vni)
      this.#attempt(() => foreign.set({ vni, port: network.udpPort, remotes }))
    }
  }

  #lookForNews(): void {
    const beganMs = performance.now()
    const news = this.#parts.program.stations.news()
    if (news === this.#news || beganMs < this.#nextReadMs) return
    this.#news = news
    this.#readStations()
    // A flood of new addresses takes a tenth of the thread at most.
    const endMs = performance.now()
    this.#nextReadMs = endMs + 9 * (endMs - beganMs)
  }

  /** Hands on what ports here have shown; returns the stations that the program was told and still believes. */
  #readStations(): ReadonlySet<string> {
    const { program } = this.#parts
    const ports = program.ports()
    const byNetwork = new Map<number, Map<string, { fresh: boolean }>>(Array.from(this.#present.keys(), (vni) => [vni, new Map()]))
    const shown = new Set<string>()
    for (const { ageS, ifindex, mac, segment, told } of program.fdb()) {
      const port = isTunnelEnd(ifindex) ? undefined : ports.get(ifindex)?.port
      if (told === true || port === undefined || !isHere(port)) continue
      byNetwork.get(segment)?.set(mac, { fresh: ageS < freshS })
      shown.add(keyOf({ vni: segment, mac }))
    }
    const nowMs = Date.now()
    for (const [vni, macs] of byNetwork) this.#core.seen(vni, macs, nowMs)
    this.#work()
    return shown
  }

  /** Labs come, change and go; so do hosts. */
  async #lookForPlans(): Promise<void> {
    if (this.#isLooking || this.#isClosed) return
    this.#isLooking = true
    try {
      const plans = (await this.#parts.store.labs()).filter(({ state }) => state !== "destroying").map(({ plan }) => plan)
      if (this.#isClosed) return
      if (plans.length !== this.#plans.length || plans.some((plan, i) => plan !== this.#plans[i])) {
        this.#plans = plans
        this.#all = plans.flatMap(networksIn)
      }
      this.#attempt(() => this.#compare())
    } finally {
      this.#isLooking = false
    }
  }

  #compare(): void {
    const { hosts, program, settings, underlay } = this.#parts
    const segments = program.segments()
    this.#present = new Map(this.#all.flatMap((network) => (segments.has(network.vni) ? [[network.vni, network] as const] : [])))
    this.#core.setNetworks([...this.#present.values()], Date.now())
    this.#speaker.setPeers(peersOf(settings, underlay, hosts()))
    for (const vni of this.#parts.foreign.vnis()) this.#floodsWaiting.add(vni)
    this.#place([...this.#waiting.values()])
    this.#work()
    if (program.farForgottenMs > this.#toldMs && !this.#areMoving()) this.#renew()
  }

  /** Whether nodes may have moved to other hosts that have not said so yet. */
  #areMoving(): boolean {
    return performance.now() - this.#parts.program.farForgottenMs < movingMs
  }

  /** Tells everything for another lease, and looks what has aged. */
  #renew(): void {
    const { program, settings } = this.#parts
    const shown = this.#readStations()
    if (!this.#areMoving()) this.#toldMs = performance.now()
    // A port here has shown it since: that is for the core to judge.
    this.#place(this.#core.told().filter((station) => !shown.has(keyOf(station))))
    const isPresent = ({ segment }: Neighbor): boolean => this.#present.has(segment)
    if (settings.suppression) program.stations.renewNeighbors(this.#core.answered().filter(isPresent))
  }

  #nameOf(vtep: string | undefined): string {
    if (vtep === undefined) return this.#parts.host
    const host = this.#parts.hosts().find(({ underlay }) => underlay === vtep)
    return host === undefined ? vtep : host.name
  }

  #tellOf({ from, kind, mac, sequence, to, vni }: Happening): void {
    const network = this.#present.get(vni)
    const where = `${mac} in ${network?.name ?? `VNI ${vni}`}`
    const way = `from ${this.#nameOf(from)} to ${this.#nameOf(to)}`
    const messages = {
      moved: `${where} has moved ${way} (sequence number ${sequence})`,
      duplicate: `${where} is in two places: it moved five times in three minutes, last ${way}, and is left alone until it is quiet`,
      thawed: `${where} has been quiet for three minutes and is followed again`,
      sticky: `${where} is seen on ${this.#nameOf(to)}, but ${this.#nameOf(from)} says that it never moves`
    }
    this.#emit(network?.lab ?? "", `evpn.${kind}`, mac, messages[kind])
  }

  #tellOfPeer(kind: "up" | "down" | "trouble", peer: Peer | undefined, text: string): void {
    if (kind === "trouble" || peer === undefined) return this.#complain(kind, "evpn", text)
    const who = `EVPN session with ${peer.role} (${peer.address})`
    this.#emit("", `evpn.${kind}`, peer.role, kind === "up" ? `${who} is up` : `${who} is down: ${text}`)
  }

  #emit(lab: string, type: string, subject: string, message: string): void {
    this.#parts.events.emit({ lab, type, subject, message })
  }
}

const isHere = (port: Port): port is Extract<Port, { kind: "network" }> => port.kind === "network" && port.tunnel !== true

const keyOf = ({ mac, vni }: StationId): string => `${vni}|${mac}`

/** Who to have sessions with: reflectors, or all other hosts; and what the flags add. */
const peersOf = (
  { asn, peers, reflectors }: EvpnSettings,
  own: string,
  hosts: ReadonlyArray<{ readonly name: string; readonly underlay: string }>
): ReadonlyArray<Peer> => {
  const others = hosts.filter(({ underlay }) => underlay !== own).map(({ name, underlay }) => ({ address: underlay, asn, role: name }))
  const near = reflectors.length > 0 ? reflectors.map((address) => ({ address, asn, role: "reflector" })) : others
  return [...near, ...peers.map((peer) => ({ ...peer, role: "peer" }))]
}
