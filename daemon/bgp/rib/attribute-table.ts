/**
 * Attribute sets, each once: a set is a number, and what the decision process compares stands in columns.
 *
 *     octets of an UPDATE --attributeKeyInto--> key --hash--> set          one look for all prefixes of the UPDATE
 *     PathAttributes (policies, our own routes) --encode----> key --hash--> set
 *
 * A key is a header (how to read it; weight; scope of the next hop) and the octets, as received or as we encode them. Two keys with one
 * meaning are two sets; that costs memory and is right all the same. Octets are decoded when a set is made and, for policies and
 * views, again when asked for: what was decoded last is kept, all others are not, because a million routes have more than 10^5 sets.
 *
 * Sets are counted: `retain` and `release`. Set 0 is none.
 */
import { encodeAttributes } from "../../wire/bgp/attributes.ts"
import { makeContext, attributeContext, type SessionContext } from "../../wire/bgp/context.ts"
import { Family, SegmentType } from "../../wire/bgp/iana.ts"
import { type DecodedAttributes, type PathAttributes, Severity } from "../../wire/bgp/path-attributes.ts"
import { attributeKeyInto, decodeAttributes, NlriSource, scanUpdate, UpdateScan } from "../../wire/bgp/update.ts"
import { addedOctets, forwardInto, occurrences, pathAt, pathEnd, withNextHopInto } from "../../wire/bgp/block.ts"
import { grownCapacity, growI32, growU16, growU32, growU8, initialCapacity } from "./columns.ts"
import { OctetArena } from "./octet-arena.ts"
import { hashOf, isSamePath, messageOf, nextHopOctets, withoutNextHop } from "./set-octets.ts"
import { isRouteTarget } from "./route-targets.ts"
import type { NextHops } from "./types.ts"

/** What a set says, in bits. */
export const SetFlag = {
  noExport: 1,
  noAdvertise: 2,
  noExportSubconfed: 4,
  noPeer: 8,
  gracefulShutdown: 16,
  llgrStale: 32,
  noLlgr: 64,
  hasLocalPref: 128,
  hasMed: 256,
  /** The exported next hop is this router's address towards the neighbour, or the neighbour's own. */
  nextHopSelf: 512,
  nextHopPeer: 1024,
  hasTargets: 2048
} as const

/** RFC 1997, 3765, 8326, 9494. */
const wellKnown = new Map([
  [0xffff_ff01, SetFlag.noExport], [0xffff_ff02, SetFlag.noAdvertise], [0xffff_ff03, SetFlag.noExportSubconfed],
  [0xffff_ff04, SetFlag.noPeer], [0xffff_0000, SetFlag.gracefulShutdown], [0xffff_0006, SetFlag.llgrStale], [0xffff_0007, SetFlag.noLlgr]
])

/** What communities say, which all neighbours hear alike. */
const forwardedFlags = SetFlag.noExport | SetFlag.noAdvertise | SetFlag.noExportSubconfed | SetFlag.noPeer |
  SetFlag.gracefulShutdown | SetFlag.llgrStale | SetFlag.noLlgr

export const defaultLocalPref = 100
/** How many decoded sets are kept. */
const decodedLimit = 4096
/** That many each table may keep, whatever the others have. */
const decodedLeast = 32
let decodedInAll = 0
const headerLength = 8
/** In the first octet of a header, above the two bits of `attributeContext`. */
const viaMpReach = 4
const isIpv6 = 8
const noNextHop = 16
const modeShift = 5
/** Of a set that goes to neighbours with this router as next hop: 4-octet AS numbers, no next hop in it. */
const forwardedForm = 1 | viaMpReach | noNextHop | (1 << modeShift)

const families = [Family.ipv4Unicast, Family.ipv6Unicast]
const contexts = [0, 1, 2, 3].map((bits) =>
  makeContext({ asn4: (bits & 1) !== 0, isExternal: (bits & 2) !== 0, extendedMessage: true, families, extendedNextHop: families })
)
const ownContext = makeContext({ asn4: true, isExternal: false, extendedMessage: true, families, extendedNextHop: families })

/** Where and how next hops are looked for. */
interface Scope {
  readonly ifname: string | undefined
  readonly direct: boolean
  readonly nextHops: NextHops
  /** Of routes of this router that another table has: the prefix, to which that table's own routes lead the way. */
  readonly route: string | undefined
}

export interface InternOptions {
  readonly weight?: number
  readonly scope?: number
  readonly nextHop?: "self" | "peer" | undefined
}

export class AttributeTable {
  localPref: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  med: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  weight: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  /** First AS of the path (RFC 4271 9.1.2.2 c); 0: our own AS. */
  neighborAs: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  pathLength: Uint16Array<ArrayBuffer> = new Uint16Array(initialCapacity)
  pathHash: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  origin: Uint8Array<ArrayBuffer> = new Uint8Array(initialCapacity)
  flags: Uint16Array<ArrayBuffer> = new Uint16Array(initialCapacity)
  /** 0: none. */
  originatorId: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  clusterLength: Uint8Array<ArrayBuffer> = new Uint8Array(initialCapacity)
  /** How often our AS is in the path. */
  ownAs: Uint8Array<ArrayBuffer> = new Uint8Array(initialCapacity)
  /** The last import of the set: whose (0: nobody's), and what came out (0: denied). */
  importClass: Uint16Array<ArrayBuffer> = new Uint16Array(initialCapacity)
  importResult: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  /** All numbers ever given are below. */
  limit = 1
  count = 0
  /** After `internReceived` returned 0 or -1: what was wrong. */
  fault: DecodedAttributes | undefined
  /** Called before a number becomes free: what was noted about it elsewhere is void. */
  onFree: ((set: number) => void) | undefined

  #refs: Int32Array<ArrayBuffer> = new Int32Array(initialCapacity)
  #hash: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  #place: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  #size: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  /** Index in `NextHops` + 1; 0: not asked for yet. */
  #nextHop: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  /** Index in `#nextHopNames`. */
  #nextHopName: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  readonly #nextHopNames: Array<Pick<PathAttributes, "nextHop" | "linkLocalNextHop">> = [{}]
  readonly #nextHopNumbers = new Map<string, number>([["", 0]])
  readonly #unusedNextHops: Array<{ readonly index: number; readonly nextHops: NextHops }> = []
  #slots: Int32Array<ArrayBuffer> = new Int32Array(initialCapacity * 2)
  #slotsUsed = 0
  #free: number[] = []
  readonly #arena = new OctetArena()
  readonly #decoded = new Map<number, PathAttributes>()
  /** The set that was made last, decoded: import asks for it at once. */
  #newest = 0
  #newestAttributes: PathAttributes | undefined
  readonly #scopes: Array<Scope>
  readonly #routeScopes = new Map<NextHops, Map<string, number>>()
  #scratch: Uint8Array<ArrayBuffer> = new Uint8Array(512)
  readonly #asn: number
  readonly #nextHops: NextHops

  constructor(asn: number, nextHops: NextHops) {
    this.#asn = asn
    this.#nextHops = nextHops
    this.#scopes = [{ ifname: undefined, direct: false, nextHops, route: undefined }]
  }

  get capacity(): number {
    return this.#refs.length
  }

  /** A number for where next hops of a session are looked for: link-local ones on `ifname`; `direct`: one hop away. */
  scope(ifname: string | undefined, direct: boolean, nextHops = this.#nextHops): number {
    const found = this.#scopes.findIndex((scope) =>
      scope.ifname === ifname && scope.direct === direct && scope.nextHops === nextHops && scope.route === undefined)
    return found >= 0 ? found : this.#scopes.push({ ifname, direct, nextHops, route: undefined }) - 1
  }

  /** The scope here that finds next hops as `set` of another table does: for routes that are taken over from there. */
  scopeLike(other: AttributeTable, set: number): number {
    const { direct, ifname, nextHops } = other.#scopes[other.scopeOf(set)]!
    return this.scope(ifname, direct, nextHops)
  }

  /**
   * The scope in which routes of this router to `prefix` lead the way that the other table's own routes do. 0 when there are more than
   * a key can number: such routes are told and not put into the kernel.
   */
  scopeOfRoute(other: AttributeTable, prefix: string): number {
    const nextHops = other.#nextHops
    const known = this.#routeScopes.get(nextHops)?.get(prefix)
    if (known !== undefined) return known
    if (this.#scopes.length > 0xffff) return 0
    const number = this.#scopes.push({ ifname: undefined, direct: false, nextHops, route: prefix }) - 1
    const ofTable = this.#routeScopes.get(nextHops) ?? new Map<string, number>()
    this.#routeScopes.set(nextHops, ofTable.set(prefix, number))
    return number
  }

  /**
   * The set of a scanned UPDATE, with one reference for the caller. 0: its routes count as withdrawn, -1: the session is to be reset;
   * then `fault` says why.
   */
  internReceived(bytes: Uint8Array, scan: UpdateScan, source: number, context: SessionContext, scope: number): number {
    const needed = headerLength + scan.attributesEnd - scan.attributesAt + 40
    if (needed > this.#scratch.length) this.#scratch = new Uint8Array(needed * 2)
    const key = this.#scratch
    const mpReach = source === NlriSource.mpReach
    let form = attributeContext(context)
    if (mpReach) form |= viaMpReach | (scan.mpReachFamily === Family.ipv6Unicast ? isIpv6 : 0)
    this.#header(form, 0, scope, mpReach ? scan.mpNextHopLength : 0)
    const end = attributeKeyInto(bytes, scan, source, key, headerLength)
    const hash = hashOf(key, end)
    const found = this.#lookup(key, end, hash)
    if (found > 0) {
      this.#refs[found]!++
      return found
    }
    const decoded = decodeAttributes(bytes, scan, source, context)
    if (decoded.severity >= Severity.withdraw) {
      this.fault = decoded
      return decoded.severity >= Severity.reset ? -1 : 0
    }
    return this.#add(end, hash, decoded.attributes)
  }

  /** The set of decoded attributes, with one reference for the caller. */
  intern(attributes: PathAttributes, options: InternOptions = {}): number {
    const mode = options.nextHop === "self" ? 1 : options.nextHop === "peer" ? 2 : 0
    const block = encodeAttributes(attributes, ownContext, false)
    const nextHop = mode !== 0 || attributes.nextHop === undefined ? undefined : nextHopOctets(attributes)
    const length = nextHop === undefined ? 0 : nextHop.length
    if (headerLength + 2 + block.length + length > this.#scratch.length) this.#scratch = new Uint8Array(2 * (block.length + 64))
    const key = this.#scratch
    const form = 1 | viaMpReach | (length > 4 ? isIpv6 : 0) | (nextHop === undefined ? noNextHop : 0) | (mode << modeShift)
    this.#header(form, options.weight ?? 0, options.scope ?? 0, length)
    key[headerLength] = 0
    key.set(block, headerLength + 1)
    if (nextHop !== undefined) key.set(nextHop, headerLength + 1 + block.length)
    const end = headerLength + 1 + block.length + length + 1
    key[end - 1] = length
    const hash = hashOf(key, end)
    const found = this.#lookup(key, end, hash)
    if (found > 0) {
      this.#refs[found]!++
      return found
    }
    return this.#add(end, hash, nextHop === undefined ? withoutNextHop(attributes) : attributes)
  }

  /**
   * The set of what external neighbours are sent of a received one (wire/bgp/block.ts) with this router as next hop, and one reference for
   * the caller: what `intern` would find for it, without decoding. 0: it has something that must be looked at.
   */
  internForwarded(received: number, asns: ReadonlyArray<number>): number {
    const place = this.#place[received]!
    const chunk = this.#arena.chunk(place)
    const at = this.#arena.offset(place)
    const size = this.#size[received]!
    const form = chunk[at]!
    if ((form & 1) === 0) return 0
    const needed = size + addedOctets(asns.length) + 2
    if (needed > this.#scratch.length) this.#scratch = new Uint8Array(needed * 2)
    const key = this.#scratch
    let end = forwardInto(chunk, at + headerLength + 1, this.#blockEnd(chunk, at, received), asns, key, headerLength + 1)
    if (end < 0) return 0
    this.#header(forwardedForm, 0, 0, 0)
    key[headerLength] = 0
    key[end++] = 0
    const hash = hashOf(key, end)
    const found = this.#lookup(key, end, hash)
    if (found > 0) {
      this.#refs[found]!++
      return found
    }
    const set = this.#store(end, hash)
    // Only what is read of a set that is on its way out; such a one never takes part in a decision.
    this.flags[set] = (this.flags[received]! & forwardedFlags) | SetFlag.nextHopSelf
    this.origin[set] = this.origin[received]!
    this.localPref[set] = defaultLocalPref
    this.med[set] = this.weight[set] = this.originatorId[set] = this.clusterLength[set] = this.ownAs[set] = 0
    this.pathLength[set] = this.pathLength[received]! + asns.length
    this.pathHash[set] = 0
    this.neighborAs[set] = asns[0]!
    this.#nextHopName[set] = 0
    return set
  }

  /** Whether an AS is in the path of a set. */
  hasAs(set: number, asn: number): boolean {
    const [chunk, at] = [this.#arena.chunk(this.#place[set]!), this.#arena.offset(this.#place[set]!)]
    if ((chunk[at]! & 1) === 0) return this.get(set).asPath.some(({ asns }) => asns.includes(asn))
    const path = pathAt(chunk, at + headerLength + 1, this.#blockEnd(chunk, at, set))
    return path >= 0 && occurrences(chunk, path, pathEnd, asn) > 0
  }

  /** Whether two sets have the same AS_PATH; by octets, where both have 4-octet AS numbers. */
  isSamePath(one: number, other: number): boolean {
    if (this.pathHash[one] !== this.pathHash[other]) return false
    const [x, y] = [this.#place[one]!, this.#place[other]!]
    const [a, b] = [this.#arena.chunk(x), this.#arena.chunk(y)]
    const [atA, atB] = [this.#arena.offset(x), this.#arena.offset(y)]
    if ((a[atA]! & b[atB]! & 1) === 0) return isSamePath(this.get(one).asPath, this.get(other).asPath)
    let i = pathAt(a, atA + headerLength + 1, this.#blockEnd(a, atA, one))
    const end = pathEnd
    let j = pathAt(b, atB + headerLength + 1, this.#blockEnd(b, atB, other))
    if (i < 0 || j < 0) return i === j
    if (end - i !== pathEnd - j) return false
    while (i < end) if (a[i++] !== b[j++]) return false
    return true
  }

  #blockEnd(chunk: Uint8Array, at: number, set: number): number {
    return at + this.#size[set]! - ((chunk[at]! & viaMpReach) === 0 ? 0 : 1 + chunk[at + 3]!)
  }

  /** The octets of a set's attributes with `nextHop` (4 octets) as NEXT_HOP, valid until the next call; undefined: it must be encoded. */
  blockOf(set: number, nextHop: Uint8Array): Uint8Array | undefined {
    const place = this.#place[set]!
    const chunk = this.#arena.chunk(place)
    const at = this.#arena.offset(place)
    if (chunk[at] !== forwardedForm) return undefined
    const size = this.#size[set]!
    if (size + 8 > this.#scratch.length) this.#scratch = new Uint8Array(2 * (size + 8))
    return this.#scratch.subarray(0, withNextHopInto(chunk, at + headerLength + 1, at + size - 1, nextHop, this.#scratch))
  }

  /**
   * Lets go of next hops that no set has any more. Call it when no decision is due: until then the FIB may have been told of an index
   * that must not mean another next hop.
   */
  releaseNextHops(): void {
    for (const { index, nextHops } of this.#unusedNextHops.splice(0)) nextHops.release(index)
  }

  retain(set: number): void {
    this.#refs[set]!++
  }

  release(set: number): void {
    if (set === 0 || --this.#refs[set]! > 0) return
    this.onFree?.(set)
    this.forgetImport(set)
    this.#unslot(set)
    if (this.#nextHop[set] !== 0) {
      const { nextHops } = this.#scopes[this.scopeOf(set)]!
      this.#unusedNextHops.push({ index: this.#nextHop[set]! - 1, nextHops })
    }
    this.#nextHop[set] = 0
    this.#arena.give(this.#place[set]!, this.#size[set]!)
    this.#size[set] = 0
    this.#forget(set)
    if (set === this.#newest) this.#newest = 0
    this.#free.push(set)
    this.count--
  }

  /** Notes what an import class made of the set; the result is kept alive as long as it is noted. */
  noteImport(set: number, importClass: number, result: number): void {
    if (result !== 0 && result !== set) this.retain(result)
    this.forgetImport(set)
    this.importClass[set] = importClass
    this.importResult[set] = result
  }

  forgetImport(set: number): void {
    const result = this.importResult[set]!
    this.importClass[set] = 0
    this.importResult[set] = 0
    if (result !== 0 && result !== set) this.release(result)
  }

  get(set: number): PathAttributes {
    const known = set === this.#newest ? this.#newestAttributes : this.#decoded.get(set)
    if (known !== undefined) return known
    const attributes = this.#decode(set)
    this.#remember(set, attributes)
    return attributes
  }

  scopeOf(set: number): number {
    const place = this.#place[set]!
    const chunk = this.#arena.chunk(place)
    const at = this.#arena.offset(place)
    return (chunk[at + 1]! << 8) | chunk[at + 2]!
  }

  /** Index of the set's next hop in `NextHops`; -1: it has none, or it is this router itself. */
  nextHopOf(set: number): number {
    const known = this.#nextHop[set]!
    if (known > 0) return known - 1
    const { linkLocalNextHop, nextHop } = this.#nextHopNames[this.#nextHopName[set]!]!
    const scope = this.#scopes[this.scopeOf(set)]!
    if (nextHop === undefined || nextHop === "0.0.0.0" || nextHop === "::") return this.#ownRoute(set, scope)
    const linkLocal = linkLocalNextHop ?? (/^fe[89ab]/i.test(nextHop) ? nextHop : undefined)
    const index = linkLocal !== undefined && scope.ifname !== undefined
      ? scope.nextHops.track(linkLocal, scope.ifname, true)
      : scope.nextHops.track(nextHop, undefined, scope.direct)
    this.#nextHop[set] = index + 1
    return index
  }

  #ownRoute(set: number, { nextHops, route }: Scope): number {
    if (route === undefined || nextHops.trackRoute === undefined) return -1
    const index = nextHops.trackRoute(route)
    this.#nextHop[set] = index + 1
    return index
  }

  /** The next hop as text. */
  nextHopText(set: number): string | undefined {
    return this.#nextHopNames[this.#nextHopName[set]!]!.nextHop
  }

  /** Like `nextHopOf`, but does not ask: -1 if nobody has asked yet. */
  knownNextHop(set: number): number {
    return this.#nextHop[set]! - 1
  }

  // ---- inside ----------------------------------------------------------------------------------------------------------

  #header(form: number, weight: number, scope: number, nextHopLength: number): void {
    const key = this.#scratch
    key[0] = form
    key[1] = scope >>> 8
    key[2] = scope & 0xff
    key[3] = nextHopLength
    key[4] = weight >>> 24
    key[5] = weight >>> 16
    key[6] = weight >>> 8
    key[7] = weight
  }

  #lookup(key: Uint8Array, end: number, hash: number): number {
    const mask = this.#slots.length - 1
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const set = this.#slots[at]!
      if (set === 0) return 0
      if (set > 0 && this.#hash[set] === hash && this.#size[set] === end && this.#isKey(set, key, end)) return set
    }
  }

  #isKey(set: number, key: Uint8Array, end: number): boolean {
    const place = this.#place[set]!
    const chunk = this.#arena.chunk(place)
    const at = this.#arena.offset(place)
    for (let i = 0; i < end; i++) if (chunk[at + i] !== key[i]) return false
    return true
  }

  /** Makes a set of what is in the scratch. */
  #add(end: number, hash: number, attributes: PathAttributes): number {
    const set = this.#store(end, hash)
    this.#describe(set, attributes)
    this.#newest = set
    this.#newestAttributes = attributes
    return set
  }

  /** A set with the octets in the scratch, and nothing in its columns. */
  #store(end: number, hash: number): number {
    const set = this.#free.pop() ?? this.limit++
    if (set >= this.capacity) this.#grow(set + 1)
    const place = this.#arena.take(end)
    const chunk = this.#arena.chunk(place)
    const at = this.#arena.offset(place)
    const key = this.#scratch
    for (let i = 0; i < end; i++) chunk[at + i] = key[i]!
    this.#place[set] = place
    this.#size[set] = end
    this.#hash[set] = hash
    this.#refs[set] = 1
    this.count++
    this.#slot(set)
    return set
  }

  #describe(set: number, attributes: PathAttributes): void {
    const key = this.#scratch
    const mode = (key[0]! >>> modeShift) & 3
    let flags = mode === 1 ? SetFlag.nextHopSelf : mode === 2 ? SetFlag.nextHopPeer : 0
    for (const community of attributes.communities) flags |= wellKnown.get(community) ?? 0
    if (attributes.extendedCommunities.some(isRouteTarget)) flags |= SetFlag.hasTargets
    if (attributes.localPref !== undefined) flags |= SetFlag.hasLocalPref
    if (attributes.med !== undefined) flags |= SetFlag.hasMed
    this.flags[set] = flags
    this.localPref[set] = attributes.localPref ?? defaultLocalPref
    this.med[set] = attributes.med ?? 0
    this.weight[set] = ((key[4]! << 24) | (key[5]! << 16) | (key[6]! << 8) | key[7]!) >>> 0
    this.origin[set] = attributes.origin
    this.originatorId[set] = attributes.originatorId ?? 0
    this.clusterLength[set] = Math.min(attributes.clusterList.length, 255)
    this.#nextHopName[set] = this.#numberOfNextHop(attributes)
    this.#describePath(set, attributes)
  }

  #numberOfNextHop({ linkLocalNextHop, nextHop }: PathAttributes): number {
    if (nextHop === undefined) return 0
    const key = linkLocalNextHop === undefined ? nextHop : `${nextHop} ${linkLocalNextHop}`
    const known = this.#nextHopNumbers.get(key)
    if (known !== undefined) return known
    const number = this.#nextHopNames.push(linkLocalNextHop === undefined ? { nextHop } : { nextHop, linkLocalNextHop }) - 1
    this.#nextHopNumbers.set(key, number)
    return number
  }

  #describePath(set: number, { asPath }: PathAttributes): void {
    let length = 0
    let own = 0
    let neighbor = 0
    let hash = 0
    for (const { asns, type } of asPath) {
      // RFC 4271 9.1.2.2 a, RFC 5065 5.3: a set counts 1, confederations nothing.
      if (type === SegmentType.asSequence) {
        if (length === 0) neighbor = asns[0] ?? 0
        length += asns.length
      } else if (type === SegmentType.asSet) length++
      hash = Math.imul(hash ^ type, 0x9e3779b1)
      for (const asn of asns) {
        if (asn === this.#asn) own++
        hash = Math.imul(hash ^ asn, 0x85ebca6b)
        hash ^= hash >>> 15
      }
    }
    this.pathLength[set] = length
    this.pathHash[set] = hash
    this.neighborAs[set] = neighbor
    this.ownAs[set] = Math.min(own, 255)
  }

  #slot(set: number): void {
    if ((this.#slotsUsed + 1) * 3 > this.#slots.length * 2) this.#rehash()
    const mask = this.#slots.length - 1
    let at = this.#hash[set]! & mask
    while (this.#slots[at] !== 0) at = (at + 1) & mask
    this.#slots[at] = set
    this.#slotsUsed++
  }

  #unslot(set: number): void {
    const mask = this.#slots.length - 1
    let at = this.#hash[set]! & mask
    while (this.#slots[at] !== set) at = (at + 1) & mask
    this.#slots[at] = -1
  }

  /** Hashes are kept, so this is a walk over two arrays: about 5 ms for a million sets. */
  #rehash(): void {
    const old = this.#slots
    let size = old.length
    while (size < this.count * 3) size *= 2
    this.#slots = new Int32Array(size)
    this.#slotsUsed = 0
    const mask = size - 1
    for (const set of old) {
      if (set <= 0) continue
      let at = this.#hash[set]! & mask
      while (this.#slots[at] !== 0) at = (at + 1) & mask
      this.#slots[at] = set
      this.#slotsUsed++
    }
  }

  #grow(needed: number): void {
    const capacity = grownCapacity(this.capacity, needed)
    this.localPref = growU32(this.localPref, capacity)
    this.med = growU32(this.med, capacity)
    this.weight = growU32(this.weight, capacity)
    this.neighborAs = growU32(this.neighborAs, capacity)
    this.pathLength = growU16(this.pathLength, capacity)
    this.pathHash = growU32(this.pathHash, capacity)
    this.origin = growU8(this.origin, capacity)
    this.flags = growU16(this.flags, capacity)
    this.originatorId = growU32(this.originatorId, capacity)
    this.clusterLength = growU8(this.clusterLength, capacity)
    this.ownAs = growU8(this.ownAs, capacity)
    this.importClass = growU16(this.importClass, capacity)
    this.importResult = growU32(this.importResult, capacity)
    this.#refs = growI32(this.#refs, capacity)
    this.#hash = growU32(this.#hash, capacity)
    this.#place = growU32(this.#place, capacity)
    this.#size = growU32(this.#size, capacity)
    this.#nextHop = growU32(this.#nextHop, capacity)
    this.#nextHopName = growU32(this.#nextHopName, capacity)
  }

  #remember(set: number, attributes: PathAttributes): void {
    // A thread has a thousand tables: none keeps many, unless there are few in all.
    if (this.#decoded.size >= decodedLimit || (decodedInAll >= decodedLimit && this.#decoded.size >= decodedLeast)) {
      for (const oldest of this.#decoded.keys()) {
        this.#forget(oldest)
        break
      }
    }
    if (!this.#decoded.has(set)) decodedInAll += 1
    this.#decoded.set(set, attributes)
  }

  #forget(set: number): void {
    if (this.#decoded.delete(set)) decodedInAll -= 1
  }

  /** Puts the octets into an UPDATE again, with a default route, and decodes that. */
  #decode(set: number): PathAttributes {
    const place = this.#place[set]!
    const at = this.#arena.offset(place)
    const key = this.#arena.chunk(place).subarray(at, at + this.#size[set]!)
    const form = key[0]!
    const context = (form & noNextHop) === 0 ? contexts[form & 3]! : ownContext
    const nextHopLength = key[3]!
    const nextHopAt = key.length - ((form & viaMpReach) === 0 ? 0 : 1 + nextHopLength)
    const attributes = key.subarray(headerLength + 1, nextHopAt)
    const family = (form & isIpv6) !== 0 ? Family.ipv6Unicast : Family.ipv4Unicast
    const nextHop = nextHopLength === 0 ? new Uint8Array(4) : key.subarray(nextHopAt, nextHopAt + nextHopLength)
    const message = messageOf(attributes, (form & viaMpReach) === 0 ? undefined : { family, nextHop })
    const scan = new UpdateScan()
    const error = scanUpdate(message, 0, message.length, context, scan)
    if (error !== undefined) throw new Error(`an interned attribute set cannot be read: ${error.code}/${error.subcode}`)
    const decoded = decodeAttributes(message, scan, (form & viaMpReach) === 0 ? NlriSource.field : NlriSource.mpReach, context)
    return (form & noNextHop) === 0 ? decoded.attributes : withoutNextHop(decoded.attributes)
  }
}
