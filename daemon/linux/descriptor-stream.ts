/**
 * Node streams over descriptors that do not block: pipes and pseudo terminals of the programs that run in nodes.
 *
 * Node's own classes do not fit: `tty.WriteStream` writes to a terminal's controlling side with blocking calls, so a
 * program that does not read would stop the daemon, and `child_process` pipes are sockets, on which a program's
 * `open("/dev/stdout")` fails. These keep exact back-pressure (a reader that is not read stops reading, so the program
 * stops in its write) and take one turn of the event loop per chunk, so that an endless program starves nobody.
 *
 * Each stream owns its descriptor and closes it when it is destroyed. That happens by itself at the end, except for what
 * is written to a terminal: its owner destroys that when the program has ended.
 */
import { constants } from "node:os"
import { Readable, Writable } from "node:stream"
import { addon, type Poll } from "../native/index.ts"

const readable = 1
const writable = 2
const chunkOctets = 65536

const { EAGAIN, EINTR, EIO, EPIPE } = constants.errno

/** One buffer for all readers: each read is copied out of it before the next. */
const scratch = new Uint8Array(chunkOctets)

const failure = (operation: string, errno: number): Error => {
  const name = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`
  return Object.assign(new Error(`Cannot ${operation} descriptor of a command: ${name}`), { code: name, errno })
}

/** What a program writes, until it closes its side (on a terminal: until nobody has the terminal open any more). */
export class DescriptorReadable extends Readable {
  readonly descriptor: number
  #poll: Poll | undefined
  #idleMs: number | undefined
  #idleTimer: NodeJS.Timeout | undefined

  constructor(descriptor: number) {
    super({ highWaterMark: chunkOctets })
    this.descriptor = descriptor
  }

  /**
   * Ends the stream once nothing has come for `idleMs`, even if some process still holds the other side. For when the
   * program is gone: what it wrote is read to the last octet, what a background child writes later is not waited for.
   */
  endWhenIdle(idleMs: number): void {
    this.#idleMs = idleMs
    if (this.#poll !== undefined) this.#armIdleTimer()
  }

  override _read(): void {
    if (this.#poll !== undefined || this.destroyed) return
    this.#poll = addon.pollStart(this.descriptor, readable, () => this.#readChunk())
    this.#armIdleTimer()
  }

  #readChunk(): void {
    const octets = addon.read(this.descriptor, scratch)
    if (octets > 0) {
      if (this.push(Buffer.from(scratch.subarray(0, octets)))) this.#armIdleTimer()
      else this.#stop()
    } else if (octets === 0 || octets === -EIO) {
      // EIO: nobody has the other side of the terminal open.
      this.#end()
    } else if (octets !== -EAGAIN && octets !== -EINTR) {
      this.destroy(failure("read", -octets))
    }
  }

  #end(): void {
    this.#stop()
    this.push(null)
  }

  #armIdleTimer(): void {
    clearTimeout(this.#idleTimer)
    if (this.#idleMs !== undefined) this.#idleTimer = setTimeout(() => this.#end(), this.#idleMs)
  }

  #stop(): void {
    clearTimeout(this.#idleTimer)
    if (this.#poll === undefined) return
    addon.pollStop(this.#poll)
    this.#poll = undefined
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#stop()
    addon.close(this.descriptor)
    callback(error)
  }
}

/** What says "end of file", given the last octet that was written. */
export type EndMark = (last: number | undefined) => Uint8Array

/** What a program reads. When the program has gone, what is written is dropped without an error. */
export class DescriptorWritable extends Writable {
  readonly descriptor: number
  readonly #endMark: EndMark | undefined
  #poll: Poll | undefined
  #last: number | undefined

  /**
   * With `endMark`, the end is said by these octets, and the descriptor stays open until `destroy`: closing the last one
   * of a terminal hangs up the program, which may only just have closed its own side and be about to exit with its code.
   */
  constructor(descriptor: number, endMark?: EndMark) {
    super({ highWaterMark: chunkOctets, decodeStrings: true, autoDestroy: endMark === undefined })
    this.descriptor = descriptor
    this.#endMark = endMark
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error | null) => void): void {
    this.#last = chunk.at(-1) ?? this.#last
    this.#writeFrom(chunk, 0, callback)
  }

  #writeFrom(chunk: Uint8Array, start: number, callback: (error?: Error | null) => void): void {
    let at = start
    while (at < chunk.length) {
      const octets = addon.write(this.descriptor, chunk, at)
      if (octets >= 0) {
        at += octets
      } else if (octets === -EAGAIN) {
        return this.#whenWritable(() => this.#writeFrom(chunk, at, callback))
      } else if (octets === -EIO || octets === -EPIPE) {
        break
      } else if (octets !== -EINTR) {
        return callback(failure("write", -octets))
      }
    }
    callback()
  }

  #whenWritable(resume: () => void): void {
    this.#poll = addon.pollStart(this.descriptor, writable, () => {
      this.#stop()
      resume()
    })
  }

  override _final(callback: (error?: Error | null) => void): void {
    const mark = this.#endMark?.(this.#last)
    if (mark === undefined) callback()
    else this.#writeFrom(mark, 0, callback)
  }

  #stop(): void {
    if (this.#poll === undefined) return
    addon.pollStop(this.#poll)
    this.#poll = undefined
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#stop()
    addon.close(this.descriptor)
    callback(error)
  }
}
