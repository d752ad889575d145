/** Super-frames as a kernel hands them to a TAP: a virtio-net header, and a checksum field that holds the pseudo header's sum. */
import * as InternetChecksum from "../../daemon/wire/internet-checksum.ts"

export const vnetLength = 10

export interface SuperFrame {
  readonly name: string
  readonly family: 4 | 6
  readonly protocol: "tcp" | "udp"
  /** Octets of payload per packet and in all. */
  readonly size: number
  readonly payload: number
  /** TCP: flags, and octets of options (a multiple of 4). */
  readonly flags?: number
  readonly options?: number
  readonly vlan?: number
  /** Octets of IPv4 options (a multiple of 4, no-operations), or 8 for an IPv6 destination options header. */
  readonly extension?: number
}

const protocolNumber = { tcp: 6, udp: 17 } as const

/** The frame behind its virtio-net header. */
export const build = (spec: SuperFrame): Uint8Array<ArrayBuffer> => {
  const isTcp = spec.protocol === "tcp"
  const extension = spec.extension ?? 0
  const network = spec.vlan === undefined ? 14 : 18
  const transport = network + (spec.family === 4 ? 20 : 40) + extension
  const header = transport + (isTcp ? 20 + (spec.options ?? 0) : 8)
  const frame = new Uint8Array(vnetLength + header + spec.payload)
  const view = new DataView(frame.buffer)
  // struct virtio_net_hdr, little-endian.
  frame[0] = 1
  const cwr = ((spec.flags ?? 0) & 0x80) !== 0
  frame[1] = (isTcp ? (spec.family === 4 ? 1 : 4) : 5) | (cwr ? 0x80 : 0)
  view.setUint16(2, header, true)
  view.setUint16(4, spec.size, true)
  view.setUint16(6, transport, true)
  view.setUint16(8, isTcp ? 16 : 6, true)

  const at = vnetLength
  frame.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1], at)
  if (spec.vlan !== undefined) {
    view.setUint16(at + 12, 0x8100)
    view.setUint16(at + 14, spec.vlan)
  }
  view.setUint16(at + network - 2, spec.family === 4 ? 0x0800 : 0x86dd)
  if (spec.family === 4) ipv4(frame, at + network, spec, frame.length - at - network)
  else ipv6(frame, at + network, spec, frame.length - at - network)

  view.setUint16(at + transport, 4321)
  view.setUint16(at + transport + 2, 80)
  const length = frame.length - at - transport
  if (isTcp) {
    // Wraps within the frame.
    view.setUint32(at + transport + 4, 0xffff_f000)
    view.setUint32(at + transport + 8, 77)
    frame[at + transport + 12] = ((20 + (spec.options ?? 0)) / 4) << 4
    frame[at + transport + 13] = spec.flags ?? 0x10
    view.setUint16(at + transport + 14, 500)
    frame.fill(1, at + transport + 20, at + header)
  } else {
    view.setUint16(at + transport + 4, length)
  }
  for (let i = 0; i < spec.payload; i++) frame[at + header + i] = (i * 7 + (i >> 8)) & 0xff
  const pseudo = addressesSum(frame, at + network, spec.family) + length + protocolNumber[spec.protocol]
  view.setUint16(at + transport + (isTcp ? 16 : 6), ~InternetChecksum.checksum(pseudo) & 0xffff)
  return frame
}

const addressesSum = (frame: Uint8Array, network: number, family: 4 | 6): number =>
  family === 4 ? InternetChecksum.sum(frame, network + 12, network + 20) : InternetChecksum.sum(frame, network + 8, network + 40)

const ipv4 = (frame: Uint8Array, at: number, spec: SuperFrame, total: number): void => {
  const view = new DataView(frame.buffer)
  const length = 20 + (spec.extension ?? 0)
  frame[at] = 0x40 | (length / 4)
  view.setUint16(at + 2, total)
  // Wraps within the frame.
  view.setUint16(at + 4, 0xfffe)
  frame.set([0x40, 0, 64, protocolNumber[spec.protocol]], at + 6)
  frame.set([10, 1, 2, 3, 10, 1, 2, 4], at + 12)
  frame.fill(1, at + 20, at + length)
  view.setUint16(at + 10, InternetChecksum.checksum(InternetChecksum.sum(frame, at, at + length)))
}

const ipv6 = (frame: Uint8Array, at: number, spec: SuperFrame, total: number): void => {
  const view = new DataView(frame.buffer)
  const protocol = protocolNumber[spec.protocol]
  view.setUint32(at, 0x6012_3456)
  view.setUint16(at + 4, total - 40)
  frame[at + 6] = spec.extension === undefined ? protocol : 60
  frame[at + 7] = 64
  for (const [i, offset] of [8, 24].entries()) frame.set([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, i + 1], at + offset)
  // A destination options header with nothing but padding (PadN of 4).
  if (spec.extension !== undefined) frame.set([protocol, 0, 1, 4, 0, 0, 0, 0], at + 40)
}

/** What a sender's kernel hands over in practice, and the corners. */
export const examples: ReadonlyArray<SuperFrame> = [
  { name: "TCPv4", family: 4, protocol: "tcp", size: 1448, payload: 20_000, options: 12 },
  { name: "TCPv4, all flags", family: 4, protocol: "tcp", size: 1000, payload: 3500, flags: 0x99 },
  { name: "TCPv4, payload an exact multiple", family: 4, protocol: "tcp", size: 1000, payload: 4000, flags: 0x18 },
  { name: "TCPv4, odd sizes", family: 4, protocol: "tcp", size: 777, payload: 2001, options: 40 },
  { name: "TCPv4 with IP options", family: 4, protocol: "tcp", size: 1200, payload: 5000, extension: 8 },
  { name: "TCPv4 in a VLAN", family: 4, protocol: "tcp", size: 1444, payload: 9999, vlan: 42 },
  { name: "TCPv6", family: 6, protocol: "tcp", size: 1428, payload: 64_000, options: 12 },
  { name: "TCPv6, all flags", family: 6, protocol: "tcp", size: 1000, payload: 2500, flags: 0x99 },
  { name: "TCPv6 with destination options", family: 6, protocol: "tcp", size: 1200, payload: 5000, extension: 8 },
  { name: "UDPv4", family: 4, protocol: "udp", size: 1472, payload: 30_000 },
  { name: "UDPv4, small and odd", family: 4, protocol: "udp", size: 33, payload: 1000 },
  { name: "UDPv6", family: 6, protocol: "udp", size: 1452, payload: 12_345 }
]
