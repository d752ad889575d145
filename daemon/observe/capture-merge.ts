/**
 * Captures of several hosts as one: packets in the order of their times, every interface with a number of its own.
 *
 *     h1  -- chunks --> lane --.
 *                               >-- oldest packet first --> chunks
 *     h2  -- chunks --> lane --'
 *
 * Within a lane packets are in order. The oldest of all is given out when every lane has one, or when it has waited
 * `holdMs`: a lane that has none may just have nothing to say. So the order is right as far as the hosts' clocks are, and
 * as far as nothing is on its way for longer than that. A lane that is full is not read, which slows its host's capture
 * down, and its kernel drops and counts what nobody takes: memory is bounded.
 *
 * When one lane fails, the capture ends, and what the others have until then is in it.
 */
import { setTimeout as sleep } from "node:timers/promises"
import * as Pcapng from "../wire/pcapng.ts"
import { type Ending, enough, over, type PortCount, type Reason, statisticsOf, stoppedBy } from "./capture-ending.ts"

/** One host's capture. */
export interface Source {
  /** Name of the host. */
  readonly host: string
  /** Chunks of whole blocks, whose octets are ours from then on; when `stop` aborts, the last ones and how it ended. */
  readonly chunks: (stop: AbortSignal) => AsyncGenerator<Uint8Array, Ending, undefined>
}

export interface MergeRequest {
  /** Ends after so many packets; 0: no limit. */
  readonly count: number
  /** Ends after this time; 0: no limit. */
  readonly durationMs: number
  /** Of the file. */
  readonly comment: string
  readonly os: string
}

const holdMs = 150
/** Octets that wait in one lane. */
const laneOctets = 1 << 20
const outputOctets = 192 * 1024
/** How long a host may take to end its capture. */
const endingPatienceMs = 3000
const nanoseconds = 9

/** Packets of one chunk that have not been given out: whole packet blocks. */
interface Packets {
  readonly octets: Uint8Array
  at: number
  readonly end: number
  readonly arrivedMs: number
}

interface Lane {
  readonly host: string
  readonly queue: Array<Packets>
  waiting: number
  /** Known when the first chunk has come. */
  interfaces: ReadonlyArray<Pcapng.Interface> | undefined
  /** Number of the first of them in the output. */
  first: number
  readonly delivered: Array<number>
  ended: Ending | undefined
}

const laneOf = (host: string): Lane => ({
  host,
  queue: [],
  waiting: 0,
  interfaces: undefined,
  first: 0,
  delivered: [],
  ended: undefined
})

/** Something happened: at most one waits for it. */
class Bell {
  #ring: (() => void) | undefined
  #rung = false

  ring(): void {
    this.#rung = true
    this.#ring?.()
  }

  /** Resolves when it rings or has rung since the last time, at the latest after `timeoutMs`. */
  async wait(timeoutMs: number): Promise<void> {
    if (!this.#rung) {
      const timer = new AbortController()
      const rung = new Promise<void>((resolve) => (this.#ring = resolve))
      await Promise.race([rung, sleep(timeoutMs, undefined, timer).catch(() => undefined)])
      timer.abort()
    }
    this.#ring = undefined
    this.#rung = false
  }
}

/**
 * One capture out of several. As with one host's, the first chunk comes when all run, and says that they do; a chunk is valid
 * until the next one is asked for. Throws what a source throws before that; later it is how the capture ended.
 */
export async function* merge(
  sources: ReadonlyArray<Source>,
  request: MergeRequest,
  stop: AbortSignal
): AsyncGenerator<Uint8Array, Ending, undefined> {
  const merger = new Merger(sources)
  try {
    await merger.started()
    return yield* merger.run(request, stop)
  } finally {
    await merger.close()
  }
}

class Merger {
  readonly #lanes: ReadonlyArray<Lane>
  readonly #bell = new Bell()
  readonly #room = new Map<Lane, Bell>()
  readonly #stops: ReadonlyArray<AbortController>
  readonly #readers: ReadonlyArray<Promise<void>>
  readonly #output = new Uint8Array(outputOctets)
  #refusal: { readonly error: unknown } | undefined
  #closed = false

  constructor(sources: ReadonlyArray<Source>) {
    this.#lanes = sources.map(({ host }) => laneOf(host))
    this.#stops = sources.map(() => new AbortController())
    this.#readers = sources.map((source, place) => this.#read(this.#lanes[place]!, source.chunks(this.#stops[place]!.signal)))
  }

  /** Resolves when all capture. */
  async started(): Promise<void> {
    while (this.#lanes.some(({ interfaces }) => interfaces === undefined)) {
      if (this.#refusal !== undefined) throw this.#refusal.error
      await this.#bell.wait(60_000)
    }
    let first = 0
    for (const lane of this.#lanes) {
      lane.first = first
      first += lane.interfaces!.length
    }
  }

  async *run(request: MergeRequest, stop: AbortSignal): AsyncGenerator<Uint8Array, Ending, undefined> {
    const startMs = Date.now()
    yield Pcapng.encode(...this.#header(request))
    const deadline = request.durationMs === 0 ? Number.POSITIVE_INFINITY : performance.now() + request.durationMs
    const limit = request.count === 0 ? Number.POSITIVE_INFINITY : request.count
    let given = 0
    const wake = (): void => this.#bell.ring()
    stop.addEventListener("abort", wake)
    let ending: Reason | undefined
    try {
      while (ending === undefined) {
        const { octets, packets } = this.#gather(limit - given)
        given += packets
        if (packets > 0) yield octets
        if (given === limit) ending = enough(request.count)
        else if (stop.aborted) ending = stoppedBy(stop.reason)
        else if (performance.now() >= deadline) ending = over(request.durationMs)
        else ending = this.#over()
        if (ending === undefined && packets === 0) await this.#bell.wait(Math.min(deadline - performance.now(), this.#restMs()))
      }
    } finally {
      stop.removeEventListener("abort", wake)
    }
    // What was on the wire until now belongs to the capture.
    for (const each of this.#stops) each.abort()
    const patience = performance.now() + endingPatienceMs
    for (;;) {
      const isOver = this.#lanes.every(({ ended }) => ended !== undefined) || performance.now() > patience
      const { octets, packets } = this.#gather(limit - given, isOver)
      given += packets
      if (packets > 0) yield octets
      else if (isOver) break
      else await this.#bell.wait(Math.min(patience - performance.now() + 1, this.#restMs()))
      if (given === limit) this.#discard()
    }
    const ports = this.#counts()
    yield Pcapng.encode(...statisticsOf(ports, startMs, Date.now()))
    return { ...ending, ports }
  }

  /** Ends what has not ended, and waits for it. */
  async close(): Promise<void> {
    this.#closed = true
    for (const each of this.#stops) each.abort()
    for (const bell of this.#room.values()) bell.ring()
    await Promise.race([Promise.all(this.#readers), sleep(endingPatienceMs, undefined, { ref: false })])
  }

  /** Reads a source to its end. */
  async #read(lane: Lane, chunks: AsyncGenerator<Uint8Array, Ending, undefined>): Promise<void> {
    const room = new Bell()
    this.#room.set(lane, room)
    try {
      for (;;) {
        const next = await chunks.next()
        if (next.done === true) {
          lane.ended = next.value
          return
        }
        if (!this.#closed) take(lane, next.value)
        this.#bell.ring()
        while (lane.waiting > laneOctets && !this.#closed) await room.wait(1000)
      }
    } catch (error) {
      if (lane.interfaces === undefined) this.#refusal ??= { error }
      lane.ended = { reason: error instanceof Error ? error.message : String(error), failed: true, ports: [] }
    } finally {
      this.#bell.ring()
      // Where it was not read to its end, it has something to close. A source that does not, closes with the call.
      void chunks.return({ reason: "", failed: false, ports: [] }).catch(() => undefined)
    }
  }

  #header({ comment, os }: MergeRequest): ReadonlyArray<Pcapng.Block> {
    const interfaces = this.#lanes.flatMap(({ host, interfaces }) =>
      interfaces!.map((each): Pcapng.Interface => ({ ...each, comment: `captured on host ${host}` }))
    )
    return [{ kind: "section", comment, os, application: "weft" }, ...interfaces]
  }

  /** A lane that failed ends it for all; else it is over when all lanes are. */
  #over(): Reason | undefined {
    const failed = this.#lanes.find(({ ended }) => ended?.failed === true)?.ended
    if (failed !== undefined) return { reason: failed.reason, failed: true }
    const isEmpty = this.#lanes.every(({ ended, queue }) => ended !== undefined && queue.length === 0)
    return isEmpty ? { reason: this.#lanes[0]!.ended!.reason, failed: false } : undefined
  }

  /** When the oldest packet that waits may go, at the latest; milliseconds. */
  #restMs(): number {
    const arrived = this.#lanes.flatMap(({ queue }) => queue[0]?.arrivedMs ?? [])
    return arrived.length === 0 ? 1000 : Math.max(1, Math.min(...arrived) + holdMs - performance.now())
  }

  /** The next packets in their order: as many as may go, fit into one chunk, and are at most `limit`. */
  #gather(limit: number, all = false): { readonly octets: Uint8Array; readonly packets: number } {
    const lanes = this.#lanes.filter(({ queue }) => queue.length > 0)
    const silent = this.#lanes.filter(({ ended, queue }) => queue.length === 0 && ended === undefined)
    const aged = performance.now() - holdMs
    let [length, packets] = [0, 0]
    while (packets < limit && lanes.length > 0) {
      if (!all && silent.length > 0 && !lanes.some(({ queue }) => queue[0]!.arrivedMs <= aged)) break
      const lane = oldest(lanes)
      const head = lane.queue[0]!
      const size = Pcapng.blockLength(head.octets, head.at)
      if (length + size > outputOctets) {
        // The kernel cuts frames long before this; another version's may not.
        if (length === 0) throw new Error(`Cannot pass on a packet of ${size} octets from host "${lane.host}"`)
        break
      }
      this.#output.set(head.octets.subarray(head.at, head.at + size), length)
      const local = Pcapng.packetInterface(head.octets, head.at)
      Pcapng.setPacketInterface(this.#output, length, lane.first + local)
      lane.delivered[local] = (lane.delivered[local] ?? 0) + 1
      length += size
      packets += 1
      head.at += size
      if (head.at === head.end) {
        lane.queue.shift()
        lane.waiting -= head.octets.length
        this.#room.get(lane)?.ring()
        if (lane.queue.length === 0) {
          lanes.splice(lanes.indexOf(lane), 1)
          if (lane.ended === undefined) silent.push(lane)
        }
      }
    }
    return { octets: this.#output.subarray(0, length), packets }
  }

  /** What comes behind the limit is of no use, but must not hold its lane up. */
  #discard(): void {
    for (const lane of this.#lanes) {
      lane.queue.length = 0
      lane.waiting = 0
      this.#room.get(lane)?.ring()
    }
  }

  #counts(): ReadonlyArray<PortCount> {
    return this.#lanes.flatMap(({ delivered, ended, interfaces }) =>
      interfaces!.map(({ name = "" }, place) => {
        const inFile = delivered[place] ?? 0
        // A host that was lost has told us nothing but its packets.
        const { dropped = 0, received = inFile } = ended?.ports[place] ?? {}
        return { name, received, dropped, delivered: inFile }
      })
    )
  }
}

/** Sorts a chunk's blocks: interfaces and packets are kept, the section and statistics are made anew. */
const take = (lane: Lane, octets: Uint8Array): void => {
  const interfaces: Array<Pcapng.Interface> = []
  const arrivedMs = performance.now()
  let packets: Packets | undefined
  for (let at = 0; at < octets.length; ) {
    const error = Pcapng.check(octets, at)
    if (error !== undefined) throw new Error(`Cannot read the capture of host "${lane.host}": ${error._tag} at octet ${at} of a chunk`)
    const length = Pcapng.blockLength(octets, at)
    if (Pcapng.isPacket(octets, at)) {
      if (!(Pcapng.packetInterface(octets, at) < (lane.interfaces?.length ?? 0))) {
        throw new Error(`Cannot read the capture of host "${lane.host}": a packet of an interface that it has not named`)
      }
      packets ??= { octets, at, end: octets.length, arrivedMs }
    } else {
      const decoded = Pcapng.decode(octets, at)
      if (decoded.ok && decoded.value.kind === "interface") interfaces.push(decoded.value)
      if (packets !== undefined) throw new Error(`Cannot read the capture of host "${lane.host}": packets and others in one chunk`)
    }
    at += length
  }
  if (interfaces.some(({ timestampResolution }) => timestampResolution !== nanoseconds)) {
    throw new Error(`Cannot read the capture of host "${lane.host}": its times are not in nanoseconds`)
  }
  if (lane.interfaces === undefined) lane.interfaces = interfaces
  if (packets !== undefined) {
    lane.queue.push(packets)
    lane.waiting += octets.length
  }
}

const oldest = (lanes: ReadonlyArray<Lane>): Lane => {
  let best = lanes[0]!
  for (let place = 1; place < lanes.length; place++) {
    const [head, other] = [best.queue[0]!, lanes[place]!.queue[0]!]
    if (Pcapng.isEarlier(other.octets, other.at, head.octets, head.at)) best = lanes[place]!
  }
  return best
}
