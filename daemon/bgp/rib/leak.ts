/**
 * Routes between tables of one speaker: a table takes over the best paths of another one, as routes of its own with the other's next
 * hops. What was taken over goes no further, so that two tables that import from each other do not feed each other.
 *
 * Limit: routes of the other table that lead to an interface, not to a next hop, are announced and not put into the kernel.
 */
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"
import type { AttributeTable } from "./attribute-table.ts"
import type { FamilyTable } from "./family-table.ts"
import { type FamilyIndex, Source } from "./types.ts"

interface From {
  readonly sets: AttributeTable
  readonly tables: readonly [FamilyTable, FamilyTable]
}

interface Into extends From {
  putLocal(family: FamilyIndex, prefix: number, source: Source, options: { set: number; pathId: number }): void
  removeLocal(family: FamilyIndex, prefix: number, source: Source, pathId: number): void
}

export interface LeakOptions {
  /** Tells this import's paths from others' in the table. */
  readonly number: number
  readonly accepts: (attributes: PathAttributes) => PathAttributes | undefined
}

export class Leak {
  readonly #into: Into
  readonly #from: From
  readonly #options: LeakOptions

  constructor(into: Into, from: From, options: LeakOptions) {
    this.#into = into
    this.#from = from
    this.#options = options
  }

  /** The best path of a prefix in the other table may be another. */
  follow(family: FamilyIndex, prefix: number): void {
    const { accepts, number } = this.#options
    const from = this.#from.tables[family]
    const into = this.#into.tables[family]
    const best = from.best[prefix]!
    const isOwn = best >= 0 && from.pool.peer[best] !== Source.table
    const set = isOwn ? from.bestSet[prefix]! : 0
    const attributes = set === 0 ? undefined : accepts(this.#from.sets.get(set))
    from.prefixes.octetsInto(prefix, from.octets, 0)
    const length = from.prefixes.lengthOf(prefix)
    if (attributes === undefined) {
      const found = into.prefixes.find(from.octets, 0, length)
      if (found >= 0) this.#into.removeLocal(family, found, Source.table, number)
      return
    }
    const taken = this.#into.sets.intern(attributes, { scope: this.#into.sets.scopeLike(this.#from.sets, set) })
    this.#into.putLocal(family, into.prefixAt(from.octets, 0, length), Source.table, { set: taken, pathId: number })
    this.#into.sets.release(taken)
  }

  /** Everything that the other table has, in slices. */
  *all(): Generator<undefined, void> {
    for (const table of this.#from.tables) {
      for (let prefix = 0; prefix < table.prefixes.limit; prefix++) {
        if ((prefix & 255) === 255) yield
        if (table.prefixes.has(prefix) && table.best[prefix]! >= 0) this.follow(table.family, prefix)
      }
    }
  }

  /** Takes out what was taken over, in slices. */
  *none(): Generator<undefined, void> {
    for (const table of this.#into.tables) {
      const { pool } = table
      for (let path = 0; path < pool.limit; path++) {
        if ((path & 8191) === 8191) yield
        const isOurs = pool.peer[path] === Source.table && pool.received[path] !== 0 && pool.pathIdOf(path) === this.#options.number
        if (isOurs) table.removePath(path)
      }
    }
  }
}
