/**
 * One timer for each of many keys, with nanoseconds.
 *
 * A hierarchical wheel (Varghese and Lauck 1987): five levels of 256 buckets; a bucket of the first level is one tick of
 * 8.2 us, of each further level as long as the whole level before it, 100 days in all. Setting and clearing take the same
 * time however many timers there are. Within a bucket, deadlines are exact: nothing fires early, and `next` tells the
 * nanosecond.
 */

const tickNs = 8192
const buckets = 256
const levels = 5
const none = -1
const farthestTicks = buckets ** levels - buckets ** (levels - 1)

export class TimerWheel {
  private readonly heads = new Int32Array(levels * buckets).fill(none)
  /** One bit for each bucket that is not empty. */
  private readonly occupied = new Int32Array((levels * buckets) / 32)
  private nexts = new Int32Array(16).fill(none)
  private previous = new Int32Array(16).fill(none)
  private bucketOf = new Int32Array(16).fill(none)
  private deadlines = new Float64Array(16)
  private current: number
  private count = 0

  constructor(nowNs: number) {
    this.current = Math.floor(nowNs / tickNs)
  }

  /** Sets the timer of `key` (0 or above), instead of what it was set to before. Infinity clears it, as does a time out of reach. */
  set(key: number, deadlineNs: number): void {
    if (key >= this.nexts.length) this.grow(key)
    if (this.bucketOf[key] !== none) {
      if (this.deadlines[key] === deadlineNs) return
      this.clear(key)
    }
    if (deadlineNs / tickNs - this.current >= farthestTicks) return
    this.deadlines[key] = deadlineNs
    this.insert(key)
    this.count++
  }

  isSet(key: number): boolean {
    return key < this.nexts.length && this.bucketOf[key] !== none
  }

  clear(key: number): void {
    if (key >= this.nexts.length || this.bucketOf[key] === none) return
    this.unlink(key)
    this.count--
  }

  /** The earliest deadline; Infinity when no timer is set. */
  next(): number {
    if (this.count === 0) return Infinity
    let earliest = Infinity
    let position = this.current
    for (let level = 0; level < levels; level++) {
      // The first level's bucket at hand may hold timers of this tick; those of the others were dealt out before.
      const bucket = this.firstOccupied(level, level === 0 ? position % buckets : (position + 1) % buckets)
      for (let key = bucket === none ? none : this.heads[bucket]!; key !== none; key = this.nexts[key]!) {
        if (this.deadlines[key]! < earliest) earliest = this.deadlines[key]!
      }
      position = Math.floor(position / buckets)
    }
    return earliest
  }

  /** Takes out all timers due by `nowNs`: writes up to `keys.length` of their keys and returns how many. */
  expire(nowNs: number, keys: Int32Array): number {
    const target = Math.floor(nowNs / tickNs)
    let found = 0
    for (;;) {
      for (let key = this.heads[this.current % buckets]!; key !== none; ) {
        const after = this.nexts[key]!
        if (this.deadlines[key]! <= nowNs) {
          if (found === keys.length) return found
          keys[found++] = key
          this.clear(key)
        }
        key = after
      }
      if (this.current >= target) return found
      this.step(target)
    }
  }

  /** Goes to the next tick that may have timers, and no further than `target`. */
  private step(target: number): void {
    if (this.count === 0) {
      this.current = target
      return
    }
    let size = 1
    for (let level = 0; level < levels; level++, size *= buckets) {
      const position = Math.floor(this.current / size)
      const at = position % buckets
      const bucket = this.firstOccupied(level, (at + 1) % buckets)
      if (bucket === none) continue
      // No further than to the end of this level's turn, where the next level's bucket is dealt out.
      const index = bucket % buckets
      const ahead = index > at ? index - at : buckets - at
      this.current = Math.min(target, (position + ahead) * size)
      break
    }
    if (this.current % buckets === 0) this.cascade(1)
  }

  private cascade(level: number): void {
    if (level === levels) return
    const position = Math.floor(this.current / buckets ** level)
    if (position % buckets === 0) this.cascade(level + 1)
    const bucket = level * buckets + (position % buckets)
    for (let key = this.heads[bucket]!; key !== none; ) {
      const after = this.nexts[key]!
      this.unlink(key)
      this.insert(key)
      key = after
    }
  }

  private insert(key: number): void {
    const tick = Math.max(this.current, Math.floor(this.deadlines[key]! / tickNs))
    let ahead = tick - this.current
    let position = tick
    let level = 0
    while (ahead >= buckets && level < levels - 1) {
      ahead = Math.floor(tick / buckets ** (level + 1)) - Math.floor(this.current / buckets ** (level + 1))
      position = Math.floor(tick / buckets ** (level + 1))
      level++
    }
    const bucket = level * buckets + (position % buckets)
    const head = this.heads[bucket]!
    this.nexts[key] = head
    this.previous[key] = none
    if (head !== none) this.previous[head] = key
    this.heads[bucket] = key
    this.bucketOf[key] = bucket
    this.occupied[bucket >> 5]! |= 1 << (bucket & 31)
  }

  private unlink(key: number): void {
    const bucket = this.bucketOf[key]!
    const next = this.nexts[key]!
    const before = this.previous[key]!
    if (before === none) this.heads[bucket] = next
    else this.nexts[before] = next
    if (next !== none) this.previous[next] = before
    if (this.heads[bucket] === none) this.occupied[bucket >> 5]! &= ~(1 << (bucket & 31))
    this.bucketOf[key] = none
  }

  /** The first bucket of a level that is not empty, going round from `from`; or none. */
  private firstOccupied(level: number, from: number): number {
    const words = buckets / 32
    const base = level * words
    for (let i = 0; i <= words; i++) {
      const word = ((from >> 5) + i) % words
      let bits = this.occupied[base + word]!
      if (i === 0) bits &= -1 << (from & 31)
      else if (i === words) bits &= ~(-1 << (from & 31))
      if (bits !== 0) return (base + word) * 32 + (31 - Math.clz32(bits & -bits))
    }
    return none
  }

  private grow(key: number): void {
    let capacity = this.nexts.length
    while (capacity <= key) capacity *= 2
    const bigger = (from: Int32Array): Int32Array<ArrayBuffer> => {
      const to = new Int32Array(capacity).fill(none)
      to.set(from)
      return to
    }
    this.nexts = bigger(this.nexts)
    this.previous = bigger(this.previous)
    this.bucketOf = bigger(this.bucketOf)
    const deadlines = new Float64Array(capacity)
    deadlines.set(this.deadlines)
    this.deadlines = deadlines
  }
}
