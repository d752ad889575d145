/**
 * One TCP connection of BGP: octets in and out, on the event loop of the thread that made it.
 *
 * Reading fills a chunk of 64 KiB that all connections of the thread share; a handler that has not done with it keeps it, and gets no
 * more until `resume`. Writing is a queue of messages, gathered into as few system calls as possible; whoever fills it asks how much is
 * queued. Nothing is copied but into the socket.
 */
import { constants } from "node:os"
import { getSystemErrorMap } from "node:util"
import { addon, type Poll } from "../../native/index.ts"
import { format } from "../../wire/ip.ts"

export interface Handler {
  /** A connection that we make is there. */
  connected(): void
  /** Octets came; true: the handler keeps the chunk and is given no more until `resume`. */
  received(chunk: Uint8Array): boolean
  /** It could not be made, was lost, or was ended by the peer. Comes once, and nothing after it. */
  failed(reason: string): void
  /** Octets have been written: `queued` is less than before. */
  drained(): void
}

export interface Endpoint {
  readonly address: string
  readonly port: number
  /** Interface of a link-local address, else 0. */
  readonly ifindex: number
}

const chunkLength = 65536
const readable = 1
const writable = 2

let spare: Uint8Array | undefined
/** What is written in one call is put together here. */
const gather = new Uint8Array(chunkLength)

/** `connection refused` for an errno. */
export const describeErrno = (errno: number): string => getSystemErrorMap().get(-errno)?.[1] ?? `errno ${errno}`

/** Both ends of what the native calls tell. */
export const endpointsOf = (octets: Uint8Array, numbers: Uint32Array): readonly [remote: Endpoint, local: Endpoint] => {
  const at = (offset: number, first: number): Endpoint => ({
    address: format(octets.slice(offset, offset + numbers[first]!)),
    port: numbers[first + 1]!,
    ifindex: numbers[first + 2]!
  })
  return [at(0, 0), at(16, 3)]
}

export class Connection {
  /** Who opened it. */
  readonly origin: "local" | "remote"
  remote: Endpoint | undefined
  local: Endpoint | undefined
  #descriptor: number
  /** When TCP had made it, by `performance.now()`. */
  readonly #madeAt: number
  #poll: Poll | undefined
  #handler: Handler | undefined
  #isConnected: boolean
  #isPaused = false
  #isFrozen = false
  #gone: (() => void) | undefined
  /** What the handler keeps. */
  #kept: Uint8Array | undefined
  #interest = 0
  readonly #queue: Uint8Array[] = []
  /** Octets of the first message that are written already. */
  #written = 0
  #queued = 0
  #isFlushDue = false
  #sentTotal = 0

  /** Takes over a descriptor: one that is connecting, or one that was accepted, with its ends, and made at `madeAt`. */
  constructor(descriptor: number, ends?: readonly [Endpoint, Endpoint], madeAt: number = performance.now()) {
    this.#descriptor = descriptor
    this.#madeAt = madeAt
    this.origin = ends === undefined ? "local" : "remote"
    this.#isConnected = ends !== undefined
    this.remote = ends?.[0]
    this.local = ends?.[1]
  }

  /** Octets that wait for the kernel to take them. */
  get queued(): number {
    return this.#queued
  }

  get isOpen(): boolean {
    return this.#descriptor >= 0
  }

  /** How long ago the peer connected, ms: one that was accepted may have waited for that. Of our own: when we began to connect. */
  get ageMs(): number {
    return performance.now() - this.#madeAt
  }

  /** From now on the handler is told. */
  attach(handler: Handler): void {
    this.#handler = handler
    this.#interest = this.#isConnected ? readable : writable
    this.#poll ??= addon.pollStart(this.#descriptor, this.#interest, (events) => this.#ready(events))
    if (this.#isFrozen) addon.pollChange(this.#poll, 0)
  }

  /** Limits of hops, on a connection that was accepted; 0 leaves one as it is. */
  setHops(hops: number, minimum: number): void {
    addon.bgpHops(this.#descriptor, hops, minimum)
  }

  /** While frozen nothing is read and nothing written; what is to be written waits. The kernel goes on acknowledging. */
  setFrozen(isFrozen: boolean): void {
    if (isFrozen === this.#isFrozen) return
    this.#isFrozen = isFrozen
    if (this.#poll === undefined) return
    addon.pollChange(this.#poll, isFrozen ? 0 : this.#interest)
    if (!isFrozen && this.#isConnected) this.flush()
  }

  /** Called once, when the connection is closed or lost. */
  onGone(callback: () => void): void {
    this.#gone = callback
  }

  /** The octets must stay as they are until they are written. */
  write(octets: Uint8Array): void {
    if (!this.isOpen) return
    this.#queue.push(octets)
    this.#queued += octets.length
    if (this.#isFlushDue || !this.#isConnected || (this.#interest & writable) !== 0) return
    if (this.#queued >= chunkLength) return this.flush()
    // Who writes one message usually writes more at once.
    this.#isFlushDue = true
    queueMicrotask(() => {
      this.#isFlushDue = false
      this.flush()
    })
  }

  /** Gives the kernel what it takes. */
  flush(): void {
    if (this.#isFrozen) return
    let sent = 0
    while (this.#queued > 0 && this.isOpen) {
      const [octets, at, length] = this.#next()
      const result = addon.write(this.#descriptor, octets.subarray(0, at + length), at)
      if (result === -constants.errno.EAGAIN) break
      // What went wrong is told when it is read: a NOTIFICATION that the peer sent before may still lie there.
      if (result < 0) return this.#watch(this.#isPaused ? 0 : readable)
      this.#advance(result)
      sent += result
      if (result < length) break
    }
    if (!this.isOpen) return
    this.#watch((this.#isPaused ? 0 : readable) | (this.#queued > 0 ? writable : 0))
    if (sent > 0) this.#handler?.drained()
  }

  /** Reads and delivers what is there now, although the event loop has not said so. */
  readNow(): void {
    if (this.isOpen && this.#isConnected && !this.#isPaused && !this.#isFrozen) this.#read()
  }

  /** The handler has done with the chunk that it kept. */
  resume(): void {
    if (!this.#isPaused || !this.isOpen) return
    this.#isPaused = false
    spare = this.#kept
    this.#kept = undefined
    this.#watch(this.#interest | readable)
  }

  /** Octets that the peer's TCP has acknowledged, and those that it was to get: equal when nothing is under way. */
  progress(): { readonly acknowledged: number; readonly total: number } {
    return { acknowledged: this.isOpen ? addon.bgpAcknowledged(this.#descriptor) : 0, total: this.#sentTotal + this.#queued }
  }

  /** After `flush`, when what is queued shall still arrive; a reset throws it away. */
  close(): void {
    if (!this.isOpen) return
    this.flush()
    if (!this.isOpen) return
    const descriptor = this.#detach()
    if (!this.#isConnected || this.#queued > 0) return addon.bgpReset(descriptor)
    // Octets that nobody has read would make the kernel send a reset, and the peer could lose our last message by it.
    for (let rounds = 0; rounds < 64 && addon.receive(descriptor, gather) > 0; rounds++);
    addon.close(descriptor)
  }

  #detach(): number {
    const descriptor = this.#descriptor
    this.#descriptor = -1
    this.#handler = undefined
    if (this.#poll !== undefined) addon.pollStop(this.#poll)
    this.#poll = undefined
    this.#gone?.()
    return descriptor
  }

  #next(): readonly [octets: Uint8Array, at: number, length: number] {
    const first = this.#queue[0]!
    if (this.#queue.length === 1 || first.length - this.#written >= chunkLength) return [first, this.#written, first.length - this.#written]
    let length = 0
    let skip = this.#written
    for (const message of this.#queue) {
      const part = message.subarray(skip, skip + chunkLength - length)
      gather.set(part, length)
      length += part.length
      skip = 0
      if (length === chunkLength) break
    }
    return [gather, 0, length]
  }

  #advance(count: number): void {
    this.#queued -= count
    this.#sentTotal += count
    let left = count + this.#written
    let done = 0
    while (done < this.#queue.length && left >= this.#queue[done]!.length) left -= this.#queue[done++]!.length
    this.#queue.splice(0, done)
    this.#written = left
  }

  #watch(interest: number): void {
    if (interest === this.#interest || this.#poll === undefined) return
    this.#interest = interest
    if (!this.#isFrozen) addon.pollChange(this.#poll, interest)
  }

  #ready(events: number): void {
    if (this.#isFrozen) return
    if (!this.#isConnected) return this.#finishConnecting()
    if (events < 0 || ((events & readable) !== 0 && !this.#isPaused)) this.#read()
    if (this.isOpen && (events & writable) !== 0) this.flush()
  }

  #finishConnecting(): void {
    const error = addon.socketError(this.#descriptor)
    if (error !== 0) return this.#fail(describeErrno(error))
    this.#isConnected = true
    try {
      const octets = new Uint8Array(32)
      const numbers = new Uint32Array(6)
      addon.bgpNames(this.#descriptor, octets, numbers)
      ;[this.remote, this.local] = endpointsOf(octets, numbers)
    } catch {
      // It has ended since; reading tells why.
    }
    this.#watch(readable)
    this.#handler?.connected()
  }

  #read(): void {
    const buffer = spare ?? new Uint8Array(chunkLength)
    spare = undefined
    const count = addon.receive(this.#descriptor, buffer)
    if (count <= 0) {
      spare = buffer
      if (count === -constants.errno.EAGAIN) return
      return this.#fail(count === 0 ? "the peer closed the connection" : describeErrno(-count))
    }
    const isKept = this.#handler?.received(buffer.subarray(0, count)) ?? false
    if (!isKept) spare = buffer
    else if (this.isOpen) {
      this.#isPaused = true
      this.#kept = buffer
      this.#watch(this.#interest & ~readable)
    }
  }

  #fail(reason: string): void {
    const handler = this.#handler
    addon.close(this.#detach())
    handler?.failed(reason)
  }
}
