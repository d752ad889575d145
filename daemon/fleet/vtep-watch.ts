/**
 * Whether the underlay carries anything to the hosts that this one shares segments with: an ICMP echo a second to each
 * of their addresses. It says nothing about a tunnel's own port, but it is what tells a cut cable from a quiet lab, and
 * it works without etcd and without the far daemon.
 */
import { ping } from "../linux/icmp.ts"
import type { EventLog } from "../observe/events.ts"
import type { Plan, TunnelSpec } from "../plan/resource.ts"
import type { TunnelInspection } from "../reconciler/control.ts"
import type { Store } from "../store/store.ts"

const everyMs = 1000
const patienceMs = 900
/** Echoes in a row without an answer: one may be lost. */
const missesToDown = 2
const ownNetns = "/proc/self/ns/net"

interface Sight {
  state: "unknown" | "up" | "down"
  since: string
  rttMs: number
  misses: number
}

export interface VtepWatchParts {
  readonly host: string
  /** Underlay address of this host. */
  readonly underlay: string
  readonly store: Store
  readonly events: EventLog
  /** Host that has this underlay address, or the address where nobody knows. */
  readonly nameOf: (address: string) => string
  /** How a tunnel is carried where its `datapath` is `auto`. */
  readonly datapathOf: (tunnel: TunnelSpec) => string
  /** Whether the kernel's device of this UDP port, on this host, is there and works. */
  readonly isWhole: (port: number) => boolean
}

const tunnelsIn = (plan: Plan): ReadonlyArray<{ readonly name: string; readonly tunnel: TunnelSpec }> =>
  plan.resources.flatMap((resource) =>
    resource.kind === "segment" && resource.spec.tunnel !== undefined ? [{ name: resource.spec.name, tunnel: resource.spec.tunnel }] : []
  )

export class VtepWatch {
  readonly #parts: VtepWatchParts
  readonly #seen = new Map<string, Sight>()
  readonly #timer: NodeJS.Timeout
  #looking: Promise<void> = Promise.resolve()
  #busy = false
  #closed = false

  constructor(parts: VtepWatchParts) {
    this.#parts = parts
    this.#timer = setInterval(() => {
      if (!this.#busy) this.#looking = this.#look()
    }, everyMs)
    this.#timer.unref()
  }

  /** The tunnels of a part, one for each far end and way of carrying, as this host sees them. */
  tunnelsOf(plan: Plan): ReadonlyArray<TunnelInspection> {
    const { datapathOf, host, isWhole, nameOf, underlay } = this.#parts
    const tunnels = new Map<string, TunnelInspection>()
    for (const { name, tunnel } of tunnelsIn(plan)) {
      const { encapsulation, port } = tunnel
      const datapath = tunnel.datapath === "auto" ? datapathOf(tunnel) : tunnel.datapath
      for (const remote of tunnel.vteps) {
        const key = JSON.stringify([remote, encapsulation, port, datapath])
        const before = tunnels.get(key)
        const { rttMs = 0, since = "", state = "unknown" } = this.#seen.get(remote) ?? {}
        const ends = { host, peer: nameOf(remote), local: underlay, remote }
        // An answer to an echo says nothing about a device that is down.
        const seen = datapath === "kernel" && !isWhole(port) ? "down" : state
        const carried = { encapsulation, port: encapsulation === "gre" ? 0 : port, datapath }
        tunnels.set(key, { ...ends, ...carried, state: seen, since, rttMs, segments: [...(before?.segments ?? []), name].toSorted() })
      }
    }
    return [...tunnels.values()].toSorted((a, b) => (a.peer < b.peer ? -1 : a.peer > b.peer ? 1 : 0))
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#looking
  }

  async #look(): Promise<void> {
    this.#busy = true
    try {
      const labs = await this.#parts.store.labs()
      const remotes = new Set(labs.flatMap(({ plan }) => tunnelsIn(plan).flatMap(({ tunnel }) => tunnel.vteps)))
      for (const address of this.#seen.keys()) if (!remotes.has(address)) this.#seen.delete(address)
      await Promise.all([...remotes].map((address) => this.#ask(address)))
    } finally {
      this.#busy = false
    }
  }

  async #ask(address: string): Promise<void> {
    const sight: Sight = this.#seen.get(address) ?? { state: "unknown", since: new Date().toISOString(), rttMs: 0, misses: 0 }
    this.#seen.set(address, sight)
    const answer = await ping(ownNetns, address, patienceMs)
    if (this.#closed) return
    if (answer.ok) {
      sight.misses = 0
      sight.rttMs = answer.rttMs
      this.#become(address, sight, "up", "")
      return
    }
    sight.misses += 1
    if (sight.misses >= missesToDown) this.#become(address, sight, "down", answer.reason)
  }

  #become(address: string, sight: Sight, state: "up" | "down", reason: string): void {
    const before = sight.state
    if (before === state) return
    sight.state = state
    sight.since = new Date().toISOString()
    if (state === "down") sight.rttMs = 0
    // That it works from the start is no news.
    if (before === "unknown" && state === "up") return
    const { events, host, nameOf } = this.#parts
    const peer = nameOf(address)
    const message = state === "up" ? "answers again" : `does not answer: ${reason}`
    events.emit({ lab: "", type: `tunnel.${state}`, subject: peer, message: `underlay from ${host} to ${peer} (${address}) ${message}` })
  }
}
