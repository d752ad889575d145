/** The flags of EVPN between hosts: words in, settings or an error that says what to type out. */
import * as Ip from "../wire/ip.ts"

export const evpnOptions = {
  evpn: { type: "string" },
  "evpn-as": { type: "string" },
  "evpn-port": { type: "string" },
  "evpn-rr": { type: "string" },
  "evpn-peer": { type: "string", multiple: true },
  "evpn-suppression": { type: "string" }
} as const

export const evpnUsage = `
EVPN between hosts (docs/fleet.md), with --etcd:
  --evpn off       no sessions: hosts flood and learn
  --evpn-as N      AS number of all hosts, 1 to 65534 (default: 64999)
  --evpn-port N    TCP port of BGP, here and there (default: 179)
  --evpn-rr ADDR[,ADDR...]  sessions with these route reflectors instead of every other host
  --evpn-peer ADDR[:AS]     a router of your own that takes part, IPv6 in brackets; may be repeated
  --evpn-suppression off    flood requests of ARP and neighbour discovery instead of answering them
`

type Flags = Readonly<Record<string, string | boolean | ReadonlyArray<string> | undefined>>

export interface EvpnSettings {
  /** Of all hosts: two octets, so that route targets can be derived (RFC 8365 5.1.2.1). */
  readonly asn: number
  readonly port: number
  /** Canonical addresses; none: a full mesh. */
  readonly reflectors: ReadonlyArray<string>
  readonly peers: ReadonlyArray<{ readonly address: string; readonly asn: number }>
  readonly suppression: boolean
}

const defaultAs = 64_999
const defaultPort = 179

const numberOf = (flags: Flags, name: string, most: number, usual: number): number => {
  const text = flags[name]
  if (text === undefined) return usual
  const value = /^\d{1,10}$/.test(String(text)) ? Number(text) : 0
  if (value >= 1 && value <= most) return value
  throw new Error(`Bad --${name} "${String(text)}": a whole number from 1 to ${most} is expected`)
}

const addressOf = (flag: string, text: string): string => {
  const octets = Ip.parse(text)
  if (octets === undefined) throw new Error(`Bad address "${text}" in ${flag}: an IPv4 or IPv6 address is expected`)
  return Ip.format(octets)
}

const peerOf = (text: string, ownAs: number): EvpnSettings["peers"][number] => {
  const [, bracketed, plain, as] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,10}))?$/.exec(text) ?? [undefined, undefined, text]
  const asn = as === undefined ? ownAs : Number(as)
  if (asn < 1 || asn > 0xffff_fffe) throw new Error(`Bad AS number in --evpn-peer "${text}": 1 to 4294967294 is expected`)
  return { address: addressOf("--evpn-peer", bracketed ?? plain!), asn }
}

const isOff = (flags: Flags, name: string): boolean => {
  const text = flags[name]
  if (text === undefined || text === "on") return false
  if (text === "off") return true
  throw new Error(`Bad --${name} "${String(text)}": on or off is expected`)
}

/**
 * What the flags ask for; undefined: no EVPN.
 *
 * @param isFleet whether this weftd is one of many hosts
 * @throws Error that says what to type
 */
export const evpnSettings = (flags: Flags, isFleet: boolean): EvpnSettings | undefined => {
  const given = Object.keys(evpnOptions).find((name) => flags[name] !== undefined)
  if (!isFleet) {
    if (given !== undefined) throw new Error(`--${given} is for one of many hosts: --etcd URL is missing`)
    return undefined
  }
  const asn = numberOf(flags, "evpn-as", 65_534, defaultAs)
  const listed = ((flags["evpn-rr"] as string | undefined) ?? "").split(",").filter((text) => text !== "")
  const settings = {
    asn,
    port: numberOf(flags, "evpn-port", 65_535, defaultPort),
    reflectors: listed.map((text) => addressOf("--evpn-rr", text)),
    peers: ((flags["evpn-peer"] as ReadonlyArray<string> | undefined) ?? []).map((text) => peerOf(text, asn)),
    suppression: !isOff(flags, "evpn-suppression")
  }
  return isOff(flags, "evpn") ? undefined : settings
}
