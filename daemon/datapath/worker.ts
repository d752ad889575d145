/**
 * The engine's thread: one loop that waits for frames, times and commands, and never returns to Node's own.
 *
 *     epoll -- a TAP is readable   -> read a batch -> Direction.arrive
 *           -- time                -> Direction.advance, take -> write a batch, or send it through a tunnel
 *           -- the event of main's -> commands, from the message port, without Node's event loop
 *           -- the underlay, or a TAP whose profile is empty -> passed on at once, in native code: this file hears nothing of it
 *
 * BFD sessions live here too (`bfd-runner.ts`): their packets and times come from the same waiting.
 *
 * What a profile does not need is not done. The thread goes before ordinary ones only while some profile needs exact times.
 */
import { receiveMessageOnPort, workerData, type MessagePort } from "node:worker_threads"
import { addon, EngineResult, Encapsulation } from "../native/index.ts"
import { BfdRunner } from "./bfd-runner.ts"
import { firstBfdKey } from "./bfd-sockets.ts"
import { Count, Direction, type Counters } from "./direction.ts"
import { Lateness } from "./lateness.ts"
import type { LinkProfile, LinkProfiles } from "./profile.ts"
import { TimerWheel } from "./timer-wheel.ts"
import { readRefusals, readTunnel, type Refusals, type TunnelCounters, type TunnelEnd } from "./tunnel.ts"

/** From the main thread to this one. */
export type Command =
  | { readonly kind: "add"; readonly id: string; readonly tapA: number; readonly tapB: number; readonly profiles: LinkProfiles }
  | { readonly kind: "profiles"; readonly id: string; readonly profiles: LinkProfiles }
  | { readonly kind: "tunnel"; readonly id: string; readonly tap: number; readonly end: TunnelEnd; readonly ticket: number }
  | { readonly kind: "tunnel-profile"; readonly id: string; readonly profile: LinkProfile }
  | { readonly kind: "remove"; readonly id: string; readonly ticket: number }
  | { readonly kind: "stats"; readonly ticket: number }
  /** An owner of BFD sessions; one that `seesAll` hears of those of others. */
  | { readonly kind: "bfd-channel"; readonly port: MessagePort; readonly channel: number; readonly seesAll: boolean }
  | { readonly kind: "bfd-leave"; readonly channel: number }
  | { readonly kind: "close" }

export interface LinkCounters {
  readonly aToB: Counters
  readonly bToA: Counters
}

export interface Stats {
  readonly links: ReadonlyMap<string, LinkCounters>
  readonly tunnels: ReadonlyMap<string, TunnelCounters>
  /** Of all tunnels: what came from the underlay and was not delivered. */
  readonly refusals: Refusals
}

/** From this thread to the main one. */
export type Reply =
  | { readonly kind: "ready" }
  | { readonly kind: "removed"; readonly ticket: number }
  /** Of a tunnel: it is there, or why not. */
  | { readonly kind: "added"; readonly ticket: number; readonly failure?: string }
  /** The link's TAP cannot be read: it is deaf on that side until it is removed and added again. */
  | { readonly kind: "fault"; readonly id: string; readonly reason: string }
  | { readonly kind: "stats"; readonly ticket: number; readonly stats: Stats }

export interface WorkerData {
  readonly port: MessagePort
  /** Readable when there are commands. */
  readonly event: number
  /** Descriptor of the namespace that has the tunnels' sockets; -1: the process's own. */
  readonly underlay: number
}

/** A direction with its descriptors. Its key in the epoll set and in the wheel is its index. */
interface Lane {
  readonly id: string
  readonly from: number
  /** The other TAP, or -1. */
  readonly to: number
  /** The tunnel that the frames go into, or -1. */
  readonly tunnel: number
  readonly direction: Direction
  /** Frames are passed on in native code. */
  isDirect: boolean
  /** What happens to packets depends on the time. */
  isTimed: boolean
  /** When the TAP was last seen empty: what is read now came later. */
  emptyNs: number
}

const isTimed = ({ delayMs = 0, jitter, rateBps = 0, trace }: LinkProfile): boolean =>
  delayMs > 0 || (jitter?.ms ?? 0) > 0 || rateBps > 0 || trace !== undefined

const commandKey = -1
const framesPerRead = 32
/** Room for packets of up to 2 KiB, and for super-frames and jumbo frames; address space, not memory. */
const smallSlots = 131_072
const largeSlots = 4096
/** How far a queue's next packets are taken out ahead of time: one wake-up for many of them. */
const lookAheadNs = 100_000
/** A packet that is due this soon goes now: waiting again would make it later than that. */
const earlyNs = 20_000

class Engine {
  private readonly memory = addon.engineOpen(smallSlots, largeSlots)
  private readonly handle = this.memory.handle
  private readonly lanes: Array<Lane | undefined> = []
  private readonly links = new Map<string, number>()
  private readonly freeIndexes: number[] = []
  /** Tunnels by id: the index of their lane. */
  private readonly tunnels = new Map<string, number>()
  private readonly freeTunnelIndexes: number[] = []
  /** How many lanes depend on the time. */
  private timed = 0
  /** How many parts of the thread need it to go before others: lanes together, and BFD. */
  private urgencies = 0
  private readonly wheel: TimerWheel
  private readonly expired = new Int32Array(256)
  private readonly port: MessagePort
  private readonly event: number
  private readonly underlay: number
  private readonly eventOctets = new Uint8Array(8)
  private readonly lateness = new Lateness()
  private readonly bfd: BfdRunner
  private isOpen = true
  private readonly packets = {
    free: (slot: number) => addon.engineFree(this.handle, slot),
    copy: (slot: number) => addon.engineCopy(this.handle, slot),
    flip: (slot: number, bit: number) => addon.engineFlip(this.handle, slot, bit)
  }

  constructor(data: WorkerData) {
    this.port = data.port
    this.event = data.event
    this.underlay = data.underlay
    this.wheel = new TimerWheel(this.now())
    this.bfd = new BfdRunner({ engine: this.handle, result: this.memory.result, setUrgent: (urgent) => this.setUrgent(urgent) })
  }

  run(): void {
    const { memory, handle, wheel, expired, lateness, bfd } = this
    const { events, result } = memory
    addon.engineThread()
    addon.engineUrgent(this.handle, false)
    addon.engineWatch(handle, this.event, commandKey)
    this.reply({ kind: "ready" })
    while (this.isOpen) {
      const next = Math.min(wheel.next(), bfd.next())
      const before = this.now()
      const timeout = next === Infinity ? -1 : Math.max(0, next - earlyNs - lateness.lagNs - before)
      const asked = timeout < 0 ? Infinity : before + timeout
      const ready = addon.engineWait(handle, timeout)
      const now = result[EngineResult.clockNs]!
      if (ready === 0 && timeout > 0) lateness.timedOut(now, asked)
      lateness.round(now, asked, result[EngineResult.waitedNs]!, result[EngineResult.nappedNs]!)
      for (let i = 0; i < ready; i++) {
        const key = events[i]!
        if (key === commandKey) this.obey()
        else if (key >= firstBfdKey) bfd.receive(key)
        else this.receive(key)
      }
      bfd.expire(now + earlyNs)
      const due = wheel.expire(now + earlyNs, expired)
      for (let i = 0; i < due; i++) this.deliver(expired[i]!)
    }
  }

  private now(): number {
    addon.engineClock(this.handle)
    return this.memory.result[EngineResult.clockNs]!
  }

  /** A TAP has frames. */
  private receive(index: number): void {
    const lane = this.lanes[index]
    // Removed by a command of the same round.
    if (lane === undefined) return
    const { direction } = lane
    const { lateness } = this
    const { slots, sizes, times, result } = this.memory
    const counts = direction.counts
    const count = addon.engineRead(this.handle, lane.from, framesPerRead, direction.isPerPacket)
    counts[Count.error]! += result[EngineResult.errors]!
    counts[Count.queue]! += result[EngineResult.exhausted]!
    const frames = result[EngineResult.frames]!
    for (let i = 0; i < count; i++) {
      const latest = lateness.latest(times[i]!)
      const earliest = lateness.earliest(latest, lane.emptyNs, frames)
      // What gathered while nobody looked came one after the other, which matters to a rate and its queue.
      direction.now[0] = direction.isShaped ? earliest + ((latest - earliest) * (i + 1)) / count : latest
      direction.since[0] = earliest
      direction.accept(slots[i]!, sizes[i]!)
    }
    if (frames < framesPerRead) lane.emptyNs = count > 0 ? times[count - 1]! : result[EngineResult.clockNs]!
    this.checkFault(lane)
    this.deliver(index)
  }

  /** A TAP that cannot be read is always readable: it must not be waited for any more. */
  private checkFault(lane: Lane): void {
    const fault = this.memory.result[EngineResult.fault]!
    if (fault === 0) return
    addon.engineUnwatch(this.handle, lane.from)
    this.reply({ kind: "fault", id: lane.id, reason: `errno ${fault}: its interface was removed, or is not a TAP` })
  }

  /** Writes what is due and sets the time for the rest. */
  private deliver(index: number): void {
    const lane = this.lanes[index]
    if (lane === undefined) return
    const { direction } = lane
    const { outgoing } = this.memory
    const now = this.now()
    direction.advance(now + lookAheadNs)
    for (;;) {
      const count = direction.take(now + earlyNs, outgoing)
      if (count === 0) break
      this.write(lane, count)
      if (count < outgoing.length) break
    }
    this.wheel.set(index, direction.next())
    if (direction.isTransparent !== lane.isDirect) this.route(index)
  }

  private write(lane: Lane, count: number): void {
    const { counts } = lane.direction
    if (lane.tunnel < 0) {
      addon.engineWrite(this.handle, lane.to, count)
    } else {
      addon.tunnelWrite(this.handle, lane.tunnel, count)
      counts[Count.queue]! += this.memory.result[EngineResult.exhausted]!
    }
    this.countWritten(counts)
  }

  /** Who passes a lane's frames on. What is on its way goes first. */
  private route(index: number): void {
    const lane = this.lanes[index]!
    const { direction } = lane
    lane.isDirect = direction.isTransparent && direction.queued === 0
    addon.engineLane(this.handle, index, lane.from, lane.to, lane.tunnel, lane.isDirect)
  }

  private setTimed(lane: Lane, isTimed: boolean): void {
    if (lane.isTimed === isTimed) return
    lane.isTimed = isTimed
    this.timed += isTimed ? 1 : -1
    if (this.timed === (isTimed ? 1 : 0)) this.setUrgent(isTimed)
  }

  /** The lanes together, and the BFD sessions together: the thread is urgent while one of them asks for it. */
  private setUrgent(isUrgent: boolean): void {
    const before = this.urgencies > 0
    this.urgencies += isUrgent ? 1 : -1
    if (this.urgencies > 0 !== before) addon.engineUrgent(this.handle, isUrgent)
  }

  private countWritten(counts: Float64Array): void {
    const { result } = this.memory
    counts[Count.packets]! += result[EngineResult.packets]!
    counts[Count.octets]! += result[EngineResult.octets]!
    counts[Count.error]! += result[EngineResult.errors]!
  }

  private reply(reply: Reply): void {
    this.port.postMessage(reply)
  }

  private obey(): void {
    addon.read(this.event, this.eventOctets)
    for (;;) {
      const message = receiveMessageOnPort(this.port) as { readonly message: Command } | undefined
      if (message === undefined) break
      this.execute(message.message)
    }
    this.bfd.obey()
  }

  private execute(command: Command): void {
    switch (command.kind) {
      case "add":
        return this.add(command)
      case "profiles":
        return this.configure(this.links.get(command.id), command.profiles)
      case "tunnel":
        return this.addTunnel(command)
      case "tunnel-profile":
        return this.configureLane(this.tunnels.get(command.id), command.profile)
      case "remove":
        this.remove(command.id)
        return this.reply({ kind: "removed", ticket: command.ticket })
      case "stats":
        return this.reply({ kind: "stats", ticket: command.ticket, stats: this.stats() })
      case "bfd-channel":
        return this.bfd.join(command)
      case "bfd-leave":
        return this.bfd.leave(command.channel)
      case "close":
        this.isOpen = false
        return
    }
    command satisfies never
  }

  /** A link's directions have neighbouring indexes. */
  private add({ id, tapA, tapB, profiles }: Extract<Command, { kind: "add" }>): void {
    const index = this.freeIndexes.pop() ?? this.lanes.length
    const lane = (from: number, to: number, name: "aToB" | "bToA"): Lane => {
      const direction = new Direction(this.packets, profiles.seed, name)
      return { id, from, to, tunnel: -1, direction, isDirect: true, isTimed: false, emptyNs: 0 }
    }
    this.lanes[index] = lane(tapA, tapB, "aToB")
    this.lanes[index + 1] = lane(tapB, tapA, "bToA")
    this.links.set(id, index)
    this.configure(index, profiles)
    this.watch(index)
    this.watch(index + 1)
  }

  private addTunnel({ id, tap, end, ticket }: Extract<Command, { kind: "tunnel" }>): void {
    const { encapsulation, port, vni, remote, local, options, sendOnly, profile, seed } = end
    try {
      const kind = Encapsulation[encapsulation]
      const own = options ?? new Uint8Array(0)
      const tunnel = addon.tunnelOpen(this.handle, this.underlay, tap, kind, port, vni, remote, local, sendOnly === true, own)
      const index = this.freeTunnelIndexes.pop() ?? this.lanes.length
      const direction = new Direction(this.packets, seed, "out")
      this.lanes[index] = { id, from: tap, to: -1, tunnel, direction, isDirect: true, isTimed: false, emptyNs: 0 }
      this.tunnels.set(id, index)
      this.configureLane(index, profile)
      this.watch(index)
      this.reply({ kind: "added", ticket })
    } catch (error) {
      this.reply({ kind: "added", ticket, failure: error instanceof Error ? error.message : String(error) })
    }
  }

  private watch(index: number): void {
    const { from, id } = this.lanes[index]!
    try {
      addon.engineWatch(this.handle, from, index)
    } catch (error) {
      // One link's descriptor must not take the others' thread down.
      this.reply({ kind: "fault", id, reason: error instanceof Error ? error.message : String(error) })
    }
  }

  private configure(index: number | undefined, profiles: LinkProfiles): void {
    if (index === undefined) return
    this.configureLane(index, profiles.aToB)
    this.configureLane(index + 1, profiles.bToA)
  }

  private configureLane(index: number | undefined, profile: LinkProfile): void {
    if (index === undefined) return
    const lane = this.lanes[index]!
    lane.direction.configure(profile, this.now())
    this.setTimed(lane, isTimed(profile))
    this.route(index)
    this.deliver(index)
  }

  private remove(id: string): void {
    const index = this.links.get(id)
    if (index !== undefined) {
      this.links.delete(id)
      this.dropLane(index)
      this.dropLane(index + 1)
      this.freeIndexes.push(index)
    }
    const tunnel = this.tunnels.get(id)
    if (tunnel === undefined) return
    this.tunnels.delete(id)
    addon.tunnelClose(this.handle, this.lanes[tunnel]!.tunnel)
    this.dropLane(tunnel)
    this.freeTunnelIndexes.push(tunnel)
  }

  private dropLane(index: number): void {
    const lane = this.lanes[index]!
    addon.engineUnwatch(this.handle, lane.from)
    addon.engineLane(this.handle, index, -1, -1, -1, false)
    this.wheel.clear(index)
    lane.direction.flush()
    this.setTimed(lane, false)
    this.lanes[index] = undefined
  }

  private stats(): Stats {
    const direct = (index: number): Counters => {
      const { result } = this.memory
      addon.engineLaneCounters(this.handle, index)
      const counters = this.lanes[index]!.direction.counters()
      return {
        ...counters,
        packets: counters.packets + result[EngineResult.packets]!,
        octets: counters.octets + result[EngineResult.octets]!,
        drops: { ...counters.drops, error: counters.drops.error + result[EngineResult.errors]! }
      }
    }
    const tunnel = (index: number): TunnelCounters => {
      const lane = this.lanes[index]!
      return readTunnel(this.handle, lane.tunnel, lane.direction.counters())
    }
    return {
      links: new Map(Array.from(this.links, ([id, index]) => [id, { aToB: direct(index), bToA: direct(index + 1) }])),
      tunnels: new Map(Array.from(this.tunnels, ([id, index]) => [id, tunnel(index)])),
      refusals: readRefusals(this.handle)
    }
  }
}

new Engine(workerData as WorkerData).run()
