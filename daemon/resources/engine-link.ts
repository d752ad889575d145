/**
 * Links that are not plain wires: their frames take a way through the engine, which delays, drops and paces them.
 *
 *   node A                     fabric                                        node B
 *   eth1 ==veth== pA --program--> tA ~~ engine ~~> tB --program--redirect_peer--> eth1
 *   eth1 <--redirect_peer--program-- tA <~~ engine ~~ tB <--program-- pB ==veth== eth1
 *
 * tA and tB are TAPs, one beside each port. `resources/segment.ts` points the ports at them or, for a plain wire, at each
 * other: that is one map value each, so a running link changes its way and its nodes do not notice.
 *
 * While weftd is away nobody reads the TAPs: a link with a profile is down, and the next start makes its TAPs anew. The
 * engine runs only while some link, tunnel or BFD session needs it. TAPs outlive it: when it dies, it is started again on the same ones.
 */
import { hash } from "node:crypto"
import { closeSync } from "node:fs"
import { setTimeout as pause } from "node:timers/promises"
import type { BfdChange, BfdChannel, BfdOptions, BfdStatus, BfdTimers } from "../datapath/bfd-api.ts"
import type { PortProgram } from "../linux/bpf.ts"
import { KernelError, reasonOf } from "../linux/errors.ts"
import * as Fabric from "../linux/fabric.ts"
import type { Netns } from "../linux/netns.ts"
import { Batch } from "../linux/rtnetlink.ts"
import { openTap, type Tap } from "../linux/tap.ts"
import type { LinkProfile, LinkProfiles } from "../plan/link-profile.ts"
import * as Link from "../wire/rtnetlink/link.ts"
import * as Tc from "../wire/rtnetlink/tc.ts"
import { type EngineTunnel, type EngineTunnelSpec, sameTunnel, type TunnelEnd, type TunnelStats } from "./engine-tunnel.ts"
import { tunnelEnd, tunnelTapName } from "./engine-tunnel.ts"

/** What carries the frames: `datapath/engine.ts`, which `main.ts` brings. */
export interface LinkEngine {
  /** Takes the TAPs' descriptors over. */
  addLink(id: string, link: { readonly tapA: number; readonly tapB: number; readonly profiles: LinkProfiles }): void
  /** All but the seed, which stays. */
  setProfiles(id: string, profiles: LinkProfiles): void
  /** Resolves when the descriptors are closed. */
  removeLink(id: string): Promise<void>
  /** Takes the TAP's descriptor over; rejects when the sockets cannot be had. */
  addTunnel(id: string, tap: number, end: TunnelEnd): Promise<void>
  setTunnelProfile(id: string, profile: LinkProfile): void
  removeTunnel(id: string): Promise<void>
  /** Rejects when the engine has ended. */
  allStats(): Promise<TunnelStats>
  /** As in `datapath/engine.ts`, for BFD. */
  addBfd(id: string, options: BfdOptions): Promise<void>
  setBfd(id: string, timers: Partial<BfdTimers>): void
  removeBfd(id: string): void
  pauseBfd(netns: string, isPaused: boolean): void
  bfdStates(): Promise<ReadonlyArray<BfdStatus>>
  onBfd(callback: (change: BfdChange) => void): void
  bfdPort(): BfdChannel
  /** Called when the engine ends without having been closed; its descriptors are closed by then. */
  onExit(callback: (error: Error) => void): void
  close(): Promise<void>
}

/** What the segment says of such a link. */
export interface EngineLinkSpec {
  readonly lab: string
  /** In any order. */
  readonly ports: ReadonlyArray<string>
  /** The ports, in the order by which `profiles` names them. */
  readonly endpoints: readonly [a: string, b: string]
  readonly profiles: LinkProfiles
}

export interface EngineLink extends EngineLinkSpec {
  /** By port, ifindex of the TAP beside it. */
  readonly taps: ReadonlyMap<string, number>
  /** Nothing is sent this way any more; what is on its way still arrives. */
  readonly draining?: NodeJS.Timeout | "now"
}

interface Parts {
  readonly fabric: Netns
  readonly program: PortProgram
  readonly start: () => Promise<LinkEngine>
  /** Something that whoever runs the daemon wants to know. */
  readonly tell: (message: string) => void
}

/** Larger than any port's: what a TAP lets through is not what limits a link. */
const tapMtu = 65_521
const restartPauseMs = 100
const longestDrainMs = 3000

const base32 = "abcdefghijklmnopqrstuvwxyz234567"

/** As a port's host side is called (`node.hash`), with a dash; other links of the same port have other names. */
const tapName = (id: string, port: string): string => {
  const digits = hash("sha256", `tap\0${id}\0${port}`, "buffer").subarray(0, 10)
  return `${port.slice(0, port.indexOf(":")).slice(0, 4)}-${Array.from(digits, (digit) => base32[digit & 31]).join("")}`
}

/** How long a frame may be under way in this direction. */
const transitMs = ({ delayMs = 0, jitter, queue, rateBps, trace }: LinkProfile): number => {
  // A recording may have any gap.
  if (trace !== undefined) return longestDrainMs
  const waiting = rateBps === undefined ? 0 : queue?.ms ?? (((queue?.octets ?? 0) * 8000) / rateBps || 100)
  return delayMs + 4 * (jitter?.ms ?? 0) + waiting
}

const drainMs = ({ aToB, bToA }: LinkProfiles): number => Math.min(longestDrainMs, 50 + Math.max(transitMs(aToB), transitMs(bToA)))

/** The engine's a is the first port by name: so swapping the endpoints of a running link swaps its profiles, not its TAPs. */
const engineProfiles = ({ endpoints, ports, profiles }: EngineLinkSpec): LinkProfiles =>
  endpoints[0] === ports.toSorted()[0] ? profiles : { ...profiles, aToB: profiles.bToA, bToA: profiles.aToB }

/** Of the TAPs' entries. They have no node behind them, so no frame is addressed to it. */
const noMac = "00:00:00:00:00:00"

/** Points the program's ports at the link's TAPs, after those point back at them. */
export const leadThrough = (
  program: PortProgram,
  { taps }: EngineLink,
  ends: ReadonlyArray<{ readonly port: string; readonly index: number; readonly mac: string }>
): void => {
  const beside = ends.map(({ port }) => taps.get(port)!)
  program.setPorts(ends.map(({ index }, i) => [beside[i]!, { kind: "p2p", peer: index, mac: noMac }]))
  for (const tap of beside) program.setVisible(tap, true)
  program.setPorts(ends.map(({ index, mac }, i) => [index, { kind: "p2p", peer: beside[i]!, mac }]))
}

const samePorts = (a: EngineLinkSpec, b: EngineLinkSpec): boolean => a.ports.toSorted().join() === b.ports.toSorted().join()

export class EngineLinks {
  private readonly parts: Parts
  private readonly links = new Map<string, EngineLink>()
  /** ifindex of a TAP -> that of the link's other one. */
  private readonly twins = new Map<number, number>()
  private readonly tunnels = new Map<string, EngineTunnel>()
  /** Who needs the engine for something else. */
  private readonly holders = new Set<string>()
  private startCallback: ((engine: LinkEngine) => void) | undefined
  private engine: LinkEngine | undefined
  private closing = false
  /** Labs change side by side; the engine's links change one after the other. */
  private turn: Promise<unknown> = Promise.resolve()
  /** Links that end in the next turn, all at once: the kernel takes as long for one interface as for many. */
  private readonly leaving = new Set<string>()
  private departure: Promise<void> | undefined

  constructor(parts: Parts) {
    this.parts = parts
  }

  /** The link `id` as it is carried now; undefined when it is not. */
  get(id: string): EngineLink | undefined {
    const link = this.links.get(id)
    return link?.draining === undefined && this.engine !== undefined ? link : undefined
  }

  /** The tunnel `id` as it is carried now; undefined when it is not. */
  getTunnel(id: string): EngineTunnel | undefined {
    const tunnel = this.tunnels.get(id)
    return tunnel?.draining === undefined && this.engine !== undefined ? tunnel : undefined
  }

  /** The tunnels whose ids begin with `prefix`, as they are carried now, by id. */
  tunnelsOf(prefix: string): ReadonlyMap<string, EngineTunnel> {
    const ids = [...this.tunnels.keys()].filter((id) => id.startsWith(prefix))
    return new Map(ids.flatMap((id) => (this.getTunnel(id) === undefined ? [] : [[id, this.getTunnel(id)!] as const])))
  }

  /** What passed through tunnels and what was refused; undefined while there is no engine. Counts begin with the engine. */
  async tunnelStats(): Promise<TunnelStats | undefined> {
    return this.engine?.allStats().catch(() => undefined)
  }

  /** Has the engine run, from now until `release` of the same holder, and again after it has died. */
  hold(holder: string): Promise<LinkEngine> {
    this.holders.add(holder)
    return this.alone(holder, () => {
      if (this.closing) throw new Error("weftd is stopping")
      return this.running()
    })
  }

  /** The holder needs the engine no more. */
  releaseHold(holder: string): Promise<void> {
    if (!this.holders.delete(holder)) return Promise.resolve()
    return this.alone(holder, () => this.endIfIdle())
  }

  /** The engine that runs. */
  get runningEngine(): LinkEngine | undefined {
    return this.engine
  }

  /** Calls back with each engine that starts, before anybody else gets it. */
  onStart(callback: (engine: LinkEngine) => void): void {
    this.startCallback = callback
  }

  /** A channel for BFD sessions of the routing thread; the engine runs from then on. */
  async openBfd(): Promise<BfdChannel> {
    return (await this.hold("routing")).bfdPort()
  }

  /** Whether the interface `index` is the TAP of a link or a tunnel. */
  uses(index: number): boolean {
    return this.twins.has(index) || [...this.tunnels.values()].some(({ tap }) => tap === index)
  }

  /** The host side at the far end of the link of host side `index`: its own far end, or the one behind the TAPs. */
  farEnd(index: number): number | undefined {
    const entries = this.parts.program.ports()
    const first = entries.get(index)?.port
    if (first?.kind !== "p2p") return undefined
    const twin = this.twins.get(first.peer)
    if (twin === undefined) return first.peer
    const last = entries.get(twin)?.port
    return last?.kind === "p2p" ? last.peer : undefined
  }

  /**
   * Has the engine carry the link with these profiles, and returns it. Its TAPs are up; nothing leads to them yet.
   * `interfaces`: the TAPs that were there when somebody last looked; one that was deleted is made anew.
   */
  set(id: string, spec: EngineLinkSpec, interfaces: ReadonlyMap<number, unknown>): Promise<EngineLink> {
    return this.alone(id, async () => {
      if (this.closing) throw new Error("weftd is stopping")
      let link = this.links.get(id)
      const fits = link !== undefined && link.profiles.seed === spec.profiles.seed && samePorts(link, spec)
      if (link !== undefined && !(fits && [...link.taps.values()].every((tap) => interfaces.has(tap)))) {
        await this.drop([id])
        link = undefined
      }
      const engine = await this.running()
      if (link === undefined) {
        const made = this.carry(engine, id, spec)
        this.links.set(id, made)
        return made
      }
      clearTimeout(link.draining)
      const { draining: _, ...changed } = { ...this.links.get(id)!, ...spec }
      engine.setProfiles(id, engineProfiles(spec))
      this.links.set(id, changed)
      return changed
    })
  }

  /**
   * Has the engine carry the tunnel, and returns it. Its TAP is up; nothing leads to it yet. Changing the profile is done
   * in place, anything else makes the tunnel, and its TAP, anew. Rejects with KernelError when the port is taken.
   * `interfaces`: as for `set`.
   */
  setTunnel(id: string, spec: EngineTunnelSpec, interfaces: ReadonlyMap<number, unknown>): Promise<EngineTunnel> {
    return this.alone(id, async () => {
      if (this.closing) throw new Error("weftd is stopping")
      const before = this.tunnels.get(id)
      if (before !== undefined && sameTunnel(before, spec) && interfaces.has(before.tap)) {
        clearTimeout(before.draining)
        const engine = await this.running()
        engine.setTunnelProfile(id, spec.profile ?? {})
        const tunnel = { ...spec, tap: this.tunnels.get(id)!.tap }
        this.tunnels.set(id, tunnel)
        return tunnel
      }
      if (before !== undefined) await this.dropTunnels([id])
      const tunnel = await this.carryTunnel(await this.running(), id, spec)
      this.tunnels.set(id, tunnel)
      return tunnel
    })
  }

  /** Nothing leads to the tunnel's TAP any more: ends it when what is on its way has left. */
  releaseTunnel(id: string): void {
    const tunnel = this.tunnels.get(id)
    if (tunnel === undefined || tunnel.draining !== undefined) return
    const draining = setTimeout(() => {
      if (this.tunnels.get(id)?.draining === draining) this.removeTunnel(id).catch((error) => this.parts.tell(reasonOf(error)))
    }, drainMs({ aToB: tunnel.profile ?? {}, bToA: {}, seed: 0 }))
    this.tunnels.set(id, { ...tunnel, draining })
  }

  /** Ends the tunnel at once. Fine when there is none. */
  removeTunnel(id: string): Promise<void> {
    const tunnel = this.tunnels.get(id)
    if (tunnel === undefined) return Promise.resolve()
    clearTimeout(tunnel.draining)
    this.tunnels.set(id, { ...tunnel, draining: "now" })
    return this.alone(id, async () => {
      if (this.tunnels.get(id)?.draining !== undefined) await this.dropTunnels([id])
    })
  }

  /** Nothing leads to the link's TAPs any more: ends it when what is on its way has arrived. */
  release(id: string): void {
    const link = this.links.get(id)
    if (link === undefined || link.draining !== undefined) return
    const draining = setTimeout(() => {
      if (this.links.get(id)?.draining === draining) this.depart(id).catch((error) => this.parts.tell(reasonOf(error)))
    }, drainMs(link.profiles))
    this.links.set(id, { ...link, draining })
  }

  /** Ends the link at once. Fine when there is none. */
  remove(id: string): Promise<void> {
    const link = this.links.get(id)
    if (link === undefined) return Promise.resolve()
    clearTimeout(link.draining)
    this.links.set(id, { ...link, draining: "now" })
    return this.depart(id)
  }

  /** Ends a link that is draining, unless somebody takes it up first. */
  private depart(id: string): Promise<void> {
    this.leaving.add(id)
    this.departure ??= this.alone(id, async () => {
      const ids = [...this.leaving].filter((one) => this.links.get(one)?.draining !== undefined)
      this.leaving.clear()
      this.departure = undefined
      await this.drop(ids)
    })
    return this.departure
  }

  /** The interface `index` is gone. If it was a link's TAP the link is down, and the next look at the lab says so. */
  lost(index: number): void {
    for (const [id, { tap }] of this.tunnels) {
      if (tap !== index) continue
      this.parts.tell(`somebody removed the TAP of ${id}: weft deploy mends it`)
      this.removeTunnel(id).catch((error) => this.parts.tell(reasonOf(error)))
    }
    for (const [id, { taps }] of this.twins.has(index) ? this.links : []) {
      if (![...taps.values()].includes(index)) continue
      this.parts.tell(`somebody removed a TAP of ${id}: weft deploy mends it`)
      this.remove(id).catch((error) => this.parts.tell(reasonOf(error)))
    }
  }

  /** Ends the engine and all links. */
  async close(): Promise<void> {
    this.closing = true
    await this.turn
    for (const { draining } of [...this.links.values(), ...this.tunnels.values()]) clearTimeout(draining)
    await this.engine?.close()
    Fabric.removeLinks(this.parts.fabric.fd, [...this.twins.keys(), ...Array.from(this.tunnels.values(), ({ tap }) => tap)])
    this.links.clear()
    this.tunnels.clear()
  }

  private alone<A>(id: string, action: () => Promise<A>): Promise<A> {
    const mine = this.turn.then(action).catch((error: unknown) => {
      if (error instanceof KernelError) throw error
      throw new KernelError({ operation: "have the engine carry link", object: id, code: "engine", detail: reasonOf(error) })
    })
    this.turn = mine.catch(() => {})
    return mine
  }

  private async drop(ids: ReadonlyArray<string>): Promise<void> {
    const indexes: number[] = []
    for (const id of ids) {
      const link = this.links.get(id)
      if (link === undefined) continue
      clearTimeout(link.draining)
      this.links.delete(id)
      indexes.push(...link.taps.values())
    }
    this.parts.program.removePorts(indexes)
    for (const index of indexes) this.twins.delete(index)
    await Promise.all(ids.map((id) => this.engine?.removeLink(id)))
    Fabric.removeLinks(this.parts.fabric.fd, indexes)
    await this.endIfIdle()
  }

  private async dropTunnels(ids: ReadonlyArray<string>): Promise<void> {
    const indexes: number[] = []
    for (const id of ids) {
      const tunnel = this.tunnels.get(id)
      if (tunnel === undefined) continue
      clearTimeout(tunnel.draining)
      this.tunnels.delete(id)
      indexes.push(tunnel.tap)
    }
    this.parts.program.removePorts(indexes)
    await Promise.all(ids.map((id) => this.engine?.removeTunnel(id)))
    Fabric.removeLinks(this.parts.fabric.fd, indexes)
    await this.endIfIdle()
  }

  private get carried(): number {
    return this.links.size + this.tunnels.size + this.holders.size
  }

  private async endIfIdle(): Promise<void> {
    if (this.carried > 0) return
    const engine = this.engine
    this.engine = undefined
    await engine?.close()
  }

  /** Opens the link's TAPs, making those that are not there, and has the engine carry it. */
  private carry(engine: LinkEngine, id: string, spec: EngineLinkSpec): EngineLink {
    const opened: Tap[] = []
    try {
      const [portA, portB] = spec.ports.toSorted() as [string, string]
      for (const port of [portA, portB]) opened.push(this.openTap(tapName(id, port), spec.lab, port))
      const [a, b] = opened as [Tap, Tap]
      this.twins.set(a.index, b.index).set(b.index, a.index)
      engine.addLink(id, { tapA: a.fd, tapB: b.fd, profiles: engineProfiles(spec) })
      return { ...spec, taps: new Map([[portA, a.index], [portB, b.index]]) }
    } catch (error) {
      for (const tap of opened) closeSync(tap.fd)
      Fabric.removeLinks(this.parts.fabric.fd, opened.map((tap) => tap.index))
      throw error
    }
  }

  /** Opens the tunnel's TAP, making it when it is not there, and has the engine carry its frames. */
  private async carryTunnel(engine: LinkEngine, id: string, spec: EngineTunnelSpec): Promise<EngineTunnel> {
    const end = tunnelEnd(spec)
    const tap = this.openTap(tunnelTapName(id, spec), spec.lab, spec.label)
    try {
      await engine.addTunnel(id, tap.fd, end)
    } catch (error) {
      // The engine has closed the descriptor.
      Fabric.removeLinks(this.parts.fabric.fd, [tap.index])
      if (!this.tunnels.has(id)) await this.endIfIdle()
      throw error
    }
    return { ...spec, tap: tap.index }
  }

  /** A TAP, marked, up and with our program at its ingress. `label`: the port beside it, or the tunnel's. */
  private openTap(name: string, lab: string, label: string): Tap {
    const { fabric, program } = this.parts
    const tap = openTap(fabric.fd, name, { mtu: tapMtu })
    const batch = new Batch(fabric.fd)
    if (!this.uses(tap.index)) {
      Link.addAltName(batch.out, tap.index, Fabric.tapMarkOf(lab, label))
      batch.note("mark TAP", name)
    }
    Tc.addClsact(batch.out, tap.index)
    batch.note("add clsact qdisc", name)
    Tc.addIngressFilter(batch.out, tap.index, program.programFd, Fabric.filterName)
    batch.note("attach eBPF program", name)
    const failure = batch.commit()[0]
    if (failure === undefined) return tap
    closeSync(tap.fd)
    Fabric.removeLinks(fabric.fd, [tap.index])
    throw failure.error
  }

  /** The engine with all links; started when it is not there. */
  private async running(): Promise<LinkEngine> {
    if (this.engine !== undefined) return this.engine
    const engine = await this.parts.start()
    engine.onExit(({ message }) => {
      if (this.closing || this.engine !== engine) return
      this.engine = undefined
      this.parts.tell(`${message}: starting it again with ${this.links.size + this.tunnels.size} links and tunnels`)
      void this.restart()
    })
    try {
      for (const [id, link] of this.links) this.links.set(id, { ...link, ...this.carry(engine, id, link) })
      for (const [id, tunnel] of this.tunnels) this.tunnels.set(id, { ...tunnel, ...(await this.carryTunnel(engine, id, tunnel)) })
    } catch (error) {
      await engine.close()
      throw error
    }
    this.engine = engine
    this.startCallback?.(engine)
    return engine
  }

  /** Starts the engine again, for the links that there are; goes on trying. */
  private async restart(): Promise<void> {
    while (!this.closing && this.engine === undefined && this.carried > 0) {
      try {
        await this.alone("all", async () => {
          if (this.carried > 0) await this.running()
        })
      } catch (error) {
        this.parts.tell(reasonOf(error))
        await pause(restartPauseMs)
      }
    }
  }
}
