/**
 * rtnetlink: neighbours, ARP's and ND's tables (include/uapi/linux/neighbour.h, ip-neighbour(8)).
 *
 *     ndmsg: family (1) pad (1) pad (2) ifindex (4) state (2) flags (1) type (1)
 */
import { format, parse } from "../ip.ts"
import { attributes, Flag, u16, u32, u8, type Writer } from "../netlink.ts"
import { addressFamily, familyName } from "./family.ts"

const RTM_DELNEIGH = 29
const RTM_GETNEIGH = 30

const NDA_DST = 1
const NDA_PROTOCOL = 12
const NUD_PERMANENT = 0x80
const headerLength = 12

export interface Neighbour {
  readonly address: string
  readonly index: number
  /** It was typed in and does not age. Those of routing daemons, which say so, are not meant. */
  readonly permanent: boolean
}

const header = (out: Writer, family: number, index: number): void => {
  out.u8(family)
  out.u8(0)
  out.u16(0)
  out.u32(index)
  out.u16(0)
  out.u8(0)
  out.u8(0)
}

export const dumpNeighbours = (out: Writer): void => {
  out.begin(RTM_GETNEIGH, Flag.dump)
  header(out, 0, 0)
  out.end()
}

export const removeNeighbour = (out: Writer, { address, index }: Pick<Neighbour, "address" | "index">): void => {
  const octets = parse(address)!
  out.begin(RTM_DELNEIGH, 0)
  header(out, addressFamily(octets), index)
  out.attribute(NDA_DST, octets)
  out.end()
}

/** The neighbour of a RTM_NEWNEIGH body; undefined for a bridge's stations and other families. */
export const decode = (body: Uint8Array): Neighbour | undefined => {
  if (familyName(u8(body)) === undefined) return undefined
  let address: string | undefined
  let protocol = 0
  attributes(body, headerLength, (type, value) => {
    if (type === NDA_DST) address = format(value)
    else if (type === NDA_PROTOCOL) protocol = u8(value)
  })
  const permanent = (u16(body, 8) & NUD_PERMANENT) !== 0 && protocol === 0
  return address === undefined ? undefined : { address, index: u32(body, 4), permanent }
}
