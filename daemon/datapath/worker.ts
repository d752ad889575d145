/**
 * The engine's thread: one loop that waits for frames, times and commands, and never returns to Node's own.
 *
 *     epoll -- a TAP is readable   -> read a batch -> Direction.arrive
 *           -- time                -> Direction.advance, take -> write a batch
 *           -- the event of main's -> commands, from the message port, without Node's event loop
 *
 * What a link's profile does not need is not done: with an empty profile, frames go from TAP to TAP inside one call.
 */
import { receiveMessageOnPort, workerData, type MessagePort } from "node:worker_threads"
import { addon, EngineResult } from "../native/index.ts"
import { Count, Direction, type Counters } from "./direction.ts"
import type { LinkProfiles } from "./profile.ts"
import { TimerWheel } from "./timer-wheel.ts"

/** From the main thread to this one. */
export type Command =
  | { readonly kind: "add"; readonly id: string; readonly tapA: number; readonly tapB: number; readonly profiles: LinkProfiles }
  | { readonly kind: "profiles"; readonly id: string; readonly profiles: LinkProfiles }
  | { readonly kind: "remove"; readonly id: string; readonly ticket: number }
  | { readonly kind: "stats"; readonly ticket: number }
  | { readonly kind: "close" }

export interface LinkCounters {
  readonly aToB: Counters
  readonly bToA: Counters
}

/** From this thread to the main one. */
export type Reply =
  | { readonly kind: "ready" }
  | { readonly kind: "removed"; readonly ticket: number }
  /** The link's TAP cannot be read: it is deaf on that side until it is removed and added again. */
  | { readonly kind: "fault"; readonly id: string; readonly reason: string }
  | { readonly kind: "stats"; readonly ticket: number; readonly links: ReadonlyMap<string, LinkCounters> }

export interface WorkerData {
  readonly port: MessagePort
  /** Readable when there are commands. */
  readonly event: number
}

/** A direction with its descriptors. Its key in the epoll set and in the wheel is its index. */
interface Lane {
  readonly id: string
  readonly from: number
  readonly to: number
  readonly direction: Direction
}

const commandKey = -1
const framesPerRead = 32
/** Room for packets of up to 2 KiB, and for super-frames and jumbo frames; address space, not memory. */
const smallSlots = 131_072
const largeSlots = 4096
/** How far a queue's next packets are taken out ahead of time: one wake-up for many of them. */
const lookAheadNs = 100_000
/** A packet that is due this soon goes now: waiting again would make it later than that. */
const earlyNs = 20_000
/** How the estimate of the lag moves with each wake-up, and how far. */
const lagStepNs = 250
const maxLagNs = 40_000

class Engine {
  private readonly memory = addon.engineOpen(smallSlots, largeSlots)
  private readonly handle = this.memory.handle
  private readonly lanes: Array<Lane | undefined> = []
  private readonly links = new Map<string, number>()
  private readonly freeIndexes: number[] = []
  private readonly wheel: TimerWheel
  private readonly expired = new Int32Array(256)
  private readonly port: MessagePort
  private readonly event: number
  private readonly eventOctets = new Uint8Array(8)
  /** How much later than asked for the thread usually wakes up: the median, as far as it is known. */
  private lagNs = 0
  /** How long before they were read the frames of this round came: the thread was asleep then, and had to wake up. */
  private sinceNs = 0
  private isOpen = true
  private readonly packets = {
    free: (slot: number) => addon.engineFree(this.handle, slot),
    copy: (slot: number) => addon.engineCopy(this.handle, slot),
    flip: (slot: number, bit: number) => addon.engineFlip(this.handle, slot, bit)
  }

  constructor(data: WorkerData) {
    this.port = data.port
    this.event = data.event
    this.wheel = new TimerWheel(this.now())
  }

  run(): void {
    const { memory, handle, wheel, expired } = this
    const { events, result } = memory
    addon.engineThread()
    addon.engineWatch(handle, this.event, commandKey)
    this.reply({ kind: "ready" })
    while (this.isOpen) {
      const next = wheel.next()
      const before = this.now()
      const timeout = next === Infinity ? -1 : Math.max(0, next - earlyNs - this.lagNs - before)
      const ready = addon.engineWait(handle, timeout)
      const now = result[EngineResult.clockNs]!
      if (ready === 0 && timeout > 0) this.learnLag(now - before - timeout)
      // Waiting took time, so the first frame came at its end.
      this.sinceNs = timeout !== 0 && now - before > 2 * this.lagNs ? this.lagNs : 0
      for (let i = 0; i < ready; i++) {
        const key = events[i]!
        if (key === commandKey) this.obey()
        else this.receive(key)
      }
      const due = wheel.expire(now + earlyNs, expired)
      for (let i = 0; i < due; i++) this.deliver(expired[i]!)
    }
  }

  /** One step towards what was seen: the median of all, whatever the outliers. */
  private learnLag(seenNs: number): void {
    const step = seenNs > this.lagNs ? lagStepNs : -lagStepNs
    this.lagNs = Math.min(maxLagNs, Math.max(0, this.lagNs + step))
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
    const { slots, sizes, times, result } = this.memory
    const counts = direction.counts
    if (direction.isTransparent && direction.queued === 0) {
      addon.engineForward(this.handle, lane.from, lane.to, framesPerRead)
      this.countWritten(counts)
      this.checkFault(lane)
      return
    }
    const count = addon.engineRead(this.handle, lane.from, framesPerRead, direction.isPerPacket)
    counts[Count.error]! += result[EngineResult.errors]!
    counts[Count.queue]! += result[EngineResult.exhausted]!
    for (let i = 0; i < count; i++) direction.arrive(slots[i]!, sizes[i]!, times[i]! - this.sinceNs)
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
      addon.engineWrite(this.handle, lane.to, count)
      this.countWritten(direction.counts)
      if (count < outgoing.length) break
    }
    this.wheel.set(index, direction.next())
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
      if (message === undefined) return
      this.execute(message.message)
    }
  }

  private execute(command: Command): void {
    switch (command.kind) {
      case "add":
        return this.add(command)
      case "profiles":
        return this.configure(this.links.get(command.id), command.profiles)
      case "remove":
        this.remove(command.id)
        return this.reply({ kind: "removed", ticket: command.ticket })
      case "stats":
        return this.reply({ kind: "stats", ticket: command.ticket, links: this.stats() })
      case "close":
        this.isOpen = false
        return
    }
    command satisfies never
  }

  /** A link's directions have neighbouring indexes, the first one even. */
  private add({ id, tapA, tapB, profiles }: Extract<Command, { kind: "add" }>): void {
    const index = this.freeIndexes.pop() ?? this.lanes.length
    this.lanes[index] = { id, from: tapA, to: tapB, direction: new Direction(this.packets, profiles.seed, "aToB") }
    this.lanes[index + 1] = { id, from: tapB, to: tapA, direction: new Direction(this.packets, profiles.seed, "bToA") }
    this.links.set(id, index)
    this.configure(index, profiles)
    try {
      addon.engineWatch(this.handle, tapA, index)
      addon.engineWatch(this.handle, tapB, index + 1)
    } catch (error) {
      // One link's descriptor must not take the others' thread down.
      this.reply({ kind: "fault", id, reason: error instanceof Error ? error.message : String(error) })
    }
  }

  private configure(index: number | undefined, profiles: LinkProfiles): void {
    if (index === undefined) return
    const now = this.now()
    this.lanes[index]!.direction.configure(profiles.aToB, now)
    this.lanes[index + 1]!.direction.configure(profiles.bToA, now)
    this.deliver(index)
    this.deliver(index + 1)
  }

  private remove(id: string): void {
    const index = this.links.get(id)
    if (index === undefined) return
    for (const at of [index, index + 1]) {
      const lane = this.lanes[at]!
      addon.engineUnwatch(this.handle, lane.from)
      this.wheel.clear(at)
      lane.direction.flush()
      this.lanes[at] = undefined
    }
    this.links.delete(id)
    this.freeIndexes.push(index)
  }

  private stats(): ReadonlyMap<string, LinkCounters> {
    const counters = (index: number) => this.lanes[index]!.direction.counters()
    return new Map(Array.from(this.links, ([id, index]) => [id, { aToB: counters(index), bToA: counters(index + 1) }]))
  }
}

new Engine(workerData as WorkerData).run()
