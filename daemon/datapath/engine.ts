/**
 * The packet engine: what a link does to packets when it is more than a wire.
 *
 * A link has a TAP at either end. A frame that the kernel redirects to one of them is read, treated as the profile of its
 * direction says, and written to the other one, from where the kernel takes it to its node. All of that happens in a
 * thread of its own (`worker.ts`); this file is its handle on the main thread.
 *
 *     direction.ts   a profile applied to packets: pure, seeded
 *       loss.ts jitter.ts shaper.ts (codel.ts red.ts) trace.ts    one model each
 *       delay-line.ts packet-ring.ts                              where packets wait
 *     timer-wheel.ts when something has to be done next
 *     lateness.ts    when frames came that were read later
 *     worker.ts      the loop around system calls
 *     tunnel.ts      the other end of a TAP is another host
 *     native/src/    engine.cc memory and waiting; lane.cc segment.cc train.cc frames between TAPs;
 *                    tunnel.cc sender.cc encapsulation.cc frames of tunnels
 *     bfd-runner.ts  BFD sessions (daemon/bfd), which must not wait for a garbage collector; bfd-sockets.ts, native/src/bfd.cc
 *     bfd-client.ts  their owners' side, here or on another thread
 *
 * Limits: 131,072 packets of up to 2 KiB and 4096 larger frames may be on their way at once in all links together; what
 * has no room is counted as dropped by the queue. Times count from when a frame was read: the kernel has no earlier stamp.
 */
import { MessageChannel, Worker, type MessagePort } from "node:worker_threads"
import { addon } from "../native/index.ts"
import type { BfdChange, BfdChannel, BfdOptions, BfdStatus, BfdTimers } from "./bfd-api.ts"
import { BfdClient } from "./bfd-client.ts"
import type { LinkProfile, LinkProfiles } from "./profile.ts"
import type { TunnelEnd } from "./tunnel.ts"
import type { Command, LinkCounters, Reply, Stats, WorkerData } from "./worker.ts"

/** A link's TAPs, opened with virtio-net headers. The engine owns the descriptors from now on. */
export interface EngineLink {
  readonly tapA: number
  readonly tapB: number
  readonly profiles: LinkProfiles
}

interface Waiting {
  readonly done: (reply: Reply) => void
  readonly fail: (error: Error) => void
}

export class Engine {
  private readonly worker: Worker
  private readonly port: MessagePort
  private readonly event: number
  /** Descriptors of TAPs by link or tunnel. */
  private readonly links = new Map<string, ReadonlyArray<number>>()
  /** Of links that are being removed, by ticket. */
  private readonly closing = new Map<number, ReadonlyArray<number>>()
  private readonly waiting = new Map<number, Waiting>()
  private readonly ready: Promise<void>
  private readonly ended: Promise<void>
  private readonly stop = () => this.tell({ kind: "close" })
  private lastTicket = 0
  private isRunning = true
  private isClosing = false
  private crash: Error | undefined
  private exitCallback: ((error: Error) => void) | undefined
  private faultCallback: ((id: string, reason: string) => void) | undefined
  /** Made when the first BFD session is asked for. */
  private bfd: BfdClient | undefined

  /** Starts the engine's thread. It does not keep the process alive. `underlay`: as in `WorkerData`. */
  static async start({ underlay = -1 }: { readonly underlay?: number } = {}): Promise<Engine> {
    const engine = new Engine(underlay)
    await engine.ready
    return engine
  }

  private constructor(underlay: number) {
    const { port1, port2 } = new MessageChannel()
    this.event = addon.eventOpen()
    this.port = port1
    const data: WorkerData = { port: port2, event: this.event, underlay }
    // Little lives long there: a small young generation is collected within microseconds.
    this.worker = new Worker(new URL("./worker.ts", import.meta.url), {
      name: "weft-engine",
      workerData: data,
      transferList: [port2],
      resourceLimits: { maxYoungGenerationSizeMb: 2 }
    })
    this.worker.on("error", (error) => (this.crash = error instanceof Error ? error : new Error(String(error))))
    let isReady = (): void => {}
    this.ready = new Promise((done, fail) => {
      isReady = done
      this.worker.once("exit", () => fail(this.exitReason()))
    })
    // Who only waits for `ended` must not be told twice.
    this.ready.catch(() => {})
    this.ended = new Promise((done) => this.worker.once("exit", () => done(this.finish())))
    this.port.on("message", (reply: Reply) => {
      if (reply.kind === "ready") return isReady()
      if (reply.kind === "fault") return this.faultCallback?.(reply.id, reply.reason)
      this.settle(reply.ticket)?.done(reply)
    })
    this.port.unref()
    this.ready.then(() => this.worker.unref(), () => {})
    // A thread that waits inside a system call would keep the process from ending.
    process.on("exit", this.stop)
  }

  /** Frames flow from when this returns, or a moment later. The id is new. */
  addLink(id: string, { tapA, tapB, profiles }: EngineLink): void {
    if (this.links.has(id)) throw new Error(`Cannot add engine link "${id}": there is one already`)
    if (!this.isRunning) throw new Error(`Cannot add engine link "${id}": the engine's thread has ended`)
    this.links.set(id, [tapA, tapB])
    this.tell({ kind: "add", id, tapA, tapB, profiles })
  }

  /** Changes a running link. Packets on their way keep their times; the seed stays the one it was added with. */
  setProfiles(id: string, profiles: LinkProfiles): void {
    this.tell({ kind: "profiles", id, profiles })
  }

  /**
   * Has the TAP's frames sent through a tunnel, and the tunnel's written to the TAP. The id is new, among those of links
   * too. Rejects, and closes the TAP, when the sockets cannot be had: the port is taken, or the address is not ours.
   */
  addTunnel(id: string, tap: number, end: TunnelEnd): Promise<void> {
    if (this.links.has(id)) throw new Error(`Cannot add engine tunnel "${id}": there is one already`)
    this.links.set(id, [tap])
    return new Promise((done, fail) => {
      const ticket = ++this.lastTicket
      const read = (reply: Reply): void => {
        if (reply.kind !== "added" || reply.failure === undefined) return done()
        this.links.delete(id)
        addon.close(tap)
        fail(new Error(reply.failure))
      }
      this.ask(ticket, { kind: "tunnel", id, tap, end, ticket }, { done: read, fail })
    })
  }

  /** Changes what happens to frames before they are sent; the seed stays. */
  setTunnelProfile(id: string, profile: LinkProfile): void {
    this.tell({ kind: "tunnel-profile", id, profile })
  }

  /** `removeLink` of a tunnel. */
  removeTunnel(id: string): Promise<void> {
    return this.removeLink(id)
  }

  /** Drops what is on its way. Resolves when the descriptors are closed, so that somebody else may open the TAPs. */
  removeLink(id: string): Promise<void> {
    const descriptors = this.links.get(id)
    if (descriptors === undefined) return Promise.resolve()
    this.links.delete(id)
    return new Promise((done) => {
      const ticket = ++this.lastTicket
      this.closing.set(ticket, descriptors)
      const close = (): void => {
        for (const descriptor of this.closing.get(ticket) ?? []) addon.close(descriptor)
        this.closing.delete(ticket)
        done()
      }
      // When the thread has ended, `finish` closes them.
      this.ask(ticket, { kind: "remove", id, ticket }, { done: close, fail: close })
    })
  }

  /** What passed and what did not, by link. Rejects when the thread has ended. */
  async stats(): Promise<ReadonlyMap<string, LinkCounters>> {
    return (await this.allStats()).links
  }

  /** `stats` with those of tunnels. */
  allStats(): Promise<Stats> {
    return new Promise((done, fail) => {
      const ticket = ++this.lastTicket
      const read = (reply: Reply): void => {
        if (reply.kind === "stats") done(reply.stats)
      }
      this.ask(ticket, { kind: "stats", ticket }, { done: read, fail })
    })
  }

  /** `BfdClient.add` for the main thread. */
  addBfd(id: string, options: BfdOptions): Promise<void> {
    return this.ownBfd().add(id, options)
  }

  /** `BfdClient.set` for the main thread. */
  setBfd(id: string, timers: Partial<BfdTimers> & { readonly adminDown?: boolean }): void {
    this.ownBfd().set(id, timers)
  }

  /** `BfdClient.remove` for the main thread. */
  removeBfd(id: string): void {
    this.bfd?.remove(id)
  }

  /** All sessions, of other owners too. */
  /** `BfdClient.pause` for the main thread. */
  pauseBfd(netns: string, isPaused: boolean): void {
    this.ownBfd().pause(netns, isPaused)
  }

  bfdStates(): Promise<ReadonlyArray<BfdStatus>> {
    return this.ownBfd().states()
  }

  /** Calls back at each change of any session, once for each of its owners' ids. */
  onBfd(callback: (change: BfdChange) => void): void {
    this.ownBfd().onChange(callback)
  }

  /** For an owner on another thread: transfer `port` and hand both to `new BfdClient(...)`. Sessions end with the channel. */
  bfdPort(): BfdChannel {
    return this.openBfd(false)
  }

  /** Ends the sessions of an owner whose thread has died: `id` of its channel. Fine when they have ended. */
  endBfdPort(id: number): void {
    this.tell({ kind: "bfd-leave", channel: id })
  }

  private ownBfd(): BfdClient {
    this.bfd ??= new BfdClient(this.openBfd(true))
    return this.bfd
  }

  private openBfd(seesAll: boolean): BfdChannel {
    if (!this.isRunning) throw this.exitReason()
    const { port1, port2 } = new MessageChannel()
    const id = ++this.lastTicket
    this.tell({ kind: "bfd-channel", port: port2, channel: id, seesAll }, [port2])
    return { port: port1, event: addon.duplicate(this.event), id }
  }

  /** Calls back once when the thread ends without having been asked to: all descriptors are closed by then. */
  onExit(callback: (error: Error) => void): void {
    this.exitCallback = callback
  }

  /** Calls back when a link's TAP cannot be read any more: open it again, remove the link and add it again. */
  onFault(callback: (id: string, reason: string) => void): void {
    this.faultCallback = callback
  }

  /** Ends the thread as a crash would; for tests of what comes after. */
  async kill(): Promise<void> {
    this.worker.ref()
    const terminated = this.worker.terminate()
    addon.eventSignal(this.event)
    await terminated
    await this.ended
  }

  /** Ends the thread and closes all descriptors. */
  async close(): Promise<void> {
    this.isClosing = true
    this.worker.ref()
    this.tell({ kind: "close" })
    await this.ended
  }

  private tell(command: Command, transfer: MessagePort[] = []): void {
    if (!this.isRunning) return
    this.port.postMessage(command, transfer)
    addon.eventSignal(this.event)
  }

  private ask(ticket: number, command: Command, waiting: Waiting): void {
    if (!this.isRunning) return waiting.fail(this.exitReason())
    this.waiting.set(ticket, waiting)
    this.port.ref()
    this.tell(command)
  }

  private settle(ticket: number): Waiting | undefined {
    const waiting = this.waiting.get(ticket)
    this.waiting.delete(ticket)
    if (this.waiting.size === 0) this.port.unref()
    return waiting
  }

  private exitReason(): Error {
    return new Error(`The engine's thread has ended${this.crash === undefined ? "" : `: ${this.crash.message}`}`, { cause: this.crash })
  }

  /** The thread is no more. */
  private finish(): void {
    this.isRunning = false
    process.off("exit", this.stop)
    for (const ticket of [...this.waiting.keys()]) this.settle(ticket)!.fail(this.exitReason())
    for (const descriptors of [...this.links.values(), ...this.closing.values()]) {
      for (const descriptor of descriptors) addon.close(descriptor)
    }
    this.links.clear()
    this.closing.clear()
    this.port.close()
    addon.close(this.event)
    if (!this.isClosing) this.exitCallback?.(this.exitReason())
  }
}
