/**
 * rtnetlink: interfaces (include/uapi/linux/if_link.h, rtnetlink(7)).
 *
 *     ifinfomsg: family (1) pad (1) type (2) index (4) flags (4) change (4)
 */
import { attributes, Flag, i32, text, u32, type Writer } from "../netlink.ts"
import { formatMac, parseMac } from "../ip.ts"

const RTM_NEWLINK = 16
const RTM_DELLINK = 17
const RTM_GETLINK = 18
const RTM_NEWLINKPROP = 108

const IFLA_ADDRESS = 1
const IFLA_IFNAME = 3
const IFLA_MTU = 4
const IFLA_LINK = 5
const IFLA_QDISC = 6
const IFLA_OPERSTATE = 16
const IFLA_LINKINFO = 18
const IFLA_GROUP = 27
const IFLA_NET_NS_FD = 28
const IFLA_EXT_MASK = 29
const IFLA_PROMISCUITY = 30
const IFLA_NUM_TX_QUEUES = 31
const IFLA_NUM_RX_QUEUES = 32
const IFLA_PROP_LIST = 52
const IFLA_ALT_IFNAME = 53
const IFLA_INFO_KIND = 1
const IFLA_INFO_DATA = 2
const VETH_INFO_PEER = 1
const IFLA_VXLAN_LEARNING = 7
const IFLA_VXLAN_PORT = 15
const IFLA_VXLAN_UDP_ZERO_CSUM6_RX = 20
const IFLA_VXLAN_COLLECT_METADATA = 25
const RTEXT_FILTER_SKIP_STATS = 8

const IFF_UP = 1
const IFF_NOARP = 0x80
const IFF_RUNNING = 1 << 6
const IFF_LOWER_UP = 1 << 16
/** RFC 2863: what is asked of a link that may send. */
const IF_OPER_UP = 6
const headerLength = 16

export const newLink = RTM_NEWLINK
export const delLink = RTM_DELLINK

export interface Link {
  readonly index: number
  readonly name: string
  readonly mac: string
  readonly mtu: number
  readonly up: boolean
  /** The other end is up too. */
  readonly carrier: boolean
  readonly group: number
  /** `veth`, `tun`, ...; empty for loopback and hardware. */
  readonly kind: string
  /** ifindex of the other end of a veth, in its own namespace. */
  readonly peer: number
  readonly altNames: ReadonlyArray<string>
  /** How many captures listen on it. */
  readonly promiscuity: number
  /** Without it, it asks nobody for MAC addresses. */
  readonly arp: boolean
  /** How packets queue on the way out: `noqueue`, `tbf`, ... */
  readonly qdisc: string
  /** Of a VXLAN device: its UDP port, and whether it leaves VNIs and peers to others ("external"). */
  readonly vxlan?: { readonly port: number; readonly external: boolean }
}

interface End {
  readonly name: string
  readonly index: number
  readonly mtu: number
  readonly mac?: string
}

const header = (out: Writer, index: number, flags: number, change: number): void => {
  out.u8(0)
  out.u8(0)
  out.u16(0)
  out.u32(index)
  out.u32(flags)
  out.u32(change)
}

const end = (out: Writer, port: End, group: number): void => {
  out.attributeText(IFLA_IFNAME, port.name)
  out.attributeU32(IFLA_MTU, port.mtu)
  if (port.mac !== undefined) out.attribute(IFLA_ADDRESS, parseMac(port.mac)!)
  if (group !== 0) out.attributeU32(IFLA_GROUP, group)
  // Without that there is one for each processor, and the kernel waits for all of them until it has taken all but one out of use
  // (drivers/net/veth.c: veth_init_queues).
  out.attributeU32(IFLA_NUM_TX_QUEUES, 1)
  out.attributeU32(IFLA_NUM_RX_QUEUES, 1)
}

/**
 * Makes a veth pair, both ends in their final namespaces at once: `local` where the message is sent, `peer` in the
 * namespace behind `peerNetns`. An interface that never exists elsewhere cannot be left behind there. Both are down: a qdisc on
 * one that is up makes the kernel wait for all processors (net/sched/sch_api.c: qdisc_graft).
 */
export const addVeth = (out: Writer, pair: { local: End; peer: End; peerNetns: number; group: number }): number => {
  const sequence = out.begin(RTM_NEWLINK, Flag.create | Flag.exclusive)
  header(out, pair.local.index, 0, 0)
  end(out, pair.local, pair.group)
  const info = out.nestBegin(IFLA_LINKINFO)
  out.attributeText(IFLA_INFO_KIND, "veth")
  const data = out.nestBegin(IFLA_INFO_DATA)
  const peer = out.nestBegin(VETH_INFO_PEER)
  header(out, pair.peer.index, 0, 0)
  end(out, pair.peer, 0)
  out.attributeU32(IFLA_NET_NS_FD, pair.peerNetns)
  out.nestEnd(peer)
  out.nestEnd(data)
  out.nestEnd(info)
  out.end()
  return sequence
}

/**
 * Makes a VXLAN device that is told for each frame where it goes, and tells where it came from (`ip link add type vxlan
 * external`). It is in the namespace behind `netns` at once; its UDP sockets stay in the one where the message is sent. It is
 * up, so a UDP port that is taken is an error (EADDRINUSE) and leaves nothing.
 */
export const addVxlan = (out: Writer, device: { name: string; index: number; mtu: number; port: number; netns: number }): number => {
  const sequence = out.begin(RTM_NEWLINK, Flag.create | Flag.exclusive)
  header(out, device.index, IFF_UP, IFF_UP)
  out.attributeText(IFLA_IFNAME, device.name)
  out.attributeU32(IFLA_MTU, device.mtu)
  out.attributeU32(IFLA_NET_NS_FD, device.netns)
  const info = out.nestBegin(IFLA_LINKINFO)
  out.attributeText(IFLA_INFO_KIND, "vxlan")
  const data = out.nestBegin(IFLA_INFO_DATA)
  out.attributeU8(IFLA_VXLAN_COLLECT_METADATA, 1)
  out.attributeU8(IFLA_VXLAN_LEARNING, 0)
  out.attribute(IFLA_VXLAN_PORT, Uint8Array.of(device.port >> 8, device.port & 0xff))
  // RFC 6935, 5: a tunnel may do without UDP checksums over IPv6; we send them and take what others send.
  out.attributeU8(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 1)
  out.nestEnd(data)
  out.nestEnd(info)
  out.end()
  return sequence
}

/** Adds an alternative name (at most 127 octets), which carries our mark or a name that people can read. */
export const addAltName = (out: Writer, index: number, altName: string): number => {
  const sequence = out.begin(RTM_NEWLINKPROP, Flag.create | Flag.exclusive | Flag.append)
  header(out, index, 0, 0)
  const list = out.nestBegin(IFLA_PROP_LIST)
  out.attributeText(IFLA_ALT_IFNAME, altName)
  out.nestEnd(list)
  out.end()
  return sequence
}

/** Changes an interface in place. A MAC address can be changed while the interface is up. */
export const setLink = (
  out: Writer, index: number, change: { mtu?: number; mac?: string; up?: boolean; group?: number; arp?: true }
): number => {
  const sequence = out.begin(RTM_NEWLINK, 0)
  header(out, index, change.up === true ? IFF_UP : 0, (change.up === undefined ? 0 : IFF_UP) | (change.arp === true ? IFF_NOARP : 0))
  if (change.mtu !== undefined) out.attributeU32(IFLA_MTU, change.mtu)
  if (change.mac !== undefined) out.attribute(IFLA_ADDRESS, parseMac(change.mac)!)
  if (change.group !== undefined) out.attributeU32(IFLA_GROUP, change.group)
  out.end()
  return sequence
}

export const removeLink = (out: Writer, index: number): number => {
  const sequence = out.begin(RTM_DELLINK, 0)
  header(out, index, 0, 0)
  out.end()
  return sequence
}

/** Removes every interface of a group in one go: the kernel waits once, not once for each. */
export const removeGroup = (out: Writer, group: number): number => {
  const sequence = out.begin(RTM_DELLINK, 0)
  header(out, 0, 0, 0)
  out.attributeU32(IFLA_GROUP, group)
  out.end()
  return sequence
}

export const dumpLinks = (out: Writer): void => {
  out.begin(RTM_GETLINK, Flag.dump)
  header(out, 0, 0, 0)
  out.attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
  out.end()
}

/** Asks for one interface. */
export const getLink = (out: Writer, index: number): void => {
  out.begin(RTM_GETLINK, 0)
  header(out, index, 0, 0)
  out.attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
  out.end()
}

/** Whether the kernel has told everybody that there is a carrier (net/core/link_watch.c): somewhat later than it is there. */
export const isRunning = (body: Uint8Array): boolean => (u32(body, 8) & IFF_RUNNING) !== 0

/**
 * Whether what is sent on it leaves it. A link that was set up before it had a carrier drops everything until the kernel has
 * told its own parts of the carrier (net/sched/sch_generic.c: dev_activate, net/core/link_watch.c), which may take a while
 * on a busy machine. Unlike `isRunning`, it is false until then for links that are new, too.
 */
export const isSending = (body: Uint8Array): boolean => {
  let state = 0
  attributes(body, headerLength, (type, value) => type === IFLA_OPERSTATE && (state = value[0]!))
  return state === IF_OPER_UP
}

/** The interface that a RTM_NEWLINK or RTM_DELLINK body describes. */
export const decode = (body: Uint8Array): Link => {
  const flags = u32(body, 8)
  const altNames: string[] = []
  let name = ""
  let mac = ""
  let mtu = 0
  let group = 0
  let kind = ""
  let peer = 0
  let promiscuity = 0
  let qdisc = ""
  let data: Uint8Array | undefined
  attributes(body, headerLength, (type, value) => {
    if (type === IFLA_IFNAME) name = text(value)
    else if (type === IFLA_ADDRESS) mac = formatMac(value)
    else if (type === IFLA_MTU) mtu = u32(value)
    else if (type === IFLA_GROUP) group = u32(value)
    else if (type === IFLA_LINK) peer = i32(value)
    else if (type === IFLA_PROMISCUITY) promiscuity = u32(value)
    else if (type === IFLA_QDISC) qdisc = text(value)
    else if (type === IFLA_LINKINFO) {
      attributes(value, 0, (inner, octets) => {
        if (inner === IFLA_INFO_KIND) kind = text(octets)
        else if (inner === IFLA_INFO_DATA) data = octets
      })
    } else if (type === IFLA_PROP_LIST) attributes(value, 0, (inner, data) => inner === IFLA_ALT_IFNAME && altNames.push(text(data)))
  })
  const up = (flags & IFF_UP) !== 0
  const arp = (flags & IFF_NOARP) === 0
  const carrier = (flags & IFF_LOWER_UP) !== 0
  const link = { index: i32(body, 4), name, mac, mtu, up, carrier, group, kind, peer, altNames, promiscuity, arp, qdisc }
  return kind === "vxlan" && data !== undefined ? { ...link, vxlan: decodeVxlan(data) } : link
}

const decodeVxlan = (data: Uint8Array): NonNullable<Link["vxlan"]> => {
  let port = 0
  let external = false
  attributes(data, 0, (type, value) => {
    if (type === IFLA_VXLAN_PORT && value.length === 2) port = (value[0]! << 8) | value[1]!
    else if (type === IFLA_VXLAN_COLLECT_METADATA) external = value[0] === 1
  })
  return { port, external }
}
