/**
 * The octets of the data path's maps, as `bpf/lib/layout.h` declares them: host byte order, which is little-endian on
 * every machine that Node and eBPF both run on here (x86-64, arm64).
 *
 * A change of size or meaning goes with a new number in `programName`; a test compares the sizes with the compiled object.
 */
import { formatMac, parseMac } from "../wire/ip.ts"
import { DropReason, dropReasons, dropReasonsMax } from "./drop-reasons.ts"

/** The program's name in the kernel, with the number of the layout. */
export const programName = "weft_port_1"

/** Octets of a key and of a value, by map. */
export const sizes = {
  ports: { key: 4, value: 36 },
  segments: { key: 4, value: 16 },
  members: { key: 8, value: 4 },
  fdb: { key: 12, value: 16 },
  counters: { key: 4, value: 40 + 8 * dropReasonsMax },
  learning: { key: 4, value: 16 }
} as const

export type MapName = keyof typeof sizes
export const mapNames = Object.keys(sizes) as ReadonlyArray<MapName>

const kindP2p = 1
const kindNetwork = 2
const flagVisible = 1

/** One end of a link, or one port of a network. `mac` is the address of the node's side. */
export type Port =
  | { readonly kind: "p2p"; /** ifindex of the other port's host side */ readonly peer: number; readonly mac: string }
  | { readonly kind: "network"; readonly segment: number; readonly mac: string }

/** A port as the kernel has it. */
export interface PortEntry {
  readonly port: Port
  readonly visible: boolean
  /** Index of its counters. */
  readonly slot: number
  readonly serial: number
}

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** `peer`: the entry of a link's other port, or undefined when that is no port yet: frames are dropped until it is. */
export const encodePort = (entry: PortEntry, peer: PortEntry | undefined): Uint8Array => {
  const value = new Uint8Array(sizes.ports.value)
  const to = view(value)
  const { port } = entry
  to.setUint32(0, port.kind === "p2p" ? kindP2p : kindNetwork, true)
  to.setUint32(4, port.kind === "network" ? port.segment : port.peer, true)
  to.setUint32(8, entry.serial, true)
  encodeEnd(entry, value, 12)
  if (peer !== undefined) encodeEnd(peer, value, 24)
  return value
}

const encodeEnd = (entry: PortEntry, target: Uint8Array, at: number): void => {
  const mac = parseMac(entry.port.mac)
  if (mac === undefined) throw new TypeError(`not a MAC address: "${entry.port.mac}"`)
  view(target).setUint32(at, entry.slot, true)
  target.set(mac, at + 4)
  view(target).setUint16(at + 10, entry.visible ? flagVisible : 0, true)
}

export const decodePort = (bytes: Uint8Array, at: number): PortEntry => {
  const from = view(bytes)
  const target = from.getUint32(at + 4, true)
  const mac = formatMac(bytes.subarray(at + 16, at + 22))
  return {
    port: from.getUint32(at, true) === kindP2p ? { kind: "p2p", peer: target, mac } : { kind: "network", segment: target, mac },
    visible: (from.getUint16(at + 22, true) & flagVisible) !== 0,
    slot: from.getUint32(at + 12, true),
    serial: from.getUint32(at + 8, true)
  }
}

/** A segment's parameters; `size` is above the index of every member. */
export const encodeSegment = (segment: { ageingS: number; size: number }): Uint8Array => {
  const value = new Uint8Array(sizes.segments.value)
  view(value).setBigUint64(0, BigInt(Math.round(segment.ageingS * 1e9)), true)
  view(value).setUint32(8, segment.size, true)
  return value
}

export const decodeSegment = (bytes: Uint8Array, at: number): { readonly ageingS: number; readonly size: number } => ({
  ageingS: Number(view(bytes).getBigUint64(at, true)) / 1e9,
  size: view(bytes).getUint32(at + 8, true)
})

export const decodeMember = (keys: Uint8Array, values: Uint8Array, index: number) => ({
  segment: view(keys).getUint32(index * sizes.members.key, true),
  index: view(keys).getUint32(index * sizes.members.key + 4, true),
  ifindex: view(values).getUint32(index * sizes.members.value, true)
})

/** A learnt address. `seenNs` is on the clock of `process.hrtime`. */
export const decodeStation = (keys: Uint8Array, values: Uint8Array, index: number) => {
  const key = index * sizes.fdb.key
  const value = index * sizes.fdb.value
  return {
    segment: view(keys).getUint32(key, true),
    mac: formatMac(keys.subarray(key + 4, key + 10)),
    ifindex: view(values).getUint32(value, true),
    serial: view(values).getUint32(value + 4, true),
    seenNs: view(values).getBigUint64(value + 8, true)
  }
}

/** What a port has seen since it was made. `from`: sent by its node; `to`: handed to it. Octets without FCS. */
export interface Counters {
  readonly from: { readonly packets: number; readonly octets: number }
  readonly to: { readonly packets: number; readonly octets: number }
  /** Source addresses beyond what one port may teach a network; their frames were forwarded. */
  readonly unlearnt: number
  readonly drops: Readonly<Record<DropReason, number>>
}

/** Adds up the values of all CPUs that begin at `at`. */
export const decodeCounters = (bytes: Uint8Array, at: number, cpus: number): Counters => {
  const from = view(bytes)
  const sum = (offset: number): number => {
    let total = 0n
    for (let cpu = 0; cpu < cpus; cpu++) total += from.getBigUint64(at + cpu * sizes.counters.value + offset, true)
    return Number(total)
  }
  const drops = dropReasons.map((reason) => [reason, sum(40 + 8 * DropReason[reason])])
  return {
    from: { packets: sum(0), octets: sum(8) },
    to: { packets: sum(16), octets: sum(24) },
    unlearnt: sum(32),
    drops: Object.fromEntries(drops) as Record<DropReason, number>
  }
}

/** Keys of 4 octets, one after the other. */
export const keys32 = (...values: ReadonlyArray<number>): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer)

export const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
