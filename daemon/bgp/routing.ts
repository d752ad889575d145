/**
 * BGP speakers: one for each node that has `bgp`, all in one thread of their own.
 *
 * A speaker has sockets and routes in its node's namespace, tables of routes and sessions with neighbours. None of it runs
 * on the main thread, where requests are answered and labs are made, nor in the engine's, where packets and BFD are: a
 * table of a million routes may take its time without anybody waiting. This file is the handle on the main thread.
 *
 *     main thread    routing.ts     start, stop, add, change, remove, ask; begins anew after a crash
 *                       | messages.ts
 *     its thread     worker.ts      commands in; scheduler.ts gives everything its slices
 *                    speaker.ts     one router: its tables, its neighbours, its policies
 *                      table.ts       a VRF: rib/ (paths, decisions, updates), fib/ (next hops, the kernel's routes)
 *                      neighbor.ts    session/ (FSM, TCP) joined to the RIB of its table
 *                      origination.ts networks, connected and static routes, aggregates, routes of other tables
 *                      bfd-link.ts    what the engine says of a neighbour's way
 *                    policy/        what routes are taken and told, and changed
 *                    view/          answers for people, in pages
 *
 * A thread that ends, for whatever reason but being asked to, leaves the routes in the kernel. The handle starts another
 * one and adds all speakers again; they find their routes and restart gracefully (RFC 4724), as they do when weftd itself
 * was killed.
 */
import { setFlagsFromString } from "node:v8"
import { MessageChannel, Worker, type MessagePort } from "node:worker_threads"
import { addon } from "../native/index.ts"
import type { BgpSpec } from "../plan/bgp.ts"
import type { BfdChannel } from "../datapath/bfd-api.ts"
import { type Command, type Happening, keyOf, type Place, type Reply, type ResetKind, type WorkerData } from "./messages.ts"
import type { Answer, Query } from "./view/view.ts"

/** A namespace that is open; the handle owns the descriptor from now on. */
export interface NodeNamespace {
  readonly fd: number
  readonly inode: number
  readonly path: string
}

/** What runs, as the reconciler observes it. */
export interface RunningSpeaker {
  readonly spec: BgpSpec
  /** Of the namespace that it runs in. */
  readonly inode: number
}

interface Speaker extends Place {
  netns: NodeNamespace
  spec: BgpSpec
  /** What keeps it from running; undefined: it runs. */
  fault: string | undefined
  /** Where it was started last; undefined: nowhere yet. */
  thread: Thread | undefined
}

interface Waiting {
  readonly done: (reply: Reply) => void
  readonly fail: (error: Error) => void
}

export interface RoutingParts {
  readonly tell: (happening: Happening) => void
  /** Something that concerns the thread itself, for the log. */
  readonly log: (message: string) => void
  /** A way to the engine's thread, which starts when it does not run. Asked for when a neighbour has `bfd`. */
  readonly openBfd?: () => Promise<BfdChannel>
  /** No neighbour has it any more. */
  readonly closeBfd?: () => Promise<void>
}

/** A command without its ticket. */
type Asked = Exclude<Command, { readonly kind: "close" }> extends infer C ? (C extends Command ? Omit<C, "ticket"> : never) : never

const firstPauseMs = 100
const longestPauseMs = 10_000
/** A thread that ran for so long before it ended is started again at once. */
const steadyMs = 60_000

export class Routing {
  readonly #parts: RoutingParts
  readonly #speakers = new Map<string, Speaker>()
  /** Speakers that are being removed. */
  #leaving = 0
  #thread: Promise<Thread> | undefined
  #pauseMs = firstPauseMs
  #restart: NodeJS.Timeout | undefined
  #isClosing = false

  constructor(parts: RoutingParts) {
    this.#parts = parts
  }

  /** Starts a speaker in the namespace. Rejects with what is wrong, and closes the descriptor. */
  async add(place: Place, netns: NodeNamespace, spec: BgpSpec): Promise<void> {
    const key = keyOf(place)
    await this.remove(place, { flush: false })
    const speaker: Speaker = { ...place, netns, spec, fault: undefined, thread: undefined }
    this.#speakers.set(key, speaker)
    try {
      await this.#launch(speaker, await this.#running())
    } catch (error) {
      if (this.#speakers.get(key) === speaker) this.#speakers.delete(key)
      addon.close(netns.fd)
      throw error
    }
  }

  /** Makes a running speaker be what `spec` says, with no more disturbance than that takes. */
  async change(place: Place, spec: BgpSpec): Promise<void> {
    const speaker = this.#speakers.get(keyOf(place))
    if (speaker === undefined) throw new Error(`Cannot change the BGP speaker of "${keyOf(place)}": it does not run`)
    try {
      const thread = await this.#running()
      if (speaker.thread === thread) this.#countOf(await thread.ask({ kind: "change", place, spec }))
      else await this.#launch(Object.assign(speaker, { spec }), thread)
    } catch (error) {
      // It may have ended on the way to what it should be: it is to be started anew.
      speaker.fault = reasonOf(error)
      throw error
    }
    speaker.spec = spec
    speaker.fault = undefined
  }

  /** Ends a speaker: its neighbours are told. `flush`: its routes leave the kernel. Fine when there is none. */
  async remove(place: Place, { flush }: { readonly flush: boolean }): Promise<void> {
    const speaker = this.#speakers.get(keyOf(place))
    if (speaker === undefined) return
    this.#speakers.delete(keyOf(place))
    this.#leaving++
    try {
      await this.#tell({ kind: "remove", place, flush })
    } finally {
      this.#leaving--
      addon.close(speaker.netns.fd)
      // Others may still be taking their routes out of the kernel.
      if (this.#speakers.size === 0 && this.#leaving === 0) await this.#end()
    }
  }

  /** The lab's speakers by node. */
  *running(lab: string): Generator<readonly [node: string, running: RunningSpeaker]> {
    for (const speaker of this.#speakers.values()) {
      if (speaker.lab !== lab) continue
      const spec = speaker.fault === undefined ? speaker.spec : { ...speaker.spec, state: speaker.fault }
      yield [speaker.node, { spec, inode: speaker.netns.inode }]
    }
  }

  /** Names of labs that have speakers. */
  labs(): ReadonlySet<string> {
    return new Set(Array.from(this.#speakers.values(), ({ lab }) => lab))
  }

  has(place: Place): boolean {
    return this.#speakers.has(keyOf(place))
  }

  /** Rejects when there is no answer: the thread ended meanwhile. */
  async ask(query: Query): Promise<Answer> {
    if (this.#speakers.size === 0) return { kind: "nothing", reason: "no BGP speaker runs" }
    const reply = await this.#request({ kind: "query", query })
    if (reply.kind === "answer") return reply.answer
    const reason = reply.kind === "done" ? reply.failure : undefined
    return { kind: "nothing", reason: reason ?? "the routing thread did not answer the question" }
  }

  /**
   * Ends sessions, or has routes exchanged again. `neighbor`: name, address or node; empty: all. Rejects when there is none.
   * Resolves with how many there were.
   */
  async reset(place: Place, neighbor: string, how: ResetKind): Promise<number> {
    const { node } = place
    if (!this.has(place)) throw new Error(`Node "${node}" has no BGP speaker`)
    return this.#tell({ kind: "reset", place, neighbor, how })
  }

  /** Ends the thread as a crash would; for tests of what comes after. */
  async kill(): Promise<void> {
    await (await this.#thread)?.kill()
  }

  /** Ends the thread. Routes stay in the kernel and neighbours are told nothing, as after a crash. */
  async close(): Promise<void> {
    this.#isClosing = true
    await this.#end()
    for (const { netns } of this.#speakers.values()) addon.close(netns.fd)
    this.#speakers.clear()
  }

  async #end(): Promise<void> {
    clearTimeout(this.#restart)
    const thread = this.#thread
    this.#thread = undefined
    await (await thread?.catch(() => undefined))?.close()
    await this.#takeBfd()
  }

  async #tell(command: Asked): Promise<number> {
    return this.#countOf(await this.#request(command))
  }

  /** @throws Error with why the thread has not done it */
  #countOf(reply: Reply): number {
    if (reply.kind === "done" && reply.failure !== undefined) throw new Error(reply.failure)
    return reply.kind === "done" ? (reply.count ?? 0) : 0
  }

  async #request(command: Asked): Promise<Reply> {
    return (await this.#running()).ask(command)
  }

  /** The thread with all speakers that were there before. */
  #running(): Promise<Thread> {
    if (this.#isClosing) return Promise.reject(new Error("weftd is stopping"))
    this.#thread ??= this.#start()
    return this.#thread
  }

  async #start(): Promise<Thread> {
    const began = performance.now()
    const thread = new Thread({
      reply: (reply) => this.#hear(reply),
      ended: (error) => this.#crashed(error, performance.now() - began)
    })
    await thread.ready
    return thread
  }

  /** What fails here is tried again when the thread asks again. */
  async #giveBfd(): Promise<void> {
    const thread = this.#thread
    if (thread === undefined || this.#parts.openBfd === undefined) return
    try {
      const channel = await this.#parts.openBfd()
      await (await thread).ask({ kind: "bfd", channel }, [channel.port])
    } catch (error) {
      this.#parts.log(`BFD for BGP: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  async #takeBfd(): Promise<void> {
    await this.#parts.closeBfd?.().catch((error: unknown) => this.#parts.log(`BFD for BGP: ${String(error)}`))
  }

  #hear(reply: Reply): void {
    switch (reply.kind) {
      case "told":
        for (const happening of reply.happenings) this.#parts.tell(happening)
        return
      case "fault": {
        const speaker = this.#speakers.get(keyOf(reply.place))
        if (speaker !== undefined) speaker.fault = reply.reason
        return
      }
      case "bfd":
        void (reply.isWanted ? this.#giveBfd() : this.#takeBfd())
    }
  }

  #crashed(error: Error, ranMs: number): void {
    this.#thread = undefined
    if (this.#isClosing || this.#speakers.size === 0) return
    if (ranMs > steadyMs) this.#pauseMs = firstPauseMs
    this.#parts.log(`${error.message}: starting it again with ${this.#speakers.size} speakers`)
    this.#restart = setTimeout(() => void this.#begin(), this.#pauseMs)
    this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs)
  }

  /** Adds all speakers to a new thread. What cannot be added has a fault, which the reconciler sees. */
  async #begin(): Promise<void> {
    // Without a thread there is another try already.
    const thread = await this.#running().catch(() => undefined)
    if (thread === undefined) return
    for (const speaker of [...this.#speakers.values()]) {
      try {
        await this.#launch(speaker, thread)
        speaker.fault = undefined
      } catch (error) {
        speaker.fault = reasonOf(error)
      }
    }
  }

  /**
   * Has the thread run a speaker: once, whoever is first, and not one that was removed meanwhile, whose descriptor may be something
   * else by now.
   */
  async #launch(speaker: Speaker, thread: Thread): Promise<void> {
    const { lab, netns, node, spec } = speaker
    if (speaker.thread === thread || this.#speakers.get(keyOf(speaker)) !== speaker) return
    speaker.thread = thread
    this.#countOf(await thread.ask({ kind: "add", speaker: { lab, node, netns: netns.fd, netnsPath: netns.path, spec } }))
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** One worker thread: commands with tickets, and its end. */
class Thread {
  readonly ready: Promise<void>
  readonly #worker: Worker
  readonly #port: MessagePort
  readonly #ended: Promise<void>
  readonly #waiting = new Map<number, Waiting>()
  #lastTicket = 0
  #isRunning = true
  #isClosing = false
  #crash: Error | undefined

  constructor({ ended, reply }: { readonly reply: (reply: Reply) => void; readonly ended: (error: Error) => void }) {
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    const data: WorkerData = { port: port2 }
    // weftd's own V8 flags keep an idle daemon small. This thread works: it gets a young generation that it can work in.
    setFlagsFromString("--max-semi-space-size=32")
    this.#worker = new Worker(new URL("./worker.ts", import.meta.url), {
      name: "weft-routing",
      workerData: data,
      transferList: [port2],
      // Tables are in typed arrays, outside of this; attributes and what is being worked on are inside.
      resourceLimits: { maxOldGenerationSizeMb: 4096, maxYoungGenerationSizeMb: 96 }
    })
    this.#worker.once("online", () => setFlagsFromString("--max-semi-space-size=1"))
    this.#worker.on("error", (error) => (this.#crash = error instanceof Error ? error : new Error(String(error))))
    let isReady = (): void => {}
    this.ready = new Promise((done, fail) => {
      isReady = done
      this.#worker.once("exit", () => fail(this.#reason()))
    })
    this.ready.catch(() => {})
    this.#ended = new Promise((done) => {
      this.#worker.once("exit", () => {
        this.#finish()
        if (!this.#isClosing) ended(this.#reason())
        done()
      })
    })
    this.#port.on("message", (message: Reply) => {
      if (message.kind === "ready") return isReady()
      if (message.kind === "done" || message.kind === "answer") return this.#settle(message.ticket)?.done(message)
      reply(message)
    })
    this.#port.unref()
    this.#worker.unref()
  }

  /** Resolves with the reply; rejects when the thread ends first. */
  ask(command: Asked, transfer: ReadonlyArray<MessagePort> = []): Promise<Reply> {
    return new Promise((done, fail) => {
      if (!this.#isRunning) return fail(this.#reason())
      const ticket = ++this.#lastTicket
      this.#waiting.set(ticket, { done, fail })
      this.#port.ref()
      this.#port.postMessage({ ...command, ticket } as Command, [...transfer])
    })
  }

  async kill(): Promise<void> {
    this.#worker.ref()
    await this.#worker.terminate()
    await this.#ended
  }

  async close(): Promise<void> {
    this.#isClosing = true
    this.#worker.ref()
    if (this.#isRunning) this.#port.postMessage({ kind: "close" } satisfies Command)
    await this.#ended
  }

  #settle(ticket: number): Waiting | undefined {
    const waiting = this.#waiting.get(ticket)
    this.#waiting.delete(ticket)
    if (this.#waiting.size === 0) this.#port.unref()
    return waiting
  }

  #reason(): Error {
    const why = this.#crash === undefined ? "" : `: ${this.#crash.message}`
    return new Error(`The routing thread has ended${why}`, { cause: this.#crash })
  }

  #finish(): void {
    this.#isRunning = false
    for (const ticket of [...this.#waiting.keys()]) this.#settle(ticket)!.fail(this.#reason())
    this.#port.close()
  }
}
