/**
 * The routes of one kernel table and family: what is wanted, what is there, and a queue of those where the two differ.
 *
 * A route is made so that it fails where somebody else's route has the place (same prefix, table and metric), and replaced only when
 * the one there is known to be ours. Where a place is taken, the route stands aside with a metric of 1 more, so that it is there when the
 * other goes; then it moves to its place. Any other failure waits for a second try.
 */
import { format } from "../../wire/ip.ts"
import { IfThere, RouteBatch, type Common } from "../../wire/rtnetlink/route-batch.ts"
import { type FamilyIndex, RouteKind } from "./api.ts"
import type { Groups } from "./groups.ts"
import { PrefixTable } from "./prefix-table.ts"
import { protocol } from "./protocol.ts"
import { type Refusal, type RouteSocket, type RouteWriter, sendOctets } from "./route-socket.ts"

const RTN_UNICAST = 1
const RTN_BLACKHOLE = 6
/** Administrative distances as metrics. IPv6 routes without a metric have 1024 in the kernel, so ours come after it. */
const distances = { [RouteKind.external]: 20, [RouteKind.internal]: 200, [RouteKind.discard]: 200 } as const
const ipv6Base = 1024

export const metricOf = (family: FamilyIndex, kind: RouteKind): number => distances[kind] + (family === 1 ? ipv6Base : 0)

/** A kind, and `aside` added where somebody else has its place. */
type RoutePlace = 0 | 1 | 2 | 4 | 5 | 6
const aside = 4

/** The place of a route that was found in the kernel. */
export const placeOf = (family: FamilyIndex, metric: number, isDiscard: boolean): RoutePlace => {
  const isInternal = metric >= metricOf(family, RouteKind.internal)
  const kind = isDiscard ? RouteKind.discard : isInternal ? RouteKind.internal : RouteKind.external
  return (metric === metricOf(family, kind) ? kind : kind + aside) as RoutePlace
}

const Flag = { queued: 1, stale: 2, failed: 4, aside: 8, placeShift: 4, placeMask: 0x70 } as const
const Operation = { add: 0, replace: 1, remove: 2 } as const
/** The kernel lacks memory for now, or somebody holds what it needs. */
const passing = new Set(["ENOBUFS", "ENOMEM", "EBUSY", "EAGAIN"])
const maxRequests = 512

export interface RouteSetHost {
  readonly socket: RouteSocket
  /** Absent: routes are written before `run` returns. */
  writer(): RouteWriter | undefined
  /** What was being written is done: `run` has more to do. */
  written(): void
  readonly groups: Groups
  /** `key`: failures with the same key are told once. */
  failed(key: string, text: string): void
  /** A group of the kernel's is not what it should be. */
  suspect(): void
}

export class RouteSet {
  readonly table: number
  readonly family: FamilyIndex
  readonly prefixes: PrefixTable
  readonly #host: RouteSetHost
  readonly #batch = new RouteBatch(sendOctets)
  readonly #batchEntry = new Int32Array(maxRequests)
  readonly #batchBefore = new Int32Array(maxRequests)
  readonly #batchPlaceBefore = new Uint8Array(maxRequests)
  readonly #batchOperation = new Uint8Array(maxRequests)
  readonly #common: { readonly [place in RoutePlace]: Common }
  #queue: number[] = []
  #queueAt = 0
  #scanAt = Infinity
  #isUnsent = false
  /** The batch is being written by another thread. */
  #isSending = false
  #wanted = 0
  #written = 0
  /** To be tried again, and those whose place is somebody else's. */
  readonly #failures = new Set<number>()
  readonly #taken = new Set<number>()

  constructor(table: number, family: FamilyIndex, host: RouteSetHost) {
    this.table = table
    this.family = family
    this.#host = host
    this.prefixes = new PrefixTable(family === 0 ? 4 : 16)
    const common = (kind: RouteKind, more = 0): Common => ({
      protocol,
      table,
      metric: metricOf(family, kind) + more,
      type: kind === RouteKind.discard ? RTN_BLACKHOLE : RTN_UNICAST
    })
    this.#common = { 0: common(0), 1: common(1), 2: common(2), 4: common(0, 1), 5: common(1, 1), 6: common(2, 1) }
  }

  get wanted(): number {
    return this.#wanted
  }

  get pending(): number {
    return this.#queue.length - this.#queueAt + (this.#isUnsent || this.#isSending ? this.#batch.count : 0)
  }

  get failed(): number {
    return this.#failures.size + this.#taken.size
  }

  /** Whether `retry` would help. */
  get isUnwell(): boolean {
    return this.#failures.size > 0
  }

  get written(): number {
    return this.#written
  }

  /** Whether `run` waits for the kernel; the host hears when it has answered. */
  get isSending(): boolean {
    return this.#isSending
  }

  get isIdle(): boolean {
    return this.pending === 0 && this.#scanAt === Infinity
  }

  set(bytes: Uint8Array, at: number, length: number, handle: number): void {
    const { prefixes } = this
    const entry = prefixes.findOrAdd(bytes, at, length)
    const before = prefixes.wanted[entry]!
    prefixes.flags[entry]! &= ~Flag.stale
    if (before === handle) return
    this.#host.groups.retain(handle)
    if (before >= 0) this.#host.groups.release(before)
    else this.#wanted++
    prefixes.wanted[entry] = handle
    this.#enqueue(entry)
  }

  unset(bytes: Uint8Array, at: number, length: number): void {
    const entry = this.prefixes.find(bytes, at, length)
    if (entry < 0) return
    this.prefixes.flags[entry]! &= ~Flag.stale
    this.#unwant(entry)
    this.#enqueue(entry)
  }

  /** A route that a predecessor left, written with `installation`. */
  adopt(bytes: Uint8Array, at: number, length: number, installation: number, place: RoutePlace): void {
    const { prefixes } = this
    const entry = prefixes.findOrAdd(bytes, at, length)
    // A predecessor that died while it changed a route's metric has left both.
    if (prefixes.installed[entry]! >= 0) {
      if (this.#batch.hasSpace && this.#batch.count < maxRequests) this.#remove(entry, place)
      return
    }
    this.#install(entry, installation, place)
    if (place >= aside) prefixes.flags[entry]! |= Flag.aside
    if (prefixes.wanted[entry]! < 0) prefixes.flags[entry]! |= Flag.stale
    else this.#enqueue(entry)
  }

  /** Removes what was adopted and is not wanted. */
  sweep(): void {
    const { prefixes } = this
    for (let entry = 0; entry < prefixes.end; entry++) {
      if (prefixes.isFree(entry) || (prefixes.flags[entry]! & Flag.stale) === 0) continue
      prefixes.flags[entry]! &= ~Flag.stale
      this.#enqueue(entry)
    }
  }

  /** Nothing is wanted any more. */
  clear(): void {
    const { prefixes } = this
    for (let entry = 0; entry < prefixes.end; entry++) {
      if (prefixes.isFree(entry)) continue
      this.#unwant(entry)
      this.#enqueue(entry)
    }
  }

  /** A group lives again: its routes are looked for. */
  rescan(): void {
    this.#scanAt = 0
  }

  /** What failed is tried again. */
  retry(): void {
    for (const entry of this.#failures) {
      this.prefixes.flags[entry]! &= ~Flag.failed
      this.#enqueue(entry)
    }
    this.#failures.clear()
  }

  /** Somebody else removed a route (`isNew` false) or made one. */
  touched(bytes: Uint8Array, length: number, metric: number, isOurs: boolean, isNew: boolean): void {
    const { prefixes } = this
    const entry = prefixes.find(bytes, 0, length)
    if (entry < 0) return
    const isInstalled = prefixes.installed[entry]! >= 0
    const place = this.#place(entry)
    const isHere = isInstalled && metric === this.#common[place].metric
    if (isNew ? !isOurs && isHere : isOurs && isHere) this.#uninstall(entry)
    const isLeft = !isNew && !isOurs && place >= aside && metric === this.#common[(place - aside) as RoutePlace].metric
    if (isLeft && (prefixes.flags[entry]! & Flag.aside) !== 0) {
      prefixes.flags[entry]! &= ~Flag.aside
      this.#enqueue(entry)
      return
    }
    if (!isNew && !isOurs && !this.#taken.delete(entry)) return
    prefixes.flags[entry]! &= ~Flag.failed
    this.#enqueue(entry)
  }

  /** Works until `end` (ms); true: there is more to do. */
  run(end: number): boolean {
    if (this.#isSending) return false
    if (this.#isUnsent && !this.#send()) return !this.#isSending
    do {
      if (this.#scanAt !== Infinity) this.#scan()
      while (this.#queueAt < this.#queue.length && this.#batch.hasSpace && this.#batch.count + 2 <= maxRequests) {
        this.#step(this.#queue[this.#queueAt++]!)
      }
      if (this.#queueAt === this.#queue.length) {
        this.#queue = []
        this.#queueAt = 0
      } else if (this.#queueAt > 100_000) {
        this.#queue = this.#queue.slice(this.#queueAt)
        this.#queueAt = 0
      }
      if (this.#batch.count > 0 && !this.#send()) return !this.#isSending
    } while (!this.isIdle && performance.now() < end)
    return !this.isIdle
  }

  #enqueue(entry: number): void {
    if ((this.prefixes.flags[entry]! & Flag.queued) !== 0) return
    this.prefixes.flags[entry]! |= Flag.queued
    this.#queue.push(entry)
  }

  #unwant(entry: number): void {
    const before = this.prefixes.wanted[entry]!
    if (before < 0) return
    this.prefixes.wanted[entry] = -1
    this.#wanted--
    this.#host.groups.release(before)
  }

  #place(entry: number): RoutePlace {
    return ((this.prefixes.flags[entry]! & Flag.placeMask) >> Flag.placeShift) as RoutePlace
  }

  #install(entry: number, installation: number, place: RoutePlace): void {
    const { prefixes } = this
    this.#host.groups.written(installation)
    prefixes.installed[entry] = installation
    prefixes.flags[entry] = (prefixes.flags[entry]! & ~Flag.placeMask) | (place << Flag.placeShift)
  }

  #uninstall(entry: number): void {
    const before = this.prefixes.installed[entry]!
    if (before < 0) return
    this.prefixes.installed[entry] = -1
    this.#host.groups.unwritten(before)
  }

  #scan(): void {
    const { prefixes } = this
    const { groups } = this.#host
    const end = Math.min(prefixes.end, this.#scanAt + 20_000)
    for (let entry = this.#scanAt; entry < end; entry++) {
      const wanted = prefixes.wanted[entry]!
      // What failed has its own time.
      if ((prefixes.flags[entry]! & Flag.failed) !== 0) continue
      if (wanted >= 0 && groups.current(groups.group(wanted)) !== prefixes.installed[entry]) this.#enqueue(entry)
    }
    this.#scanAt = end === prefixes.end ? Infinity : end
  }

  /** Writes the requests that bring one entry to what is wanted. */
  #step(entry: number): void {
    const { prefixes } = this
    const { groups } = this.#host
    prefixes.flags[entry]! &= ~Flag.queued
    if ((prefixes.flags[entry]! & Flag.failed) !== 0) {
      prefixes.flags[entry]! &= ~Flag.failed
      this.#failures.delete(entry)
      this.#taken.delete(entry)
    }
    const installed = prefixes.installed[entry]!
    if (installed >= 0 && !groups.installation(installed).isAlive) this.#uninstall(entry)
    const before = prefixes.installed[entry]!
    const placeBefore = this.#place(entry)
    const wanted = prefixes.wanted[entry]!
    const group = wanted < 0 ? undefined : groups.group(wanted)
    const target = group === undefined ? -1 : groups.current(group)
    if (target < 0) {
      if (before >= 0) this.#remove(entry, placeBefore)
      this.#uninstall(entry)
      prefixes.flags[entry]! &= ~Flag.aside
      if (wanted < 0) prefixes.remove(entry)
      return
    }
    const place = (group!.kind + ((prefixes.flags[entry]! & Flag.aside) === 0 ? 0 : aside)) as RoutePlace
    if (before === target && placeBefore === place) return
    const isSamePlace = before >= 0 && this.#common[placeBefore].metric === this.#common[place].metric
    this.#add(entry, isSamePlace, target, place, { before, placeBefore })
    if (before >= 0 && !isSamePlace) this.#remove(entry, placeBefore)
  }

  #add(
    entry: number,
    isReplacement: boolean,
    target: number,
    place: RoutePlace,
    { before, placeBefore }: { readonly before: number; readonly placeBefore: RoutePlace }
  ): void {
    const { prefixes } = this
    const { groups } = this.#host
    const { octets, width } = prefixes
    const flags = isReplacement ? IfThere.replace : IfThere.fail
    const { id } = groups.installation(target)
    const sequence = this.#batch.add(flags, octets, entry * width, prefixes.length(entry), width === 16, this.#common[place], id)
    this.#note(sequence, entry, isReplacement ? Operation.replace : Operation.add, { before: isReplacement ? before : -1, placeBefore })
    // The installation before is kept until the answer is known: this one may be refused.
    if (isReplacement) groups.written(before)
    this.#uninstall(entry)
    this.#install(entry, target, place)
  }

  #remove(entry: number, place: RoutePlace): void {
    const { prefixes } = this
    const { octets, width } = prefixes
    const sequence = this.#batch.remove(octets, entry * width, prefixes.length(entry), width === 16, this.#common[place])
    this.#note(sequence, entry, Operation.remove, { before: -1, placeBefore: place })
  }

  #note(sequence: number, entry: number, operation: number, { before, placeBefore }: { before: number; placeBefore: RoutePlace }): void {
    this.#batchEntry[sequence] = entry
    this.#batchOperation[sequence] = operation
    this.#batchBefore[sequence] = before
    this.#batchPlaceBefore[sequence] = placeBefore
  }

  /** False: the batch is being written, or the kernel takes nothing now; it is kept. */
  #send(): boolean {
    const bytes = this.#batch.bytes.subarray(0, this.#batch.length)
    const writer = this.#host.writer()
    if (writer === undefined) return this.#sent(this.#host.socket.send(bytes))
    this.#isUnsent = false
    this.#isSending = true
    writer.write(bytes, (refusals) => {
      this.#isSending = false
      this.#sent(refusals)
      this.#host.written()
    })
    return false
  }

  #sent(refusals: ReadonlyArray<Refusal> | undefined): boolean {
    this.#isUnsent = refusals === undefined
    if (refusals === undefined) return false
    this.#written += this.#batch.count - refusals.length
    for (const refusal of refusals) this.#refused(refusal)
    const { groups } = this.#host
    for (let i = 0; i < this.#batch.count; i++) if (this.#batchBefore[i]! >= 0) groups.unwritten(this.#batchBefore[i]!)
    this.#batch.clear()
    return true
  }

  #refused({ sequence, code, detail }: Refusal): void {
    if (sequence < 0 || sequence >= this.#batch.count) {
      this.#host.failed(code, `cannot write routes: ${code} ${detail}`.trimEnd())
      this.#host.suspect()
      return
    }
    const entry = this.#batchEntry[sequence]!
    const operation = this.#batchOperation[sequence]!
    if (operation === Operation.remove) {
      // ESRCH: it is gone already.
      if (code !== "ESRCH" && code !== "ENOENT") this.#host.failed(`remove ${code}`, `cannot remove a route: ${code} ${detail}`.trimEnd())
      return
    }
    const isAside = this.#place(entry) >= aside
    this.#uninstall(entry)
    const before = this.#batchBefore[sequence]!
    if (before >= 0) this.#install(entry, before, this.#batchPlaceBefore[sequence] as RoutePlace)
    if (code === "EEXIST" && !isAside) {
      this.prefixes.flags[entry]! |= Flag.aside
      this.#enqueue(entry)
      return
    }
    this.prefixes.flags[entry]! |= Flag.failed
    if (code === "EEXIST") this.#taken.add(entry)
    else this.#failures.add(entry)
    const what = `${this.#text(entry)} in table ${this.table}`
    if (code === "EEXIST") this.#host.failed(`taken ${this.table}`, `cannot add ${what}: somebody else's route has its place and metric`)
    else this.#host.failed(`add ${code} ${detail}`, `cannot write the route ${what}: ${code} ${detail}`.trimEnd())
    if (!passing.has(code) && code !== "EEXIST") this.#host.suspect()
  }

  #text(entry: number): string {
    const { octets, width } = this.prefixes
    return `${format(octets.subarray(entry * width, (entry + 1) * width))}/${this.prefixes.length(entry)}`
  }
}
