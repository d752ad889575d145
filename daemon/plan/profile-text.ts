/** A link's profile as people type it: `delay 4ms jitter 300us rate 200mbit`. */
import type { LinkProfile, LinkProfiles } from "./link-profile.ts"

/** Up to five digits: what was typed, without the rest of a division. */
const number = (value: number): string => String(Number(value.toPrecision(5)))

/** In the largest unit of which there is at least one, or the smallest. */
const inUnits = (value: number, units: ReadonlyArray<readonly [size: number, name: string]>): string => {
  const [size, name] = units.find(([least]) => value >= least) ?? units.at(-1)!
  return `${number(value / size)}${name}`
}

const time = (ms: number): string => (ms === 0 ? "0ms" : inUnits(ms, [[1000, "s"], [1, "ms"], [1e-3, "us"]]))

const rate = (bps: number): string => inUnits(bps, [[1e9, "gbit"], [1e6, "mbit"], [1e3, "kbit"], [1, "bit"]])

const share = (probability: number): string => `${number(probability * 100)}%`

const size = (octets: number): string => (octets % 1024 === 0 ? `${octets / 1024}kb` : `${octets}b`)

const jitterText = ({ distribution, ms, reorder }: NonNullable<LinkProfile["jitter"]>): string =>
  `jitter ${time(ms)}${distribution === "uniform" ? "" : ` ${distribution}`}${reorder ? " reordering" : ""}`

const lossText = (loss: NonNullable<LinkProfile["loss"]>): string =>
  loss.kind === "random"
    ? `loss ${share(loss.probability)}`
    : `loss in bursts p ${share(loss.p)} r ${share(loss.r)} bad ${share(loss.lossBad)} good ${share(loss.lossGood)}`

const queueText = ({ ms, octets, packets }: NonNullable<LinkProfile["queue"]>): string => {
  const limits = [
    ...(ms === undefined ? [] : [time(ms)]),
    ...(octets === undefined ? [] : [size(octets)]),
    ...(packets === undefined ? [] : [`${packets}p`])
  ]
  return `queue ${limits.join(" ")}`
}

const nothing = "nothing"

/** One direction in words; `nothing` for a plain wire. */
export const profileText = (profile: LinkProfile): string => {
  const { aqm, corrupt, delayMs, down, duplicate, jitter, loss, queue, rateBps, reorder, trace } = profile
  const parts = [
    ...(down === true ? ["down"] : []),
    ...(delayMs === undefined ? [] : [`delay ${time(delayMs)}`]),
    ...(jitter === undefined ? [] : [jitterText(jitter)]),
    ...(loss === undefined ? [] : [lossText(loss)]),
    ...(duplicate === undefined ? [] : [`duplicate ${share(duplicate)}`]),
    ...(corrupt === undefined ? [] : [`corrupt ${share(corrupt)}`]),
    ...(reorder === undefined ? [] : [`reorder ${share(reorder)}`]),
    ...(rateBps === undefined ? [] : [`rate ${rate(rateBps)}`]),
    ...(queue === undefined ? [] : [queueText(queue)]),
    ...(aqm === undefined ? [] : [`aqm ${aqm}`]),
    ...(trace === undefined ? [] : [`trace ${trace.name}`])
  ]
  return parts.length === 0 ? nothing : parts.join(" ")
}

/** Both directions, each with its ends: `fw:wan -> isp:e1: delay 4ms`. */
export const profileLines = ([a, b]: readonly [string, string], { aToB, bToA }: LinkProfiles): ReadonlyArray<string> => {
  const [there, back] = [profileText(aToB), profileText(bToA)]
  // Nobody would ask why a link is listed that does something.
  const why = there === nothing && back === nothing ? ", by way of the engine" : ""
  return [`${a} -> ${b}: ${there}${why}`, `${b} -> ${a}: ${back}${why}`]
}

/** What both directions have in common once, else both: `200mbit 4/6ms`. */
const pair = (a: string, b: string): string => {
  if (a === b) return a
  const unit = /[a-z%]+$/.exec(a)?.[0]
  return unit !== undefined && unit === /[a-z%]+$/.exec(b)?.[0] ? `${a.slice(0, -unit.length)}/${b}` : `${a}/${b}`
}

/** A few characters for a drawing: `200mbit 4/6ms 1% loss`. */
export const profileLabel = ({ aToB, bToA }: LinkProfiles): string => {
  const both = [aToB, bToA]
  const show = <T>(of: (profile: LinkProfile) => T | undefined, text: (value: T) => string, absent: string): string => {
    const values = both.map(of)
    if (values.every((value) => value === undefined)) return ""
    const [a, b] = values.map((value) => (value === undefined ? absent : text(value)))
    return pair(a!, b!)
  }
  const loss = show((profile) => (profile.loss?.kind === "random" ? profile.loss.probability : undefined), share, "0%")
  const bursts = both.some((profile) => profile.loss?.kind === "gilbert-elliott") ? "bursts of loss" : ""
  return [
    both.every((profile) => profile.down === true) ? "down" : both.some((profile) => profile.down === true) ? "one way" : "",
    show((profile) => profile.rateBps, rate, "no limit"),
    show((profile) => profile.delayMs, time, "0ms"),
    loss === "" ? bursts : `${loss} loss`,
    both.some((profile) => profile.trace !== undefined) ? "trace" : ""
  ].filter((part) => part !== "").join(" ")
}
