/** A session with a clock of its own: times agreed on (RFC 5880 6.8.2 to 6.8.4), poll sequences, jitter, detection, demand. */
import t from "tap"
import { PathTable } from "../../daemon/bfd/demultiplex.ts"
import { Session, Time, type Timers } from "../../daemon/bfd/session.ts"
import * as Bfd from "../../daemon/wire/bfd.ts"

const ms = 1e6
const fast: Timers = { minTxUs: 50_000, minRxUs: 60_000, multiplier: 3 }

const make = (timers: Timers = fast, options: { isPassive?: boolean; random?: () => number } = {}) => {
  const clock = new Float64Array([1e9])
  const { isPassive = false, random = () => 0.999_999 } = options
  const session = new Session({ discriminator: 7, timers, isPassive, random, clock })
  const buffer = new Uint8Array(24)
  const hear = (packet: Partial<Bfd.Packet>): boolean => {
    Bfd.encodeInto({ ...peer, ...packet }, buffer, 0)
    return session.receive(buffer, 0)
  }
  const said = (): Bfd.Packet => {
    session.writePeriodic(buffer)
    const decoded = Bfd.decode(buffer)
    if (!decoded.ok) throw new Error(decoded.error._tag)
    return decoded.value
  }
  const bringUp = (packet: Partial<Bfd.Packet> = {}): void => {
    hear({ state: Bfd.State.init, ...packet })
    hear({ state: Bfd.State.up, final: true, ...packet })
  }
  return { session, clock, hear, said, bringUp }
}

const peer: Bfd.Packet = {
  diagnostic: 0, state: Bfd.State.down, poll: false, final: false, controlPlaneIndependent: false, demand: false, detectMult: 4,
  myDiscriminator: 9, yourDiscriminator: 7, desiredMinTxInterval: 70_000, requiredMinRxInterval: 80_000, requiredMinEchoRxInterval: 0
}

t.test("slow start: a second or more until it is up (6.8.3)", async (t) => {
  const { session, said, hear } = make()
  const first = { state: Bfd.State.down, desiredMinTxInterval: 1_000_000, requiredMinRxInterval: 60_000, yourDiscriminator: 0, poll: false }
  t.match(said(), first)
  t.equal(session.transmitUs, 1_000_000)
  t.equal(hear({ state: Bfd.State.down }), true)
  t.match(said(), { state: Bfd.State.init, yourDiscriminator: 9, desiredMinTxInterval: 1_000_000 })
  t.equal(session.detectionUs, 4 * 70_000, "the peer's multiplier, times the longer of what we want and it sends")
  t.equal(hear({ state: Bfd.State.up }), true)
  t.match(said(), { state: Bfd.State.up, desiredMinTxInterval: 50_000, poll: true }, "and asks for the change to be confirmed")
  t.equal(session.transmitUs, 80_000, "no faster than the peer can hear")
  hear({ state: Bfd.State.up, final: true })
  t.equal(said().poll, false)
  t.equal(said().requiredMinEchoRxInterval, 0, "no echo")
})

t.test("longer times count when the peer has confirmed them, shorter ones at once (6.8.3)", async (t) => {
  const { session, bringUp, hear, said } = make()
  bringUp({ requiredMinRxInterval: 10_000, desiredMinTxInterval: 10_000 })
  const quick = { requiredMinRxInterval: 10_000, desiredMinTxInterval: 10_000 }
  t.equal(session.transmitUs, 50_000)
  t.equal(session.detectionUs, 4 * 60_000)
  session.configure({ minTxUs: 200_000, minRxUs: 20_000, multiplier: 5 }, false)
  t.match(said(), { desiredMinTxInterval: 200_000, requiredMinRxInterval: 20_000, detectMult: 5, poll: true })
  t.equal(session.transmitUs, 50_000, "the peer still expects the old interval")
  t.equal(session.detectionUs, 4 * 60_000, "and may still send at it")
  session.configure({ minTxUs: 300_000, minRxUs: 20_000, multiplier: 5 }, false)
  hear({ state: Bfd.State.up, final: true, ...quick })
  t.equal(session.transmitUs, 50_000, "confirmed was what it is no more: another sequence")
  t.equal(said().poll, true)
  hear({ state: Bfd.State.up, final: true, ...quick })
  t.equal(session.transmitUs, 300_000)
  t.equal(session.detectionUs, 4 * 20_000)
  t.equal(said().poll, false)
  session.configure({ minTxUs: 40_000, minRxUs: 90_000, multiplier: 5 }, false)
  t.equal(session.transmitUs, 40_000)
  t.equal(session.detectionUs, 4 * 90_000)
})

t.test("jitter: 75 to 100 % of the interval, 75 to 90 % with a multiplier of 1 (6.8.7)", async (t) => {
  for (const [multiplier, random, share] of [[3, 0, 0.75], [3, 1, 1], [1, 0, 0.75], [1, 1, 0.9]] as const) {
    const { session, clock, bringUp, said } = make({ ...fast, multiplier }, { random: () => random })
    bringUp({ requiredMinRxInterval: 1 })
    said()
    t.ok(Math.abs(session.times[Time.transmit]! - clock[0]! - share * 50 * ms) < 1, `multiplier ${multiplier}, ${random}`)
  }
})

t.test("detection time: each packet begins it anew, and its end forgets the peer (6.8.4)", async (t) => {
  const { session, clock, bringUp, hear, said } = make()
  bringUp()
  t.equal(session.times[Time.detection], clock[0]! + 280 * ms)
  clock[0]! += 100 * ms
  hear({ state: Bfd.State.up })
  t.equal(session.times[Time.detection], clock[0]! + 280 * ms)
  clock[0]! += 280 * ms
  t.equal(session.expire(), true)
  t.match(session, { state: Bfd.State.down, downCount: 1, remoteDiscriminator: 0, lastDownReason: "control detection time expired" })
  t.equal(session.times[Time.transmit], clock[0], "the peer is told at once")
  t.match(said(), { diagnostic: 1, yourDiscriminator: 0, desiredMinTxInterval: 1_000_000 })
  t.equal(session.times[Time.detection], Infinity)
  bringUp()
  t.equal(said().diagnostic, 1, "the diagnostic is kept")
})

t.test("what the peer sends too often does not keep us from sending", async (t) => {
  const { session, clock, bringUp, hear, said } = make()
  bringUp()
  said()
  const due = session.times[Time.transmit]!
  for (let i = 0; i < 100; i++) {
    clock[0]! += ms / 2
    hear({ state: Bfd.State.up, requiredMinRxInterval: 80_000 + (i & 1) })
  }
  t.ok(session.times[Time.transmit]! <= due + 2000, "its interval changes with each packet, ours counts from the last one we sent")
})

t.test("a peer that wants no packets, or asks on demand, gets none (6.8.7)", async (t) => {
  const { session, bringUp, hear } = make()
  bringUp()
  hear({ state: Bfd.State.up, requiredMinRxInterval: 0 })
  t.equal(session.times[Time.transmit], Infinity)
  hear({ state: Bfd.State.up })
  t.ok(session.times[Time.transmit]! < Infinity)
  hear({ state: Bfd.State.up, demand: true })
  t.equal(session.times[Time.transmit], Infinity)
  session.configure({ ...fast, minTxUs: 90_000 }, false)
  t.ok(session.times[Time.transmit]! < Infinity, "but a poll sequence is ours to send")
})

t.test("passive: silent until the peer speaks (6.1)", async (t) => {
  const { session, hear } = make(fast, { isPassive: true })
  t.equal(session.times[Time.transmit], Infinity)
  hear({ state: Bfd.State.down, yourDiscriminator: 0 })
  t.ok(session.times[Time.transmit]! < Infinity)
})

t.test("administratively down: told, and nothing heard until it is up again (6.8.16)", async (t) => {
  const { session, bringUp, hear, said } = make()
  bringUp()
  t.equal(session.setAdminDown(true), true)
  t.match(said(), { state: Bfd.State.adminDown, diagnostic: 7, yourDiscriminator: 9 })
  t.equal(hear({ state: Bfd.State.down }), false)
  t.equal(session.setAdminDown(false), true)
  t.equal(said().state, Bfd.State.down)
  t.equal(hear({ state: Bfd.State.adminDown }), false, "a peer that is administratively down keeps us down")
})

t.test("a peer that is down takes us down, with its reason", async (t) => {
  const { session, bringUp, hear } = make()
  bringUp()
  hear({ state: Bfd.State.down, diagnostic: 1, myDiscriminator: 10 })
  t.equal(session.reason(), "neighbor signaled session down: control detection time expired")
  bringUp()
  hear({ state: Bfd.State.adminDown })
  t.equal(session.reason(), "neighbor signaled session down: administratively down")
})

t.test("PathTable finds sessions by addresses and interface", async (t) => {
  const table = new PathTable<{ peer: Uint8Array; local?: Uint8Array; ifindex: number; name: string }>()
  const [peerA, peerB, own, other] = [[10, 0, 0, 2], [10, 0, 0, 3], [10, 0, 0, 1], [10, 0, 0, 9]].map((octets) => Uint8Array.from(octets))
  const any = { peer: peerA!, ifindex: 0, name: "any" }
  const bound = { peer: peerA!, local: own!, ifindex: 0, name: "bound" }
  const there = { peer: peerB!, ifindex: 5, name: "there" }
  for (const path of [any, bound, there]) table.add(path)
  const find = (source: Uint8Array, destination: Uint8Array, ifindex: number) =>
    table.find(Uint8Array.from([0, ...source, ...destination]), 1, 5, 4, ifindex)?.name
  t.equal(find(peerA!, own!, 3), "bound")
  t.equal(find(peerA!, other!, 3), "any")
  t.equal(find(peerB!, own!, 5), "there")
  t.equal(find(peerB!, own!, 6), undefined)
  t.equal(find(own!, peerA!, 5), undefined)
  table.remove(bound)
  t.equal(find(peerA!, own!, 3), "any")
  t.equal(table.size, 2)
})
