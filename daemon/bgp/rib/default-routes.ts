/**
 * Default routes that are originated towards neighbours, whatever the table has: what they bear, and on what they depend.
 *
 * A neighbour's may be announced only while the table has a best path to one of some prefixes, and a policy of its own may change it or
 * refuse it. The neighbour's export policy is not asked, as in other routers. Where none is originated, a default route of the table
 * goes the way of all routes.
 */
import { Origin } from "../../wire/bgp/iana.ts"
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"
import * as Ip from "../../wire/ip.ts"
import type { ExportGroup } from "./adj-rib-out.ts"
import type { FamilyTable } from "./family-table.ts"
import type { FamilyIndex, RibPeerFamily } from "./types.ts"

const zeroes = new Uint8Array(16)

export class DefaultRoutes {
  readonly #rib: { readonly tables: readonly [FamilyTable, FamilyTable] }
  /** The default route's prefix, once somebody is to be sent one. By family. */
  readonly #prefixes: [number, number] = [-1, -1]
  /** What some of them depend on. */
  readonly #watched: readonly [Set<number>, Set<number>] = [new Set(), new Set()]

  constructor(rib: { readonly tables: readonly [FamilyTable, FamilyTable] }) {
    this.#rib = rib
  }

  /** The prefix of the default route; -1: nobody is to be sent one. */
  of(family: FamilyIndex): number {
    return this.#prefixes[family]
  }

  /** Whether a default route depends on this prefix. */
  dependsOn({ family }: FamilyTable, prefix: number): boolean {
    return this.#watched[family].has(prefix)
  }

  /** Makes known and keeps what a neighbour's words ask for. */
  add(family: FamilyIndex, { defaultOriginate, defaultWhen = [] }: RibPeerFamily): void {
    if (!defaultOriginate) return
    this.#prefixes[family] = this.#rib.tables[family].prefixAt(zeroes, 0, 0)
    for (const text of defaultWhen) this.#watched[family].add(this.#prefixOf(family, text))
  }

  #prefixOf(family: FamilyIndex, text: string): number {
    const { address, length } = Ip.parsePrefix(text)!
    return this.#rib.tables[family].prefixAt(address, 0, length)
  }

  /** The set that members of the group are sent as this prefix, with a reference for the caller; 0: none is originated. */
  setFor(group: ExportGroup, { best, family }: FamilyTable, prefix: number): number {
    if (prefix !== this.#prefixes[family]) return 0
    const config = group.target.config.families[family]
    if (config?.defaultOriginate !== true) return 0
    const { defaultPolicy, defaultWhen } = config
    if (defaultWhen !== undefined && !defaultWhen.some((text) => best[this.#prefixOf(family, text)]! >= 0)) return 0
    return group.exportDefault(attributesOf(family), defaultPolicy)
  }

  /** The prefixes that stay, though there may be no path to them. */
  kept(family: FamilyIndex): ReadonlyArray<number> {
    return this.#prefixes[family] < 0 ? [] : [this.#prefixes[family], ...this.#watched[family]]
  }

  /** Whether the prefix is one of these. */
  keeps(table: FamilyTable, prefix: number): boolean {
    return prefix === this.#prefixes[table.family] || this.dependsOn(table, prefix)
  }
}

const attributesOf = (family: FamilyIndex): PathAttributes => ({
  origin: Origin.igp, asPath: [], atomicAggregate: false, communities: [], extendedCommunities: [], largeCommunities: [],
  clusterList: [], unknown: [], nextHop: family === 0 ? "0.0.0.0" : "::"
})
