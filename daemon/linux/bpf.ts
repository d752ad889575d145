/**
 * The data path from user space: loading the port program, finding it again, and what its maps hold.
 *
 * One program serves every port of a fabric. `load` puts it into the kernel; attaching is rtnetlink's part
 * (`Tc.addIngressFilter` with `programFd`), and the attached filters are all that keeps the program and its maps alive:
 * nothing is pinned. A restarted daemon reads the program's id off any filter and calls `adopt`.
 *
 * A `PortProgram` remembers what it wrote, because it is the only writer; the kernel is read when it is opened, and again
 * when a change was refused half-way.
 * Each update takes effect as a whole, a frame sees the port, the member or the segment before or after it, and at once: by the end of
 * the call nothing goes by what was before.
 *
 * Ports are known by their index: the ifindex of their host side in the fabric, or, from 0x8000_0000 on, which tunnel
 * end they are (bpf-tunnels.ts). Segments are any 32-bit numbers.
 */
import { addon, isNativeError } from "../native/index.ts"
import { Copies } from "./bpf-copies.ts"
import * as Epoch from "./bpf-epoch.ts"
import * as Layout from "./bpf-layout.ts"
import { Members, type Segment } from "./bpf-members.ts"
import { Stations } from "./bpf-stations.ts"
import { Tunnels } from "./bpf-tunnels.ts"
import { attempt, KernelError } from "./errors.ts"

export type { Counters, Gate, Port, PortEntry, TunnelEnd } from "./bpf-layout.ts"
export { isTunnelEnd, noMac } from "./bpf-layout.ts"
export type { Segment } from "./bpf-members.ts"
export type { Neighbor, ToldStation } from "./bpf-stations.ts"

/** Seconds after which a silent station is forgotten, unless the segment says otherwise (IEEE 802.1D, 7.9.2). */
const defaultAgeingS = 300

/** The program ages by the kernel's coarse clock, which is behind ours by up to a tick (at 100 Hz): it still knows a station. */
const clockLagS = 0.01

/** A station's time lies that far ahead of ours, at least, when it was told: clocks of two CPUs may differ a little. */
const toldAheadNs = 100_000_000n

/** The program could not be loaded. `log` is everything that libbpf and the verifier said. */
export class LoadError extends KernelError {
  readonly log: string

  constructor(failure: { object: string; code: string; log: string }) {
    super({ operation: "load eBPF object", object: failure.object, code: failure.code, detail: summary(failure.log) })
    this.name = "LoadError"
    this.log = failure.log
  }
}

/** The verifier's verdict is the line before its statistics; without one, libbpf's first complaint says most. */
const summary = (log: string): string => {
  const lines = log.split("\n").filter((line) => line.trim() !== "")
  const statistics = lines.findIndex((line) => /^processed \d+ insns/.test(line))
  const line = statistics > 0 ? lines[statistics - 1] : lines[0]
  return (line ?? "").replace(/^libbpf: /, "").trim()
}

/** Where a station was last heard. */
export interface Station {
  readonly segment: number
  readonly mac: string
  readonly ifindex: number
  readonly ageS: number
  /** Not learnt from frames, but told (bpf-stations.ts). */
  readonly told?: true
}

/**
 * Loads the object file `path` and returns its program, with empty maps or, when `reuse` is given, on the maps of that
 * one: a new version of the program takes over a running lab. Compare the `tag`s: if they are equal the filters that
 * are there need no change. Throws LoadError.
 */
export const load = (path: string, reuse?: { readonly maps: Maps }): PortProgram => {
  const names = Layout.mapNames.filter((name) => reuse?.maps[name] !== undefined)
  const descriptors = Int32Array.from(names, (name) => reuse!.maps[name]!)
  try {
    return open(addon.bpfLoad(path, Layout.programName, names, descriptors))!
  } catch (error) {
    if (!isNativeError(error)) throw error
    const log = "log" in error && typeof error.log === "string" && error.log !== "" ? error.log : error.message
    throw new LoadError({ object: path, code: error.code, log })
  }
}

/**
 * The program with this id and the maps it uses. Undefined when there is none, when it is not ours, or when it was made
 * for another layout of the maps: then `load` a fresh one and replace every filter.
 */
export const adopt = (programId: number): PortProgram | undefined => {
  const programFd = openProgram(programId)
  return programFd < 0 ? undefined : open(programFd)
}

/**
 * The program that runs in a fabric, given the ids of the programs at its ports: the one of the object file `path`, on the
 * maps of the one that is there, also when that has a former layout; so all ports forward as before while their filters
 * are replaced, if they have to be. Without one it is on empty maps. Throws LoadError.
 */
export const takeOver = (path: string, programIds: Iterable<number>): PortProgram => {
  for (const id of programIds) {
    const adopted = adopt(id)
    if (adopted === undefined) {
      const former = adoptFormer(id)
      if (former === undefined) continue
      const fresh = load(path, former)
      Object.values(former.maps).forEach((fd) => addon.close(fd))
      return fresh
    }
    const fresh = load(path, adopted)
    const [kept, other] = fresh.tag === adopted.tag ? [adopted, fresh] : [fresh, adopted]
    other.close()
    return kept
  }
  return load(path)
}

type Maps = Readonly<Partial<Record<Layout.MapName, number>>>

/** The maps of a program of a former layout. */
const adoptFormer = (programId: number): { readonly maps: Maps } | undefined => {
  const programFd = openProgram(programId)
  if (programFd < 0) return undefined
  const maps = openMaps(addon.bpfProgramInfo(programFd), Layout.formerProgramNames)
  addon.close(programFd)
  return Object.keys(maps).length === 0 ? undefined : { maps }
}

const openProgram = (id: number): number => attempt("open eBPF program", String(id), () => addon.bpfProgramOpen(id))

/** The maps of the program that have a name and a size of ours; none when it does not bear one of `names`. */
const openMaps = (program: { name: string; mapIds: ReadonlyArray<number> }, names: ReadonlyArray<string>): Maps => {
  const maps: Partial<Record<Layout.MapName, number>> = {}
  const foreign: number[] = []
  for (const id of names.includes(program.name) ? program.mapIds : []) {
    const fd = addon.bpfMapOpen(id)
    if (fd < 0) continue
    const map = addon.bpfMapInfo(fd)
    const name = Layout.mapNames.find((known) => known === map.name)
    const fits = name !== undefined && map.keySize === Layout.sizes[name].key && map.valueSize === Layout.sizes[name].value
    if (fits) maps[name] = fd
    else foreign.push(fd)
  }
  foreign.forEach((fd) => addon.close(fd))
  return maps
}

/** Takes over `programFd`: closes it when it is not a program of our layout. */
const open = (programFd: number): PortProgram | undefined => {
  const program = addon.bpfProgramInfo(programFd)
  const maps = openMaps(program, [Layout.programName])
  if (Layout.mapNames.every((name) => maps[name] !== undefined)) {
    return new PortProgram(programFd, program, maps as Record<Layout.MapName, number>)
  }
  Object.values(maps).forEach((fd) => addon.close(fd))
  addon.close(programFd)
  return undefined
}

export class PortProgram {
  readonly programFd: number
  readonly programId: number
  /** What EVPN tells of stations on other hosts. */
  readonly stations: Stations
  /** The kernel's digest of the program's instructions. */
  readonly tag: string
  /** When `forgetFar` was called last, on the clock of `performance.now`. */
  farForgottenMs = -Infinity
  readonly maps: Readonly<Record<Layout.MapName, number>>

  private readonly entries = new Map<number, Layout.PortEntry>()
  /** By ifindex, the ports whose link leads there. */
  private readonly links = new Map<number, Set<number>>()
  private readonly copies: Copies
  private readonly members: Members
  private readonly tunnels: Tunnels
  private readonly freeSlots: number[] = []
  private readonly cpus = addon.bpfCpus()

  /** Use `load` or `adopt`. */
  constructor(programFd: number, program: { id: number; tag: string }, maps: Readonly<Record<Layout.MapName, number>>) {
    this.programFd = programFd
    this.programId = program.id
    this.tag = program.tag
    this.maps = maps
    this.copies = new Copies(maps)
    this.members = new Members(maps)
    this.tunnels = new Tunnels(maps)
    this.stations = new Stations(maps, this.cpus)
    this.readPorts()
    Epoch.begin(maps.epoch)
  }

  /** Remembers what the kernel has, and nothing else, and mends the copies. */
  private readPorts(): void {
    const [keys, values] = this.dump("ports")
    this.entries.clear()
    this.links.clear()
    this.freeSlots.length = 0
    const indexes = new Uint32Array(keys.buffer)
    for (let i = 0; i < indexes.length; i++) {
      const entry = Layout.decodePort(values, i * Layout.sizes.ports.value)
      const gate = entry.gate?.mtu === undefined ? entry.gate : { ...entry.gate, mtu: this.readLimit(entry.slot) }
      this.remember(indexes[i]!, gate === undefined ? entry : { ...entry, gate })
    }
    // Slot 0 counts the frames that belong to no port.
    const used = new Set(Array.from(this.entries.values(), (entry) => entry.slot))
    for (let slot = addon.bpfMapInfo(this.maps.counters).maxEntries - 1; slot > 0; slot--) if (!used.has(slot)) this.freeSlots.push(slot)
    const { value: length } = Layout.sizes.ports
    this.copies.read(Array.from(indexes, (index, i) => [index, values.subarray(i * length, (i + 1) * length)]))
  }

  /** Does `action`. When the kernel refuses a part of it, what has become of the maps is read before the error goes on. */
  private change(action: () => void): void {
    try {
      if (this.copies.areSuspect) this.readPorts()
      action()
    } catch (error) {
      this.members.read()
      this.tunnels.read()
      this.readPorts()
      throw error
    } finally {
      Epoch.begin(this.maps.epoch)
    }
  }

  /** Makes or changes a port. A port of a network becomes a member of its segment, which is made when it is not there. */
  setPort(ifindex: number, port: Layout.Port): void {
    this.setPorts([[ifindex, port]])
  }

  /** `setPort` for many. */
  setPorts(ports: ReadonlyArray<readonly [ifindex: number, port: Layout.Port]>): void {
    this.change(() => this.putPorts(ports))
  }

  private putPorts(ports: ReadonlyArray<readonly [ifindex: number, port: Layout.Port]>): void {
    const left: [segment: number, ifindex: number][] = []
    const joined = new Map<number, number[]>()
    const added: number[] = []
    for (const [ifindex, port] of ports) {
      const before = this.entries.get(ifindex)
      const entry = before === undefined ? this.newEntry(ifindex, port) : { ...before, port }
      this.remember(ifindex, entry)
      if (before === undefined) added.push(entry.slot)
      const segment = port.kind === "network" ? port.segment : undefined
      const segmentBefore = before?.port.kind === "network" ? before.port.segment : undefined
      if (segmentBefore !== undefined && segmentBefore !== segment) left.push([segmentBefore, ifindex])
      if (segment !== undefined) {
        const others = joined.get(segment)
        if (others === undefined) joined.set(segment, [ifindex])
        else others.push(ifindex)
      }
    }
    // Out of the old segment first: the port's entry says which that is, should one of these fail and all be tried again.
    for (const [segment, ifindex] of left) this.members.leave(segment, [ifindex])
    this.resetCounters(added)
    this.write(ports.map(([ifindex]) => ifindex))
    for (const [segment, ifindexes] of joined) this.members.join(segment, ifindexes, defaultAgeingS)
  }

  /** Frames from and to the port are dropped from now on; what was learnt about it is void. */
  removePort(ifindex: number): void {
    this.removePorts([ifindex])
  }

  /** Removing what is gone already is fine. */
  removePorts(ifindexes: ReadonlyArray<number>): void {
    this.change(() => this.dropPorts([...new Set(ifindexes)].filter((ifindex) => this.entries.has(ifindex))))
  }

  private dropPorts(known: ReadonlyArray<number>): void {
    // As in putPorts.
    for (const ifindex of known) {
      const { port } = this.entries.get(ifindex)!
      if (port.kind === "network") this.members.leave(port.segment, [ifindex])
    }
    this.copies.remove(known)
    this.kernel("remove ports", () => addon.bpfDelete(this.maps.ports, Layout.keys32(...known), known.length))
    for (const ifindex of known) {
      const { slot } = this.entries.get(ifindex)!
      this.remember(ifindex, undefined)
      if (this.links.get(ifindex)?.size === 0) this.links.delete(ifindex)
      this.freeSlots.push(slot)
    }
    this.write(known.flatMap((ifindex) => this.linked(ifindex)))
  }

  ports(): ReadonlyMap<number, Layout.PortEntry> {
    return this.entries
  }

  /** The ifindexes that get a copy of what is flooded in the segment: exactly `ports`. They need not be ports yet. */
  setSegment(segment: number, ports: ReadonlyArray<number>, options: { readonly ageingS?: number } = {}): void {
    this.change(() => this.members.set(segment, ports, options.ageingS ?? defaultAgeingS))
  }

  /** Ports that still belong to it drop what they receive. */
  removeSegment(segment: number): void {
    this.change(() => this.members.remove(segment))
  }

  segments(): ReadonlyMap<number, Segment> {
    return this.members.all()
  }

  /**
   * The index of a port that is this tunnel end, made if it is not there; `setPort` says what it belongs to. The same end
   * has the same index.
   */
  addTunnelEnd(end: Layout.TunnelEnd): number {
    let index = 0
    this.change(() => (index = this.tunnels.add(end)))
    return index
  }

  /** Removes tunnel ends and their ports. Removing what is gone already is fine. */
  removeTunnelEnds(indexes: ReadonlyArray<number>): void {
    this.change(() => this.tunnels.remove(indexes))
    this.removePorts(indexes)
  }

  /** By index. */
  tunnelEnds(): ReadonlyMap<number, Layout.TunnelEnd> {
    return this.tunnels.all()
  }

  /** The indexes of one VNI's tunnel ends. */
  tunnelEndsOf(vni: number): ReadonlySet<number> {
    return this.tunnels.of(vni)
  }

  /**
   * Whether what is delivered to the port passes the egress of its host side, where a capture sees it. Costs a trip
   * through the backlog; turn it on while the interface is promiscuous. Not a port: nothing happens.
   */
  setVisible(ifindex: number, visible: boolean): void {
    const entry = this.entries.get(ifindex)
    if (entry === undefined || (entry.visible === visible && !this.copies.areSuspect)) return
    this.change(() => {
      this.remember(ifindex, { ...entry, visible })
      this.write([ifindex])
    })
  }

  /** What faults do to the frames of these ports; an empty gate is an open one. What is no port is left out. */
  setGates(gates: ReadonlyArray<readonly [ifindex: number, gate: Layout.Gate]>): void {
    const changed = gates.filter(([ifindex, gate]) => {
      const { gate: before = {} } = this.entries.get(ifindex) ?? { gate }
      return before.mute !== gate.mute || before.deaf !== gate.deaf || before.mtu !== gate.mtu
    })
    if (changed.length === 0 && !this.copies.areSuspect) return
    this.change(() => {
      for (const [ifindex, gate] of changed) {
        const { gate: _, ...entry } = this.entries.get(ifindex)!
        // The limit first: it counts as soon as the port's entry says so.
        if (gate.mtu !== undefined) this.writeLimit(entry.slot, gate.mtu)
        this.remember(ifindex, Object.keys(gate).length === 0 ? entry : { ...entry, gate })
      }
      this.write(changed.map(([ifindex]) => ifindex))
    })
  }

  /** Undefined when there is no such port. */
  counters(ifindex: number): Layout.Counters | undefined {
    const entry = this.entries.get(ifindex)
    return entry === undefined ? undefined : this.readCounters([entry.slot])[0]
  }

  countersAll(): ReadonlyMap<number, Layout.Counters> {
    const ifindexes = [...this.entries.keys()]
    const values = this.readCounters(ifindexes.map((ifindex) => this.entries.get(ifindex)!.slot))
    return new Map(ifindexes.map((ifindex, i) => [ifindex, values[i]!]))
  }

  /** Frames of interfaces that are no ports: program attached, entry missing. */
  strayCounters(): Layout.Counters {
    return this.readCounters([0])[0]!
  }

  /** The stations that are known now, of one segment or of all. */
  fdb(segment?: number): ReadonlyArray<Station> {
    const [keys, values] = this.dump("fdb")
    const now = process.hrtime.bigint()
    const stations: Station[] = []
    for (let i = 0; i < keys.length / Layout.sizes.fdb.key; i++) {
      const { seenNs, serial, ...station } = Layout.decodeStation(keys, values, i)
      const ageS = Math.max(0, Number(now - seenNs) / 1e9)
      const told = seenNs > now + toldAheadNs ? { told: true as const } : {}
      const known = this.entries.get(station.ifindex)?.serial === serial && ageS <= (this.members.ageingS(station.segment) ?? 0) + clockLagS
      if (known && (segment === undefined || segment === station.segment)) stations.push({ ...station, ageS, ...told })
    }
    return stations
  }

  /** Forgets the stations of these segments that are on other hosts, until they are heard or told of again. */
  forgetFar(segments: ReadonlySet<number>): void {
    if (segments.size === 0) return
    this.stations.forget(this.fdb().filter(({ ifindex, segment }) => segments.has(segment) && Layout.isTunnelEnd(ifindex)))
    this.farForgottenMs = performance.now()
  }

  /** Closes the descriptors. Program and maps live on as long as a filter uses them. */
  close(): void {
    for (const fd of [this.programFd, ...Object.values(this.maps)]) addon.close(fd)
  }

  private newEntry(ifindex: number, port: Layout.Port): Layout.PortEntry {
    const slot = this.freeSlots.pop()
    if (slot === undefined) {
      const detail = `the data path has room for ${this.entries.size} ports`
      throw new KernelError({ operation: "add port", object: String(ifindex), code: "ENOSPC", detail })
    }
    return { port, visible: false, slot, serial: Math.floor(Math.random() * 0x1_0000_0000) }
  }

  private resetCounters(slots: ReadonlyArray<number>): void {
    const keys = Layout.keys32(...slots)
    const counters = new Uint8Array(slots.length * Layout.sizes.counters.value * this.cpus)
    const learning = new Uint8Array(slots.length * Layout.sizes.learning.value)
    this.kernel("reset counters", () => {
      addon.bpfUpdate(this.maps.counters, keys, counters, slots.length)
      addon.bpfUpdate(this.maps.learning, keys, learning, slots.length)
    })
  }

  /** Writes these ports, and those that hold a copy of one of them because they are the other end of its link. */
  private write(changed: ReadonlyArray<number>): void {
    const ifindexes = [...new Set([...changed, ...changed.flatMap((ifindex) => this.linked(ifindex))])]
    const ports = ifindexes.map((ifindex) => [ifindex, this.encode(this.entries.get(ifindex)!)] as const)
    const values = Layout.concat(ports.map(([, entry]) => entry))
    this.kernel("set ports", () => addon.bpfUpdate(this.maps.ports, Layout.keys32(...ifindexes), values, ifindexes.length))
    this.copies.set(ports)
  }

  private encode(entry: Layout.PortEntry): Uint8Array {
    return Layout.encodePort(entry, entry.port.kind === "p2p" ? this.entries.get(entry.port.peer) : undefined)
  }

  /** The ports whose link leads to `ifindex`. */
  private linked(ifindex: number): ReadonlyArray<number> {
    return [...(this.links.get(ifindex) ?? [])]
  }

  /** Sets or forgets (undefined) what is remembered of a port. */
  private remember(ifindex: number, entry: Layout.PortEntry | undefined): void {
    const before = this.entries.get(ifindex)?.port
    if (before?.kind === "p2p") this.links.get(before.peer)?.delete(ifindex)
    if (entry === undefined) this.entries.delete(ifindex)
    else this.entries.set(ifindex, entry)
    if (entry?.port.kind !== "p2p") return
    const others = this.links.get(entry.port.peer)
    if (others === undefined) this.links.set(entry.port.peer, new Set([ifindex]))
    else others.add(ifindex)
  }

  private readCounters(slots: ReadonlyArray<number>): ReadonlyArray<Layout.Counters> {
    const length = Layout.sizes.counters.value * this.cpus
    const values = this.kernel("read counters", () =>
      addon.bpfLookup(this.maps.counters, Layout.keys32(...slots), slots.length, length)
    )
    return slots.map((_, i) => Layout.decodeCounters(values, i * length, this.cpus))
  }

  private writeLimit(slot: number, octets: number): void {
    this.kernel("set limit", () => addon.bpfUpdate(this.maps.limits, Layout.keys32(slot), Layout.keys32(octets), 1))
  }

  private readLimit(slot: number): number {
    const value = this.kernel("read limit", () => addon.bpfLookup(this.maps.limits, Layout.keys32(slot), 1, Layout.sizes.limits.value))
    return new DataView(value.buffer, value.byteOffset).getUint32(0, true)
  }

  private dump(map: Layout.MapName): readonly [Uint8Array, Uint8Array] {
    const { key, value } = Layout.sizes[map]
    return this.kernel("read", () => addon.bpfDump(this.maps[map], key, value, addon.bpfMapInfo(this.maps[map]).maxEntries))
  }

  private kernel<A>(operation: string, action: () => A): A {
    return attempt(operation, "eBPF map", action)
  }
}
