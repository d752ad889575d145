/** What tables of ours are written with: expressions of libnftables-json(5). */
import { createHash } from "node:crypto"
import type { NftObject } from "../linux/nftables.ts"
import { familyOf } from "../wire/ip.ts"

/** Matches and statements of one rule. */
export type Expressions = ReadonlyArray<NftObject>

export const match = (left: unknown, right: unknown, op: "==" | "!=" | "in" = "=="): NftObject => ({ match: { op, left, right } })

export const meta = (key: string, right: unknown): NftObject => match({ meta: { key } }, right)

/** One value, or a set of them. */
export const anyOf = (values: ReadonlyArray<unknown>): unknown => (values.length === 1 ? values[0] : { set: values })

export const ipProtocol = (address: string): "ip" | "ip6" => (familyOf(address) === "ipv4" ? "ip" : "ip6")

/** An address, or a prefix, as libnftables writes it. */
const operand = (text: string): unknown => {
  const [addr, length] = text.split("/")
  return length === undefined ? addr : { prefix: { addr, len: Number(length) } }
}

/** Addresses or prefixes of one family. */
export const address = (field: "saddr" | "daddr", op: "==" | "!=", values: ReadonlyArray<string>): NftObject =>
  match({ payload: { protocol: ipProtocol(values[0]!), field } }, anyOf(values.map(operand)), op)

/** How nft lists a table, in short: another digest later means that somebody changed it. What counters have counted is left out. */
export const digest = (listing: ReadonlyArray<NftObject>): string =>
  createHash("sha256").update(JSON.stringify(listing.map(withoutCounts))).digest("hex")

const withoutCounts = (object: NftObject): NftObject => {
  if (!("counter" in object)) return object
  const { packets: _, bytes: __, ...counter } = object["counter"] as Readonly<Record<string, unknown>>
  return { counter }
}
