/**
 * One router: its tables, its neighbours, its policies, and what it stands on in its node's namespace.
 *
 * Changes of its spec disturb as little as they can. New policies are applied to routes that are there; neighbours come and
 * go alone, and have a new session only where the OPENs or the connection would be others; timers hold from the next
 * session on. How it decides, its cluster and its tables change under sessions that stay, but for those of a table that gets other
 * interfaces. Another AS or router id makes all of it anew.
 *
 * A speaker that is paused (a fault) stands still with its sessions, timers and all; one that is started paused begins when it
 * goes on.
 *
 * A speaker that finds routes of BGP in its namespace had a predecessor that ended without a word: it restarts gracefully
 * (RFC 4724 4.1). It selects nothing until its neighbours have told everything, or `deferralS` have passed, and only then
 * are routes removed that nobody has told again. With `updateDelayS` it waits so after every start; for its neighbours in the lab that
 * wait themselves it does not, or they would wait for each other.
 */
import type { BgpNeighborSpec, BgpSpec } from "../plan/bgp.ts"
import type { BfdLink } from "./bfd-link.ts"
import { isInPrefix } from "./link-addresses.ts"
import { type Ground, type GroundEvents, openGround } from "./ground.ts"
import { type Happening, keyOf, type NewSpeaker, type Place, type ResetKind } from "./messages.ts"
import { Neighbor } from "./neighbor.ts"
import { NeighborGroup } from "./neighbor-group.ts"
import { type PeerSetting, same, wireFamilies, wireFamilyOf } from "./neighbor-spec.ts"
import { type CompiledPolicy, compilePolicies } from "./policy/policy.ts"
import type { RibOptions, RibSetting } from "./rib/types.ts"
import { describeBest, RouteNews } from "./route-news.ts"
import type { Scheduler } from "./scheduler.ts"
import type { LocalSpeaker } from "./session/api.ts"
import { Deferral } from "./session/graceful-restart.ts"
import { scopeOf, Table } from "./table.ts"
import type { Tap } from "./tap.ts"

export interface SpeakerParts {
  readonly scheduler: Scheduler
  readonly bfd: BfdLink
  readonly tell: (happening: Happening) => void
}

/** How long a restarting speaker waits for what its neighbours have to tell (RFC 4724 4.1: Selection_Deferral_Timer). */
const deferralS = 60
/**
 * How long it goes on with what its predecessor had after that: more comes from further away, and some neighbours (FRR) gather
 * their routes for a second and say nothing about the end.
 */
const quietMs = 5000

const dottedNumber = (dotted: string): number => dotted.split(".").reduce((number, octet) => number * 256 + Number(octet), 0)

const ribOptionsOf = (spec: BgpSpec): Omit<RibOptions, "nextHops" | "fib" | "events"> => ({
  asn: spec.asn,
  routerId: dottedNumber(spec.routerId),
  ...settingOf(spec)
})

/** Whether two ranges have addresses in common. */
const overlap = ({ remote: a }: BgpNeighborSpec, { remote: b }: BgpNeighborSpec): boolean => {
  if (a.kind !== "prefix" || b.kind !== "prefix") return false
  const within = (one: string, other: string): boolean => isInPrefix(one.slice(0, one.indexOf("/")), other)
  return within(a.prefix, b.prefix) || within(b.prefix, a.prefix)
}

const settingOf = (spec: BgpSpec): RibSetting => ({
  clusterId: dottedNumber(spec.clusterId ?? spec.routerId),
  multipath: spec.multipath,
  alwaysCompareMed: spec.alwaysCompareMed,
  ...(spec.missingMedIsWorst === true ? { missingMedIsWorst: true } : {}),
  ...(spec.ignoreAsPath === true ? { ignoreAsPath: true } : {}),
  ...(spec.compareRouterId === true ? { compareRouterId: true } : {}),
  gracefulShutdown: spec.gracefulShutdown
})

export class Speaker {
  readonly place: Place
  /** Who reads along what neighbours send. */
  readonly taps = new Map<number, Tap>()
  readonly #init: NewSpeaker
  readonly #parts: SpeakerParts
  readonly #ground: Ground
  readonly #news: RouteNews
  readonly #tables = new Map<string, Table>()
  readonly #neighbors = new Map<string, Neighbor>()
  readonly #groups = new Map<string, NeighborGroup>()
  #spec: BgpSpec
  #policies: ReadonlyMap<string, CompiledPolicy> = new Map()
  #isRestarting: boolean
  /** While nothing is selected yet. */
  #deferral: Deferral | undefined
  #deferralTimer: NodeJS.Timeout | undefined
  #isPaused = false
  #hasBegun = false
  #sweeping: NodeJS.Timeout | undefined

  /** Opens what it needs and starts. @throws Error with what the namespace refuses */
  constructor(init: NewSpeaker, parts: SpeakerParts) {
    const { lab, node, spec } = init
    this.place = { lab, node }
    this.#init = init
    this.#parts = parts
    this.#spec = spec
    this.#news = new RouteNews({
      tell: (message) => this.#tell("bgp.route", "", message),
      describe: (table, prefix) => describeBest(this.#tables.get(table)?.rib.explain(prefix) ?? [], table, prefix)
    })
    this.#ground = openGround(init, parts.scheduler, this.#groundEvents())
    this.#isRestarting = this.#ground.hasRoutes
    if (spec.state === "paused") {
      this.#setPaused(true)
      return
    }
    try {
      this.#begin()
    } catch (error) {
      void this.close({ flush: false, keep: true })
      throw error
    }
  }

  get init(): NewSpeaker {
    return this.#init
  }
  get spec(): BgpSpec {
    return this.#spec
  }
  get isRestarting(): boolean {
    return this.#isRestarting
  }
  get tables(): Iterable<Table> {
    return this.#tables.values()
  }
  get ground(): Ground {
    return this.#ground
  }

  /** Those of the topology, and after each group of dynamic ones its members. */
  *neighbors(): Generator<Neighbor> {
    yield* this.#neighbors.values()
    for (const group of this.#groups.values()) yield* group.members
  }

  get groups(): Iterable<NeighborGroup> {
    return this.#groups.values()
  }

  /** The neighbour with this name, address or node at the other end. */
  neighbor(word: string): Neighbor | undefined {
    const named = this.#neighbors.get(word)
    if (named !== undefined) return named
    for (const one of this.neighbors()) if (one.session?.remoteAddress === word || one.spec.description === word) return one
    return undefined
  }

  table(name: string): Table | undefined {
    return this.#tables.get(name === "" ? "default" : name)
  }

  /** Becomes what `spec` says. False: it takes another speaker in its place. */
  change(spec: BgpSpec): boolean {
    const before = this.#spec
    const isPaused = spec.state === "paused"
    if (!this.#hasBegun) {
      this.#spec = spec
      this.#setPaused(isPaused)
      if (!isPaused) this.#begin()
      return true
    }
    if (!isPaused) this.#setPaused(false)
    const isDone = this.#become(spec, before)
    if (isDone) this.#setPaused(isPaused)
    return isDone
  }

  /** Stands still, as a process that is stopped; the kernel forwards as it did. */
  #setPaused(isPaused: boolean): void {
    if (this.#isPaused === isPaused) return
    this.#isPaused = isPaused
    this.#ground.setPaused(isPaused)
  }

  #become(spec: BgpSpec, before: BgpSpec): boolean {
    if (before.asn !== spec.asn || before.routerId !== spec.routerId) return false
    const arePoliciesNew = !same(before.policies, spec.policies) || !same(before.prefixLists, spec.prefixLists)
    if (arePoliciesNew) this.#policies = compilePolicies(spec)
    this.#spec = spec
    const isRearranged = !same(before.vrfs.map(scopeOf), spec.vrfs.map(scopeOf))
    if (isRearranged) this.#ground.nextHops.setScopes(spec.vrfs.map(scopeOf))
    this.#changeTables(before)
    this.#originate()
    this.#changeNeighbors(spec.neighbors, arePoliciesNew)
    this.#retireTables()
    for (const table of this.#tables.values()) table.importFrom(this.#tables.values())
    // What looped by the cluster before was not kept.
    if (before.clusterId !== spec.clusterId) for (const one of this.neighbors()) one.reset("soft-in")
    return true
  }

  /** Clears the sessions that `word` means, all when it is empty. Returns how many. @throws Error when there is none */
  reset(word: string, how: ResetKind): number {
    const chosen = word === "" ? [...this.neighbors()] : [this.neighbor(word)].filter((one) => one !== undefined)
    if (chosen.length === 0) {
      const names = Array.from(this.neighbors(), ({ spec }) => spec.name).join(", ")
      throw new Error(`Node "${this.place.node}" has no BGP neighbor "${word}" (it has: ${names === "" ? "none" : names})`)
    }
    for (const neighbor of chosen) neighbor.reset(how)
    return chosen.length
  }

  /** `keep`: without a word to neighbours, which keep our routes for a while. `flush`: takes the routes out of the kernel. */
  async close({ flush, keep }: { readonly flush: boolean; readonly keep: boolean }): Promise<void> {
    clearTimeout(this.#deferralTimer)
    clearTimeout(this.#sweeping)
    for (const one of [...this.#neighbors.values(), ...this.#groups.values()]) one.close(keep ? "keep" : "deconfigured")
    for (const table of this.#tables.values()) table.close()
    this.#neighbors.clear()
    this.#groups.clear()
    this.#tables.clear()
    this.#news.close()
    for (const tap of this.taps.values()) tap.close()
    this.taps.clear()
    await this.#ground.close(flush)
  }

  #begin(): void {
    this.#hasBegun = true
    this.#policies = compilePolicies(this.#spec)
    for (const vrf of this.#spec.vrfs) this.#tables.set(vrf.name, this.#openTable(vrf.name))
    if (this.#isRestarting) {
      this.#tell("bgp.restarting", "", "found the routes of a speaker before it: restarts gracefully")
      this.#defer(this.#spec.neighbors, deferralS)
    } else if (this.#spec.updateDelayS !== undefined) {
      this.#defer(this.#spec.neighbors.filter(({ isDelayed }) => isDelayed !== true), this.#spec.updateDelayS)
    }
    this.#originate()
    for (const table of this.#tables.values()) table.importFrom(this.#tables.values())
    for (const neighbor of this.#spec.neighbors) this.#addNeighbor(neighbor)
  }

  /** Tables that are new, and what changed of those that stay. Sessions of a table whose interfaces are others are made anew. */
  #changeTables(before: BgpSpec): void {
    const isDecidedOtherwise = !same(settingOf(before), settingOf(this.#spec))
    for (const vrf of this.#spec.vrfs) {
      const table = this.#tables.get(vrf.name)
      const old = table?.spec
      if (table === undefined || old === undefined) {
        const opened = this.#openTable(vrf.name)
        if (this.#deferral !== undefined) opened.rib.hold(true)
        this.#tables.set(vrf.name, opened)
        continue
      }
      if (isDecidedOtherwise || old.table !== vrf.table || !same(old.exportTargets, vrf.exportTargets)) {
        table.configure(vrf, settingOf(this.#spec))
      }
      if (!same(old.ifnames, vrf.ifnames)) this.#dropNeighbors(({ spec }) => spec.vrf === vrf.name)
    }
  }

  /** Tables that the topology has no more; their neighbours have gone before. */
  #retireTables(): void {
    const wanted = new Set(this.#spec.vrfs.map(({ name }) => name))
    for (const [name, table] of [...this.#tables]) {
      if (wanted.has(name)) continue
      this.#tables.delete(name)
      table.retire()
    }
  }

  #dropNeighbors(isMeant: (one: Neighbor | NeighborGroup) => boolean): void {
    for (const map of [this.#neighbors, this.#groups]) {
      for (const [name, one] of [...map]) {
        if (!isMeant(one)) continue
        one.close("deconfigured")
        map.delete(name)
        this.#deferral?.forget(name)
      }
    }
  }

  #openTable(name: string): Table {
    const spec = this.#spec.vrfs.find((vrf) => vrf.name === name)!
    const { fib, monitor, nextHops } = this.#ground
    const parts = { fib, monitor, nextHops, scheduler: this.#parts.scheduler, options: ribOptionsOf(this.#spec) }
    const byPeer = (peer: number): Neighbor | undefined => {
      for (const one of this.neighbors()) if (one.peer === peer && one.table.spec.name === name) return one
      return undefined
    }
    return new Table(spec, parts, {
      endOfRib: (peer, family) => byPeer(peer)?.endOfRib(family),
      maxPrefix: (peer, family, count) => byPeer(peer)?.maxPrefix(family, count),
      nearMaxPrefix: (peer, family, count) => byPeer(peer)?.nearMaxPrefix(family, count),
      bestChanged: (family, bytes, at, length) => this.#news.changed(name, family === 0 ? 4 : 16, bytes, at, length)
    })
  }

  #originate(): void {
    for (const vrf of this.#spec.vrfs) this.#tables.get(vrf.name)!.originate(vrf, this.#policies)
  }

  #changeNeighbors(specs: ReadonlyArray<BgpNeighborSpec>, arePoliciesNew: boolean): void {
    const wanted = new Map(specs.map((spec) => [spec.name, spec]))
    this.#moveGroups(specs, wanted)
    this.#dropNeighbors((one) => {
      const spec = wanted.get(one.spec.name)
      const stays = spec !== undefined && (same(spec, one.spec) || one.change(spec))
      if (stays && arePoliciesNew) one.applySetting()
      return !stays
    })
    for (const spec of specs) if (!this.#neighbors.has(spec.name) && !this.#groups.has(spec.name)) this.#addNeighbor(spec)
    this.#maySelect()
  }

  /** A range that became wider or narrower has another name, and the same members as far as they fit. */
  #moveGroups(specs: ReadonlyArray<BgpNeighborSpec>, wanted: ReadonlyMap<string, BgpNeighborSpec>): void {
    for (const [name, group] of [...this.#groups]) {
      if (wanted.has(name)) continue
      const next = specs.find((spec) => !this.#groups.has(spec.name) && overlap(group.spec, spec) && group.change(spec))
      if (next === undefined) continue
      this.#groups.delete(name)
      this.#groups.set(next.name, group)
    }
  }

  #addNeighbor(spec: BgpNeighborSpec): void {
    const place = { speaker: this.#local(), vrf: this.#spec.vrfs.find(({ name }) => name === spec.vrf) ?? this.#spec.vrfs[0]! }
    if (spec.remote.kind === "prefix") {
      const group = new NeighborGroup(spec, {
        make: (member) => this.#makeNeighbor(member),
        open: (callbacks, created) => this.#ground.openDoor(spec, place, callbacks, created)
      })
      this.#groups.set(spec.name, group)
      return
    }
    const neighbor = this.#makeNeighbor(spec)
    this.#neighbors.set(spec.name, neighbor)
    neighbor.attach(this.#ground.openSession(spec, place, neighbor))
  }

  #makeNeighbor(spec: BgpNeighborSpec): Neighbor {
    return new Neighbor(spec, {
      table: this.#tables.get(spec.vrf) ?? this.#tables.get("default")!,
      monitor: this.#ground.monitor,
      nextHops: this.#ground.nextHops,
      bfd: this.#parts.bfd,
      bfdId: `${keyOf(this.place)} ${spec.name}`,
      netnsPath: this.#init.netnsPath,
      taps: this.taps,
      setting: (): PeerSetting => ({ asn: this.#spec.asn, policies: this.#policies }),
      tell: (type, name, message) => this.#tell(type, name, message),
      established: (one) => this.#whenEstablished(one),
      endOfRib: (one, family) => {
        this.#deferral?.endOfRib(one.spec.name, family)
        this.#maySelect()
      }
    })
  }

  /** Read for each OPEN: the end of a restart is told in the next one. */
  #local(): () => LocalSpeaker {
    return () => ({ asn: this.#spec.asn, routerId: this.#spec.routerId, hostname: this.place.node, restarting: this.#isRestarting })
  }

  #groundEvents(): GroundEvents {
    return {
      drained: () => {
        for (const table of this.#tables.values()) table.rib.fibDrained()
      },
      report: (text) => this.#tell("bgp.refused", "", text)
    }
  }

  #tell(type: Happening["type"], neighbor: string, message: string): void {
    this.#parts.tell({ ...this.place, type, neighbor, message })
  }

  // Restart, and a start that is told to wait.

  #defer(neighbors: ReadonlyArray<BgpNeighborSpec>, mostS: number): void {
    const waited = neighbors.filter(({ remote, shutdown }) => !shutdown && remote.kind !== "prefix")
    this.#deferral = new Deferral(waited.map(({ families, name }) => [name, families.map(({ family }) => wireFamilyOf(family))]))
    for (const table of this.#tables.values()) table.rib.hold(true)
    this.#deferralTimer = setTimeout(() => this.#select("some neighbors have not told everything"), mostS * 1000)
  }

  #whenEstablished(neighbor: Neighbor): void {
    const { context, peerOpen } = neighbor.session ?? {}
    if (context !== undefined && peerOpen !== undefined) this.#deferral?.established(neighbor.spec.name, context.families, peerOpen)
    this.#maySelect()
  }

  #maySelect(): void {
    if (this.#deferral !== undefined && wireFamilies.every((family) => this.#deferral!.isDone(family))) {
      this.#select("all neighbors have told everything")
    }
  }

  /** Decides and tells; what nobody tells again goes when that has settled. */
  #select(why: string): void {
    clearTimeout(this.#deferralTimer)
    if (this.#isPaused) {
      this.#deferralTimer = setTimeout(() => this.#select(why), quietMs)
      return
    }
    this.#deferral = undefined
    for (const table of this.#tables.values()) table.rib.hold(false)
    if (!this.#isRestarting) return
    const began = performance.now()
    const sweep = (): void => {
      const isSettled = this.#ground.fib.isIdle && !this.#parts.scheduler.isBusy
      if (this.#isPaused || (!isSettled && performance.now() - began < deferralS * 1000)) {
        this.#sweeping = setTimeout(sweep, quietMs)
        return
      }
      this.#isRestarting = false
      this.#ground.fib.sweep()
      this.#tell("bgp.restarting", "", `restart is over: ${why}`)
    }
    this.#sweeping = setTimeout(sweep, quietMs)
  }
}
