/**
 * Kernel routes as who knows routers reads them: a line for each, with the letters of `show ip route`, and one more for each further
 * way. Pure: messages in, lines out.
 */

import type { KernelRoute, RouteWay } from "../messages.ts"
import { printable, type Style } from "../terminal.ts"

export const routesLegend = (style: Style): string =>
  style.dim("Codes: K kernel, C connected, L local, S static, B BGP    > selected, * packets take it")

const familyTitles: Readonly<Record<string, string>> = { ipv4: "IPv4", ipv6: "IPv6" }
const mainTable = 254

/** What stands above the routes of one family and table. */
export const tableTitle = ({ family, table }: KernelRoute, style: Style): string =>
  style.bold(`${familyTitles[family] ?? family}, table ${table === mainTable ? "main" : table}`)

const isUsable = ({ type, ways }: KernelRoute): boolean => type !== "unicast" || ways.some(({ down }) => !down)

const wayText = ({ backup, down, gateway, ifname, weight }: RouteWay, isWeighted: boolean, style: Style): string => {
  const to = gateway === "" ? `is directly connected, ${printable(ifname)}` : `via ${gateway}, ${printable(ifname)}`
  const notes = [
    ...(isWeighted && !backup ? [`weight ${weight}`] : []),
    ...(backup ? [style.dim("backup")] : []),
    ...(down ? [style.red("link down")] : [])
  ]
  return [to, ...notes].join(", ")
}

const discarding: ReadonlySet<string> = new Set(["blackhole", "unreachable", "prohibit", "throw"])

/** The lines of one route. */
export const routeLines = (route: KernelRoute, style: Style): ReadonlyArray<string> => {
  const { code, metric, prefix, selected, source, type, ways } = route
  const marks = selected ? (isUsable(route) ? style.green(">*") : "> ") : "  "
  const head = `${printable(code)}${marks} ${prefix} [${metric}] `
  const indent = " ".repeat(4 + `${prefix} [${metric}] `.length)
  const from = source === "" || code === "C" || code === "L" ? "" : `, source ${source}`
  if (type === "local") return [`${head}is this node's own${ways[0] === undefined ? "" : `, ${printable(ways[0].ifname)}`}`]
  // In IPv6 the kernel names an interface (lo) with these, too.
  if (ways.length === 0 || discarding.has(type)) {
    return [`${head}${type === "unicast" ? style.red("nexthop unknown") : printable(type)}${from}`]
  }
  const winners = ways.filter(({ backup }) => !backup)
  const isWeighted = new Set(winners.map(({ weight }) => weight)).size > 1
  return ways.map((way, i) => `${i === 0 ? head : indent}${wayText(way, isWeighted, style)}${i === 0 ? from : ""}`)
}
