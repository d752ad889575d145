/**
 * nftables tables over netlink (include/uapi/linux/netfilter/nfnetlink.h, nf_tables.h): which there are, and no more. What is in
 * them is nft's to say (`linux/nftables.ts`).
 *
 *     netlink header | family (1) version (1) resource id (2) | attributes
 */
import { attributes, Flag, type Message, text, type Writer } from "./netlink.ts"

/** The netlink family that speaks it (NETLINK_NETFILTER). */
export const netfilter = 12

const NFNL_SUBSYS_NFTABLES = 10
const NFT_MSG_NEWTABLE = 0
const NFT_MSG_GETTABLE = 1
const NFTA_TABLE_NAME = 1
const familyHeaderLength = 4

/** NFPROTO_*, as nft calls them. */
const families: Readonly<Record<number, string>> = { 1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6" }

export interface Table {
  readonly family: string
  readonly name: string
}

/** Asks for the tables of all families. */
export const dumpTables = (out: Writer): void => {
  out.begin((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETTABLE, Flag.dump)
  for (let octet = 0; octet < familyHeaderLength; octet++) out.u8(0)
  out.end()
}

/** The table that a message describes; undefined: it is about something else, or a family that nobody knows. */
export const decodeTable = ({ body, type }: Message): Table | undefined => {
  if (type !== ((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_NEWTABLE) || body.length < familyHeaderLength) return undefined
  const family = families[body[0]!]
  let name: string | undefined
  attributes(body, familyHeaderLength, (attribute, value) => {
    if (attribute === NFTA_TABLE_NAME) name = text(value)
  })
  return family === undefined || name === undefined ? undefined : { family, name }
}
