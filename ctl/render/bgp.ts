/**
 * BGP as who knows routers reads it: a summary with one line for each neighbour, a table of routes with the marks of
 * `show bgp`, a prefix with all of its paths and why each one won or lost. Pure: messages in, lines out.
 */

import type { BgpNeighbor, BgpPath, BgpSpeaker } from "../messages.ts"
import { printable, type Style } from "../terminal.ts"
import { table } from "./table.ts"

export interface Options {
  readonly width: number
  readonly style: Style
  readonly nowMs: number
}

const familyTitles: Readonly<Record<string, string>> = { ipv4: "IPv4 unicast", ipv6: "IPv6 unicast" }

/** `00:03:12`, `2d04h`, `3w1d`, as routers write how long something has been so; `never` for 0. */
export const upDown = (sinceMs: number, nowMs: number): string => {
  if (sinceMs === 0) return "never"
  const seconds = Math.max(0, Math.floor((nowMs - sinceMs) / 1000))
  const [hours, days] = [Math.floor(seconds / 3600), Math.floor(seconds / 86_400)]
  const two = (number: number): string => String(number).padStart(2, "0")
  if (days === 0) return `${two(hours)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
  return days < 7 ? `${days}d${two(hours % 24)}h` : `${Math.floor(days / 7)}w${days % 7}d`
}

const isUp = ({ state }: BgpNeighbor): boolean => state === "Established"

/** The page that `weft bgp NODE` prints. */
export const summaryLines = (speaker: BgpSpeaker, { nowMs, style, width }: Options): ReadonlyArray<string> => {
  const { asn, lab, neighbors, node, routerId, restarting, vrfs } = speaker
  const tables = vrfs.map(
    ({ name, paths, prefixes, table: kernel }) => `${name} (kernel table ${kernel}): ${prefixes} prefixes, ${paths} paths`
  )
  const head = [
    `${style.bold(`${lab}/${node}`)}  AS ${asn}, router id ${routerId}${restarting ? style.yellow(", restarting gracefully") : ""}`,
    ...tables.map((line) => style.dim(`table ${printable(line)}`))
  ]
  const families = ["ipv4", "ipv6"].filter((family) => neighbors.some((one) => one.families.some((spoken) => spoken.family === family)))
  const awaited = speaker.ranges.map(({ limit, prefix }) => `Waits for neighbors from ${printable(prefix)}, at most ${limit}`)
  if (neighbors.length === 0) return [...head, "", ...(awaited.length === 0 ? ["No neighbors"] : awaited)]
  const shown = families.flatMap((family) => {
    return ["", style.bold(familyTitles[family]!), ...neighborTable(neighbors, family, { nowMs, style, width })]
  })
  const troubles = neighbors.filter((one) => !isUp(one) && one.lastReset !== "")
  const why = troubles.map((one) => `${style.red(`${printable(one.name)}:`)} ${printable(one.lastReset)}`)
  return [...head, ...shown, ...(why.length === 0 ? [] : ["", ...why])]
}

const neighborTable = (neighbors: ReadonlyArray<BgpNeighbor>, family: string, { nowMs, style, width }: Options): ReadonlyArray<string> => {
  const right = "right" as const
  const isVrfShown = neighbors.some(({ vrf }) => vrf !== "default")
  const isBfdShown = neighbors.some(({ bfd }) => bfd !== "none")
  const columns = [
    { title: "NEIGHBOR" },
    ...(isVrfShown ? [{ title: "TABLE" }] : []),
    { title: "AS", align: right },
    { title: "MSGRCVD", align: right },
    { title: "MSGSENT", align: right },
    { title: "UP/DOWN", align: right },
    { title: "STATE/PFXRCD", align: right },
    { title: "PFXSNT", align: right },
    ...(isBfdShown ? [{ title: "BFD" }] : []),
    { title: "DESCRIPTION", folds: true }
  ]
  const rows = neighbors.flatMap((one) => {
    const spoken = one.families.find((candidate) => candidate.family === family)
    if (spoken === undefined) return []
    const state = isUp(one) ? style.green(String(spoken.accepted)) : style.red(one.state)
    return [[
      printable(one.name),
      ...(isVrfShown ? [printable(one.vrf)] : []),
      one.remoteAs === 0 ? "-" : String(one.remoteAs),
      String(one.messagesReceived),
      String(one.messagesSent),
      upDown(one.sinceMs, nowMs),
      state,
      isUp(one) ? String(spoken.sent) : "-",
      ...(isBfdShown ? [bfdOf(one.bfd, style)] : []),
      printable(one.description)
    ]]
  })
  return table(columns, rows, { width, style })
}

const bfdOf = (state: string, style: Style): string => (state === "up" ? style.green(state) : state === "none" ? "-" : style.red(state))

/** All there is to say of one neighbour. */
export const neighborLines = (one: BgpNeighbor, { nowMs, style }: Options): ReadonlyArray<string> => {
  const { capabilities, description, families, lastReset, localAddress, localAs, remoteAddress, remoteRouterId } = one
  const state = isUp(one) ? style.green(one.state) : style.red(one.state)
  const kind = one.remoteAs === localAs ? "internal" : "external"
  const times = one.establishedCount === 1 ? "once" : `${one.establishedCount} times`
  return [
    `${style.bold(printable(one.name))}  ${state} for ${upDown(one.sinceMs, nowMs)}, AS ${one.remoteAs} (${kind}), our AS ${localAs}`,
    ...(description === "" ? [] : [`  ${printable(description)}`]),
    ...(one.group === "" ? [] : [`  let in by ${one.group}`]),
    `  from ${localAddress === "" ? "-" : localAddress} to ${remoteAddress === "" ? "-" : remoteAddress}, table ${printable(one.vrf)}`
      + (remoteRouterId === "" ? "" : `, router id ${remoteRouterId}`),
    ...(isUp(one) ? [`  hold time ${one.holdTimeS} s, keepalive ${one.keepaliveS} s`] : []),
    `  was up ${times}, ${one.messagesReceived} messages received, ${one.messagesSent} sent`,
    ...(one.bfd === "none" ? [] : [`  BFD ${bfdOf(one.bfd, style)}`]),
    ...(capabilities.length === 0 ? [] : [`  both can: ${capabilities.map(printable).join(", ")}`]),
    ...families.map(
      ({ accepted, complete, family, received, sent }) =>
        `  ${familyTitles[family] ?? family}: ${received} prefixes received, ${accepted} accepted, ${sent} sent`
        + (isUp(one) && !complete ? ", more may come" : "")
    ),
    ...(lastReset === "" ? [] : [`  last down: ${printable(lastReset)}`])
  ]
}

/** What stands above a table of routes: the marks, as routers have them. */
export const routesLegend = (style: Style): string =>
  style.dim("Marks: * valid, > best, = multipath, S stale, i internal    Origin: i igp, e egp, ? incomplete")

export const marksOf = ({ best, kind, multipath, stale, valid }: BgpPath): string =>
  `${stale ? "S" : valid ? "*" : " "}${best ? ">" : multipath ? "=" : " "}${kind === "internal" ? "i" : " "}`

const originLetter: Readonly<Record<string, string>> = { igp: "i", egp: "e", incomplete: "?" }

const pathOf = ({ asPath, origin }: BgpPath): string => [asPath, originLetter[origin] ?? "?"].filter((word) => word !== "").join(" ")

/** Fixed columns, so that a table of any length can be written as it comes. */
const columnsOf = (isIpv6: boolean): readonly [network: number, nextHop: number] => (isIpv6 ? [40, 40] : [18, 16])

export const routesHeading = (isIpv6: boolean, style: Style): string => {
  const [network, nextHop] = columnsOf(isIpv6)
  return style.bold(`    ${"NETWORK".padEnd(network)} ${"NEXT HOP".padEnd(nextHop)} ${" METRIC"} ${" LOCPRF"} ${" WEIGHT"} PATH`)
}

/** An address and a length as text that sorts as routers sort prefixes: by address, the shorter first. */
const orderKey = (prefix: string): string => {
  const [address = "", length = ""] = prefix.split("/")
  const octets = address.includes(":") ? groupsOf(address) : address.split(".").map((octet) => octet.padStart(3, "0"))
  return `${octets.join(".")}/${length.padStart(3, "0")}`
}

/** The eight groups of an IPv6 address, four digits each. */
const groupsOf = (address: string): ReadonlyArray<string> => {
  const [head = "", tail] = address.split("::")
  const groups = (text: string): ReadonlyArray<string> => (text === "" ? [] : text.split(":")).map((group) => group.padStart(4, "0"))
  const [before, after] = [groups(head), groups(tail ?? "")]
  return [...before, ...Array<string>(8 - before.length - after.length).fill("0000"), ...after]
}

/** Paths of a table by family and prefix; those of one prefix stay as they were, the best first. */
export const ordered = (paths: ReadonlyArray<BgpPath>): ReadonlyArray<BgpPath> =>
  paths
    .map((path) => ({ path, key: `${path.family} ${orderKey(path.prefix)}` }))
    .toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ path }) => path)

/** One path of a table; the prefix is left out where it is the one of the line before. */
export const routeLine = (path: BgpPath, before: string | undefined): string => {
  const isIpv6 = path.family === "ipv6"
  const [network, nextHop] = columnsOf(isIpv6)
  const number = (value: number | undefined): string => (value === undefined ? "" : String(value)).padStart(7)
  const prefix = path.prefix === before ? "" : path.prefix
  const head = `${marksOf(path)} ${prefix.padEnd(network)} ${path.nextHop.padEnd(nextHop)}`
  return `${head} ${number(path.med)} ${number(path.localPref)} ${number(path.weight)} ${pathOf(path)}`
}

/** All paths of one prefix. */
export const explainLines = (paths: ReadonlyArray<BgpPath>, { nowMs, style }: Options): ReadonlyArray<string> => {
  const [first] = paths
  if (first === undefined) return []
  const count = paths.length === 1 ? "1 path" : `${paths.length} paths`
  return [style.bold(`${first.prefix}: ${count}`), ...paths.flatMap((path) => pathLines(path, nowMs, style))]
}

const pathLines = (path: BgpPath, nowMs: number, style: Style): ReadonlyArray<string> => {
  const { communities, from, kind, localPref, med, more, nextHop, origin, pathId, sinceMs, weight, why } = path
  const facts = [
    `origin ${origin}`,
    ...(med === undefined ? [] : [`metric ${med}`]),
    ...(localPref === undefined ? [] : [`localpref ${localPref}`]),
    `weight ${weight}`,
    ...(pathId === 0 ? [] : [`path id ${pathId}`]),
    `since ${upDown(sinceMs, nowMs)}`
  ]
  return [
    `${marksOf(path)} ${style.cyan(path.asPath === "" ? "(local)" : path.asPath)}`,
    `      next hop ${nextHop} from ${printable(from)}, ${kind}`,
    `      ${facts.join(", ")}`,
    ...(communities.length === 0 ? [] : [`      communities ${communities.join(" ")}`]),
    ...more.map((line) => `      ${printable(line)}`),
    ...(why === "" ? [] : [`      ${path.best ? style.green(printable(why)) : printable(why)}`])
  ]
}
