/**
 * UPDATEs for one neighbour and family: takes what is pending in large batches, puts prefixes of equal attributes together, and writes
 * messages as full as the session allows, withdrawals first. It stops where the send queue is full and goes on where it stopped.
 *
 * What is in a batch keeps its attribute set. A prefix that changes meanwhile is passed by: it is pending again.
 */
import { encodeAttributes } from "../../wire/bgp/attributes.ts"
import { Family } from "../../wire/bgp/iana.ts"
import * as Ip from "../../wire/ip.ts"
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"
import { encodeEndOfRib, UpdateWriter } from "../../wire/bgp/update-writer.ts"
import type { Member } from "./adj-rib-out.ts"
import { type AttributeTable, SetFlag } from "./attribute-table.ts"
import { growI32, growU32 } from "./columns.ts"
import type { PrefixTable } from "./prefix-table.ts"
import { nextHopOctets } from "./set-octets.ts"

/** Prefixes of a batch: more make fuller messages, and a longer step. */
const batchLimit = 65536
export const families = [Family.ipv4Unicast, Family.ipv6Unicast] as const

/** What one packer at a time works with: shared by all of the thread, which may be thousands. */
class Scratch {
  readonly message = new Uint8Array(65535)
  readonly octets = new Uint8Array(16)
  /** First entry + 1 of a set's list, by set. */
  heads: Int32Array<ArrayBuffer> = new Int32Array(64)
  next: Int32Array<ArrayBuffer> = new Int32Array(64)
  prefix: Uint32Array<ArrayBuffer> = new Uint32Array(64)
  pathId: Uint32Array<ArrayBuffer> = new Uint32Array(64)
  set: Uint32Array<ArrayBuffer> = new Uint32Array(64)
  count = 0

  add(prefix: number, pathId: number, set: number): void {
    if (this.count === this.prefix.length) {
      const capacity = this.count * 2
      this.next = growI32(this.next, capacity)
      this.prefix = growU32(this.prefix, capacity)
      this.pathId = growU32(this.pathId, capacity)
      this.set = growU32(this.set, capacity)
    }
    this.prefix[this.count] = prefix
    this.pathId[this.count] = pathId
    this.set[this.count++] = set
  }
}

const shared = new Scratch()

/** Ranked paths for add-path: fills identifiers and exported sets (with references), returns how many. */
export type RankPaths = (member: Member, prefix: number, ids: Uint32Array, sets: Uint32Array) => number

export interface PackerOptions {
  readonly member: Member
  readonly prefixes: PrefixTable
  readonly sets: AttributeTable
  readonly rank: RankPaths
  readonly mraiMs: number
}

export class Packer {
  readonly member: Member
  /** Announcements that no message can hold. */
  unsendable = 0
  /** UPDATEs sent. */
  messages = 0
  readonly #prefixes: PrefixTable
  readonly #sets: AttributeTable
  readonly #scratch = shared
  readonly #rank: RankPaths
  readonly #mraiMs: number
  /** Of what was due at once there is more than one batch: the interval begins with the first. */
  #isMidway = false
  readonly #writer: UpdateWriter
  readonly #maxMessage: number
  /** This router's IPv4 address towards the neighbour, if attributes that are ready can be sent with it. */
  readonly #self: Uint8Array | undefined
  readonly #ids: Uint32Array
  readonly #exported: Uint32Array
  #prefix: Uint32Array = new Uint32Array(0)
  #pathId: Uint32Array = new Uint32Array(0)
  #set: Uint32Array = new Uint32Array(0)
  #at = 0
  #count = 0

  constructor({ member, mraiMs, prefixes, rank, sets }: PackerOptions) {
    this.member = member
    this.#prefixes = prefixes
    this.#sets = sets
    this.#rank = rank
    this.#mraiMs = mraiMs
    this.#writer = new UpdateWriter(member.session.context)
    this.#maxMessage = member.session.context.extendedMessage ? 65535 : 4096
    const self = member.session.nextHopSelf[member.family]
    const isPlain = member.family === 0 && self !== undefined && !self.includes(":") && member.session.context.asn4
    this.#self = isPlain ? Ip.parse(self) : undefined
    this.#ids = new Uint32Array(member.places)
    this.#exported = new Uint32Array(member.places)
  }

  get isIdle(): boolean {
    return this.#at === this.#count && this.member.pending.count === 0
  }

  /** Works until `deadline` (`performance.now()`): `idle`, `more`, `blocked` by the send queue, or `paced` until `member.notBefore`. */
  run(deadline: number): "idle" | "more" | "blocked" | "paced" {
    for (;;) {
      if (this.#at === this.#count) {
        if (this.member.pending.count === 0) return this.#rest()
        if (this.#mraiMs > 0 && !this.#isMidway) {
          const now = performance.now()
          if (now < this.member.notBefore) return "paced"
          this.member.notBefore = now + this.#mraiMs
        }
        this.#fill()
        this.#isMidway = this.member.pending.count > 0
      }
      while (this.#at < this.#count) {
        if (this.member.session.outbound.space() < this.#maxMessage) return "blocked"
        if (this.#set[this.#at] === 0) this.#writeWithdraw()
        else this.#writeReach()
        if (performance.now() >= deadline) return this.isIdle ? "idle" : "more"
      }
    }
  }

  /** A large batch is not kept for the next one. */
  #rest(): "idle" {
    if (this.#prefix.length > 256) {
      this.#prefix = this.#pathId = this.#set = new Uint32Array(0)
      this.#at = this.#count = 0
    }
    return "idle"
  }

  /** End-of-RIB (RFC 4724 2); false: the send queue is full. */
  sendEndOfRib(): boolean {
    return this.sendWhole(encodeEndOfRib(families[this.member.family]))
  }

  /** A message that is there already; false: the send queue is full. */
  sendWhole(message: Uint8Array): boolean {
    if (this.member.session.outbound.space() < this.#maxMessage) return false
    this.member.session.outbound.send(message)
    return true
  }

  /** Everything is to be sent again: with add-path nothing counts as sent, but what is not wanted any more is still withdrawn. */
  forgetSent(): void {
    const { sentSet } = this.member
    for (let i = 0; i < sentSet.length; i++) {
      this.#sets.release(sentSet[i]!)
      sentSet[i] = 0
    }
  }

  /** The session is over: gives back what the batch holds. */
  close(): void {
    for (; this.#at < this.#count; this.#at++) this.#sets.release(this.#set[this.#at]!)
    const { sentSet } = this.member
    for (let i = 0; i < sentSet.length; i++) this.#sets.release(sentSet[i]!)
    this.member.sentSet = new Uint32Array(0)
    this.member.sentId = new Uint32Array(0)
  }

  // ---- a batch ---------------------------------------------------------------------------------------------------------

  #fill(): void {
    const { member } = this
    const scratch = this.#scratch
    scratch.count = 0
    for (let taken = 0; taken < batchLimit; taken++) {
      const prefix = member.pending.take()
      if (prefix < 0) break
      if (member.places > 0) this.#takePaths(prefix)
      else this.#takeBest(prefix)
    }
    this.#order()
  }

  #takeBest(prefix: number): void {
    const { member } = this
    const set = member.desired(prefix)
    if (set === 0) {
      if (member.advertised.has(prefix)) this.#scratch.add(prefix, 1, 0)
      return
    }
    this.#sets.retain(set)
    member.markAdvertised(prefix)
    this.#scratch.add(prefix, 1, set)
  }

  /** What differs between the paths that the neighbour has and those that it is to have. */
  #takePaths(prefix: number): void {
    const { member } = this
    member.reserve(this.#prefixes.capacity)
    const { places, sentId, sentSet } = member
    const base = prefix * places
    const count = this.#rank(member, prefix, this.#ids, this.#exported)
    for (let i = 0; i < places; i++) {
      const id = sentId[base + i]!
      if (id !== 0 && !this.#ids.subarray(0, count).includes(id)) this.#scratch.add(prefix, id, 0)
    }
    for (let i = 0; i < count; i++) {
      const place = sentId.subarray(base, base + places).indexOf(this.#ids[i]!)
      if (place >= 0 && sentSet[base + place] === this.#exported[i]) continue
      this.#sets.retain(this.#exported[i]!)
      this.#scratch.add(prefix, this.#ids[i]!, this.#exported[i]!)
    }
    for (let i = 0; i < places; i++) {
      this.#sets.release(sentSet[base + i]!)
      sentId[base + i] = i < count ? this.#ids[i]! : 0
      sentSet[base + i] = i < count ? this.#exported[i]! : 0
    }
    if (count > 0) member.markAdvertised(prefix)
  }

  /** Brings entries of one set together, withdrawals first, otherwise in the order in which sets came. */
  #order(): void {
    const scratch = this.#scratch
    const { count, next, set } = scratch
    if (scratch.heads.length < this.#sets.capacity) scratch.heads = new Int32Array(this.#sets.capacity)
    const { heads } = scratch
    // From the back, so that each list is in order of arrival.
    for (let i = count - 1; i >= 0; i--) {
      next[i] = heads[set[i]!]!
      heads[set[i]!] = i + 1
    }
    if (this.#prefix.length < count) {
      this.#prefix = new Uint32Array(count)
      this.#pathId = new Uint32Array(count)
      this.#set = new Uint32Array(count)
    }
    this.#at = 0
    this.#count = 0
    this.#unlink(0)
    for (let i = 0; i < count; i++) this.#unlink(set[i]!)
  }

  #unlink(set: number): void {
    const { heads, next, pathId, prefix } = this.#scratch
    for (let entry = heads[set]!; entry !== 0; entry = next[entry - 1]!) {
      this.#prefix[this.#count] = prefix[entry - 1]!
      this.#pathId[this.#count] = pathId[entry - 1]!
      this.#set[this.#count++] = set
    }
    heads[set] = 0
  }

  // ---- messages --------------------------------------------------------------------------------------------------------

  #addEntry(): boolean {
    const prefix = this.#prefix[this.#at]!
    const { octets } = this.#scratch
    this.#prefixes.octetsInto(prefix, octets, 0)
    return this.#writer.addPrefix(this.#pathId[this.#at]!, this.#prefixes.lengthOf(prefix), octets, 0)
  }

  /** Whether to pass an entry by: it is pending again, so that a later batch says what is true then. */
  #isOvertaken(): boolean {
    return this.member.places === 0 && this.member.pending.has(this.#prefix[this.#at]!)
  }

  #writeWithdraw(): void {
    this.#writer.beginWithdraw(this.#scratch.message, 0, families[this.member.family])
    let added = 0
    for (; this.#at < this.#count && this.#set[this.#at] === 0; this.#at++) {
      if (this.#isOvertaken()) continue
      if (!this.#addEntry()) break
      this.#afterWithdraw(this.#prefix[this.#at]!)
      added++
    }
    if (added > 0) this.#finish()
  }

  #afterWithdraw(prefix: number): void {
    const { places, sentId } = this.member
    for (let i = 0; i < places; i++) if (sentId[prefix * places + i] !== 0) return
    this.member.markWithdrawn(prefix)
  }

  #writeReach(): void {
    const set = this.#set[this.#at]!
    const next = this.#nextHop(set)
    const family = families[this.member.family]
    const isBegun = next !== undefined &&
      this.#writer.beginReach(this.#scratch.message, 0, family, next.block, next.octets)
    let added = 0
    for (; this.#at < this.#count && this.#set[this.#at] === set; this.#at++) {
      if (!this.#isOvertaken()) {
        if (!isBegun || !this.#addEntry()) break
        added++
      }
      this.#sets.release(set)
    }
    if (added > 0) this.#finish()
    else if (this.#at < this.#count && this.#set[this.#at] === set) this.#giveUp(set)
  }

  /** RFC 8654 5, RFC 4271 9.2: what cannot be said in one message is not said, and what was said before is taken back. */
  #giveUp(set: number): void {
    this.unsendable++
    this.#writer.beginWithdraw(this.#scratch.message, 0, families[this.member.family])
    this.#addEntry()
    this.member.markWithdrawn(this.#prefix[this.#at]!)
    this.#sets.release(set)
    this.#at++
    this.#finish()
  }

  #finish(): void {
    const end = this.#writer.finish()
    this.messages++
    this.member.session.outbound.send(this.#scratch.message.subarray(0, end))
  }

  /** The attribute block and, for MP_REACH_NLRI, the next hop as the neighbour gets them; undefined: there is no way to say it. */
  #nextHop(set: number): { readonly block: Uint8Array; readonly octets: Uint8Array | undefined } | undefined {
    const ready = this.#self === undefined ? undefined : this.#sets.blockOf(set, this.#self)
    if (ready !== undefined) return { block: ready, octets: undefined }
    const attributes = advertisedAttributes(this.member, this.#sets, set)
    if (attributes.nextHop === undefined) return undefined
    const { context } = this.member.session
    const isIpv4 = this.member.family === 0
    const hasIpv4 = !attributes.nextHop.includes(":")
    if (isIpv4 && hasIpv4) return { block: encodeAttributes(attributes, context, true), octets: undefined }
    if (hasIpv4 || (isIpv4 && !context.extendedNextHop(Family.ipv4Unicast))) return undefined
    return { block: encodeAttributes(attributes, context, false), octets: nextHopOctets(attributes) }
  }
}

/** An exported set as the neighbour gets it: with the session's addresses. Without next hop: there is none to say. */
export const advertisedAttributes = (member: Member, sets: AttributeTable, set: number): PathAttributes => {
  const { session } = member
  const { linkLocalNextHop, nextHop, ...rest } = sets.get(set)
  const isSelf = (sets.flags[set]! & SetFlag.nextHopSelf) !== 0
  if ((sets.flags[set]! & SetFlag.nextHopPeer) !== 0) return { ...rest, nextHop: session.remoteAddress }
  // RFC 4271 5.1.3: a neighbour in another AS is not told its own address.
  const isTheirs = nextHop === session.remoteAddress && session.context.isExternal
  const isUsable = nextHop !== undefined && !isTheirs && (nextHop.includes(":") || member.family === 0)
  if (!isSelf && isUsable) {
    const onLink = linkLocalNextHop !== undefined && session.isOnLink?.(nextHop) === true
    return onLink ? { ...rest, nextHop, linkLocalNextHop } : { ...rest, nextHop }
  }
  const self = session.nextHopSelf[member.family]
  if (self === undefined) return rest
  const withLinkLocal = session.linkLocal !== undefined && self.includes(":") && self !== session.linkLocal
  return withLinkLocal ? { ...rest, nextHop: self, linkLocalNextHop: session.linkLocal } : { ...rest, nextHop: self }
}
