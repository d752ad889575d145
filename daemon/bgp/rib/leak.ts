/**
 * Routes between tables of one speaker: a table takes over the best paths of another one, as routes of its own with the other's next
 * hops. What was taken over goes no further, so that two tables that import from each other do not feed each other.
 *
 * Networks, connected and static routes of the other table lead the way that they lead there: to an interface, or by its gateway. One that
 * leads nowhere there (a network without a route) is not taken. An aggregate is told and leads nowhere: what it is made of does.
 */
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"
import { format } from "../../wire/ip.ts"
import { type AttributeTable, SetFlag } from "./attribute-table.ts"
import { firstPeer } from "./decision.ts"
import type { FamilyTable } from "./family-table.ts"
import { bearsOneOf } from "./route-targets.ts"
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
  /** Route targets of the routes to take, as they are now. */
  readonly targets: () => ReadonlySet<bigint>
}

/** Routes taken over from another table. */
export interface Import {
  /** Looks at all of them again: other targets. */
  again(): void
  stop(): void
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
    const { number } = this.#options
    const from = this.#from.tables[family]
    const into = this.#into.tables[family]
    const best = from.best[prefix]!
    const isOwn = best >= 0 && from.pool.peer[best] !== Source.table
    const set = isOwn ? from.bestSet[prefix]! : 0
    const attributes = set === 0 ? undefined : this.#accepted(set)
    from.prefixes.octetsInto(prefix, from.octets, 0)
    const length = from.prefixes.lengthOf(prefix)
    if (attributes === undefined) {
      const found = into.prefixes.find(from.octets, 0, length)
      if (found >= 0) this.#into.removeLocal(family, found, Source.table, number)
      return
    }
    const source = from.pool.peer[best]!
    const isOurs = source < firstPeer && source !== Source.aggregate
    const scope = isOurs
      ? this.#into.sets.scopeOfRoute(this.#from.sets, `${format(from.octets.subarray(0, family === 0 ? 4 : 16))}/${length}`)
      : this.#into.sets.scopeLike(this.#from.sets, set)
    const taken = this.#into.sets.intern(attributes, { scope })
    this.#into.putLocal(family, into.prefixAt(from.octets, 0, length), Source.table, { set: taken, pathId: number })
    this.#into.sets.release(taken)
  }

  #accepted(set: number): PathAttributes | undefined {
    if ((this.#from.sets.flags[set]! & SetFlag.hasTargets) === 0) return undefined
    const attributes = this.#from.sets.get(set)
    return bearsOneOf(attributes, this.#options.targets()) ? attributes : undefined
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
