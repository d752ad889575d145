/** A session over loopback against a bare socket: streams in any pieces, garbage, floods, and timers that are looked at too late. */
import { once } from "node:events"
import { createServer, connect, type Socket, type AddressInfo } from "node:net"
import t, { type Test } from "tap"
import type { SessionCallbacks } from "../../../daemon/bgp/session/api.ts"
import type { Connection } from "../../../daemon/bgp/session/connection.ts"
import { DynamicSessions } from "../../../daemon/bgp/session/dynamic.ts"
import { NeighborSession, type SessionOptions } from "../../../daemon/bgp/session/session.ts"
import { type Clock, systemClock, Timers } from "../../../daemon/bgp/session/timers.ts"
import { Transport } from "../../../daemon/bgp/session/transport.ts"
import { encodeKeepalive } from "../../../daemon/wire/bgp/header.ts"
import { Family } from "../../../daemon/wire/bgp/iana.ts"
import * as NotificationCodec from "../../../daemon/wire/bgp/notification.ts"
import * as OpenCodec from "../../../daemon/wire/bgp/open.ts"
import { StreamParser } from "../../../daemon/wire/bgp/stream.ts"
import { listen, neighborOf, speakerOf } from "../../root/bgp-session-harness.ts"
import { until } from "../../root/harness.ts"

const peerAddress = "127.0.0.2"

/** Time that goes on only when it is told to; timers fire then, before anything is read. */
class ManualClock implements Clock {
  #now = 0
  #next = 1
  readonly #due = new Map<number, readonly [number, () => void]>()

  now = (): number => this.#now
  date = (): number => this.#now
  random = (): number => 1
  setTimeout(callback: () => void, delayMs: number): unknown {
    this.#due.set(this.#next, [this.#now + delayMs, callback])
    return this.#next++
  }

  clearTimeout(handle: unknown): void {
    this.#due.delete(handle as number)
  }

  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const [first] = [...this.#due].filter(([, [at]]) => at <= end).sort(([, [a]], [, [b]]) => a - b)
      if (first === undefined) break
      this.#due.delete(first[0])
      this.#now = first[1][0]
      first[1][1]()
    }
    this.#now = end
  }
}

const freePort = async (): Promise<number> => {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  const { port } = server.address() as AddressInfo
  await new Promise((done) => server.close(done))
  return port
}

const open = OpenCodec.encode({
  asn: 65002, holdTimeS: 30, bgpIdentifier: 0x02020202,
  capabilities: [{ kind: "multiprotocol", family: Family.ipv4Unicast }, { kind: "fourOctetAs", asn: 65002 }]
})
const keepalive = encodeKeepalive()
const emptyUpdate = Uint8Array.from([...new Uint8Array(16).fill(0xff), 0, 23, 2, 0, 0, 0, 0])

/** A session of ours that waits for `peerAddress`, and how to be that peer. */
const waiting = async (t: Test, more: Partial<SessionOptions> = {}, on: Partial<SessionCallbacks> = {}) => {
  const port = await freePort()
  const transport = new Transport(-1, { port })
  const [callbacks, heard] = listen(on)
  const neighbor = neighborOf({ remote: { kind: "address", address: peerAddress }, remoteAs: 65002, passive: true })
  const session = new NeighborSession({
    transport, speaker: speakerOf(65001, "1.1.1.1"), neighbor, callbacks, idleHoldS: 0.001, idleHoldMaxS: 0.001, ...more
  })
  session.start()
  const sockets: Socket[] = []
  const dial = async (): Promise<{ readonly socket: Socket; readonly got: () => ReadonlyArray<readonly [number, Uint8Array]> }> => {
    const socket = connect({ host: "127.0.0.1", port, localAddress: peerAddress, noDelay: true })
    sockets.push(socket)
    const parser = new StreamParser()
    const messages: Array<readonly [number, Uint8Array]> = []
    socket.on("error", () => {})
    socket.on("data", (chunk) => {
      parser.feed(new Uint8Array(chunk))
      while (parser.next()) messages.push([parser.type, parser.bytes.slice(parser.at, parser.end)])
    })
    await new Promise<void>((done) => socket.once("connect", done))
    return { socket, got: () => messages }
  }
  t.teardown(() => {
    session.close()
    transport.close()
    for (const socket of sockets) socket.destroy()
  })
  return { session, heard, dial, port, transport }
}

const notificationOf = (messages: ReadonlyArray<readonly [number, Uint8Array]>): string | undefined => {
  const found = messages.find(([type]) => type === 3)?.[1]
  return found === undefined ? undefined : NotificationCodec.describe(NotificationCodec.decode(found, 0, found.length))
}

t.test("a session comes up octet by octet", async (t) => {
  const { dial, heard, session } = await waiting(t)
  const { socket } = await dial()
  for (const octet of [...open, ...keepalive, ...emptyUpdate]) {
    socket.write(Uint8Array.of(octet))
    await new Promise((next) => setImmediate(next))
  }
  await until("the UPDATE is there", () => heard.updates.length === 1)
  t.equal(session.state, "Established")
  t.strictSame(heard.states, ["Idle Active", "Active OpenSent", "OpenSent OpenConfirm", "OpenConfirm Established"])
})

t.test("a stream may be split at every octet", async (t) => {
  const { dial, heard, session } = await waiting(t)
  const stream = Uint8Array.of(...open, ...keepalive, ...emptyUpdate)
  for (let at = 1; at < stream.length; at++) {
    const { socket } = await dial()
    socket.write(stream.subarray(0, at))
    await new Promise((next) => setImmediate(next))
    socket.write(stream.subarray(at))
    await until(`it is up, split at ${at}`, () => heard.updates.length === at)
    socket.destroy()
    await until("it is down", () => session.state !== "Established")
  }
  t.equal(heard.established, stream.length - 1)
})

t.test("a stream may be cut at every octet", async (t) => {
  const { dial, heard, session } = await waiting(t)
  for (let at = 0; at < open.length + keepalive.length; at++) {
    const { socket } = await dial()
    socket.end(Uint8Array.of(...open, ...keepalive).subarray(0, at))
    await new Promise((done) => socket.once("close", done))
    socket.destroy()
    await until("it waits again", () => session.state === "Active" || session.state === "Idle")
  }
  t.equal(heard.established, 0)
  t.match(session.status().lastError, /peer closed|reset/)
})

t.test("what is no BGP, or comes too early, gets the right NOTIFICATION", async (t) => {
  const bad = (change: (bytes: Uint8Array) => void, of: Uint8Array = open): Uint8Array => {
    const copy = of.slice()
    change(copy)
    return copy
  }
  const table: ReadonlyArray<readonly [string, Uint8Array, string]> = [
    ["HTTP", new TextEncoder().encode("GET / HTTP/1.1\r\nHost: example\r\n\r\n"), "Message Header Error, Connection Not Synchronized"],
    ["a long OPEN", bad((b) => b.set([0xff, 0xff], 16)), "Message Header Error, Bad Message Length"],
    ["an unknown type", bad((b) => b.set([9], 18)), "Message Header Error, Bad Message Type"],
    ["version 3", bad((b) => b.set([3], 19)), "OPEN Message Error, Unsupported Version Number"],
    ["a hold time of 2 s", bad((b) => b.set([0, 2], 22)), "OPEN Message Error, Unacceptable Hold Time"],
    ["identifier 0", bad((b) => b.set([0, 0, 0, 0], 24)), "OPEN Message Error, Bad BGP Identifier"],
    ["a KEEPALIVE first", keepalive, "Finite State Machine Error, unexpected in OpenSent"],
    ["an UPDATE first", emptyUpdate, "Finite State Machine Error, unexpected in OpenSent"],
    ["an UPDATE in OpenConfirm", Uint8Array.of(...open, ...emptyUpdate), "Finite State Machine Error, unexpected in OpenConfirm"],
    ["two OPENs", Uint8Array.of(...open, ...open), "Finite State Machine Error, unexpected in OpenConfirm"],
    ["an OPEN in Established", Uint8Array.of(...open, ...keepalive, ...open), "Finite State Machine Error, unexpected in Established"]
  ]
  const { dial, session } = await waiting(t)
  for (const [what, octets, expected] of table) {
    const { got, socket } = await dial()
    socket.write(octets)
    await until(`${what} is answered`, () => notificationOf(got()) !== undefined)
    t.equal(notificationOf(got()), expected, what)
    t.equal(session.status().lastSent?.text, expected)
    socket.destroy()
    await until("it waits again", () => session.state === "Active")
  }
})

t.test("other timers hold from the next session on", async (t) => {
  const { dial, session } = await waiting(t)
  const holdTimeOf = async (): Promise<number> => {
    const { got, socket } = await dial()
    socket.write(Uint8Array.of(...open, ...keepalive))
    await until("it is up", () => session.state === "Established")
    const message = got().find(([type]) => type === 1)![1]
    const decoded = OpenCodec.decode(message, 0, message.length)
    if (decoded.ok) session.configure({ ...session.neighbor, timers: { ...session.neighbor.timers, holdTimeS: 12, keepaliveS: 4 } })
    t.equal(session.state, "Established")
    socket.destroy()
    await until("it waits again", () => session.state === "Active")
    return decoded.ok ? decoded.value.holdTimeS : -1
  }
  t.equal(await holdTimeOf(), 90)
  t.equal(await holdTimeOf(), 12)
})

t.test("a peer of a range that hangs up before it says anything leaves its place", async (t) => {
  const port = await freePort()
  const transport = new Transport(-1, { port })
  const [callbacks] = listen()
  const neighbor = neighborOf({ remote: { kind: "prefix", prefix: "127.0.0.0/8", limit: 1 }, remoteAs: "external" })
  let created = 0
  const group = new DynamicSessions({
    transport, speaker: speakerOf(65001, "1.1.1.1"), neighbor, callbacks, created: () => void created++
  })
  group.start()
  t.teardown(() => {
    group.close()
    transport.close()
  })
  for (let i = 1; i <= 3; i++) {
    const socket = connect({ host: "127.0.0.1", port, localAddress: `127.0.0.${i + 1}` })
    await until("it is there", () => created === i && group.sessions.length === 1)
    socket.destroy()
    await until("it is forgotten", () => group.sessions.length === 0)
  }
  const many = Array.from({ length: 50 }, () => connect({ host: "127.0.0.1", port, localAddress: "127.0.0.9" }))
  for (const socket of many) socket.on("error", () => {})
  await until("it is there", () => group.sessions.length === 1 && many.every(({ connecting }) => !connecting))
  for (const socket of many) socket.destroy()
  await until("with all of its connections it is forgotten", () => group.sessions.length === 0)
  t.equal(group.refused, 0)
})

t.test("a flood of UPDATEs in one piece lets other sessions live", async (t) => {
  let count = 0
  const busy = await waiting(t, {}, {
    update: () => {
      count++
      for (const end = performance.now() + 0.05; performance.now() < end; );
    }
  })
  const calm = await waiting(t)
  const flood = await busy.dial()
  const other = await calm.dial()
  flood.socket.write(Uint8Array.of(...open, ...keepalive))
  other.socket.write(Uint8Array.of(...open, ...keepalive))
  await until("both are up", () => busy.heard.established + calm.heard.established === 2)
  const many = new Uint8Array(20_000 * emptyUpdate.length)
  for (let i = 0; i < 20_000; i++) many.set(emptyUpdate, i * emptyUpdate.length)
  flood.socket.write(many)
  await until("the flood is under way", () => count > 100)
  const before = count
  other.socket.write(emptyUpdate)
  await until("the other's UPDATE is there", () => calm.heard.updates.length === 1)
  t.ok(count - before < 10_000, `${count - before} messages of the flood came before it`)
  await until("all of it is there", () => count === 20_000)
})

t.test("a second connection loses against an established session", async (t) => {
  const { dial, heard, session } = await waiting(t)
  const first = await dial()
  first.socket.write(Uint8Array.of(...open, ...keepalive))
  await until("it is up", () => heard.established === 1)
  const second = await dial()
  second.socket.write(open)
  await until("the second is refused", () => notificationOf(second.got()) !== undefined)
  t.equal(notificationOf(second.got()), "Cease, Connection Collision Resolution")
  t.equal(session.state, "Established")
  t.equal(heard.downs.length, 0)
})

const gracefulRestart = { enabled: true, restartTimeS: 60, longLivedStaleS: 0, notification: true }
const restartable = neighborOf({ remote: { kind: "address", address: peerAddress }, remoteAs: 65002, passive: true, gracefulRestart })

const restartableOpen = (restarting: boolean): Uint8Array => OpenCodec.encode({
  asn: 65002, holdTimeS: 30, bgpIdentifier: 0x02020202,
  capabilities: [
    { kind: "multiprotocol", family: Family.ipv4Unicast },
    {
      kind: "gracefulRestart", restarting, notification: false, restartTimeS: 60,
      families: [{ family: Family.ipv4Unicast, forwardingPreserved: true }]
    }
  ]
})

t.test("a restarting peer's connection replaces its established session", async (t) => {
  const { dial, heard, session } = await waiting(t, { neighbor: restartable })
  const first = await dial()
  first.socket.write(Uint8Array.of(...restartableOpen(false), ...keepalive))
  await until("it is up", () => heard.established === 1)
  const second = await dial()
  second.socket.write(Uint8Array.of(...restartableOpen(true), ...keepalive))
  await until("it is up again", () => heard.established === 2)
  t.match(heard.downs, [{ kind: "replaced", retain: [Family.ipv4Unicast] }])
  t.strictSame(session.status().staleFamilies, [[Family.ipv4Unicast, "stale"]])
  session.endOfRib(Family.ipv4Unicast)
  t.strictSame(heard.stale, [`${Family.ipv4Unicast} flush`])
})

t.test("a connection that was made before the session does not replace it, however late it is taken", async (t) => {
  const clock = new ManualClock()
  const { dial, heard, port, session, transport } = await waiting(t, { clock, neighbor: restartable })
  const taken: Connection[] = []
  transport.expect({ address: "127.0.0.3", devices: [""], accept: (connection) => void taken.push(connection) })
  const early = connect({ host: "127.0.0.1", port, localAddress: "127.0.0.3" })
  t.teardown(() => early.destroy())
  await until("it has waited", () => taken.length === 1 && taken[0]!.ageMs > 50)
  const first = await dial()
  first.socket.write(Uint8Array.of(...restartableOpen(false), ...keepalive))
  await until("it is up", () => heard.established === 1)
  clock.advance(3040)
  session.accept(taken[0]!)
  t.equal(session.state, "Established")
  early.resume().write(restartableOpen(false))
  await once(early, "end")
  t.same(heard.downs, [], "it is the one that is refused")
  clock.advance(20_000)
  const second = await dial()
  second.socket.write(Uint8Array.of(...restartableOpen(false), ...keepalive))
  await until("it is up again", () => heard.established === 2)
  t.match(heard.downs, [{ kind: "replaced" }])
})

t.test("Transport tells how long a connection has waited to be taken", async (t) => {
  const port = await freePort()
  const transport = new Transport(-1, { port })
  t.teardown(() => transport.close())
  const taken: Connection[] = []
  transport.expect({ address: "127.0.0.1", devices: [""], accept: (connection) => void taken.push(connection) })
  transport.setFrozen(true)
  const sockets = Array.from({ length: 5 }, () => connect({ host: "127.0.0.1", port }))
  t.teardown(() => sockets.forEach((socket) => socket.destroy()))
  await until("they are made", () => sockets.every(({ connecting }) => !connecting))
  const madeAt = performance.now()
  await until("they have waited", () => performance.now() - madeAt > 100)
  t.equal(taken.length, 0)
  transport.setFrozen(false)
  await until("they are taken", () => taken.length === 5)
  // The kernel counts in ticks of up to 10 ms.
  for (const connection of taken) {
    t.ok(connection.ageMs > 90, `${connection.ageMs} ms`)
    connection.close()
  }
})

t.test("a KEEPALIVE that came in time counts, however late it is read", async (t) => {
  const clock = new ManualClock()
  const { dial, heard, session } = await waiting(t, { clock })
  const { socket } = await dial()
  socket.write(Uint8Array.of(...open, ...keepalive))
  await until("it is up", () => heard.established === 1)
  clock.advance(29_000)
  await new Promise((done) => socket.write(keepalive, done))
  // The hold timer fires in the same turn of the event loop, before the loop has looked at the socket.
  clock.advance(1_500)
  t.equal(session.state, "Established")
  clock.advance(29_000)
  t.equal(session.state, "Established")
  clock.advance(2_000)
  t.equal(heard.downs[0]?.kind, "hold-timer")
  t.equal(session.status().lastSent?.text, "Hold Timer Expired")
})

t.test("Timers forget an expiry of an earlier epoch, and keep others apart", (t) => {
  const clock = new ManualClock()
  const fired: Array<readonly [string, boolean]> = []
  let late: (() => void) | undefined
  const timers: Timers = new Timers(clock, (name, epoch) => {
    // As when the expiry waits in a mailbox.
    late = () => fired.push([name, timers.isCurrent(name, epoch)])
  })
  timers.start("hold", 30)
  timers.start("keepalive", 100)
  clock.advance(30_000)
  timers.start("hold", 30)
  late!()
  t.strictSame(fired, [["hold", false]])
  clock.advance(30_000)
  timers.start("keepalive", 100)
  late!()
  t.strictSame(fired[1], ["hold", true], "another timer's start changes nothing")
  timers.start("hold", 30)
  clock.advance(10_000)
  timers.start("hold", 30)
  clock.advance(25_000)
  t.equal(fired.length, 2, "the deadline has moved")
  timers.stopAll()
  late = undefined
  clock.advance(1_000_000)
  t.equal(late, undefined)
  t.ok(systemClock.now() > 0)
  t.end()
})

t.test("a neighbour whose link is down has no session, and has one again with its link", async (t) => {
  const { dial, heard, session } = await waiting(t)
  const first = await dial()
  first.socket.write(open)
  first.socket.write(keepalive)
  await until("it is up", () => session.state === "Established")
  session.attached({ ifname: "eth0" })
  session.attached({ ifname: "eth0" })
  t.equal(session.state, "Established", "that it is there changes nothing")
  session.attached("no connected route to it")
  t.match(heard.downs, [{ kind: "link", text: "no connected route to it" }], "before it returns")
  t.match(session.status(), { state: "Idle", adminDown: false, lastError: "no connected route to it" })
  await until("the peer hears of it", () => notificationOf(first.got()) !== undefined)
  session.bfd("up")
  session.reset("administrative")
  t.equal(session.state, "Idle")
  const refused = await dial()
  await new Promise<void>((done) => refused.socket.once("close", () => done()))
  t.same(refused.got(), [], "not even an OPEN")
  session.attached({ ifname: "eth0" })
  const last = await dial()
  last.socket.write(open)
  last.socket.write(keepalive)
  await until("it is up again", () => session.state === "Established")
  t.equal(session.status().lastError, undefined)
  t.equal(heard.downs.length, 1)
})
