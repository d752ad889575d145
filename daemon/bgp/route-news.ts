/**
 * Changes of best paths, for `weft events`: a few are told one by one, many as a number. A table that loads is one line for
 * each second, not a million.
 */
import { format } from "../wire/ip.ts"

const windowMs = 1000
const fewest = 5

export class RouteNews {
  readonly #tell: (message: string) => void
  #prefixes: string[] = []
  #count = 0
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
    this.#timer ??= setTimeout(() => this.#flush(), windowMs).unref()
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  #flush(): void {
    this.#timer = undefined
    const prefixes = [...new Set(this.#prefixes)]
    const message = this.#count <= fewest ? `best path of ${prefixes.join(", ")} changed` : `best paths of ${this.#count} prefixes changed`
    this.#prefixes = []
    this.#count = 0
    this.#tell(message)
  }
}
