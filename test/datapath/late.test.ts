/** A rate under a thread that wakes up late, as on a busy machine: everything simulated, with a clock of the test's own. */
import t from "tap"
import { Count, Direction } from "../../daemon/datapath/direction.ts"
import { Lateness } from "../../daemon/datapath/lateness.ts"
import type { LinkProfile } from "../../daemon/datapath/profile.ts"
import { Random } from "../../daemon/wire/random.ts"

const us = 1e3
const ms = 1e6
const octets = 1442
/** As the kernel's TAP keeps frames, and as worker.ts reads, looks ahead and goes early. */
const ringFrames = 500
const framesPerRead = 32
const lookAheadNs = 100 * us
const earlyNs = 20 * us

interface Scene {
  readonly profile: LinkProfile
  /** Of a source that sends frames evenly. */
  readonly offeredBps: number
  /** How late the thread wakes up. */
  readonly late: (random: Random) => number
  readonly forNs?: number
}

interface Outcome {
  /** Octets that came out, as a share of the rate, after the first fifth. */
  readonly share: number
  readonly queueDrops: number
  readonly longestNs: number
}

/** One link, and the loop of worker.ts around it with nothing else to do. */
const simulate = ({ profile, offeredBps, late, forNs = 400 * ms }: Scene): Outcome => {
  const direction = new Direction({ free: () => {}, copy: () => -1, flip: () => {} }, 7, "aToB")
  direction.configure(profile, 0)
  const lateness = new Lateness()
  const random = new Random(3, "late")
  const gapNs = (octets * 8e9) / offeredBps
  const ring: number[] = []
  const arrivedNs: number[] = []
  const out = new Int32Array(4096)
  let sent = 0
  let emptyNs = 0
  let passed = 0
  let longestNs = 0
  for (let now = 0; now < forNs; ) {
    // Asleep until a frame comes or the time is up, and then for as long as the scheduler likes.
    const next = direction.next()
    const asked = next === Infinity ? Infinity : Math.max(now, next - earlyNs - lateness.lagNs)
    const isBusy = ring.length > 0 || asked === now
    const due = Math.min(asked, Math.max(now, sent * gapNs))
    const before = now
    now = isBusy ? now + 5 * us : due + late(random)
    for (; sent * gapNs <= now; sent++) if (ring.length < ringFrames) ring.push(sent * gapNs)
    if (ring.length === 0) lateness.timedOut(now, asked)
    lateness.round(now, asked, isBusy ? 0 : now - before, 0)
    const count = Math.min(framesPerRead, ring.length)
    for (let i = 0; i < count; i++) {
      const latest = lateness.latest(now)
      const earliest = lateness.earliest(latest, emptyNs, count)
      const slot = arrivedNs.push(ring.shift()!) - 1
      direction.arrive(slot, octets, earliest + ((latest - earliest) * (i + 1)) / count, earliest)
    }
    if (count < framesPerRead) emptyNs = now
    direction.advance(now + lookAheadNs)
    const taken = direction.take(now + earlyNs, out)
    for (let i = 0; i < taken; i++) longestNs = Math.max(longestNs, now - arrivedNs[out[i]!]!)
    if (now > forNs / 5) passed += taken
  }
  const share = (passed * octets * 8e9) / (forNs * 0.8) / profile.rateBps!
  return { share, queueDrops: direction.counts[Count.queue]!, longestNs }
}

const uniform = (from: number, to: number) => (random: Random): number => from + (to - from) * random.unit()
/** A thread that now and then does not run for milliseconds. */
const preempted = (random: Random): number => (random.unit() < 0.02 ? 5 * ms : uniform(50 * us, 500 * us)(random))

t.test("Direction keeps a rate within 1 % for a thread that is 50 to 500 us late, with queues that are shorter than that", async (t) => {
  for (const rateBps of [1e7, 1e8, 5e8, 1e9, 2e9]) {
    // At 2 Gbit/s ten packets are 58 us.
    for (const queue of [{ packets: rateBps > 1e9 ? 100 : 10 }, { packets: 1000 }, { ms: 5 }, undefined]) {
      const profile = { rateBps, ...(queue === undefined ? {} : { queue }) }
      const { share } = simulate({ profile, offeredBps: rateBps * 1.3, late: uniform(50 * us, 500 * us) })
      t.ok(share > 0.99 && share < 1.01, `${rateBps / 1e6} Mbit/s, queue ${JSON.stringify(queue)}: ${share.toFixed(4)}`)
    }
  }
})

t.test("Direction keeps a rate within 1 % for a thread that sometimes does not run for 5 ms", async (t) => {
  for (const rateBps of [1e8, 5e8, 1e9]) {
    for (const queue of [{ ms: 2 }, { ms: 50 }]) {
      const { share } = simulate({ profile: { rateBps, queue }, offeredBps: rateBps * 1.1, late: preempted, forNs: 1000 * ms })
      t.ok(share > 0.99 && share < 1.01, `${rateBps / 1e6} Mbit/s, queue ${JSON.stringify(queue)}: ${share.toFixed(4)}`)
    }
  }
})

t.test("Lateness bounds what a frame's time may be by what was seen", async (t) => {
  const lateness = new Lateness()
  for (let i = 0; i < 100; i++) lateness.timedOut(1000 * us + 20 * us, 1000 * us)
  t.ok(lateness.lagNs > 19 * us && lateness.lagNs <= 20 * us, `median ${lateness.lagNs} ns`)
  lateness.round(5000 * us, 9000 * us, 800 * us, 0)
  const woken = lateness.latest(5000 * us)
  t.equal(woken, 5000 * us - lateness.lagNs, "a sleeper's first frame came a lag before it was read")
  t.equal(lateness.earliest(woken, 0, 1), woken)
  lateness.round(6000 * us, 5600 * us, 800 * us, 0)
  t.equal(lateness.earliest(lateness.latest(6000 * us), 0, 1), 5600 * us, "at the latest when it should have woken up")
  lateness.round(7000 * us, Infinity, 800 * us, 0)
  t.ok(lateness.earliest(lateness.latest(7000 * us), 0, 20) < 6700 * us, "it may be as late again when many have gathered")
  lateness.round(8000 * us, 8000 * us, 0, 0)
  t.equal(lateness.latest(8000 * us), 8000 * us, "a busy thread knows nothing better than when it read")
  t.equal(lateness.earliest(8000 * us, 7900 * us, 3), 7900 * us, "and that there was nothing before")
  t.equal(lateness.earliest(80_000 * us, 0, 3), 70_000 * us, "but never more than 10 ms")
})

t.test("Direction.arrive makes up for lost time only while the rate was busy, and only from when nobody looked", async (t) => {
  const leaves = (first: number, atMs: number, sinceMs: number): number => {
    const direction = new Direction({ free: () => {}, copy: () => -1, flip: () => {} }, 7, "aToB")
    direction.configure({ rateBps: 8e6 }, 0)
    // Busy for 1 ms from when it comes.
    direction.arrive(0, 1000, first * ms)
    direction.advance(first * ms)
    direction.take(Infinity, new Int32Array(1))
    direction.arrive(1, 1000, atMs * ms, sinceMs * ms)
    direction.advance(atMs * ms)
    return direction.next() / ms
  }
  t.equal(leaves(0, 3, 0.5), 2, "right behind the packet before it")
  t.equal(leaves(0, 3, 2.5), 4, "the link was idle already when somebody looked last")
  t.equal(leaves(0, 3, 3), 4)
})

t.test("Direction counts what was taken ahead of its time as queued", async (t) => {
  const dropped = (lookAhead: number): number => {
    const direction = new Direction({ free: () => {}, copy: () => -1, flip: () => {} }, 7, "aToB")
    direction.configure({ rateBps: 8e6, queue: { packets: 10 } }, 0)
    for (let i = 0; i < 100; i++) {
      direction.arrive(i, 1000, 0.5 * i * ms)
      direction.advance(0.5 * i * ms + lookAhead)
    }
    return direction.counts[Count.queue]!
  }
  t.ok(dropped(0) > 30)
  t.equal(dropped(5 * ms), dropped(0))
})
