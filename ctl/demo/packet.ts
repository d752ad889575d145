/** One packet, seen twice: as its node sends it, and inside its tunnel on the underlay. */

import { setTimeout as wait } from "node:timers/promises"
import type { CaptureCall, Client } from "../client.ts"
import type { InspectResponse } from "../messages.ts"
import { print, styleOf } from "../terminal.ts"
import { hostsIn, indent, siteOf } from "./show.ts"

const patienceMs = 20_000
/** What VXLAN over IPv4 adds: Ethernet, IPv4, UDP and VXLAN headers (RFC 7348 5). */
const vxlanOctets = 14 + 20 + 8 + 8

/** Shows a ping from the office to the IDC. Returns what is not as it should be. */
export const showPacket = async (client: Client, lab: InspectResponse): Promise<ReadonlyArray<string>> => {
  const [from, to] = ["office", "idc"].map((site) => hostsIn(lab).find((node) => siteOf(node) === site))
  // The load is shared by several: nobody knows which of them the ping takes.
  const tunnels = lab.segments.filter(({ ports }) => isVpn(ports))
  if (from === undefined || to === undefined || tunnels.length === 0) return []

  const ports = tunnels.map(({ ports: [port] }) => `${lab.lab.name}/${port!}`)
  const common = { ports, count: 0, durationMs: patienceMs, snaplen: 0, text: true }
  const inner = linesOf(client.capture({ ...common, filter: "icmp[0] = 8" }))
  const outer = linesOf(client.capture({ ...common, filter: "", tunnel: true }))
  const deadline = performance.now() + patienceMs
  let pair: readonly [string, string] | undefined
  while (pair === undefined && performance.now() < deadline) {
    for await (const _ of client.reach({ lab: lab.lab.name, nodes: [from.name, to.name], timeoutMs: 500, ipv6: false }));
    for (let tries = 0; tries < 10 && pair === undefined; tries++) {
      await wait(20)
      pair = matching(inner.lines, outer.lines)
    }
  }
  inner.end()
  outer.end()
  if (pair === undefined) return [`no ping from ${from.name} to ${to.name} was seen in a tunnel`]
  const style = styleOf(process.stdout)
  const segment = tunnels.find(({ ports }) => portOf(pair[0]) === ports[0])
  const port = segment?.ports[0] ?? "the tunnel"
  print("")
  print(`${indent}${`${port} sends`.padEnd(20)} ${withoutTime(pair[0])}`)
  print(`${indent}${"the underlay carries".padEnd(20)} ${withoutTime(pair[1])} ${style.dim(`VXLAN, VNI ${segment?.vni ?? "?"}`)}`)
  return []
}

/** A private link of the office. */
const isVpn = (ports: ReadonlyArray<string>): boolean => ports[0]?.startsWith("fw:vpn") ?? false

interface Lines {
  readonly lines: ReadonlyArray<string>
  readonly end: () => void
}

/** Collects what a capture says until it is ended. A capture that fails has no lines. */
const linesOf = (call: CaptureCall): Lines => {
  const lines: Array<string> = []
  const reading = async (): Promise<void> => {
    for await (const message of call) {
      if (message.message === "text") lines.push(...message.text.split("\n").filter((line) => line !== ""))
    }
  }
  reading().catch(() => {})
  return { lines, end: () => call.cancel() }
}

/** `... (98)`: octets of the frame. */
const lengthOf = (line: string): number => Number(/\((\d+)\)$/.exec(line)?.[1] ?? 0)

/** Of a line about a packet that left, with or without its lab: `fw:vpn`. */
const portOf = (line: string): string | undefined => /([^\s/]+) +out  /.exec(line)?.[1]

/** A packet that left, and the first on the underlay that is longer by what a tunnel adds. */
const matching = (inner: ReadonlyArray<string>, outer: ReadonlyArray<string>): readonly [string, string] | undefined => {
  const first = inner.find((line) => line.includes("  out  "))
  if (first === undefined) return undefined
  const port = portOf(first)
  const around = outer.find((line) => portOf(line) === `${port}@underlay` && lengthOf(line) === lengthOf(first) + vxlanOctets)
  return around === undefined ? undefined : [first, around]
}

/** `02:00:59.934160  demo/fw:vpn@underlay  out  10.99.0.1 > ...` without what is before the addresses. */
const withoutTime = (line: string): string => line.replace(/^.*? out +/, "")
