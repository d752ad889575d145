/** Communities of all kinds as people write them: `65000:1`, `no-export`, `65000:1:2`, `rt:65000:1`. */
import { Subtype, wellKnown } from "../../wire/bgp/community-text.ts"
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"

const names: ReadonlyMap<number, string> = new Map(Object.entries(wellKnown).toReversed().map(([name, value]) => [value, name]))

const standard = (value: number): string => names.get(value >>> 0) ?? `${value >>> 16}:${value & 0xffff}`

const large = (value: bigint): string => [value >> 64n, (value >> 32n) & 0xffffffffn, value & 0xffffffffn].join(":")

/** RFC 4360, RFC 5668: type, subtype, administrator, number; what has another layout as its octets. */
const extended = (value: bigint): string => {
  const type = Number(value >> 56n) & 0x3f
  const subtype = Number((value >> 48n) & 0xffn)
  const name = subtype === Subtype.routeTarget ? "rt" : subtype === Subtype.siteOfOrigin ? "soo" : undefined
  if (name === undefined || type > 2) return `0x${value.toString(16).padStart(16, "0")}`
  const [administrator, number] =
    type === 0
      ? [Number((value >> 32n) & 0xffffn), Number(value & 0xffffffffn)]
      : [Number((value >> 16n) & 0xffffffffn), Number(value & 0xffffn)]
  const dotted = [24, 16, 8, 0].map((shift) => (administrator >>> shift) & 0xff).join(".")
  return `${name}:${type === 1 ? dotted : administrator}:${number}`
}

export const communitiesOf = ({ communities, extendedCommunities, largeCommunities }: PathAttributes): ReadonlyArray<string> => [
  ...communities.map(standard),
  ...largeCommunities.map(large),
  ...extendedCommunities.map(extended)
]
