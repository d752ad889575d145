/** Captures of several hosts as one, without hosts: made-up chunks, as real ones would come. */
import t from "tap"
import type { Ending } from "../../daemon/observe/capture-ending.ts"
import { merge, type MergeRequest, type Source } from "../../daemon/observe/capture-merge.ts"
import * as Pcapng from "../../daemon/wire/pcapng.ts"
import { seeded } from "../random.ts"

const request: MergeRequest = { count: 0, durationMs: 0, comment: "two hosts", os: "Linux" }
const never = new AbortController().signal

const interfaceOf = (name: string): Pcapng.Interface => ({
  kind: "interface", linkType: Pcapng.ethernet, snapLength: 262_144, name, timestampResolution: 9, description: `about ${name}`
})

const header = (...names: ReadonlyArray<string>): Uint8Array => Pcapng.encode({ kind: "section" }, ...names.map(interfaceOf))

/** A packet whose time (ns) is also its content. */
const packet = (interfaceId: number, time: number, octets = 8): Pcapng.Packet => {
  const data = new Uint8Array(octets)
  new DataView(data.buffer).setBigUint64(0, BigInt(time))
  return { kind: "packet", interfaceId, timestamp: BigInt(time), originalLength: octets, data, direction: "inbound" }
}

const ended = (names: ReadonlyArray<string>, more: Partial<Ending> = {}): Ending => ({
  reason: "stopped",
  failed: false,
  ports: names.map((name) => ({ name, received: 9, dropped: 1, delivered: 8 })),
  ...more
})

/** A host that captures these chunks and then waits to be stopped, unless it ends by itself. */
const host = (name: string, ports: ReadonlyArray<string>, chunks: ReadonlyArray<Uint8Array>, ending?: Ending): Source => ({
  host: name,
  async *chunks(stop) {
    yield header(...ports)
    for (const chunk of chunks) yield chunk.slice()
    if (ending !== undefined) return ending
    if (!stop.aborted) await new Promise((resolve) => stop.addEventListener("abort", resolve))
    return ended(ports)
  }
})

interface Read {
  readonly blocks: ReadonlyArray<Pcapng.Block | Pcapng.Other>
  readonly packets: ReadonlyArray<Pcapng.Packet>
  readonly ending: Ending
}

const readAll = async (chunks: AsyncGenerator<Uint8Array, Ending, undefined>, each: () => void = () => {}): Promise<Read> => {
  const blocks: Array<Pcapng.Block | Pcapng.Other> = []
  for (;;) {
    const next = await chunks.next()
    if (next.done === true) {
      return { blocks, packets: blocks.flatMap((block) => (block.kind === "packet" ? [block] : [])), ending: next.value }
    }
    const octets = next.value.slice()
    for (let at = 0; at < octets.length; ) {
      const decoded = Pcapng.decode(octets, at)
      if (!decoded.ok) throw new Error(decoded.error._tag)
      blocks.push(decoded.value)
      at += decoded.length
    }
    each()
  }
}

const timesOf = (packets: ReadonlyArray<Pcapng.Packet>): ReadonlyArray<string> =>
  packets.map(({ interfaceId, timestamp }) => `${interfaceId}:${timestamp}`)

t.test("merge gives every interface a number of its own, and packets in the order of their times", async (t) => {
  const a = [Pcapng.encode(packet(0, 10), packet(1, 30)), Pcapng.encode(packet(0, 50))]
  const b = [Pcapng.encode(packet(0, 20), packet(0, 40), packet(0, 60))]
  const names = ["l/pc:eth0", "l/pc:eth1"]
  const sources = [host("h1", names, a, ended(names)), host("h2", ["l/srv:eth0"], b, ended(["l/srv:eth0"]))]
  const { blocks, ending, packets } = await readAll(merge(sources, request, never))
  t.strictSame(timesOf(packets), ["0:10", "2:20", "1:30", "2:40", "0:50", "2:60"])
  t.match(blocks.slice(0, 4), [
    { kind: "section", comment: "two hosts", application: "weft" },
    { name: "l/pc:eth0", description: "about l/pc:eth0", comment: "captured on host h1", timestampResolution: 9 },
    { name: "l/pc:eth1" },
    { name: "l/srv:eth0", comment: "captured on host h2" }
  ])
  t.match(blocks.slice(-3), [
    { kind: "statistics", interfaceId: 0, received: 9n, dropped: 1n, delivered: 2n },
    { interfaceId: 1, delivered: 1n },
    { interfaceId: 2, delivered: 3n }
  ])
  t.match(ending, { reason: "stopped", failed: false })
  t.match(ending.ports.map(({ delivered, name }) => `${name} ${delivered}`), ["l/pc:eth0 2", "l/pc:eth1 1", "l/srv:eth0 3"])
})

t.test("merge loses nothing and keeps the order, however chunks are cut", async (t) => {
  const random = seeded(7)
  for (let round = 0; round < 30; round++) {
    const hosts = 1 + random.below(4)
    const all: Array<string> = []
    const sources = Array.from({ length: hosts }, (_, place) => {
      let time = 0
      const chunks = Array.from({ length: random.below(6) }, () => {
        const packets = Array.from({ length: 1 + random.below(40) }, () => {
          time += 1 + random.below(9)
          return packet(random.below(2), time, 8 + random.below(3000))
        })
        all.push(...packets.map(({ interfaceId, timestamp }) => `${2 * place + interfaceId}:${timestamp}`))
        return Pcapng.encode(...packets)
      })
      const names = [`l/n${place}:a`, `l/n${place}:b`]
      return host(`h${place}`, names, chunks, ended(names))
    })
    const { packets } = await readAll(merge(sources, request, never))
    const times = packets.map(({ timestamp }) => timestamp)
    t.strictSame(times, times.toSorted((x, y) => Number(x - y)), `round ${round}: in order`)
    t.strictSame(timesOf(packets).toSorted(), all.toSorted(), "nothing missing, nothing twice")
    t.ok(packets.every(({ data, timestamp }) => new DataView(data.buffer, data.byteOffset).getBigUint64(0) === timestamp), "unharmed")
  }
})

t.test("merge does not wait for a host that has nothing to say", async (t) => {
  const stop = new AbortController()
  const sources = [host("h1", ["l/a:x"], [Pcapng.encode(packet(0, 1), packet(0, 2))]), host("h2", ["l/b:x"], [])]
  let chunks = 0
  const { ending, packets } = await readAll(merge(sources, request, stop.signal), () => ++chunks === 2 && stop.abort())
  t.strictSame(timesOf(packets), ["0:1", "0:2"])
  t.match(ending, { reason: "stopped", failed: false, ports: [{ received: 9, dropped: 1, delivered: 2 }, { delivered: 0 }] })
})

t.test("merge ends after so many packets, and after its time", async (t) => {
  const times = Array.from({ length: 100 }, (_, place) => place + 1)
  const sources = (): ReadonlyArray<Source> => [
    host("h1", ["l/a:x"], times.map((time) => Pcapng.encode(packet(0, 2 * time)))),
    host("h2", ["l/b:x"], times.map((time) => Pcapng.encode(packet(0, 2 * time + 1))))
  ]
  const counted = await readAll(merge(sources(), { ...request, count: 7 }, never))
  t.strictSame(timesOf(counted.packets), ["0:2", "1:3", "0:4", "1:5", "0:6", "1:7", "0:8"])
  t.match(counted.ending, { reason: "7 packets captured", failed: false, ports: [{ received: 9, delivered: 4 }, { delivered: 3 }] })
  const timed = await readAll(merge(sources(), { ...request, durationMs: 300 }, never))
  t.equal(timed.packets.length, 200)
  t.match(timed.ending, { reason: "0.3 s have passed", failed: false })
})

t.test("merge ends when a host is lost, with what there is", async (t) => {
  const lost: Source = {
    host: "h2",
    async *chunks() {
      yield header("l/b:x")
      yield Pcapng.encode(packet(0, 5))
      throw new Error("h2 is gone")
    }
  }
  const sources = [host("h1", ["l/a:x"], [Pcapng.encode(packet(0, 1), packet(0, 9))]), lost]
  const { ending, packets } = await readAll(merge(sources, request, never))
  t.strictSame(timesOf(packets), ["0:1", "1:5", "0:9"])
  t.match(ending, { reason: "h2 is gone", failed: true, ports: [{ delivered: 2 }, { received: 1, dropped: 0, delivered: 1 }] })
})

t.test("merge fails when a host refuses, and ends the others", async (t) => {
  let ends = 0
  const running: Source = {
    host: "h1",
    async *chunks(stop) {
      yield header("l/a:x")
      await new Promise((resolve) => stop.addEventListener("abort", resolve))
      ends++
      return ended(["l/a:x"])
    }
  }
  const refusing: Source = { host: "h2", chunks: async function* () { throw new Error("no such interface") } }
  await t.rejects(readAll(merge([running, refusing], request, never)), { message: "no such interface" })
  t.equal(ends, 1)
})

t.test("merge does not read a host for which nobody has room", async (t) => {
  let given = 0
  const endless: Source = {
    host: "h1",
    async *chunks(stop) {
      yield header("l/a:x")
      while (!stop.aborted) yield Pcapng.encode(packet(0, ++given, 60_000))
      return ended(["l/a:x"])
    }
  }
  const chunks = merge([endless, host("h2", ["l/b:x"], [])], request, never)
  for (let read = 0; read < 3; read++) await chunks.next()
  const before = given
  for (let turn = 0; turn < 200; turn++) await new Promise((next) => setImmediate(next))
  t.ok(given - before < 40, `${given - before} packets are read ahead`)
  await chunks.return(ended([]))
})

t.test("merge refuses octets that are no capture", async (t) => {
  const first = (octets: Uint8Array): Source => ({
    host: "h2",
    async *chunks() {
      yield octets
      return ended([])
    }
  })
  const fails = async (octets: Uint8Array, message: RegExp): Promise<void> =>
    void (await t.rejects(readAll(merge([first(octets)], request, never)), { message }))
  await fails(new Uint8Array(20).fill(255), /Cannot read the capture of host "h2": WrongLength/)
  await fails(Pcapng.encode(packet(0, 1)), /a packet of an interface that it has not named/)
  const microseconds = { ...interfaceOf("x"), timestampResolution: 6 }
  await fails(Pcapng.encode({ kind: "section" }, microseconds), /its times are not in nanoseconds/)
})
