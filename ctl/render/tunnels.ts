/** Tunnels between hosts at a glance, a line for each pair and kind; `weft inspect` has one for each end (lab.ts). */

import type { Tunnel } from "../messages.ts"
import type { Style } from "../terminal.ts"
import { printable } from "../terminal.ts"
import { table } from "./table.ts"

/**
 * Each end reports what it sees; here both are one line, and where they differ both states stand in it.
 *
 * @returns lines with a heading; empty without tunnels
 */
export const tunnelLines = (
  tunnels: ReadonlyArray<Tunnel>,
  options: { readonly width: number; readonly style: Style; readonly stateOf: (state: string, style: Style) => string }
): ReadonlyArray<string> => {
  if (tunnels.length === 0) return []
  const { stateOf, style, width } = options
  const pairs = Map.groupBy(tunnels, (tunnel) => [...[tunnel.host, tunnel.peer].toSorted(), kindOf(tunnel)].join(" "))
  const rows = [...pairs.values()]
    .map((ends) => ends.toSorted((a, b) => compare(a.host, b.host)))
    .toSorted(([a], [b]) => compare(`${a!.host} ${a!.peer}`, `${b!.host} ${b!.peer}`))
    .map((ends) => {
      const [first] = ends
      const states = [...new Set(ends.map(({ state }) => state))]
      const rtt = ends.find(({ rttMs }) => rttMs > 0)?.rttMs
      const segments = [...new Set(ends.flatMap((end) => end.segments))].toSorted(compare)
      return [
        printable(`${first!.host} - ${first!.peer}`),
        printable(kindOf(first!)),
        rtt === undefined ? style.dim("-") : `${rtt.toFixed(2)} ms`,
        states.map((state) => stateOf(state, style)).join("/"),
        printable(segments.join(", "))
      ]
    })
  const columns = [
    { title: "HOSTS" },
    { title: "TUNNEL" },
    { title: "RTT", align: "right" },
    { title: "STATE" },
    { title: "SEGMENTS", folds: true }
  ] as const
  return table(columns, rows, { width, style })
}

/** `vxlan :4789 kernel`; GRE has no port. */
const kindOf = ({ datapath, encapsulation, port }: Tunnel): string => `${encapsulation}${port === 0 ? "" : ` :${port}`} ${datapath}`

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
