/**
 * The routing thread: commands of the main thread in, answers and happenings out, and Node's own event loop for sockets and
 * timers in between. What takes long runs in slices (scheduler.ts).
 */
import { setFlagsFromString } from "node:v8"
import { type MessagePort, workerData } from "node:worker_threads"
import { addon } from "../native/index.ts"
import { BfdLink } from "./bfd-link.ts"
import { type Command, type Happening, keyOf, type NewSpeaker, type Place, type Reply, type WorkerData } from "./messages.ts"
import { Scheduler } from "./scheduler.ts"
import { Speaker } from "./speaker.ts"
import { answer } from "./view/answer.ts"

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** How long happenings are gathered before they are sent: a thousand sessions that come up are some messages. */
const gatherMs = 20

class RoutingThread {
  readonly #port: MessagePort
  readonly #scheduler = new Scheduler()
  readonly #speakers = new Map<string, Speaker>()
  readonly #bfd = new BfdLink((isWanted) => this.#reply({ kind: "bfd", isWanted }))
  /** Longest turn of the event loop and the sum of all, ms. */
  readonly #turns = new Float64Array(2)
  #happenings: Happening[] = []

  constructor({ port }: WorkerData) {
    this.#port = port
    addon.loopGauge(this.#turns)
    port.on("message", (command: Command) => void this.#obey(command))
    this.#reply({ kind: "ready" })
  }

  async #obey(command: Command): Promise<void> {
    if (command.kind === "close") return this.#close()
    const { ticket } = command
    try {
      if (command.kind === "query") {
        const parts = { speakers: this.#speakers, scheduler: this.#scheduler, longestTurnMs: this.#turns[0]! }
        return this.#reply({ kind: "answer", ticket, answer: answer(command.query, parts) })
      }
      const count = await this.#perform(command)
      this.#reply({ kind: "done", ticket, ...(count === undefined ? {} : { count }) })
    } catch (error) {
      this.#reply({ kind: "done", ticket, failure: reasonOf(error) })
    }
  }

  async #perform(command: Exclude<Command, { readonly kind: "close" | "query" }>): Promise<number | void> {
    switch (command.kind) {
      case "add":
        return this.#add(command.speaker)
      case "change":
        return this.#change(command.place, command.spec)
      case "remove": {
        const speaker = this.#speakers.get(keyOf(command.place))
        this.#speakers.delete(keyOf(command.place))
        return speaker?.close({ flush: command.flush, keep: false })
      }
      case "reset":
        return this.#find(command.place).reset(command.neighbor, command.how)
      case "bfd":
        return this.#bfd.open(command.channel)
    }
    return command satisfies never
  }

  #add(init: NewSpeaker): void {
    const tell = (happening: Happening): void => this.#tell(happening)
    this.#speakers.set(keyOf(init), new Speaker(init, { scheduler: this.#scheduler, bfd: this.#bfd, tell }))
  }

  async #change(place: Place, spec: NewSpeaker["spec"]): Promise<void> {
    const speaker = this.#find(place)
    if (speaker.change(spec)) return
    this.#speakers.delete(keyOf(place))
    await speaker.close({ flush: true, keep: false })
    this.#add({ ...speaker.init, spec })
  }

  #find(place: Place): Speaker {
    const speaker = this.#speakers.get(keyOf(place))
    if (speaker === undefined) throw new Error(`No BGP speaker runs on node "${place.node}" of lab "${place.lab}"`)
    return speaker
  }

  #tell(happening: Happening): void {
    if (this.#happenings.length === 0) {
      setTimeout(() => this.#reply({ kind: "told", happenings: this.#happenings.splice(0) }), gatherMs)
    }
    this.#happenings.push(happening)
  }

  #reply(reply: Reply): void {
    this.#port.postMessage(reply)
  }

  /** Routes stay in the kernel, neighbours are told nothing. */
  #close(): void {
    for (const speaker of this.#speakers.values()) void speaker.close({ flush: false, keep: true })
    this.#bfd.close()
    this.#port.close()
    process.exit(0)
  }
}

// weftd's own flags collect early, to be small while nothing happens. Tables that grow would be collected again and again.
setFlagsFromString("--heap-growing-percent=60")
// Messages are some hundred octets: fewer, larger slabs to be looked after.
Buffer.poolSize = 64 * 1024
new RoutingThread(workerData as WorkerData)
