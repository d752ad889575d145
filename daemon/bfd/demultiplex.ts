/**
 * Which session a packet without Your Discriminator is for: by addresses and interface (RFC 5881 3, RFC 5883 3). Looking up
 * allocates nothing, however many sessions and whatever comes.
 */

export interface Path {
  /** 4 or 16 octets; all paths of a table are of one family. */
  readonly peer: Uint8Array
  /** Absent: any address that is ours. */
  readonly local?: Uint8Array
  /** 0: any. */
  readonly ifindex: number
}

const isAt = (address: Uint8Array, b: Uint8Array, at: number): boolean => {
  for (let i = 0; i < address.length; i++) if (address[i] !== b[at + i]) return false
  return true
}

/** FNV-1a of an address. */
const hash = (b: Uint8Array, at: number, length: number): number => {
  let value = 0x811c9dc5 | 0
  for (let i = 0; i < length; i++) value = Math.imul(value ^ b[at + i]!, 0x01000193)
  // 30 bits: a number that needs no memory.
  return value & 0x3fffffff
}

export class PathTable<P extends Path> {
  private readonly buckets = new Map<number, P[]>()

  get size(): number {
    let size = 0
    for (const bucket of this.buckets.values()) size += bucket.length
    return size
  }

  add(path: P): void {
    const key = hash(path.peer, 0, path.peer.length)
    const bucket = this.buckets.get(key)
    if (bucket === undefined) this.buckets.set(key, [path])
    else bucket.push(path)
  }

  /** Fine when it is not there. */
  remove(path: P): void {
    const key = hash(path.peer, 0, path.peer.length)
    const left = (this.buckets.get(key) ?? []).filter((one) => one !== path)
    if (left.length === 0) this.buckets.delete(key)
    else this.buckets.set(key, left)
  }

  /**
   * The path of a packet from the address at `source` to the one at `destination`, both of `length` octets, that came in by
   * the interface `ifindex`. A path that names our address goes before one that does not.
   */
  find(b: Uint8Array, source: number, destination: number, length: number, ifindex: number): P | undefined {
    const bucket = this.buckets.get(hash(b, source, length))
    if (bucket === undefined) return undefined
    let found: P | undefined
    for (let i = 0; i < bucket.length; i++) {
      const path = bucket[i]!
      if (path.peer.length !== length || !isAt(path.peer, b, source)) continue
      if (path.ifindex !== 0 && path.ifindex !== ifindex) continue
      if (path.local === undefined) found ??= path
      else if (isAt(path.local, b, destination)) return path
    }
    return found
  }
}
