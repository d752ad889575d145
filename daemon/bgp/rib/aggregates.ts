/**
 * Aggregates: a route for a prefix as long as the table has a more specific one (RFC 4271 9.2.2.2).
 *
 * Each aggregate knows its contributors as bits, so that a change costs one look for each aggregate. With `asSet` attributes are put
 * together from all contributors again after changes, in slices. `summaryOnly` hides contributors from neighbours, not from the FIB.
 */
import { Origin, SegmentType } from "../../wire/bgp/iana.ts"
import type { AsPath, PathAttributes } from "../../wire/bgp/path-attributes.ts"
import * as Ip from "../../wire/ip.ts"
import type { AttributeTable } from "./attribute-table.ts"
import { BitSet } from "./columns.ts"
import type { FamilyTable } from "./family-table.ts"
import { withTargets } from "./route-targets.ts"
import { type FamilyIndex, type RibOptions, Source } from "./types.ts"

export interface AggregateSpec {
  readonly prefix: string
  readonly summaryOnly: boolean
  readonly asSet: boolean
  /** What a policy makes of its attributes; undefined: it refuses it. */
  readonly change?: (attributes: PathAttributes) => PathAttributes | undefined
}

interface Aggregator {
  readonly options: RibOptions
  readonly sets: AttributeTable
  readonly tables: readonly [FamilyTable, FamilyTable]
  readonly exports: { bestChanged(table: FamilyTable, prefix: number): void; pathsChanged(table: FamilyTable, prefix: number): void }
  putLocal(family: FamilyIndex, prefix: number, source: Source, options: { set: number; pathId: number }): void
  removeLocal(family: FamilyIndex, prefix: number, source: Source, pathId: number): void
  start(steps: Generator<undefined, void>): void
}

interface Aggregate {
  spec: AggregateSpec
  readonly family: FamilyIndex
  /** In the table; kept as long as the aggregate is configured. */
  readonly prefix: number
  readonly contributors: BitSet
  count: number
  isGathering: boolean
  isOver: boolean
}

/** FRR's weight of a router's own routes. */
const localWeight = 32768

export class Aggregates {
  readonly #rib: Aggregator
  #all: Aggregate[] = []

  constructor(rib: Aggregator) {
    this.#rib = rib
  }

  set(specs: ReadonlyArray<AggregateSpec>): void {
    const key = ({ asSet, prefix, summaryOnly }: AggregateSpec): string => `${prefix} ${asSet} ${summaryOnly}`
    const wanted = new Set(specs.map(key))
    const kept = this.#all.filter(({ spec }) => wanted.has(key(spec)))
    for (const aggregate of this.#all.filter((one) => !kept.includes(one))) this.#end(aggregate)
    for (const aggregate of kept) {
      const spec = specs.find((one) => key(one) === key(aggregate.spec))!
      const isOther = spec.change !== aggregate.spec.change
      aggregate.spec = spec
      if (isOther) this.#renewOne(aggregate)
    }
    const known = new Set(kept.map(({ spec }) => key(spec)))
    this.#all = [...kept, ...specs.filter((spec) => !known.has(key(spec))).map((spec) => this.#begin(spec))]
  }

  /** What they bear has changed. */
  renew(): void {
    for (const aggregate of this.#all) this.#renewOne(aggregate)
  }

  #renewOne(aggregate: Aggregate): void {
    if (aggregate.count === 0 || aggregate.isGathering) return
    aggregate.isGathering = aggregate.spec.asSet
    if (aggregate.spec.asSet) this.#rib.start(this.#gather(aggregate))
    else this.#originate(aggregate, plain(this.#rib.options))
  }

  bestChanged(table: FamilyTable, prefix: number): void {
    for (const aggregate of this.#all) {
      if (aggregate.family === table.family && this.#isBelow(table, prefix, aggregate)) this.#count(aggregate, table, prefix)
    }
  }

  isSuppressed(table: FamilyTable, prefix: number): boolean {
    for (const aggregate of this.#all) {
      const { count, family, spec } = aggregate
      if (spec.summaryOnly && family === table.family && count > 0 && this.#isBelow(table, prefix, aggregate)) return true
    }
    return false
  }

  prefixesOf(family: FamilyIndex): ReadonlyArray<number> {
    return this.#all.flatMap((aggregate) => (aggregate.family === family ? [aggregate.prefix] : []))
  }

  isUsing(table: FamilyTable, prefix: number): boolean {
    return this.#all.some((aggregate) => aggregate.family === table.family && aggregate.prefix === prefix)
  }

  #isBelow(table: FamilyTable, prefix: number, aggregate: Aggregate): boolean {
    return prefix !== aggregate.prefix && table.prefixes.isWithin(prefix, aggregate.prefix)
  }

  #begin(spec: AggregateSpec): Aggregate {
    const parsed = Ip.parsePrefix(spec.prefix)
    if (parsed === undefined) throw new TypeError(`not a prefix: "${spec.prefix}"`)
    const family = parsed.address.length === 4 ? 0 : 1
    const prefix = this.#rib.tables[family].prefixAt(parsed.address, 0, parsed.length)
    const aggregate = { spec, family, prefix, contributors: new BitSet(), count: 0, isGathering: false, isOver: false } as const
    const begun: Aggregate = { ...aggregate }
    this.#rib.start(this.#find(begun))
    return begun
  }

  #end(aggregate: Aggregate): void {
    aggregate.isOver = true
    aggregate.count = 0
    this.#rib.removeLocal(aggregate.family, aggregate.prefix, Source.aggregate, 0)
    const table = this.#rib.tables[aggregate.family]
    // Forgets the prefix if nothing else is there.
    table.dirty.add(aggregate.prefix)
    if (aggregate.spec.summaryOnly) this.#rib.start(this.#reexport(aggregate))
  }

  /** Counts a prefix in or out. */
  #count(aggregate: Aggregate, table: FamilyTable, prefix: number): void {
    const isThere = table.best[prefix]! >= 0
    const wasThere = aggregate.contributors.has(prefix)
    if (isThere !== wasThere) {
      if (isThere) aggregate.contributors.add(prefix)
      else aggregate.contributors.delete(prefix)
      aggregate.count += isThere ? 1 : -1
      if (aggregate.count === 0) this.#rib.removeLocal(aggregate.family, aggregate.prefix, Source.aggregate, 0)
      else if (aggregate.count === 1 && isThere) this.#originate(aggregate, plain(this.#rib.options))
    }
    if (aggregate.spec.asSet && aggregate.count > 0 && !aggregate.isGathering) {
      aggregate.isGathering = true
      this.#rib.start(this.#gather(aggregate))
    }
  }

  #originate(aggregate: Aggregate, attributes: PathAttributes): void {
    const { change } = aggregate.spec
    const changed = change === undefined ? attributes : change(attributes)
    if (changed === undefined) return this.#rib.removeLocal(aggregate.family, aggregate.prefix, Source.aggregate, 0)
    const set = this.#rib.sets.intern(changed, { weight: localWeight })
    this.#rib.putLocal(aggregate.family, aggregate.prefix, Source.aggregate, { set, pathId: 0 })
    this.#rib.sets.release(set)
  }

  *#find(aggregate: Aggregate): Generator<undefined, void> {
    const table = this.#rib.tables[aggregate.family]
    for (let prefix = 0; prefix < table.prefixes.limit && !aggregate.isOver; prefix++) {
      if ((prefix & 4095) === 4095) yield
      if (!table.prefixes.has(prefix) || table.best[prefix]! < 0 || !this.#isBelow(table, prefix, aggregate)) continue
      this.#count(aggregate, table, prefix)
      if (aggregate.spec.summaryOnly) this.#tell(table, prefix)
    }
  }

  /** Contributors are to be seen again. */
  *#reexport(aggregate: Aggregate): Generator<undefined, void> {
    const table = this.#rib.tables[aggregate.family]
    for (let prefix = 0; prefix < table.prefixes.limit; prefix++) {
      if ((prefix & 4095) === 4095) yield
      if (aggregate.contributors.has(prefix) && table.prefixes.has(prefix)) this.#tell(table, prefix)
    }
  }

  #tell(table: FamilyTable, prefix: number): void {
    this.#rib.exports.bestChanged(table, prefix)
    this.#rib.exports.pathsChanged(table, prefix)
  }

  *#gather(aggregate: Aggregate): Generator<undefined, void> {
    yield
    aggregate.isGathering = false
    const table = this.#rib.tables[aggregate.family]
    const seen = new Set<number>()
    const asns = new Set<number>()
    let common: ReadonlyArray<number> | undefined
    const communities = new Set<number>()
    const extended = new Set<bigint>()
    const large = new Set<bigint>()
    let origin: number = Origin.igp
    for (let prefix = 0; prefix < table.prefixes.limit; prefix++) {
      if ((prefix & 1023) === 1023) yield
      if (aggregate.isOver || aggregate.count === 0) return
      if (!aggregate.contributors.has(prefix) || table.best[prefix]! < 0 || seen.has(table.bestSet[prefix]!)) continue
      seen.add(table.bestSet[prefix]!)
      const attributes = this.#rib.sets.get(table.bestSet[prefix]!)
      for (const segment of attributes.asPath) for (const asn of segment.asns) asns.add(asn)
      common = commonStart(common, leadingSequence(attributes.asPath))
      for (const community of attributes.communities) communities.add(community)
      for (const community of attributes.extendedCommunities) extended.add(community)
      for (const community of attributes.largeCommunities) large.add(community)
      origin = Math.max(origin, attributes.origin)
    }
    for (const asn of common ?? []) asns.delete(asn)
    const asPath = [
      ...segmentsOf(SegmentType.asSequence, common ?? []),
      ...segmentsOf(SegmentType.asSet, [...asns].toSorted((a, b) => a - b))
    ]
    const borne = {
      communities: [...communities].toSorted((a, b) => a - b),
      extendedCommunities: [...extended].toSorted(ascending),
      largeCommunities: [...large].toSorted(ascending)
    }
    const { exportTargets = [] } = this.#rib.options
    const attributes = { ...plain(this.#rib.options), ...borne, origin, asPath, atomicAggregate: false }
    this.#originate(aggregate, withTargets(attributes, exportTargets))
  }
}

const ascending = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0)

const leadingSequence = ([first]: AsPath): ReadonlyArray<number> => (first?.type === SegmentType.asSequence ? first.asns : [])

/** RFC 4271 F.6: what all paths begin with stays a sequence. */
const commonStart = (one: ReadonlyArray<number> | undefined, other: ReadonlyArray<number>): ReadonlyArray<number> => {
  if (one === undefined) return other
  const end = one.findIndex((asn, i) => asn !== other[i])
  return end === -1 ? one : one.slice(0, end)
}

/** A segment has at most 255 AS numbers. */
const segmentsOf = (type: number, asns: ReadonlyArray<number>): AsPath =>
  Array.from({ length: Math.ceil(asns.length / 255) }, (_, i) => ({ type, asns: asns.slice(255 * i, 255 * (i + 1)) }))

/** RFC 4271 5.1.6, 5.1.7: what was lost of the paths is marked, and by whom. */
const plain = ({ asn, exportTargets = [], routerId }: RibOptions): PathAttributes => ({
  origin: Origin.igp, asPath: [], atomicAggregate: true, aggregator: { asn, address: dotted(routerId) }, communities: [],
  extendedCommunities: exportTargets, largeCommunities: [], clusterList: [], unknown: []
})

const dotted = (id: number): string => [id >>> 24, (id >>> 16) & 255, (id >>> 8) & 255, id & 255].join(".")
