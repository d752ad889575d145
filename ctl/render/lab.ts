/** A lab for reading: its nodes, ports, segments, routes and drift, in tables that fit the terminal. */

import type { InspectResponse, Node, Port } from "../messages.ts"
import type { Style } from "../terminal.ts"
import { printable } from "../terminal.ts"
import { agoOf } from "./ago.ts"
import { faultTable } from "./faults.ts"
import { naturalWidth, table } from "./table.ts"
import type { Cell, Column } from "./table.ts"

/** Good states green, passing ones yellow, bad ones red. */
export const stateOf = (state: string, style: Style): string =>
  ["ready", "up"].includes(state)
    ? style.green(state)
    : ["failed", "missing", "down", "lost", "orphaned", "unreachable"].includes(state)
      ? style.red(state)
      : style.yellow(printable(state))

export interface Options {
  readonly width: number
  readonly style: Style
  readonly routes: boolean
  readonly counters: boolean
  readonly nowMs: number
}

/** The page that `weft inspect` prints. */
export const labLines = (lab: InspectResponse, options: Options): ReadonlyArray<string> => {
  const { style } = options
  const { deployedAt, error, filename, name, state } = lab.lab
  const origin = filename === "" ? "" : ` from ${printable(filename)}`
  return [
    `${style.bold(name)}  ${stateOf(state, style)}${troubleOf(lab, style)}  `
      + `${lab.nodes.length} nodes, ${lab.segments.length} segments, on ${whereOf(lab)}`,
    style.dim(`deployed ${agoOf(deployedAt, options.nowMs)}${origin}`),
    ...(error === "" ? [] : [style.red(printable(error))]),
    ...lab.unreachable.map((reason) => style.red(printable(reason))),
    ...section("FAULTS", lab.faults.length === 0 ? [] : faultTable(lab.faults, options), style),
    ...section("NODES", nodeTable(lab, options), style),
    ...section("PORTS", portTable(lab, options), style),
    ...section("SEGMENTS", segmentTable(lab, options), style),
    ...section("TUNNELS", tunnelTable(lab, options), style),
    ...section("PROFILES", profileTable(lab, options), style),
    ...(options.routes ? section("ROUTES", routeTable(lab, options), style) : []),
    ...(options.counters ? section("COUNTERS", counterTable(lab, options), style) : []),
    ...section(
      "DRIFT",
      lab.drift.map(
        ({ action, id, reason }) =>
          `${style.yellow(action.toLowerCase().padEnd(8))}${printable(id)}  ${style.dim(printable(reason))}`
      ),
      style
    )
  ]
}

/** `, 2 nodes missing`: what a lab that was made well lacks now. */
const troubleOf = ({ lab, nodes, unreachable }: InspectResponse, style: Style): string => {
  if (lab.state !== "ready") return ""
  const missing = nodes.filter((node) => node.state === "missing").length
  if (missing > 0) return style.red(`, ${missing} ${missing === 1 ? "node" : "nodes"} missing`)
  return lab.error === "" && unreachable.length === 0 ? "" : style.red(", not all seen")
}

const hostsOf = ({ nodes }: InspectResponse): ReadonlyArray<string> => [...new Set(nodes.map(({ host }) => host))].toSorted()

/** `vm1`, or `3 hosts (h1, h2, h3)`. */
const whereOf = (lab: InspectResponse): string => {
  const hosts = hostsOf(lab)
  return hosts.length > 1 ? `${hosts.length} hosts (${printable(hosts.join(", "))})` : printable(hosts[0] ?? lab.host)
}

const section = (title: string, lines: ReadonlyArray<string>, style: Style): ReadonlyArray<string> =>
  lines.length === 0 ? [] : ["", style.bold(title), ...lines]

const labelsOf = (node: Node): string =>
  Object.entries(node.labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(", ")

/** ` f1,f2`: which faults change it. */
const markOf = ({ faults }: { readonly faults: ReadonlyArray<string> }, style: Style): string =>
  faults.length === 0 ? "" : ` ${style.yellow(printable(faults.join(",")))}`

const nodeTable = (lab: InspectResponse, { style, width }: Options): ReadonlyArray<string> => {
  const { nodes } = lab
  const isSpread = hostsOf(lab).length > 1
  return table(
    [
      { title: "NODE" },
      { title: "KIND" },
      { title: "STATE" },
      ...(isSpread ? [{ title: "HOST" }] : []),
      { title: "GROUP" },
      { title: "NAMESPACE" },
      { title: "LABELS", folds: true }
    ],
    nodes.map((node) => [
      node.name,
      node.kind,
      `${stateOf(node.state, style)}${markOf(node, style)}`,
      ...(isSpread ? [printable(node.host)] : []),
      printable(node.group),
      node.netns,
      printable(labelsOf(node))
    ]),
    { width, style }
  )
}

/** Both directions of what two hosts have between them, each as its own end sees it. */
const tunnelTable = ({ tunnels }: InspectResponse, { style, width }: Options): ReadonlyArray<string> =>
  tunnels.length === 0
    ? []
    : table(
        [
          { title: "TUNNEL" },
          { title: "STATE" },
          { title: "ROUND TRIP", align: "right" },
          { title: "BY" },
          { title: "ADDRESSES", folds: true },
          { title: "SEGMENTS", folds: true }
        ],
        tunnels.map((tunnel) => [
          printable(`${tunnel.host} > ${tunnel.peer}`),
          stateOf(tunnel.state, style),
          tunnel.rttMs === 0 ? style.dim("-") : `${tunnel.rttMs.toFixed(2)} ms`,
          printable(`${tunnel.encapsulation}${tunnel.port === 0 ? "" : ` ${tunnel.port}`}, ${tunnel.datapath}`),
          [printable(tunnel.local), printable(tunnel.remote)],
          printable(tunnel.segments.join(", "))
        ]),
        { width, style }
      )

/** One line per port where it fits; else MAC address and fabric name are stacked. */
const portTable = ({ nodes }: InspectResponse, { style, width }: Options): ReadonlyArray<string> => {
  const ports = nodes.flatMap((node) => node.ports.map((port) => ({ node, port })))
  if (ports.length === 0) return []
  const start = ({ node, port }: { node: Node; port: Port }): ReadonlyArray<Cell> => [
    `${node.name}:${printable(port.name)}`,
    stateOf(port.state, style),
    port.addresses.length === 0 ? style.dim("-") : port.addresses,
    printable(port.segment)
  ]
  const columns: ReadonlyArray<Column> = [
    { title: "PORT" },
    { title: "STATE" },
    { title: "ADDRESSES", folds: true },
    { title: "SEGMENT", folds: true }
  ]
  const wide = {
    columns: [...columns, { title: "MTU", align: "right" as const }, { title: "MAC" }, { title: "FABRIC" }],
    rows: ports.map((each) => [...start(each), String(each.port.mtu), each.port.mac, each.port.fabricName])
  }
  if (naturalWidth(wide.columns, wide.rows) <= width) return table(wide.columns, wide.rows, { width, style })
  return table(
    [...columns, { title: "MAC, FABRIC NAME" }],
    ports.map((each) => [...start(each), [each.port.mac, each.port.fabricName]]),
    { width, style }
  )
}

const segmentTable = ({ segments }: InspectResponse, { style, width }: Options): ReadonlyArray<string> =>
  segments.length === 0
    ? []
    : table(
        [
          { title: "SEGMENT" },
          { title: "KIND" },
          { title: "VNI", align: "right" },
          { title: "PREFIXES", folds: true },
          { title: "PORTS", folds: true }
        ],
        segments.map((segment) => [
          printable(segment.name),
          `${segment.kind}${markOf(segment, style)}`,
          String(segment.vni),
          segment.cidrs.join(", "),
          printable(segment.ports.join(", "))
        ]),
        { width, style }
      )

/** What links do to packets: a line for each direction. */
const profileTable = ({ segments }: InspectResponse, { style, width }: Options): ReadonlyArray<string> => {
  const links = segments.filter(({ profile }) => profile.length > 0)
  if (links.length === 0) return []
  const columns = [{ title: "LINK", folds: true }, { title: "DIRECTION AND PROFILE", folds: true }]
  return table(columns, links.map(({ name, profile }) => [printable(name), profile.map(printable)]), { width, style })
}

const routeTable = ({ nodes }: InspectResponse, { style, width }: Options): ReadonlyArray<string> => {
  const rows = nodes.flatMap((node) =>
    node.routes.map((route): ReadonlyArray<Cell> => [
      node.name,
      route.to,
      route.type === "unicast" ? (route.via.length === 0 ? "-" : route.via) : route.type,
      String(route.metric),
      route.table === 254 || route.table === 0 ? "main" : String(route.table)
    ])
  )
  return rows.length === 0
    ? []
    : table(
        [
          { title: "NODE" },
          { title: "TO", folds: true },
          { title: "VIA", folds: true },
          { title: "METRIC", align: "right" },
          { title: "TABLE" }
        ],
        rows,
        { width, style }
      )
}

const counterTable = ({ nodes }: InspectResponse, { style, width }: Options): ReadonlyArray<string> => {
  const rows = nodes.flatMap((node) =>
    node.ports.map(({ counters, name }): ReadonlyArray<Cell> => {
      const drops = Object.entries(counters?.drops ?? {})
        .filter(([, count]) => count > 0)
        .map(([reason, count]) => `${reason} ${count}`)
      const counts =
        counters === null
          ? ["-", "-", "-", "-"]
          : [counters.fromPackets, counters.fromOctets, counters.toPackets, counters.toOctets].map(String)
      return [`${node.name}:${printable(name)}`, ...counts, drops.length === 0 ? style.dim("none") : style.red(drops.join(", "))]
    })
  )
  const right = "right" as const
  return rows.length === 0
    ? []
    : table(
        [
          { title: "PORT" },
          { title: "SENT", align: right },
          { title: "OCTETS", align: right },
          { title: "RECEIVED", align: right },
          { title: "OCTETS", align: right },
          { title: "DROPS", folds: true }
        ],
        rows,
        { width, style }
      )
}
