/** What the schemas of `bgp` are built from: AS numbers, identifiers, prefixes, names. */
import { Schema } from "effect"
import { formatPrefix, network, parseAddress, parsePrefix } from "./ip.ts"
import { text } from "./schema-parts.ts"

export const Truth = (description: string) => Schema.Boolean.annotate({ description, expected: "true or false" })

export const Reference = (what: string) => Schema.String.annotate({ expected: `the name of ${what}`, description: `Name of ${what}` })

/** `64512`, or in RFC 5396's dotted form `1.10`. Undefined: no AS number. */
export const parseAs = (value: string | number): number | undefined => {
  const dotted = /^(\d{1,5})\.(\d{1,5})$/.exec(String(value))
  if (typeof value === "string" && dotted !== null) {
    const [high, low] = [Number(dotted[1]), Number(dotted[2])]
    return high > 65535 || low > 65535 ? undefined : high * 65536 + low
  }
  const number = typeof value === "string" ? (/^\d{1,10}$/.test(value) ? Number(value) : NaN) : value
  return Number.isInteger(number) && number >= 0 && number <= 4294967295 ? number : undefined
}

export const asExpected = 'an AS number from 1 to 4294967295, or in quotes "1.10"'
export const asProblem = (value: string | number): string | undefined => {
  const number = parseAs(value)
  if (number === undefined) return `expected ${asExpected}`
  if (number === 0) return "is reserved: no router may have it (RFC 7607)"
  if (number === 23456) return "is AS_TRANS, which stands for numbers above 65535 where a neighbour knows none (RFC 6793)"
  return number === 65535 || number === 4294967295 ? "is reserved as the last of its range (RFC 7300)" : undefined
}
const asFilter = Schema.makeFilter((value: string | number) => asProblem(value), { expected: asExpected })
export const As = Schema.Union([Schema.Finite, Schema.String])
  .annotate({ expected: asExpected, description: "Autonomous system: 1 to 4294967295" }).check(asFilter)

const dottedQuad = (value: string): boolean => {
  const address = parseAddress(value)
  return address?.family === "ipv4" && address.bits !== 0n
}
export const Identifier = (description: string) =>
  text({ description, problem: (value) => (dottedQuad(value) ? undefined : "expected four numbers such as 10.255.0.1, not 0.0.0.0") })

export const prefixProblem = (value: string): string | undefined => {
  const prefix = parsePrefix(value)
  if (prefix === undefined) return "expected a prefix such as 10.0.0.0/24 or 2001:db8::/64"
  return network(prefix).bits === prefix.bits
    ? undefined
    : `has host bits set: the prefix of this length is ${formatPrefix(network(prefix))}`
}
export const Prefix = text({ description: "a prefix such as 10.0.0.0/24", problem: prefixProblem })

export const FamilyWord = Schema.Literals(["ipv4", "ipv6"])
