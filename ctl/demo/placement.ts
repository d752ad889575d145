/** Which site of the demo's topology is on which host. */

import type { Topology } from "../messages.ts"

export const fewestHosts = 2
export const mostHosts = 5

export const hostsOf = (count: number): ReadonlyArray<string> => Array.from({ length: count }, (_, index) => `host${index + 1}`)

/** Groups of the topology by number of hosts: each has a host of its own as far as there are enough. */
const sites: Readonly<Record<number, Readonly<Record<string, number>>>> = {
  2: { office: 1, internet: 1, idc: 2, aws: 2 },
  3: { office: 1, internet: 1, idc: 2, aws: 3 },
  4: { office: 1, idc: 2, aws: 3, internet: 4 },
  5: { office: 1, idc: 2, aws: 3, internet: 4 }
}

/** With five hosts the data centre has two: its network and its core link then span both. */
const nodesOfFifth = ["idc-r2", "db"]

/** The topology with a `host` for every group. */
export const placed = async (topology: Topology, count: number): Promise<Topology> => {
  const { parseDocument } = await import("yaml")
  const document = parseDocument(Buffer.from(topology.content).toString("utf8"))
  for (const [site, host] of Object.entries(sites[count] ?? {})) document.setIn(["groups", site, "host"], `host${host}`)
  if (count === mostHosts) for (const node of nodesOfFifth) document.setIn(["nodes", node, "host"], `host${count}`)
  return { ...topology, content: Buffer.from(document.toString()) }
}
