/** What people are shown of a lab's kernel side, as plain data. */
import type { Counters } from "../linux/bpf.ts"
import type { Lab } from "../resources/lab.ts"

export interface PortView {
  /** ifindex inside the node. */
  readonly index: number
  /** Both ends are up. */
  readonly up: boolean
  readonly mac: string
  readonly mtu: number
  readonly counters: Counters | undefined
}

export interface LabView {
  /** By `node:ifname`; those that exist. */
  readonly ports: ReadonlyMap<string, PortView>
  /** Nodes whose namespace exists. */
  readonly nodes: ReadonlySet<string>
}

export const viewOf = (lab: Lab): LabView => {
  const ports = new Map<string, PortView>()
  const counters = lab.daemon.program.countersAll()
  for (const [port, { node, ifname, link }] of lab.snapshot.fabricPorts) {
    const inside = lab.snapshot.nodes.get(node)?.links.get(ifname)
    if (inside === undefined) continue
    const up = inside.up && inside.carrier
    ports.set(port, { index: inside.index, up, mac: inside.mac, mtu: inside.mtu, counters: counters.get(link.index) })
  }
  return { ports, nodes: new Set(lab.snapshot.nodes.keys()) }
}
