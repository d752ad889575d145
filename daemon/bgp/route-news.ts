/**
 * Changes of best paths, for `weft events`: a few are told one by one, many as a number. A table that loads is one
 * line, not a million.
 */
import { format } from "../wire/ip.ts"

/** Changes are told when there have been none for so long, and in any case so often. */
const quietMs = 1000
const longestMs = 10_000
const fewest = 5

export class RouteNews {
  readonly #tell: (message: string) => void
  #prefixes: string[] = []
  #count = 0
  /** Of `#count` when the timer last looked. */
  #seen = 0
  #beganMs = 0
  #timer: NodeJS.Timeout | undefined

  constructor(tell: (message: string) => void) {
    this.#tell = tell
  }

  /** The best path of the prefix whose octets are `bytes[at..]` is another one, or gone. `size`: 4 or 16 octets of an address. */
  changed(size: 4 | 16, bytes: Uint8Array, at: number, length: number): void {
    this.#count += 1
    if (this.#count <= fewest) {
      const address = new Uint8Array(size)
      address.set(bytes.subarray(at, at + ((length + 7) >> 3)))
      this.#prefixes.push(`${format(address)}/${length}`)
    }
    if (this.#timer !== undefined) return
    this.#beganMs = performance.now()
    this.#timer = setInterval(() => this.#look(), quietMs).unref()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const isQuiet = this.#seen === this.#count
    this.#seen = this.#count
    if (isQuiet || performance.now() - this.#beganMs > longestMs) this.#flush()
  }

  #flush(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    const prefixes = [...new Set(this.#prefixes)]
    const isShort = this.#count <= fewest
    const message = isShort ? `best path of ${prefixes.join(", ")} changed` : `best paths of ${this.#count} prefixes changed`
    this.#prefixes = []
    this.#count = 0
    this.#seen = 0
    this.#tell(message)
  }
}
