/** Recordings: what is replayed, when, and what is left of one that is changed or taken away. */
import t from "tap"
import { Count, Direction } from "../../daemon/datapath/direction.ts"
import type { LinkProfile, Trace, TraceSample } from "../../daemon/datapath/profile.ts"
import { Deliveries, isSame, replay, Samples } from "../../daemon/datapath/trace.ts"
import * as DeliveryTimes from "../../daemon/wire/delivery-times.ts"
import { seeded } from "../random.ts"

const ms = 1e6

const samples = (list: ReadonlyArray<TraceSample>, periodMs: number): Extract<Trace, { kind: "samples" }> => ({
  kind: "samples", name: "a.csv", periodMs, samples: list
})
const deliveries = (times: ReadonlyArray<number>): Trace => ({ kind: "deliveries", name: "a.trace", times: DeliveryTimes.encode(times) })

t.test("Samples repeat, hold until the next, and integrate rates", async (t) => {
  const start = 5e9
  const list = [{ atMs: 0, rateBps: 8e6, delayMs: 1 }, { atMs: 10, rateBps: 0, delayMs: 2 }, { atMs: 20, rateBps: 16e6, loss: 0.5 }]
  const trace = new Samples(samples(list, 30), start)
  const delays = [0, 9.9, 10, 19.9, 20, 29.9, 30, 40].map((at) => trace.at(start + at * ms).delayMs)
  t.strictSame(delays, [1, 1, 2, 2, undefined, undefined, 1, 2])
  t.equal(trace.finish(start, 1000, Infinity), start + ms, "1000 octets at 8 Mbit/s")
  t.equal(trace.finish(start + 9.5 * ms, 1000, Infinity), start + 20.25 * ms, "half before the outage, half after it at twice the rate")
  t.equal(trace.mean(Infinity), 8e6)
  const dead = new Samples(samples([{ atMs: 0, rateBps: 0 }, { atMs: 10, rateBps: 0 }], 20), 0)
  t.equal(dead.finish(0, 1, Infinity), Infinity, "never")
  const free = new Samples(samples([{ atMs: 0, delayMs: 1 }], 1000), 0)
  t.equal(free.finish(0, 1000, 8e6), ms, "the profile's own rate where a sample has none")
})

t.test("replay of a recording that has begun elsewhere is where it is by now", async (t) => {
  const now = 1000 * ms
  const wall = 50_000
  const wave: Trace = { ...samples([{ atMs: 0, delayMs: 1 }, { atMs: 20, delayMs: 2 }], 30), sinceMs: wall - 100 }
  const trace = replay(wave, now, wall)
  t.ok(trace instanceof Samples)
  const delays = [0, 9, 10, 19, 20].map((at) => (trace as Samples).at(now + at * ms).delayMs)
  t.strictSame(delays, [1, 1, 2, 2, 1], "100 ms in: 10 ms into the fourth round")
  const beats = replay({ ...deliveries([10, 20]), sinceMs: wall - 105 }, now, wall) as Deliveries
  t.equal(beats.finish(now, 100), now + 5 * ms)
  t.notOk(isSame(wave, { ...wave, sinceMs: wall }), "one that began at another time is another")
})

t.test("Deliveries let 1500 octets go at each of their times", async (t) => {
  const full = 1514
  const at = (times: ReadonlyArray<number>, packets: ReadonlyArray<readonly [fromMs: number, octets: number]>) => {
    const trace = replay(deliveries(times), 0)!
    return packets.map(([fromMs, octets]) => trace.finish(fromMs * ms, octets, Infinity) / ms)
  }
  t.strictSame(at([1, 2, 5], [[0, full], [0, full], [0, full], [0, full]]), [1, 2, 5, 6], "and begin again at the last of them")
  t.strictSame(at([3, 3, 3], [[0, full], [0, full], [0, full], [0, full]]), [3, 3, 3, 6], "several at once")
  t.strictSame(at([1, 2, 3], [[0, 514], [0, 1014], [0, 15]]), [1, 1, 2], "two packets share one")
  t.strictSame(at([1, 2, 3], [[0, 2000], [0, 1028], [0, 15]]), [2, 2, 3], "a large one takes two, and the next the rest of the second")
  t.strictSame(at([1, 5, 9], [[2, full]]), [5], "what came too late waits for the next")
  t.strictSame(at([1, 5, 9], [[5, full]]), [5], "one that comes just then goes")
  t.strictSame(at([1, 5, 9], [[0, 100], [4, full]]), [1, 5], "what is left of an opportunity is lost")
  const around = at([0, 10], [[0, full], [0, full], [10, full], [10, full]])
  t.strictSame(around, [0, 10, 10, 20], "the first of a round and the last of the one before")
  t.strictSame(at([7], [[100, full]]), [105], "after many rounds")
  t.equal(replay(deliveries([1, 1, 4]), 0)!.mean(Infinity), 3 * 1500 * 8 / 0.004)
  t.equal(replay({ kind: "deliveries", name: "", times: "!" }, 0), undefined)
  t.equal(replay({ kind: "deliveries", name: "", times: "000" }, 0), undefined, "no time passes")
})

/** `src/frontend/link_queue.cc` of Mahimahi, packet for packet and millisecond for millisecond. */
const mahimahi = (times: ReadonlyArray<number>, packets: ReadonlyArray<{ readonly arrivedMs: number; readonly octets: number }>) => {
  const leaves: number[] = []
  let waiting = 0
  let inTransit = 0
  for (let base = 0; leaves.length < packets.length; base += times.at(-1)!) {
    for (const time of times) {
      let room = 1500
      while (room > 0 && leaves.length < packets.length) {
        if (inTransit === 0) {
          const next = packets[waiting]
          if (next === undefined || next.arrivedMs > base + time) break
          inTransit = next.octets
          waiting++
        }
        const amount = Math.min(room, inTransit)
        room -= amount
        inTransit -= amount
        if (inTransit === 0) leaves.push(base + time)
      }
    }
  }
  return leaves
}

t.test("Deliveries agree with mm-link for chance packets and recordings", async (t) => {
  for (let seed = 1; seed <= 200; seed++) {
    const { below } = seeded(seed)
    let time = below(3)
    const times = Array.from({ length: 1 + below(30) }, () => (time += below(4) === 0 ? below(40) : below(2)))
    if (time === 0) times.push(1)
    let arrivedMs = 0
    const packets = Array.from({ length: 100 }, () => {
      arrivedMs += below(3) === 0 ? below(20) : 0
      return { arrivedMs, octets: 1 + below(3000) }
    })
    const trace = replay(deliveries(times), 0)!
    let free = 0
    const found = packets.map(({ arrivedMs, octets }) => {
      free = trace.finish(Math.max(free, arrivedMs * ms), octets + 14, Infinity)
      return free / ms
    })
    t.strictSame(found, mahimahi(times, packets), `seed ${seed}`)
  }
})

/** A direction and what comes out of it, by the clock. */
const bench = (profile: LinkProfile) => {
  const out: Array<readonly [slot: number, atMs: number]> = []
  const freed: number[] = []
  const direction = new Direction({ free: (slot) => void freed.push(slot), copy: () => -1, flip: () => {} }, 7, "aToB")
  direction.configure(profile, 0)
  const one = new Int32Array(1)
  let nowNs = 0
  const run = (untilMs: number): void => {
    for (let next = direction.next(); next <= untilMs * ms && next < Infinity; next = direction.next()) {
      nowNs = Math.max(nowNs, next)
      direction.advance(nowNs)
      while (direction.take(nowNs, one) > 0) out.push([one[0]!, nowNs / ms])
    }
    nowNs = Math.max(nowNs, untilMs * ms)
  }
  const arrive = (slot: number, atMs: number, octets = 1014): void => {
    run(atMs)
    direction.arrive(slot, octets, atMs * ms)
    direction.advance(atMs * ms)
  }
  const configure = (next: LinkProfile, atMs: number): void => {
    run(atMs)
    direction.configure(next, atMs * ms)
    run(atMs)
  }
  return { direction, out, freed, run, arrive, configure, times: () => out.map(([, at]) => at) }
}

t.test("Direction replays rates, delays and loss of a recording", async (t) => {
  const changing = bench({ trace: samples([{ atMs: 0, delayMs: 10, rateBps: 8e6 }, { atMs: 100, delayMs: 30, rateBps: 80e6 }], 200) })
  for (const [slot, at] of [0, 100, 200].entries()) changing.arrive(slot, at, 1000)
  changing.run(1e6)
  t.strictSame(changing.times(), [11, 130.1, 211])
  const lossy = bench({ trace: samples([{ atMs: 0, loss: 1 }, { atMs: 50, loss: 0 }], 100) })
  for (const [slot, at] of [0, 60, 110].entries()) lossy.arrive(slot, at)
  lossy.run(1e6)
  t.strictSame(lossy.out.map(([slot]) => slot), [1])
})

t.test("Direction serves a recording's opportunities, with a delay behind", async (t) => {
  const one = bench({ trace: deliveries([10, 20, 30]), delayMs: 5 })
  t.equal(one.direction.isPerPacket, true)
  t.equal(one.direction.isTransparent, false)
  for (let slot = 0; slot < 5; slot++) one.arrive(slot, 0, 1514)
  one.run(1e6)
  t.strictSame(one.times(), [15, 25, 35, 45, 55])
})

t.test("Direction's throughput is the recording's", async (t) => {
  const { below } = seeded(4)
  let time = 1
  const times = Array.from({ length: 2000 }, () => (time += below(6) === 0 ? below(30) : 0))
  const full = bench({ trace: deliveries(times), queue: { packets: 100 } })
  for (let i = 0, at = 0; at < time; i++, at += 0.25) full.arrive(i, at, 1514)
  full.run(time)
  t.equal(full.out.length, 2000, "each opportunity is used")
})

t.test("Direction's queue before a recording is limited by its mean rate", async (t) => {
  // 1500 octets each millisecond: 12 Mbit/s.
  const dropped = (queue: LinkProfile["queue"]): number => {
    const one = bench({ trace: deliveries([1]), ...(queue === undefined ? {} : { queue }) })
    for (let slot = 0; slot < 1000; slot++) one.arrive(slot, 0, 1500)
    return one.direction.counts[Count.queue]!
  }
  t.equal(dropped({ ms: 30 }), 1000 - 30 - 1, "the packet being sent does not count")
  t.equal(dropped(undefined), 1000 - 100 - 1)
  t.equal(dropped({ packets: 5 }), 1000 - 5 - 1)
})

t.test("Direction.configure without a recording lets go what waited for it", async (t) => {
  const outage = deliveries([1, 60_000])
  for (const [title, next, expected] of [
    ["nothing", {}, [1, 50, 50, 51]],
    ["a rate", { rateBps: 8e6 }, [1, 51, 52, 53]],
    ["another recording", { trace: deliveries([10]) }, [1, 60, 70, 70]],
    ["a recording with rates", { trace: samples([{ atMs: 0, rateBps: 8e6 }], 1000) }, [1, 51, 52, 53]]
  ] as const) {
    const one = bench({ trace: outage })
    one.arrive(0, 0, 1514)
    one.arrive(1, 2, 1000)
    one.arrive(2, 3, 1000)
    one.configure(next, 50)
    one.arrive(3, 51, 1000)
    one.run(1e6)
    t.strictSame(one.times(), expected, title)
  }
  const dead = bench({ trace: samples([{ atMs: 0, rateBps: 0 }, { atMs: 10, rateBps: 0 }], 20) })
  dead.arrive(0, 0)
  dead.run(99)
  t.equal(dead.direction.next(), Infinity, "nothing to wait for")
  t.equal(dead.direction.queued, 1)
  dead.configure({}, 100)
  dead.arrive(1, 101)
  dead.run(1e6)
  t.strictSame(dead.out, [[0, 100], [1, 101]], "a recording that lets nothing pass leaves nothing behind")
  t.equal(dead.direction.isTransparent, true)
})

t.test("Direction.configure goes on with the same recording and begins another at its start", async (t) => {
  const one = bench({ trace: deliveries([10, 30]) })
  one.arrive(0, 12, 1514)
  one.configure({ trace: { ...deliveries([10, 30]), name: "renamed.trace" }, delayMs: 1 }, 15)
  one.run(100)
  t.strictSame(one.times(), [31])
  one.configure({ trace: deliveries([10, 31]) }, 100)
  one.arrive(1, 100, 1514)
  one.run(200)
  t.strictSame(one.times(), [31, 110])
})

t.test("Direction drops what waits for a recording when it goes down", async (t) => {
  const one = bench({ trace: deliveries([60_000]) })
  one.arrive(0, 0)
  one.arrive(1, 0)
  one.configure({ trace: deliveries([60_000]), down: true }, 1)
  t.strictSame(one.freed, [0, 1])
  t.equal(one.direction.queued, 0)
  one.configure({ trace: deliveries([60_000]) }, 2)
  one.arrive(2, 3, 1514)
  one.run(1e6)
  t.strictSame(one.out, [[2, 60_000]])
})

t.test("codel keeps a recording's queue short", async (t) => {
  const longest = (aqm: "fifo" | "codel"): number => {
    const one = bench({ trace: deliveries([1]), queue: { ms: 500 }, aqm })
    for (let slot = 0; slot < 20_000; slot++) one.arrive(slot, slot * 0.9, 1514)
    one.run(1e6)
    const waits = one.out.slice(-500).map(([slot, at]) => at - slot * 0.9)
    return waits.reduce((a, b) => a + b) / waits.length
  }
  t.ok(longest("codel") < longest("fifo") / 2, `${longest("codel")} ms and ${longest("fifo")} ms`)
})

t.test("isSame compares what a recording does", async (t) => {
  const a = samples([{ atMs: 0, rateBps: 1 }], 10)
  t.ok(isSame(undefined, undefined) && isSame(a, { ...a, name: "b", samples: [{ atMs: 0, rateBps: 1 }] }))
  t.notOk(isSame(a, undefined) || isSame(a, deliveries([1])) || isSame(a, { ...a, periodMs: 11 }))
  t.notOk(isSame(a, { ...a, samples: [{ atMs: 0, rateBps: 1, delayMs: 0 }] }))
  t.ok(isSame(deliveries([1, 2]), deliveries([1, 2])))
  t.notOk(isSame(deliveries([1, 2]), deliveries([1, 3])))
  t.ok(replay(deliveries([1]), 0) instanceof Deliveries)
})
