/**
 * Changes of best paths, for `weft events`: of a few it is told where they lead now and why, of many how many there were. A table that
 * loads is one line, not a million.
 */
import { format } from "../wire/ip.ts"
import type { PathView } from "./rib/types.ts"

/** Changes are told when there have been none for so long, and in any case so often. */
const quietMs = 1000
const longestMs = 10_000
const fewest = 5

export interface RouteNewsParts {
  readonly tell: (message: string) => void
  /** Where a prefix of a table leads now, and why, in words. */
  readonly describe: (table: string, prefix: string) => string
}

interface Changed {
  readonly table: string
  readonly prefix: string
}

export class RouteNews {
  readonly #parts: RouteNewsParts
  #changed: Changed[] = []
  #count = 0
  /** Of `#count` when the timer last looked. */
  #seen = 0
  #beganMs = 0
  #timer: NodeJS.Timeout | undefined

  constructor(parts: RouteNewsParts) {
    this.#parts = parts
  }

  /** The best path of the prefix whose octets are `bytes[at..]` is another one, or gone. `size`: 4 or 16 octets of an address. */
  changed(table: string, size: 4 | 16, bytes: Uint8Array, at: number, length: number): void {
    this.#count += 1
    if (this.#count <= fewest) {
      const address = new Uint8Array(size)
      address.set(bytes.subarray(at, at + ((length + 7) >> 3)))
      this.#changed.push({ table, prefix: `${format(address)}/${length}` })
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
    const isShort = this.#count <= fewest
    const one = new Map(this.#changed.map((changed) => [`${changed.table} ${changed.prefix}`, changed]))
    const describe = ({ prefix, table }: Changed): string => this.#parts.describe(table, prefix)
    const message = isShort ? Array.from(one.values(), describe).join("; ") : `best paths changed ${this.#count} times`
    this.#changed = []
    this.#count = 0
    this.#seen = 0
    this.#parts.tell(message)
  }
}

type Told = Pick<PathView, "attributes" | "isBest" | "peer" | "reason">

/** `10.2.0.0/24 goes via 203.0.113.2: the only path`. `paths`: all of the prefix, the best first. */
export const describeBest = (paths: ReadonlyArray<Told>, table: string, prefix: string): string => {
  const within = table === "default" ? "" : ` in ${table}`
  const best = paths.find(({ isBest }) => isBest)
  if (best === undefined) return `${prefix}${within} has ${paths.length === 0 ? "no path any more" : `no usable path: ${paths[0]!.reason}`}`
  const { nextHop } = best.attributes
  const isOurs = nextHop === undefined || nextHop === "0.0.0.0" || nextHop === "::"
  const from = best.peer === undefined || best.peer === nextHop ? "" : ` from ${best.peer}`
  const more = paths.length > 1 ? ` (${paths.length} paths)` : ""
  return `${prefix}${within} ${isOurs ? "is this router's own" : `goes via ${nextHop}`}${from}: ${best.reason}${more}`
}
