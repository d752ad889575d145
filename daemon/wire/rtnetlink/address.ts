/**
 * rtnetlink: addresses (include/uapi/linux/if_addr.h, rtnetlink(7)).
 *
 *     ifaddrmsg: family (1) prefix length (1) flags (1) scope (1) index (4)
 */
import { format, parsePrefix } from "../ip.ts"
import { attributes, Flag, u32, u8, type Writer } from "../netlink.ts"
import { addressFamily, AF_INET6 } from "./family.ts"

const RTM_NEWADDR = 20
const RTM_DELADDR = 21
const RTM_GETADDR = 22

const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_BROADCAST = 4
const IFA_FLAGS = 8
const IFA_PROTO = 11
const IFA_F_PERMANENT = 0x80
const IFA_F_NODAD = 0x02
const headerLength = 8

export interface Address {
  readonly index: number
  /** With prefix length, as configured: `10.0.0.1/24`. */
  readonly address: string
  /** 0 global, 253 link, 254 host. */
  readonly scope: number
  /** Who made it: IFAPROT_* or ours. */
  readonly protocol: number
  /** False: it has a lifetime, as DHCP leases and addresses from router advertisements have. */
  readonly permanent: boolean
}

const write = (out: Writer, type: number, flags: number, index: number, text: string, protocol: number): number => {
  const { address, length } = parsePrefix(text)!
  const sequence = out.begin(type, flags)
  out.u8(addressFamily(address))
  out.u8(length)
  out.u8(address.length === 16 ? IFA_F_NODAD : 0)
  out.u8(0)
  out.u32(index)
  out.attribute(IFA_LOCAL, address)
  out.attribute(IFA_ADDRESS, address)
  if (type === RTM_NEWADDR) {
    if (address.length === 4 && length < 31) out.attribute(IFA_BROADCAST, broadcastOf(address, length))
    if (protocol !== 0) out.attributeU8(IFA_PROTO, protocol)
  }
  out.end()
  return sequence
}

const broadcastOf = (address: Uint8Array, length: number): Uint8Array =>
  address.map((octet, i) => octet | (0xff >> Math.min(8, Math.max(0, length - 8 * i))))

/** `text` with prefix length. `protocol`: recorded by kernels from 5.18 on, ignored by older ones. */
export const addAddress = (out: Writer, index: number, text: string, protocol: number): number =>
  write(out, RTM_NEWADDR, Flag.create | Flag.replace, index, text, protocol)

export const removeAddress = (out: Writer, index: number, text: string): number => write(out, RTM_DELADDR, 0, index, text, 0)

export const dumpAddresses = (out: Writer): void => {
  out.begin(RTM_GETADDR, Flag.dump)
  out.u32(0)
  out.u32(0)
  out.end()
}

/** The address of a RTM_NEWADDR or RTM_DELADDR body: the interface's own, where it has a peer's too. */
export const decode = (body: Uint8Array): Address => {
  let local: Uint8Array | undefined
  let remote: Uint8Array | undefined
  let protocol = 0
  let flags = u8(body, 2)
  attributes(body, headerLength, (type, value) => {
    if (type === IFA_LOCAL) local = value
    else if (type === IFA_FLAGS) flags = u32(value)
    else if (type === IFA_ADDRESS) remote = value
    else if (type === IFA_PROTO) protocol = u8(value)
  })
  const address = local ?? remote ?? new Uint8Array(u8(body) === AF_INET6 ? 16 : 4)
  return {
    index: u32(body, 4),
    address: `${format(address)}/${u8(body, 1)}`,
    scope: u8(body, 3),
    protocol,
    permanent: (flags & IFA_F_PERMANENT) !== 0
  }
}
