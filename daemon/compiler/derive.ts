/**
 * Identifiers that follow from names, so that the same topology always yields the same lab, on any machine.
 * All come from SHA-256 of the names, joined by a character that no name contains.
 */
import { hash } from "node:crypto"

const digest = (...parts: ReadonlyArray<string | number>): Buffer =>
  hash("sha256", parts.join("\0"), "buffer")

/** A locally administered unicast address (IEEE 802-2014 8.2): `02:` and 40 bits of hash. */
export const mac = (lab: string, node: string, ifname: string): string =>
  `02:${digest("mac", lab, node, ifname).toString("hex", 0, 5).replace(/(..)(?=.)/g, "$1:")}`

/** RFC 7348 5: 24 bits; 0 is left to "no VNI". `attempt` tells apart names that collide. */
export const vni = (lab: string, kind: "p2p" | "network", name: string, attempt: number): number =>
  digest("vni", lab, kind, name, attempt).readUIntBE(0, 3) || 1

/** What a link's random numbers start from unless the file says: 32 bits. */
export const seed = (lab: string, link: string): number => digest("seed", lab, link).readUInt32BE(0)

/** Kernel id of a nexthop group: 31 bits, because tools print it signed; never 0, which means "choose one". */
export const nexthopId = (node: string, table: number, to: string, metric: number, attempt: number): number =>
  digest("nexthop", node, table, to, metric, attempt).readUInt32BE(0) & 0x7fffffff || 1

/** A BGP identifier for a speaker without any IPv4 address: 32 bits, never 0. */
export const routerId = (lab: string, node: string): string => {
  const octets = [...digest("router-id", lab, node).subarray(0, 4)]
  return octets.every((octet) => octet === 0) ? "0.0.0.1" : octets.join(".")
}

const base32 = "abcdefghijklmnopqrstuvwxyz234567"

/**
 * Name of a port's host side in the fabric, where the ports of all labs lie side by side: up to four letters of the node
 * for people, fifty bits of hash for uniqueness, fifteen octets in all.
 */
export const fabricName = (lab: string, node: string, ifname: string): string => {
  const bits = digest("fabric", lab, node, ifname).readBigUInt64BE(0)
  let text = ""
  for (let i = 0n; i < 10n; i++) text += base32[Number((bits >> (i * 5n)) & 31n)]
  return `${node.slice(0, 4)}.${text}`
}
