/**
 * What an Ethernet frame is about, in a few words: `10.0.0.2:4711 > 10.0.0.1:53 UDP 40`. For people who look at what
 * passes; who needs every field takes the pcapng to Wireshark.
 *
 * It goes down through VLAN tags, IPv4 and IPv6 with extension headers, to ARP, ICMP, TCP and UDP, and names what it does
 * not know by its number. Any octets will do: where a header is cut, the words end. Checksums are not looked at, because
 * frames that a node sends do not have theirs yet.
 */
import * as Ip from "../wire/ip.ts"

const u16 = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!
const u32 = (b: Uint8Array, at: number): number => u16(b, at) * 0x10000 + u16(b, at + 2)
const has = (b: Uint8Array, at: number, length: number): boolean => b.length >= at + length
const address = (b: Uint8Array, at: number, length: 4 | 16): string => Ip.format(b.subarray(at, at + length))
const mac = (b: Uint8Array, at: number): string => Ip.formatMac(b.subarray(at, at + 6))
const hex = (value: number): string => `0x${value.toString(16).padStart(4, "0")}`

const cut = "[cut]"
const EtherType = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd, slow: 0x8809, serviceVlan: 0x88a8, lldp: 0x88cc } as const
/** Up to here the field is a length (IEEE 802.3), and an LLC header follows. */
const maxLength = 1500

/** One line about the frame, without its length. */
export const describeFrame = (b: Uint8Array): string => {
  if (!has(b, 0, 14)) return cut
  let at = 12
  let tags = ""
  while ((u16(b, at) === EtherType.vlan || u16(b, at) === EtherType.serviceVlan) && has(b, at, 6)) {
    tags += `vlan ${u16(b, at + 2) & 0xfff} `
    at += 4
  }
  const type = u16(b, at)
  return tags + describePayload(b, type, at + 2)
}

const describePayload = (b: Uint8Array, type: number, at: number): string => {
  switch (type) {
    case EtherType.ipv4:
      return describeIpv4(b, at)
    case EtherType.ipv6:
      return describeIpv6(b, at)
    case EtherType.arp:
      return describeArp(b, at)
    case EtherType.lldp:
      return `${mac(b, 6)} LLDP`
    case EtherType.slow:
      return `${mac(b, 6)} LACP`
  }
  if (type > maxLength) return `${mac(b, 6)} > ${mac(b, 0)} ethertype ${hex(type)}`
  // IEEE 802.1D: spanning tree is what goes from 0x42 to 0x42.
  return has(b, at, 2) && u16(b, at) === 0x4242 ? `${mac(b, 6)} STP` : `${mac(b, 6)} > ${mac(b, 0)} LLC`
}

/** RFC 826, for Ethernet and IPv4. */
const describeArp = (b: Uint8Array, at: number): string => {
  if (!has(b, at, 28)) return `ARP ${cut}`
  const [sender, target] = [address(b, at + 14, 4), address(b, at + 24, 4)]
  switch (u16(b, at + 6)) {
    case 1:
      return sender === target ? `ARP ${sender} announces itself` : `ARP who has ${target}? tell ${sender}`
    case 2:
      return `ARP ${sender} is at ${mac(b, at + 8)}`
    default:
      return `ARP operation ${u16(b, at + 6)}`
  }
}

const describeIpv4 = (b: Uint8Array, at: number): string => {
  if (!has(b, at, 20)) return `IPv4 ${cut}`
  const header = (b[at]! & 15) * 4
  const fragment = u16(b, at + 6) & 0x1fff
  const ends = { source: address(b, at + 12, 4), destination: address(b, at + 16, 4) }
  // A super-frame above 64 KiB says 0 (BIG TCP).
  const length = u16(b, at + 2) === 0 ? b.length - at : u16(b, at + 2)
  if (header < 20 || length < header) return `${ends.source} > ${ends.destination} IPv4 with a wrong length`
  const upper = { ...ends, protocol: b[at + 9]!, at: at + header, length: length - header }
  return describeUpper(b, { ...upper, fragment: fragment * 8 })
}

/** RFC 8200 4: hop-by-hop options, routing, fragment, destination options. */
const extensions = new Set([0, 43, 44, 60])
const fragmentHeader = 44
const maxExtensions = 8

const describeIpv6 = (b: Uint8Array, start: number): string => {
  if (!has(b, start, 40)) return `IPv6 ${cut}`
  const ends = { source: address(b, start + 8, 16), destination: address(b, start + 24, 16) }
  const end = u16(b, start + 4) === 0 ? b.length : start + 40 + u16(b, start + 4)
  let protocol = b[start + 6]!
  let at = start + 40
  let fragment = 0
  for (let count = 0; extensions.has(protocol) && count < maxExtensions; count++) {
    if (!has(b, at, 8)) return `${ends.source} > ${ends.destination} IPv6 ${cut}`
    if (protocol === fragmentHeader) fragment = u16(b, at + 2) & 0xfff8
    const length = protocol === fragmentHeader ? 8 : (b[at + 1]! + 1) * 8
    protocol = b[at]!
    at += length
    // What follows the header of a later fragment is data.
    if (fragment > 0) break
  }
  return describeUpper(b, { ...ends, protocol, at, length: Math.max(0, end - at), fragment })
}

/** What stands above IP. */
interface Upper {
  readonly source: string
  readonly destination: string
  readonly protocol: number
  readonly at: number
  /** Octets of the header and data, as IP says. */
  readonly length: number
  /** Octets of the packet that came before in other fragments. */
  readonly fragment: number
}

const Protocol = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const
const names: Readonly<Record<number, string>> = {
  [Protocol.icmp]: "ICMP",
  2: "IGMP",
  4: "IPv4 in IP",
  [Protocol.tcp]: "TCP",
  [Protocol.udp]: "UDP",
  41: "IPv6 in IP",
  47: "GRE",
  50: "ESP",
  51: "AH",
  [Protocol.icmpv6]: "ICMPv6",
  59: "nothing",
  89: "OSPF",
  112: "VRRP",
  132: "SCTP"
}

const describeUpper = (b: Uint8Array, upper: Upper): string => {
  const { at, destination, fragment, length, protocol, source } = upper
  const name = names[protocol] ?? `protocol ${protocol}`
  if (fragment > 0) return `${source} > ${destination} ${name} fragment at ${fragment}, ${length}`
  switch (protocol) {
    case Protocol.tcp:
      return has(b, at, 20) ? describeTcp(b, upper) : `${source} > ${destination} TCP ${cut}`
    case Protocol.udp:
      return has(b, at, 8) ? `${ends(b, upper)} UDP ${u16(b, at + 4) - 8}` : `${source} > ${destination} UDP ${cut}`
    case Protocol.icmp:
    case Protocol.icmpv6: {
      const about = !has(b, at, 8) ? cut : protocol === Protocol.icmp ? describeIcmp(b, at) : describeIcmpv6(b, at)
      return `${source} > ${destination} ${name} ${about}`
    }
    default:
      return `${source} > ${destination} ${name}, ${length}`
  }
}

/** `10.0.0.1:80`, `[2001:db8::1]:80` on both sides. */
const ends = (b: Uint8Array, { at, destination, source }: Upper): string => {
  const end = (text: string, port: number): string => (text.includes(":") ? `[${text}]:${port}` : `${text}:${port}`)
  return `${end(source, u16(b, at))} > ${end(destination, u16(b, at + 2))}`
}

const tcpFlags = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"]

const describeTcp = (b: Uint8Array, upper: Upper): string => {
  const { at } = upper
  const flags = tcpFlags.filter((_, bit) => (b[at + 13]! & (1 << bit)) !== 0)
  const acknowledges = flags.includes("ACK") ? ` ack ${u32(b, at + 8)}` : ""
  const data = Math.max(0, upper.length - (b[at + 12]! >> 4) * 4)
  return `${ends(b, upper)} TCP ${flags.join(" ")} seq ${u32(b, at + 4)}${acknowledges} win ${u16(b, at + 14)}, ${data}`
}

const unreachable: Readonly<Record<number, string>> = {
  0: "network unreachable",
  1: "host unreachable",
  2: "protocol unreachable",
  3: "port unreachable",
  5: "source route failed",
  9: "network prohibited",
  10: "host prohibited",
  13: "administratively prohibited"
}

/** RFC 792; RFC 1191 4 for the MTU. Sixteen bits each: identifier and sequence number, or unused and MTU. */
const describeIcmp = (b: Uint8Array, at: number): string => {
  const [type, code] = [b[at]!, b[at + 1]!]
  switch (type) {
    case 0:
    case 8:
      return `echo ${type === 8 ? "request" : "reply"} id ${u16(b, at + 4)} seq ${u16(b, at + 6)}`
    case 3:
      return code === 4 ? `too big, MTU ${u16(b, at + 6)}` : (unreachable[code] ?? `unreachable, code ${code}`)
    case 5:
      return `redirect to ${address(b, at + 4, 4)}`
    case 11:
      return code === 0 ? "time to live exceeded" : "reassembly time exceeded"
    default:
      return `type ${type} code ${code}`
  }
}

const unreachableV6: Readonly<Record<number, string>> = {
  0: "no route",
  1: "administratively prohibited",
  2: "beyond the scope",
  3: "address unreachable",
  4: "port unreachable",
  5: "source policy failed",
  6: "route rejected"
}

/** RFC 4443, RFC 4861 for neighbours and routers, RFC 3810 for listeners. */
const describeIcmpv6 = (b: Uint8Array, at: number): string => {
  const [type, code] = [b[at]!, b[at + 1]!]
  switch (type) {
    case 1:
      return unreachableV6[code] ?? `unreachable, code ${code}`
    case 2:
      return `too big, MTU ${u32(b, at + 4)}`
    case 3:
      return code === 0 ? "hop limit exceeded" : "reassembly time exceeded"
    case 128:
    case 129:
      return `echo ${type === 128 ? "request" : "reply"} id ${u16(b, at + 4)} seq ${u16(b, at + 6)}`
    case 133:
      return "router solicitation"
    case 134:
      return "router advertisement"
    case 135:
      return has(b, at, 24) ? `who has ${address(b, at + 8, 16)}?` : `neighbour solicitation ${cut}`
    case 136:
      return has(b, at, 24) ? `${address(b, at + 8, 16)} is here` : `neighbour advertisement ${cut}`
    case 131:
    case 143:
      return "listener report"
    default:
      return `type ${type} code ${code}`
  }
}
