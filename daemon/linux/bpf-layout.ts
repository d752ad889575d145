/**
 * The octets of the data path's maps, as `bpf/lib/layout.h` declares them: host byte order, which is little-endian on
 * every machine that Node and eBPF both run on here (x86-64, arm64).
 *
 * A change of size or meaning goes with a new number in `programName`; a test compares the sizes with the compiled object.
 */
import * as Ip from "../wire/ip.ts"
import { DropReason, dropReasons, dropReasonsMax } from "./drop-reasons.ts"

/** The program's name in the kernel, with the number of the layout. */
export const programName = "weft_port_5"
/** Of layouts whose maps mean the same to us; they lack the later ones. */
export const formerProgramNames: ReadonlyArray<string> = ["weft_port_4", "weft_port_3", "weft_port_2", "weft_port_1"]

/** Octets of a key and of a value, by map. */
export const sizes = {
  ports: { key: 4, value: 36 },
  places: { key: 4, value: 4 },
  copies: { key: 4, value: 40 },
  segments: { key: 4, value: 16 },
  members: { key: 8, value: 4 },
  fdb: { key: 12, value: 16 },
  counters: { key: 4, value: 40 + 8 * dropReasonsMax },
  recent_of: { key: 4, value: 32 },
  recent_origins: { key: 4, value: 40 },
  epoch: { key: 4, value: 8 },
  learning: { key: 4, value: 16 },
  tunnels: { key: 4, value: 52 },
  origins: { key: 24, value: 4 },
  limits: { key: 4, value: 4 },
  neighbors: { key: 20, value: 16 },
  answered: { key: 4, value: 8 },
  news: { key: 4, value: 8 }
} as const

export type MapName = keyof typeof sizes
export const mapNames = Object.keys(sizes) as ReadonlyArray<MapName>

const kindP2p = 1
const kindNetwork = 2
const kindTunnels = 3
const flagVisible = 1
const flagTunnel = 2
const flagMute = 4
const flagDeaf = 8
const flagLimited = 16

/** From here on the index of a port is no ifindex but says which tunnel end it is. */
export const firstTunnel = 0x8000_0000
export const isTunnelEnd = (index: number): boolean => index >= firstTunnel

/** Only ports with an ifindex below this have copies, and all tunnel ends. */
const maxNear = 32_768

/** The key of a port's entry in `places`; undefined: it has none. */
export const placeKey = (index: number): number | undefined => {
  if (isTunnelEnd(index)) return maxNear + index - firstTunnel
  return index < maxNear ? index : undefined
}

/** The address of a port that has no node behind it: no frame is addressed to it. */
export const noMac = "00:00:00:00:00:00"

/**
 * One end of a link, or one port of a network; `mac` is the address of the node's side. `tunnel`: another host is behind
 * it. Or a VXLAN device, whose frames belong to the tunnel ends that they come from.
 */
export type Port =
  | { readonly kind: "p2p"; /** index of the other port */ readonly peer: number; readonly mac: string; readonly tunnel?: true }
  | { readonly kind: "network"; readonly segment: number; readonly mac: string; readonly tunnel?: true }
  | { readonly kind: "tunnels"; readonly udpPort: number }

/** What faults do to frames of a port: nothing from it passes, nothing for it, nothing longer than `mtu` (octets of layer 3). */
export interface Gate {
  readonly mute?: true
  readonly deaf?: true
  readonly mtu?: number
}

/** A port as the kernel has it. */
export interface PortEntry {
  readonly port: Port
  readonly visible: boolean
  /** Absent: open. */
  readonly gate?: Gate
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
  to.setUint32(0, kinds[port.kind], true)
  to.setUint32(4, targetOf(port), true)
  to.setUint32(8, entry.serial, true)
  encodeEnd(entry, value, 12)
  if (peer !== undefined) encodeEnd(peer, value, 24)
  return value
}

const kinds: Readonly<Record<Port["kind"], number>> = { p2p: kindP2p, network: kindNetwork, tunnels: kindTunnels }

const targetOf = (port: Port): number =>
  port.kind === "p2p" ? port.peer : port.kind === "network" ? port.segment : port.udpPort

const gateFlags = ({ deaf, mtu, mute }: Gate): number =>
  (mute === true ? flagMute : 0) | (deaf === true ? flagDeaf : 0) | (mtu === undefined ? 0 : flagLimited)

const encodeEnd = ({ gate = {}, port, slot, visible }: PortEntry, target: Uint8Array, at: number): void => {
  const text = port.kind === "tunnels" ? noMac : port.mac
  const mac = Ip.parseMac(text)
  if (mac === undefined) throw new TypeError(`not a MAC address: "${text}"`)
  view(target).setUint32(at, slot, true)
  target.set(mac, at + 4)
  const tunnel = port.kind !== "tunnels" && port.tunnel === true
  view(target).setUint16(at + 10, (visible ? flagVisible : 0) | (tunnel ? flagTunnel : 0) | gateFlags(gate), true)
}

/** A limit comes as 0: what it is stands in `limits`. */
export const decodePort = (bytes: Uint8Array, at: number): PortEntry => {
  const from = view(bytes)
  const flags = from.getUint16(at + 22, true)
  return {
    port: decodeKind(bytes, at, (flags & flagTunnel) !== 0),
    visible: (flags & flagVisible) !== 0,
    ...(gateOf(flags) === undefined ? {} : { gate: gateOf(flags)! }),
    slot: from.getUint32(at + 12, true),
    serial: from.getUint32(at + 8, true)
  }
}

const gateOf = (flags: number): Gate | undefined =>
  (flags & (flagMute | flagDeaf | flagLimited)) === 0
    ? undefined
    : {
        ...((flags & flagMute) === 0 ? {} : { mute: true }),
        ...((flags & flagDeaf) === 0 ? {} : { deaf: true }),
        ...((flags & flagLimited) === 0 ? {} : { mtu: 0 })
      }

const decodeKind = (bytes: Uint8Array, at: number, isTunnel: boolean): Port => {
  const kind = view(bytes).getUint32(at, true)
  const target = view(bytes).getUint32(at + 4, true)
  if (kind === kindTunnels) return { kind: "tunnels", udpPort: target }
  const end = { mac: Ip.formatMac(bytes.subarray(at + 16, at + 22)), ...(isTunnel ? { tunnel: true as const } : {}) }
  return kind === kindP2p ? { kind: "p2p", peer: target, ...end } : { kind: "network", segment: target, ...end }
}

/** A tunnel end: this host's end of a segment towards one other host. Addresses are canonical text. */
export interface TunnelEnd {
  /** ifindex of the VXLAN device. */
  readonly device: number
  readonly vni: number
  readonly remote: string
  /** Source address of what is sent; absent: the route to the other host chooses. */
  readonly local?: string
  /** ifindex by which frames leave instead, for somebody else who encapsulates them. */
  readonly via?: number
}

/** struct bpf_tunnel_key: VNI (4) remote (16) TOS TTL ext (2) label (4) local (16); IPv4 addresses as numbers of the host. */
const tunnelKey = { remote: 4, ttl: 21, local: 28, length: 44 } as const
/** Larger than any underlay is wide (RFC 791 default is 64: IANA "IP Option Numbers", default TTL). */
const tunnelTtl = 64
const flagIpv6 = 1
const flagZeroChecksum = 2

const octetsOf = (address: string): Uint8Array => {
  const octets = Ip.parse(address)
  if (octets === undefined) throw new TypeError(`not an IP address: "${address}"`)
  return octets
}

/**
 * The UDP checksum is zero over IPv4 (RFC 7348, 5: SHOULD) and there over IPv6, where a receiver may refuse what has none
 * (RFC 6935, 5). Frames may be fragmented: a lab's MTU is not the underlay's.
 */
export const encodeTunnel = (end: TunnelEnd): Uint8Array => {
  const value = new Uint8Array(sizes.tunnels.value)
  const to = view(value)
  const remote = octetsOf(end.remote)
  const isIpv6 = remote.length === 16
  to.setUint32(0, end.vni, true)
  putKeyAddress(value, tunnelKey.remote, remote)
  to.setUint8(tunnelKey.ttl, tunnelTtl)
  if (end.local !== undefined) putKeyAddress(value, tunnelKey.local, octetsOf(end.local))
  to.setUint32(tunnelKey.length, isIpv6 ? flagIpv6 : flagZeroChecksum, true)
  to.setUint32(tunnelKey.length + 4, end.via ?? end.device, true)
  return value
}

const putKeyAddress = (key: Uint8Array, at: number, address: Uint8Array): void =>
  key.set(address.length === 4 ? address.toReversed() : address, at)

const keyAddress = (key: Uint8Array, at: number, isIpv6: boolean): Uint8Array =>
  isIpv6 ? key.subarray(at, at + 16) : key.slice(at, at + 4).reverse()

/** `device`: on which the end receives. */
export const decodeTunnel = (bytes: Uint8Array, at: number, device: number): TunnelEnd => {
  const value = bytes.subarray(at, at + sizes.tunnels.value)
  const from = view(value)
  const isIpv6 = (from.getUint32(tunnelKey.length, true) & flagIpv6) !== 0
  const local = keyAddress(value, tunnelKey.local, isIpv6)
  const out = from.getUint32(tunnelKey.length + 4, true)
  return {
    device,
    vni: from.getUint32(0, true),
    remote: Ip.format(keyAddress(value, tunnelKey.remote, isIpv6)),
    ...(local.some((octet) => octet !== 0) ? { local: Ip.format(local) } : {}),
    ...(out === device ? {} : { via: out })
  }
}

/** Key of `origins`. `remote` absent: the entry that says that the VNI is known. */
export const encodeOrigin = (origin: { readonly device: number; readonly vni: number; readonly remote?: string }): Uint8Array => {
  const key = new Uint8Array(sizes.origins.key)
  view(key).setUint32(0, origin.device, true)
  view(key).setUint32(4, origin.vni, true)
  if (origin.remote === undefined) return key
  const remote = octetsOf(origin.remote)
  if (remote.length === 4) key.set([0xff, 0xff], 18)
  key.set(remote, 24 - remote.length)
  return key
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

/** A station that is told until `untilNs`, on the clock of `process.hrtime`. */
export const encodeStation = (ifindex: number, serial: number, untilNs: bigint): Uint8Array => {
  const value = new Uint8Array(sizes.fdb.value)
  view(value).setUint32(0, ifindex, true)
  view(value).setUint32(4, serial, true)
  view(value).setBigUint64(8, untilNs, true)
  return value
}

export const encodeStationKey = (segment: number, mac: string): Uint8Array => {
  const octets = Ip.parseMac(mac)
  if (octets === undefined) throw new TypeError(`not a MAC address: "${mac}"`)
  const key = new Uint8Array(sizes.fdb.key)
  view(key).setUint32(0, segment, true)
  key.set(octets, 4)
  return key
}

/** Who has an IP address on another host. */
export interface Neighbor {
  readonly segment: number
  /** Canonical text. */
  readonly address: string
  readonly mac: string
  readonly router: boolean
}

export const encodeNeighborKey = ({ address, segment }: Pick<Neighbor, "address" | "segment">): Uint8Array => {
  const key = new Uint8Array(sizes.neighbors.key)
  const octets = octetsOf(address)
  view(key).setUint32(0, segment, true)
  if (octets.length === 4) key.set([0xff, 0xff], 14)
  key.set(octets, 20 - octets.length)
  return key
}

export const encodeNeighbor = ({ mac, router }: Neighbor, untilNs: bigint): Uint8Array => {
  const octets = Ip.parseMac(mac)
  if (octets === undefined) throw new TypeError(`not a MAC address: "${mac}"`)
  const value = Uint8Array.of(...octets, router ? 1 : 0, ...new Uint8Array(9))
  view(value).setBigUint64(8, untilNs, true)
  return value
}

const flagDisputed = 2

/** The key number `index` of `neighbors` as text, if another station has claimed the address. */
export const disputedNeighbor = (keys: Uint8Array, values: Uint8Array, index: number): string | undefined =>
  (values[index * sizes.neighbors.value + 6]! & flagDisputed) === 0
    ? undefined
    : textOf(keys.subarray(index * sizes.neighbors.key, (index + 1) * sizes.neighbors.key))

const textOf = (octets: Uint8Array): string => Buffer.from(octets.buffer, octets.byteOffset, octets.length).toString("hex")

/** The same text, of a neighbour. */
export const neighborText = (neighbor: Pick<Neighbor, "address" | "segment">): string => textOf(encodeNeighborKey(neighbor))

/** `seenNs` is on the clock of `process.hrtime`; in the future: the station was told. */
export const decodeStation = (keys: Uint8Array, values: Uint8Array, index: number) => {
  const key = index * sizes.fdb.key
  const value = index * sizes.fdb.value
  return {
    segment: view(keys).getUint32(key, true),
    mac: Ip.formatMac(keys.subarray(key + 4, key + 10)),
    ifindex: view(values).getUint32(value, true),
    serial: view(values).getUint32(value + 4, true),
    seenNs: view(values).getBigUint64(value + 8, true)
  }
}

/** The device in the key number `index` of `origins`. */
export const decodeOriginDevice = (keys: Uint8Array, index: number): number => view(keys).getUint32(index * sizes.origins.key, true)

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
