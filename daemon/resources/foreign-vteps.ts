/**
 * Tunnel ends of networks towards VTEPs that are no hosts of ours: routers that have joined by EVPN (evpn/).
 *
 * They are members of the network's segment like those of the plan, and nobody plans them: `segment.ts` leaves them alone when
 * it looks at a network and keeps them when it sets one. Only the kernel's VXLAN leads to them.
 */
import { noMac, type PortProgram } from "../linux/bpf.ts"
import type { Tunnels } from "./tunnel.ts"

/** Ends to have in one network. */
export interface Foreign {
  readonly vni: number
  /** UDP port of the network's tunnels. */
  readonly port: number
  /** Canonical text, none of them in the plan. */
  readonly remotes: ReadonlyArray<string>
}

export class ForeignVteps {
  readonly #program: PortProgram
  readonly #tunnels: Tunnels
  readonly #wanted = new Map<number, Foreign>()

  constructor(program: PortProgram, tunnels: Tunnels) {
    this.#program = program
    this.#tunnels = tunnels
  }

  has(vni: number, remote: string): boolean {
    return this.#wanted.get(vni)?.remotes.includes(remote) === true
  }

  /** The indexes of the ends of a network, as far as they are there. */
  indexesOf(vni: number): ReadonlyArray<number> {
    const wanted = this.#wanted.get(vni)
    if (wanted === undefined) return []
    return [...this.#program.tunnelEndsOf(vni)].filter((index) => wanted.remotes.includes(this.#program.tunnelEnds().get(index)!.remote))
  }

  /** Makes what is missing and removes what is not wanted any more. The network has to be there. @throws KernelError */
  set(foreign: Foreign): void {
    const { port, remotes, vni } = foreign
    const before = this.#wanted.get(vni)
    const gone = this.indexesOf(vni).filter((index) => !remotes.includes(this.#program.tunnelEnds().get(index)!.remote))
    if (remotes.length === 0) this.#wanted.delete(vni)
    else this.#wanted.set(vni, foreign)
    if (before !== undefined) this.#tunnels.remove(gone)
    for (const remote of remotes) {
      // The devices that are there now: the reconciler may have looked, made and removed some meanwhile.
      this.#tunnels.look()
      const index = this.#tunnels.add(port, vni, remote)
      const entry = this.#program.ports().get(index)?.port
      if (entry?.kind === "network" && entry.segment === vni) continue
      this.#program.setPort(index, { kind: "network", segment: vni, mac: noMac, tunnel: true })
    }
  }

  /** The network has gone, and its ends with it. */
  forget(vni: number): void {
    const indexes = this.indexesOf(vni)
    this.#wanted.delete(vni)
    this.#tunnels.remove(indexes)
  }

  /** VNIs that have ends. */
  vnis(): ReadonlyArray<number> {
    return [...this.#wanted.keys()]
  }
}
