/** Profiles applied to packets, with a clock of the test's own. */

import t from "tap"
import { Count, Direction } from "../../daemon/datapath/direction.ts"
import type { LinkProfile } from "../../daemon/datapath/profile.ts"

const ms = 1e6

/** A direction whose packets are numbers, and what came out of it: [slot, time] in order. */
class Bench {
  readonly freed: number[] = []
  readonly flipped: number[] = []
  readonly direction: Direction
  readonly out: Array<readonly [slot: number, atNs: number]> = []
  private nextCopy = 1_000_000
  private readonly one = new Int32Array(1)

  constructor(profile: LinkProfile, seed = 7) {
    const packets = {
      free: (slot: number) => void this.freed.push(slot),
      copy: () => this.nextCopy++,
      flip: (slot: number) => void this.flipped.push(slot)
    }
    this.direction = new Direction(packets, seed, "aToB")
    this.direction.configure(profile, 0)
  }

  /** Lets all happen that happens by `untilNs`, each thing at its time. */
  run(untilNs: number): void {
    for (let next = this.direction.next(); next <= untilNs; next = this.direction.next()) {
      this.direction.advance(next)
      while (this.direction.take(next, this.one) > 0) this.out.push([this.one[0]!, next])
    }
  }

  arrive(slot: number, atNs: number, octets = 1000): void {
    this.run(atNs)
    this.direction.arrive(slot, octets, atNs)
  }

  times(): ReadonlyArray<number> {
    return this.out.map(([, at]) => at / ms)
  }

  slots(): ReadonlyArray<number> {
    return this.out.map(([slot]) => slot)
  }
}

const sends = (bench: Bench, count: number, everyNs: number, octets = 1000): Bench => {
  for (let i = 0; i < count; i++) bench.arrive(i, i * everyNs, octets)
  bench.run(1e15)
  return bench
}

t.test("Direction delays each packet from its own arrival", async (t) => {
  t.strictSame(sends(new Bench({ delayMs: 5 }), 3, 2 * ms).out, [[0, 5 * ms], [1, 7 * ms], [2, 9 * ms]])
  t.equal(new Bench({}).direction.isTransparent, true)
  t.equal(new Bench({ delayMs: 0, duplicate: 0 }).direction.isTransparent, true, "values of 0 do nothing")
  t.equal(new Bench({ delayMs: 5 }).direction.isPerPacket, false, "a delay alone leaves super-frames whole")
})

t.test("Direction serves packets at the rate, whatever their size", async (t) => {
  const bench = new Bench({ rateBps: 8e6, queue: { packets: 100 } })
  for (const [slot, octets] of [1000, 500, 1500].entries()) bench.arrive(slot, 0, octets)
  bench.run(1e12)
  t.strictSame(bench.times(), [1, 1.5, 3])
  bench.arrive(9, 50 * ms)
  bench.run(1e12)
  t.equal(bench.times()[3], 51, "an idle link saves nothing up")
})

t.test("Direction's rate is exact for a caller who looks late", async (t) => {
  const bench = new Bench({ rateBps: 8e6, delayMs: 10, queue: { packets: 1000 } })
  for (let i = 0; i < 100; i++) bench.direction.arrive(i, 1000, 0)
  bench.direction.advance(55.5 * ms)
  bench.run(1e12)
  t.equal(bench.times()[99], 110)
})

t.test("Direction drops what the queue has no room for, by packets, octets or time", async (t) => {
  const dropped = (queue: LinkProfile["queue"]) => {
    const bench = new Bench({ rateBps: 8e6, ...(queue === undefined ? {} : { queue }) })
    for (let i = 0; i < 200; i++) bench.arrive(i, 0)
    return bench.direction.counts[Count.queue]
  }
  // The first packet is on the wire when the second comes.
  t.equal(dropped({ packets: 10 }), 189)
  t.equal(dropped({ octets: 20_000 }), 179)
  t.equal(dropped({ ms: 30 }), 169)
  t.equal(dropped({ packets: 10, ms: 30 }), 189, "whichever is reached first")
  t.equal(dropped(undefined), 99, "100 ms unless said otherwise")
  t.equal(dropped({ octets: 1 }), 198, "one packet always has room")
})

t.test("Direction keeps the order with jitter, unless reordering is allowed", async (t) => {
  const jitter = { distribution: "uniform", ms: 5 } as const
  const ordered = sends(new Bench({ delayMs: 10, jitter: { ...jitter, reorder: false } }), 2000, 0.5 * ms)
  t.strictSame(ordered.slots(), [...ordered.slots()].sort((a, b) => a - b))
  const reordered = sends(new Bench({ delayMs: 10, jitter: { ...jitter, reorder: true } }), 2000, 0.5 * ms)
  t.notSame(reordered.slots(), ordered.slots())
  t.equal(reordered.out.length, 2000)
  const delays = reordered.out.map(([slot, at]) => at / ms - slot * 0.5)
  t.ok(Math.min(...delays) >= 5 && Math.max(...delays) <= 15)
  t.ok(Math.abs(delays.reduce((a, b) => a + b) / 2000 - 10) < 0.3)
  const times = reordered.times()
  t.strictSame(times, [...times].sort((a, b) => a - b), "leave in the order of their times")
})

t.test("Direction duplicates, corrupts and reorders their shares", async (t) => {
  const bench = sends(new Bench({ delayMs: 10, duplicate: 0.1, corrupt: 0.2, reorder: 0.3 }), 10_000, ms)
  const counters = bench.direction.counters()
  t.ok(Math.abs(counters.duplicated - 1000) < 100, `${counters.duplicated}`)
  t.ok(Math.abs(counters.corrupted - 2200) < 150, `${counters.corrupted} of 11000`)
  t.ok(Math.abs(counters.reordered - 3300) < 200, `${counters.reordered} of 11000`)
  t.equal(bench.out.length, 10_000 + counters.duplicated)
  t.equal(bench.flipped.length, counters.corrupted)
})

t.test("Direction drops the same packets for the same seed and input", async (t) => {
  const profile: LinkProfile = { loss: { kind: "random", probability: 0.1 }, duplicate: 0.05, corrupt: 0.01 }
  const of = (seed: number) => sends(new Bench(profile, seed), 5000, ms)
  t.strictSame(of(3).out, of(3).out)
  t.strictSame(of(3).flipped, of(3).flipped)
  t.notSame(of(3).freed, of(4).freed)
})

t.test("Direction's parameters do not touch each other's chance", async (t) => {
  const loss = { kind: "random", probability: 0.1 } as const
  const alone = sends(new Bench({ loss }), 5000, ms)
  const jitter = { distribution: "normal", ms: 1, reorder: true } as const
  const both = sends(new Bench({ loss, jitter, delayMs: 20, duplicate: 0.2, corrupt: 0.2, reorder: 0.1 }), 5000, ms)
  t.strictSame(both.freed, alone.freed, "the same packets are lost")
})

t.test("Direction.configure changes what comes, leaves what is on its way, and resets what is gone", async (t) => {
  const bench = new Bench({ delayMs: 100 })
  bench.arrive(0, 0)
  bench.direction.configure({ delayMs: 10 }, ms)
  bench.arrive(1, ms)
  bench.arrive(2, 200 * ms)
  bench.direction.configure({}, 201 * ms)
  bench.arrive(3, 202 * ms)
  bench.run(1e12)
  t.strictSame(bench.out, [[0, 100 * ms], [1, 100 * ms], [2, 210 * ms], [3, 210 * ms]], "in order, on their old times")
  t.equal(bench.direction.isTransparent, true)
})

t.test("Direction.configure without a rate lets a queue go", async (t) => {
  const bench = new Bench({ rateBps: 8000, queue: { packets: 100 } })
  for (let i = 0; i < 5; i++) bench.arrive(i, 0)
  bench.direction.configure({}, ms)
  bench.arrive(5, ms)
  bench.run(10_000 * ms)
  t.strictSame(bench.slots(), [0, 1, 2, 3, 4, 5])
  t.ok(bench.times()[5]! <= 1000, "all at the latest when the first one's last bit has left")
})

t.test("Direction that is down passes nothing and empties itself", async (t) => {
  const bench = new Bench({ delayMs: 10, rateBps: 1e6 })
  bench.arrive(0, 0)
  bench.arrive(1, 0)
  bench.direction.configure({ delayMs: 10, rateBps: 1e6, down: true }, ms)
  bench.arrive(2, ms)
  bench.run(1e12)
  t.strictSame(bench.out, [])
  t.strictSame([...bench.freed].sort(), [0, 1, 2])
  t.equal(bench.direction.counters().drops.down, 3)
  bench.direction.configure({}, 2 * ms)
  bench.arrive(3, 3 * ms)
  bench.run(1e12)
  t.strictSame(bench.slots(), [3])
})

t.test("Direction frees every packet that it does not hand out", async (t) => {
  const bench = new Bench({
    delayMs: 20, rateBps: 20e6, queue: { ms: 20 }, aqm: "codel", duplicate: 0.1, reorder: 0.1,
    jitter: { distribution: "pareto", ms: 3, reorder: true }, loss: { kind: "gilbert-elliott", p: 0.01, r: 0.1, lossBad: 1, lossGood: 0.01 }
  })
  sends(bench, 20_000, 0.3 * ms)
  const seen = [...bench.freed, ...bench.slots()]
  const { duplicated, drops, queued } = bench.direction.counters()
  t.equal(new Set(seen).size, 20_000 + duplicated)
  t.equal(seen.length, 20_000 + duplicated)
  t.equal(queued, 0)
  t.ok(drops.loss > 0 && drops.queue + drops.aqm > 0, JSON.stringify(drops))
})

t.test("Direction with codel keeps the wait short where fifo fills the queue", async (t) => {
  const longest = (aqm: "fifo" | "codel" | "red") => {
    // Twice as much as fits.
    const bench = new Bench({ rateBps: 8e6, queue: { ms: 500 }, aqm })
    for (let i = 0; i < 20_000; i++) bench.arrive(i, i * 0.5 * ms)
    const waits = bench.out.slice(-1000).map(([slot, at]) => at / ms - slot * 0.5)
    return waits.reduce((a, b) => a + b) / waits.length
  }
  const fifo = longest("fifo")
  t.ok(fifo > 490, `fifo ${fifo} ms`)
  t.ok(longest("red") < 400, `red ${longest("red")} ms`)
  t.ok(longest("codel") < fifo, `codel ${longest("codel")} ms`)
})
