/**
 * Times, rates, shares and sizes as people type them for tc(8): `4ms`, `200mbit`, `1%`, `64kb`. Unlike tc, a number needs
 * its unit (what a bare 10 means differs between tc's own options), and rates are in bits only (in tc `bps` is octets).
 * Each parser returns undefined for what it does not understand; 0 needs no unit.
 */

const quantity = (value: string | number, units: Readonly<Record<string, number>>): number | undefined => {
  const match = /^(\d+(?:\.\d+)?|\.\d+) ?([a-z%]*)$/i.exec(String(value).trim())
  if (match === null) return undefined
  const number = Number(match[1])
  if (match[2] === "") return number === 0 ? 0 : undefined
  const unit = match[2]!.toLowerCase()
  return Object.hasOwn(units, unit) ? number * units[unit]! : undefined
}

/** Without the error that a product of decimals leaves: 0.3 ms, not 0.30000000000000004. */
const tidy = (value: number | undefined): number | undefined => (value === undefined ? undefined : Number(value.toPrecision(12)))

const milliseconds = { s: 1000, sec: 1000, secs: 1000, ms: 1, msec: 1, msecs: 1, us: 1e-3, usec: 1e-3, usecs: 1e-3 }
const bitsPerSecond = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9, kibit: 2 ** 10, mibit: 2 ** 20, gibit: 2 ** 30 }
const octets = { b: 1, kb: 2 ** 10, mb: 2 ** 20 }

/** `4ms`, `300us`, `1.5s` -> milliseconds. */
export const parseTime = (value: string | number): number | undefined => tidy(quantity(value, milliseconds))

/** Times of people, not of packets: `5m`, `1h` and what {@link parseTime} knows -> milliseconds. */
export const parseDuration = (value: string | number): number | undefined =>
  tidy(quantity(value, { ...milliseconds, m: 60_000, min: 60_000, h: 3_600_000 }))

/** What {@link parseDuration} knows, for those who wait -> whole milliseconds. */
export const parseSpan = (value: string | number): number | undefined => {
  const ms = parseDuration(value)
  return ms === undefined ? undefined : Math.round(ms)
}

/** `200mbit`, `1.5gbit` -> bits per second. */
export const parseRate = (value: string | number): number | undefined => tidy(quantity(value, bitsPerSecond))

/** `1%`, `0.05%` -> 0..1. */
export const parseShare = (value: string | number): number | undefined => {
  const share = tidy(quantity(value, { "%": 0.01 }))
  return share === undefined || share > 1 ? undefined : share
}

export type Limit = { readonly ms: number } | { readonly octets: number } | { readonly packets: number }

/** `100ms`, `64kb` (1024 octets each, as in tc) or `1000p`. */
export const parseLimit = (value: string | number): Limit | undefined => {
  const packets = quantity(value, { p: 1 })
  if (packets !== undefined) return Number.isInteger(packets) && packets > 0 ? { packets } : undefined
  const size = quantity(value, octets)
  if (size !== undefined) return size >= 1 ? { octets: Math.round(size) } : undefined
  const ms = parseTime(value)
  return ms === undefined || ms === 0 ? undefined : { ms }
}

/** `256m`, `1.5g`, `65536k`, as Docker takes them (1024 octets each) -> octets. */
export const parseMemory = (value: string): number | undefined => {
  const size = quantity(value, { b: 1, k: 2 ** 10, kb: 2 ** 10, m: 2 ** 20, mb: 2 ** 20, g: 2 ** 30, gb: 2 ** 30 })
  return size === undefined ? undefined : Math.round(size)
}
