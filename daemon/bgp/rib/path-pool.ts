/**
 * All paths of one family: a row for each prefix and neighbour (and path identifier, with add-path), in columns.
 *
 *      prefix    index in the prefix table
 *      next      next path of the same prefix, or -1: the chain begins in `FamilyTable.first`
 *      peer      who sent it; below `firstPeer`: ourselves, the `Source`
 *      received  attribute set as received; 0: the row is free
 *      chosen    attribute set after the import policy; 0: the policy denied it
 *      pathId    as received (RFC 7911); 0 without add-path
 *      since     seconds of the RIB's clock
 *      flags     `PathFlag`
 */
import { growI32, growU16, growU32, growU8, initialCapacity } from "./columns.ts"

export const PathFlag = {
  /** Kept over the end of its session (RFC 4724). */
  stale: 1,
  /** Not seen again since the begin of a route refresh (RFC 7313). */
  unrefreshed: 2,
  /** In the kernel or would be, beside the best. */
  multipath: 4,
  /** The next best, which the kernel goes over to. */
  backup: 8,
  /** On its way out: no candidate and not counted any more, until it is removed or the neighbour sends it again. */
  gone: 16
} as const

export class PathPool {
  prefix: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  next: Int32Array<ArrayBuffer> = new Int32Array(initialCapacity)
  peer: Uint16Array<ArrayBuffer> = new Uint16Array(initialCapacity)
  received: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  chosen: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  /** Short until the first identifier that is not 0 comes. */
  pathId: Uint32Array<ArrayBuffer> = new Uint32Array(0)
  since: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  flags: Uint8Array<ArrayBuffer> = new Uint8Array(initialCapacity)
  /** Rows ever used: all are below. */
  limit = 0
  count = 0
  #free = -1

  pathIdOf(path: number): number {
    return path < this.pathId.length ? this.pathId[path]! : 0
  }

  setPathId(path: number, pathId: number): void {
    if (this.pathId.length !== this.prefix.length) {
      if (pathId === 0) {
        if (path < this.pathId.length) this.pathId[path] = 0
        return
      }
      this.pathId = growU32(this.pathId, this.prefix.length)
    }
    this.pathId[path] = pathId
  }

  /** A row with everything 0 but `next`, which is -1. */
  take(): number {
    this.count++
    if (this.#free >= 0) {
      const path = this.#free
      this.#free = this.next[path]!
      this.next[path] = -1
      return path
    }
    if (this.limit === this.prefix.length) this.#grow()
    const path = this.limit++
    this.next[path] = -1
    return path
  }

  give(path: number): void {
    this.count--
    this.received[path] = 0
    this.chosen[path] = 0
    this.flags[path] = 0
    this.peer[path] = 0
    if (path < this.pathId.length) this.pathId[path] = 0
    this.next[path] = this.#free
    this.#free = path
  }

  #grow(): void {
    const capacity = this.prefix.length * 2
    this.prefix = growU32(this.prefix, capacity)
    this.next = growI32(this.next, capacity)
    this.peer = growU16(this.peer, capacity)
    this.received = growU32(this.received, capacity)
    this.chosen = growU32(this.chosen, capacity)
    this.since = growU32(this.since, capacity)
    this.flags = growU8(this.flags, capacity)
    if (this.pathId.length > 0) this.pathId = growU32(this.pathId, capacity)
  }
}
