/**
 * Adj-RIB-Out: what neighbours are to be sent, kept once for all neighbours that are treated alike (an update group).
 *
 *     Loc-RIB --ExportGroup.update--> out[prefix]: exported set, from[prefix]: whom it came from
 *                                          |  for each member whose view of the prefix changed
 *                                     Member.pending --packer--> UPDATEs
 *
 * A member is not sent what it sent itself (split horizon): its view of a prefix is `out`, unless `from` is itself. A member keeps no
 * copies of routes: one bit for each prefix says whether it was sent, and a queue says which prefixes are to be looked at. A slow
 * neighbour so misses what came in between and gets what is true when it reads.
 *
 * With add-path the paths of a prefix are ranked when it is packed, and the member keeps what it has sent: identifiers and sets.
 */
import type { AttributeTable } from "./attribute-table.ts"
import { BitSet, growU16, growU32, IndexQueue } from "./columns.ts"
import { firstPeer } from "./decision.ts"
import { afterPolicy, beforePolicy, type ExportSource, type ExportTarget, mayExport, plainPrepend } from "./export-rewrite.ts"
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"
import type { PrefixTable } from "./prefix-table.ts"
import { type FamilyIndex, type RibPolicy, type RibSession, Source } from "./types.ts"

/** The octets of a default route. */
const zeroes = new Uint8Array(16)

/** What the export side asks about the table that it exports. */
export interface ExportTable {
  readonly family: FamilyIndex
  readonly prefixes: PrefixTable
  readonly sets: AttributeTable
  sourceOf(peer: number): ExportSource
}

export class ExportGroup {
  readonly key: string
  readonly target: ExportTarget
  readonly members: Array<Member> = []
  /** Exported set by prefix; 0: nothing. */
  out: Uint32Array<ArrayBuffer>
  from: Uint16Array<ArrayBuffer>
  /** Up to where the table has been exported to this group; from here on nothing is known. -1: all. */
  filled = 0
  /** Prefixes with something in `out`. */
  count = 0
  readonly #table: ExportTable
  readonly #policy: RibPolicy | undefined
  /** AS numbers before each path, where nothing else happens to routes of external neighbours. */
  readonly #prepend: ReadonlyArray<number> | undefined
  /** By set: what became of it + 1 (1: denied), and of which kind of source. */
  #memo: Uint32Array<ArrayBuffer>
  #memoSource: Uint16Array<ArrayBuffer>
  readonly #octets = new Uint8Array(16)

  constructor(key: string, { policy, table, target }: { policy: RibPolicy | undefined; table: ExportTable; target: ExportTarget }) {
    this.key = key
    this.target = target
    this.#policy = policy
    this.#prepend = policy === undefined ? plainPrepend(target) : undefined
    this.#table = table
    this.out = new Uint32Array(table.prefixes.capacity)
    this.from = new Uint16Array(table.prefixes.capacity)
    this.#memo = new Uint32Array(table.sets.capacity)
    this.#memoSource = new Uint16Array(table.sets.capacity)
  }

  /** One more neighbour. What was left out because it came from the only one is exported now. */
  add(member: Member): void {
    this.members.push(member)
    if (member.places === 0 && this.members.length === 2) this.filled = 0
  }

  /** Whether nobody but this neighbour is in the group: its own routes need not be exported. */
  isOnly(peer: number): boolean {
    return this.members.length === 1 && this.members[0]!.peer === peer
  }

  /** The best path of a prefix is now `set`, from `peer`; 0: there is none. */
  update(prefix: number, set: number, peer: number): void {
    const exported = set === 0 ? 0 : this.exportSet(set, peer, prefix)
    this.put(prefix, exported, peer)
  }

  /** Puts an exported set, whose reference it takes over. */
  put(prefix: number, exported: number, peer: number): void {
    if (prefix >= this.out.length) {
      this.out = growU32(this.out, this.#table.prefixes.capacity)
      this.from = growU16(this.from, this.#table.prefixes.capacity)
    }
    const old = this.out[prefix]!
    const oldFrom = this.from[prefix]!
    if (old === exported && (oldFrom === peer || old === 0)) return this.#table.sets.release(exported)
    this.out[prefix] = exported
    this.from[prefix] = peer
    if ((old === 0) !== (exported === 0)) this.count += old === 0 ? 1 : -1
    for (const member of this.members) {
      const had = oldFrom === member.peer ? 0 : old
      const has = peer === member.peer ? 0 : exported
      if (had !== has) member.pending.add(prefix)
    }
    this.#table.sets.release(old)
  }

  /** What a set becomes on the way to this group, with a reference for the caller; 0: it does not go there. */
  exportSet(set: number, peer: number, prefix: number): number {
    const { sets } = this.#table
    const source = this.#table.sourceOf(peer)
    if (!mayExport(sets.flags[set]!, source, this.target)) return 0
    if (this.#isRefused(set, source)) return 0
    if (this.#policy?.usesPrefix === true) return this.#rewrite(set, peer, source, prefix)
    if (set >= this.#memo.length) {
      this.#memo = growU32(this.#memo, sets.capacity)
      this.#memoSource = growU16(this.#memoSource, sets.capacity)
    }
    // What the result depends on besides the set: our own kind of source, or who has to be ORIGINATOR_ID.
    const kind = source.isLocal || !source.isExternal ? peer : firstPeer - 1
    const known = this.#memo[set]!
    if (known !== 0 && this.#memoSource[set] === kind) {
      if (known > 1) sets.retain(known - 1)
      return known - 1
    }
    const exported = this.#rewrite(set, peer, source, prefix)
    this.forget(set)
    if (exported !== 0) sets.retain(exported)
    this.#memo[set] = exported + 1
    this.#memoSource[set] = kind
    return exported
  }

  /** Whether these neighbours would find their own AS in the path: only where nothing is taken out of it on the way to them. */
  #isRefused(set: number, source: ExportSource): boolean {
    const { refusedAs } = this.target
    return refusedAs !== 0 && this.#prepend !== undefined && !source.isLocal && this.#table.sets.hasAs(set, refusedAs)
  }

  /** A set's number is about to be free. */
  forget(set: number): void {
    if (set >= this.#memo.length) return
    const known = this.#memo[set]!
    this.#memo[set] = 0
    if (known > 1) this.#table.sets.release(known - 1)
  }

  /** What an originated default route becomes, with a reference for the caller; 0: the policy refuses it. */
  exportDefault(attributes: PathAttributes, policy?: RibPolicy): number {
    const source = this.#table.sourceOf(Source.default)
    const before = beforePolicy(attributes, source, this.target)
    const meta = { family: this.#table.family, source: Source.default, peer: this.target.config }
    const result = policy === undefined ? { attributes: before } : policy.apply(before, meta, zeroes, 0, 0)
    if (result === undefined) return 0
    const exported = afterPolicy(result, before, source, this.target)
    return this.#table.sets.intern(exported.attributes, { nextHop: exported.nextHop })
  }

  /** Gives all references back, in slices. */
  *closing(): Generator<undefined, void> {
    for (let prefix = 0; prefix < this.out.length; prefix++) {
      if ((prefix & 8191) === 8191) yield
      this.#table.sets.release(this.out[prefix]!)
      this.out[prefix] = 0
    }
    for (let set = 0; set < this.#memo.length; set++) {
      if ((set & 8191) === 8191) yield
      this.forget(set)
    }
  }

  #rewrite(set: number, peer: number, source: ExportSource, prefix: number): number {
    const { family, prefixes, sets } = this.#table
    if (this.#prepend !== undefined && !source.isLocal && source.isExternal) {
      const forwarded = sets.internForwarded(set, this.#prepend)
      if (forwarded !== 0) return forwarded
    }
    const before = beforePolicy(sets.get(set), source, this.target)
    prefixes.octetsInto(prefix, this.#octets, 0)
    const meta = { family, source: peer < firstPeer ? peer as Source : Source.peer }
    const result = this.#policy === undefined
      ? { attributes: before }
      : this.#policy.apply(before, meta, this.#octets, 0, prefixes.lengthOf(prefix))
    if (result === undefined) return 0
    const { attributes, nextHop } = afterPolicy(result, before, source, this.target)
    return sets.intern(attributes, { nextHop })
  }
}

/** One neighbour and family of a group. */
export class Member {
  readonly peer: number
  readonly family: FamilyIndex
  readonly session: RibSession
  group: ExportGroup
  /** Prefixes whose view changed, or that are to be sent again. */
  readonly pending = new IndexQueue()
  /** Prefixes that the neighbour has from us. */
  readonly advertised = new BitSet()
  advertisedCount = 0
  /** Up to where the table was walked to fill `pending`; -1: no walk is under way. */
  walked = 0
  endOfRibDue = true
  /** RFC 7313: the begin of a refresh is to be marked, the end. */
  beginDue = false
  endDue = false
  /** 0, or paths for each prefix (RFC 7911), with what was sent: `places` identifiers and sets for each prefix. */
  readonly places: number
  sentId: Uint32Array<ArrayBuffer> = new Uint32Array(0)
  sentSet: Uint32Array<ArrayBuffer> = new Uint32Array(0)
  /** RFC 4271 9.2.1.1: no announcement before this time of `performance.now()`. */
  notBefore = 0

  constructor(options: { peer: number; family: FamilyIndex; session: RibSession; group: ExportGroup; places: number }) {
    this.peer = options.peer
    this.family = options.family
    this.session = options.session
    this.group = options.group
    this.places = options.places
  }

  /** What the neighbour is to have of a prefix. Without add-path. */
  desired(prefix: number): number {
    const { from, out } = this.group
    return prefix < out.length && from[prefix] !== this.peer ? out[prefix]! : 0
  }

  markAdvertised(prefix: number): void {
    if (this.advertised.has(prefix)) return
    this.advertised.add(prefix)
    this.advertisedCount++
  }

  markWithdrawn(prefix: number): void {
    if (!this.advertised.has(prefix)) return
    this.advertised.delete(prefix)
    this.advertisedCount--
  }

  /** Whether the prefix's octets are still needed to tell this neighbour something. */
  isUsing(prefix: number): boolean {
    return this.advertised.has(prefix) || this.pending.has(prefix)
  }

  /** Room for the sent paths of a prefix. */
  reserve(capacity: number): void {
    if (this.sentId.length >= capacity * this.places) return
    this.sentId = growU32(this.sentId, capacity * this.places)
    this.sentSet = growU32(this.sentSet, capacity * this.places)
  }
}
