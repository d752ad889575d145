/** What the demo shows of its lab. Each function prints, and returns what is not as it should be. */

import type { HostInfo, InspectResponse, Node, ReachResult } from "../messages.ts"
import { stateOf } from "../render/lab.ts"
import { matrixLines } from "../render/reach.ts"
import { table } from "../render/table.ts"
import { tunnelLines } from "../render/tunnels.ts"
import { print, styleOf, widthOf } from "../terminal.ts"

type Problems = ReadonlyArray<string>

export const indent = "      "
const roomOf = (): number => Math.min(100, widthOf(process.stdout)) - indent.length

export const siteOf = (node: Node | undefined): string => node?.labels["site"] ?? ""

export const hostsIn = (lab: InspectResponse): ReadonlyArray<Node> => lab.nodes.filter(({ kind }) => kind === "host")

const isSpread = (nodes: ReadonlyArray<Node>): boolean => new Set(nodes.map(({ host }) => host)).size > 1

/** The internet knows no private address: from there the sites must not be reachable, and everything else must be. */
const expectation = (hosts: ReadonlyArray<Node>) => {
  const sites = new Map(hosts.map((host) => [host.name, siteOf(host)]))
  return (from: string, to: string): boolean => sites.get(from) !== "internet" || sites.get(to) === "internet"
}

/** Pairs that reach each other and should not, or the other way round. */
export const surprisesOf = (lab: InspectResponse, results: ReadonlyArray<ReachResult>): ReadonlyArray<ReachResult> => {
  const expected = expectation(hostsIn(lab))
  return results.filter(({ from, icmp, tcp, to }) => icmp !== expected(from, to) || tcp !== expected(from, to))
}

/** Which host has what. */
export const showHosts = ({ nodes }: InspectResponse, hosts: ReadonlyArray<HostInfo>): Problems => {
  const style = styleOf(process.stdout)
  const rows = hosts.map(({ capacity, name, underlay }) => {
    const here = nodes.filter(({ host }) => host === name)
    const sites = [...new Set(here.map(siteOf))].join(", ")
    return [name, underlay, String(capacity), sites, here.map((node) => node.name).join(" ")]
  })
  const columns = [
    { title: "HOST" },
    { title: "UNDERLAY" },
    { title: "CAPACITY", align: "right" },
    { title: "SITES" },
    { title: "NODES", folds: true }
  ] as const
  print("")
  for (const line of table(columns, rows, { width: roomOf(), style })) print(indent + line)
  print("")
  const empty = hosts.filter(({ name }) => !nodes.some(({ host }) => host === name))
  return empty.map(({ name }) => `nothing was placed on ${name}`)
}

export const showTunnels = ({ tunnels, unreachable }: InspectResponse): Problems => {
  const style = styleOf(process.stdout)
  for (const line of tunnelLines(tunnels, { width: roomOf(), style, stateOf })) print(indent + line)
  return [
    ...(tunnels.length === 0 ? ["no tunnels between the hosts"] : []),
    ...tunnels.filter(({ state }) => state !== "up").map(({ host, peer, state }) => `the tunnel from ${host} to ${peer} is ${state}`),
    ...unreachable
  ]
}

export const showMatrix = (lab: InspectResponse, results: ReadonlyArray<ReachResult>): Problems => {
  const style = styleOf(process.stdout)
  const hosts = hostsIn(lab)
  const expected = expectation(hosts)
  const spread = isSpread(lab.nodes)
  const rows = hosts.map((host) => ({ name: host.name, site: spread ? `${host.host} ${siteOf(host)}` : siteOf(host) }))
  print("")
  for (const line of matrixLines(rows, results, { width: roomOf(), style, expected })) print(indent + line)
  print(style.dim(`${indent}✓✓ = answers ping and TCP, round trip in ms; ✗✗ from the internet is`))
  print(style.dim(`${indent}right: nobody out there knows the private addresses`))
  print("")
  const wanted = hosts.length * (hosts.length - 1)
  const missing = results.length === wanted ? [] : [`${wanted - results.length} of ${wanted} pairs were not tried`]
  return [
    ...missing,
    ...surprisesOf(lab, results).map(({ address, error, from, to }) =>
      expected(from, to)
        ? `${from} does not reach ${to} (${address}): ${error || "no answer"}`
        : `${from} reaches ${to} (${address}), though the internet should not know that address`
    )
  ]
}

export const showAddresses = (lab: InspectResponse, results: ReadonlyArray<ReachResult>): Problems => {
  const style = styleOf(process.stdout)
  const hosts = hostsIn(lab)
  const client = hosts.find((host) => siteOf(host) === "office")
  if (client === undefined) return ["the topology has no host with the label site=office"]
  const others = hosts.filter((host) => siteOf(host) !== "office")
  const widest = Math.max(...others.map(({ name }) => name.length))
  return others.flatMap((host) => {
    const result = results.find(({ from, to }) => from === client.name && to === host.name)
    if (result === undefined || !result.tcp)
      return [`${client.name} has no connection to ${host.name}, so its address cannot be seen there`]
    const translated = result.seenAs !== result.source
    const right = translated === (siteOf(host) === "internet")
    const verdict = translated ? "NAT" : "no NAT"
    print(
      `${indent}${client.name} ${result.source} → ${host.name.padEnd(widest)}  ${siteOf(host).padEnd(8)}  `
        + `arrives as ${result.seenAs.padEnd(15)} ${right ? style.green(`✓ ${verdict}`) : style.red(`✗ ${verdict}`)}`
    )
    return right ? [] : [`${client.name} arrives at ${host.name} as ${result.seenAs} (${verdict}), which is wrong`]
  })
}

export interface Keeping {
  readonly lab: InspectResponse
  readonly address: string
  /** Namespace with the host side of the client's port. */
  readonly fabric: string
  /** What ends it. */
  readonly end: string
  /** More to try, before the end. */
  readonly more: ReadonlyArray<string>
}

/** After `--keep`. */
export const whatToTry = ({ address, end, fabric, lab, more }: Keeping): void => {
  const style = styleOf(process.stdout)
  const hosts = hostsIn(lab)
  const client = hosts.find((host) => siteOf(host) === "office") ?? hosts[0]
  const server = hosts.find((host) => siteOf(host) === "idc") ?? hosts.at(-1)
  const port = client?.ports.find(({ fabricName }) => fabricName !== "")
  print(`\n${style.bold("It is still running. Try:")}`)
  for (const line of [
    `export WEFT_DAEMON=${address}`,
    "bin/weft list",
    `bin/weft inspect ${lab.lab.name} --routes`,
    `bin/weft exec -it ${client?.name} -- bash`,
    `bin/weft exec ${client?.name} -- ping -c 3 ${server?.name}`,
    `ip netns exec ${client?.netns} ip address`,
    `ip netns exec ${fabric} tcpdump -ni ${port?.fabricName}`,
    `bin/weft graph ${lab.lab.name} -w lab.svg`,
    ...more,
    `${end}    ${style.dim("# the end")}`
  ])
    print(`  ${line}`)
}
