/**
 * The frames of interfaces inside namespaces, as pcapng packet blocks: a kernel ring for each, read together in the order
 * of their times. What is not read in time is dropped by the kernel and counted; nothing queues here.
 */
import { statSync } from "node:fs"
import { addon, type Capture as Ring, type Poll } from "../native/index.ts"
import { attempt } from "./errors.ts"

const readable = 1
/** The kernel's ring is made of blocks of 128 KiB: 8 MiB for one interface, less for each of many. */
const blocksOfOne = 64
const blocksOfAll = 256
const blocksAtLeast = 16

/** A chunk holds any frame: the kernel cuts what is longer than a block. */
const chunkOctets = 192 * 1024
/** Usual chunks stay small enough for memory that is used again and again: larger pieces are mapped anew each time. */
const enoughOctets = 40 * 1024

/** Octets of a frame that are kept unless asked for otherwise: all of it, as Wireshark counts. */
export const maxSnapLength = 262_144

/** After this time what was on the wire can be read: a block is handed over when it is full or 40 ms old. */
export const settleMs = 60

/** An expression for the kernel; made by `compile`. */
export interface Filter {
  readonly instructions: Uint8Array
}

/** Translates a pcap-filter(7) expression; empty: everything. Rejects with libpcap's message. */
export const compile = async (expression: string, snapLength: number): Promise<Filter> => ({
  instructions: await addon.captureCompile(expression, snapLength)
})

export interface Interface {
  readonly netnsPath: string
  readonly ifname: string
}

/** `received`: frames that the filter let through. `dropped`: those of them that did not fit into the ring. */
export interface Counters {
  readonly received: number
  readonly dropped: number
  readonly delivered: number
}

/** Open captures; `close` them. The interface id in packet blocks is the place at which the interface was added. */
export class Captures {
  readonly #filter: Filter
  readonly #blocks: number
  readonly #rings: Array<Ring> = []
  readonly #namespaces: Array<{ readonly path: string; readonly inode: number }> = []
  readonly #chunk = new Uint8Array(chunkOctets)
  /** Frames wait that are too young to be read. */
  #held = false

  /** `count`: how many interfaces will be added. */
  constructor(count: number, filter: Filter) {
    this.#filter = filter
    this.#blocks = Math.min(blocksOfOne, Math.max(blocksAtLeast, Math.floor(blocksOfAll / count)))
  }

  /**
   * From now on frames of this interface are kept.
   * `filter`: in place of that of all.
   * Throws KernelError: ENOENT without the namespace, ENODEV without the interface, EPROTONOSUPPORT when it is not Ethernet.
   */
  add({ ifname, netnsPath }: Interface, filter = this.#filter): void {
    attempt("capture on", ifname, () => {
      const netns = addon.netnsOpen(netnsPath)
      try {
        this.#rings.push(addon.captureOpen(netns, ifname, filter.instructions, this.#blocks))
        this.#namespaces.push({ path: netnsPath, inode: addon.inode(netns) })
      } finally {
        addon.close(netns)
      }
    })
  }

  /**
   * The next frames up to `untilMs` (wall clock) and up to `limit` frames, oldest first; empty when there are none.
   * The octets are valid until the next read.
   */
  read(untilMs: number, limit: number): { readonly octets: Uint8Array; readonly frames: number } {
    const [length, frames, held] = addon.captureRead(this.#rings, this.#chunk, untilMs, limit, enoughOctets)
    this.#held = held === 1
    return { octets: this.#chunk.subarray(0, length), frames }
  }

  /**
   * Until when to read now. Of several interfaces a later block may hold earlier frames as long as blocks are being
   * filled, so frames are given out when they have settled.
   */
  settledMs(): number {
    return this.#rings.length === 1 ? Number.POSITIVE_INFINITY : Date.now() - settleMs
  }

  /** Resolves when there may be something to read, at the latest after `timeoutMs`, and at once when `signal` aborts. */
  wait(timeoutMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        signal.removeEventListener("abort", done)
        for (const poll of polls) addon.pollStop(poll)
        resolve()
      }
      const watch = (ring: Ring): Poll =>
        addon.pollStart(addon.captureDescriptor(ring), readable, (events) => {
          // An interface that is set down leaves an error, which would wake us again and again: asking for it clears it.
          if (events < 0) addon.socketError(addon.captureDescriptor(ring))
          done()
        })
      // Frames that are held keep their ring readable: then only time helps.
      const polls = this.#held ? [] : this.#rings.map(watch)
      const timer = setTimeout(done, this.#held ? Math.min(timeoutMs, settleMs) : timeoutMs)
      if (signal.aborted) done()
      else signal.addEventListener("abort", done)
    })
  }

  /**
   * The place of the first interface that has gone, alone or with its node. An open socket keeps a namespace alive
   * that has lost its name, so the name counts.
   */
  lost(): number | undefined {
    const place = this.#rings.findIndex((ring, at) => {
      const { inode, path } = this.#namespaces[at]!
      return !addon.captureAttached(ring) || statSync(path, { throwIfNoEntry: false })?.ino !== inode
    })
    return place < 0 ? undefined : place
  }

  counters(): ReadonlyArray<Counters> {
    const counts = new Float64Array(3)
    return this.#rings.map((ring) => {
      addon.captureCounters(ring, counts)
      return { received: counts[0]!, dropped: counts[1]!, delivered: counts[2]! }
    })
  }

  close(): void {
    for (const ring of this.#rings.splice(0)) addon.captureClose(ring)
  }
}
