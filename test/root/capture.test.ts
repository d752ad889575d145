/**
 * `weft capture` from end to end: real frames, what tshark reads of them, and what happens when the filter is wrong, the
 * reader is slow, the interface goes down, the node goes away, the user presses Ctrl-C.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Writable } from "node:stream"
import t from "tap"
import type { CaptureEnded, CaptureStart } from "../../ctl/messages.ts"
import { Captures, compile, settleMs } from "../../daemon/linux/capture.ts"
import * as Pcapng from "../../daemon/wire/pcapng.ts"
import { Wire } from "./bpf/frames.ts"
import { Weftd, run } from "./daemon-harness.ts"
import { checkout, needsRoot, until, World } from "./harness.ts"

t.setTimeout(600_000)

const has = (program: string): boolean => spawnSync(program, ["--version"]).status === 0

/** Blocks of a file, or of as much of it as there is. */
const blocksOf = (octets: Uint8Array): ReadonlyArray<Pcapng.Block> => {
  const blocks: Array<Pcapng.Block> = []
  for (let at = 0; at < octets.length; ) {
    const decoded = Pcapng.decode(octets, at)
    if (!decoded.ok) throw new Error(`${decoded.error._tag} at ${at} of ${octets.length}`)
    if (decoded.value.kind !== "other") blocks.push(decoded.value)
    at += decoded.length
  }
  return blocks
}

const packetsOf = (octets: Uint8Array): ReadonlyArray<Pcapng.Packet> =>
  blocksOf(octets).flatMap((block) => (block.kind === "packet" ? [block] : []))

/** A command that sends datagrams to its own node. */
const flood = (count: number, octets: number): ReadonlyArray<string> => [
  process.execPath,
  "-e",
  `const socket = require("dgram").createSocket("udp4"), data = Buffer.alloc(${octets})
  let left = ${count}
  const next = () => (left-- === 0 ? socket.close() : socket.send(data, 9, "127.0.0.1", next))
  next()`
]

/** Sockets that this process has open. */
const sockets = (): number =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:")
    } catch {
      return false
    }
  }).length

const count = (kinds: ReadonlyMap<string, number>): number => [...kinds.values()].reduce((sum, number) => sum + number, 0)

t.test("Captures.read lays frames out as Pcapng.encode does", { skip: needsRoot }, async (t) => {
  const world = new World("capture")
  t.teardown(() => world.close())
  const [a, b] = [world.namespace("a"), world.namespace("b")]
  const peer = `p${world.veth(b, { node: a, name: "eth0", mac: "02:00:00:00:00:0a" })}`
  const wire = new Wire(world, [{ node: a, name: "eth0" }, { node: b, name: peer }])
  await wire.ready()
  const before = sockets()
  const captures = new Captures(1, await compile("", 262_144))
  captures.add({ netnsPath: a.path, ifname: "eth0" })

  const octets = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"))
  const frame = (destination: string, length: number): Uint8Array =>
    octets(`${destination}02000000000c88b5${"5a".repeat(length - 14)}`)
  const others = ["02000000000a", "01005e000001", "ffffffffffff", "02000000000d"]
  const tagged = `02000000000a02000000000c8100007b88b5${"a5".repeat(50)}`
  for (const [index, to] of others.entries()) wire.send(1, frame(to, 60 + index))
  wire.send(1, octets(tagged))
  await wire.sync()
  wire.send(0, frame("02000000000c", 77))
  await wire.sync()

  const packets: Array<Pcapng.Packet> = []
  await until("six frames are read", async () => {
    await captures.wait(1000, new AbortController().signal)
    for (;;) {
      const { frames, octets } = captures.read(Number.POSITIVE_INFINITY, 100)
      if (frames === 0) break
      // The native layout is that of the codec, octet by octet.
      const read = packetsOf(octets)
      t.equal(read.length, frames)
      t.strictSame(Pcapng.encode(...read), octets.slice())
      packets.push(...read.map((packet) => ({ ...packet, data: packet.data.slice() })))
    }
    return packets.length >= 6
  })
  t.strictSame(
    packets.map(({ direction, originalLength, reception }) => `${direction} ${reception ?? "-"} ${originalLength}`),
    ["inbound unicast 60", "inbound multicast 61", "inbound broadcast 62", "inbound promiscuous 63", "inbound unicast 68", "outbound - 77"]
  )
  t.equal(Buffer.from(packets[4]!.data).toString("hex"), tagged, "a VLAN tag stands where it was on the wire")
  t.ok(Math.abs(Number(packets[0]!.timestamp / 1_000_000n) - Date.now()) < 60_000, "times are of now")
  t.strictSame(captures.counters(), [{ received: 6, dropped: 0, delivered: 6 }])
  t.equal(captures.lost(), undefined)

  // An interface that is down is still there, and does not keep us busy.
  await world.run(a, ["ip", "link", "set", "eth0", "down"])
  for (let i = 0; i < 3; i++) await captures.wait(20, new AbortController().signal)
  const began = performance.now()
  await captures.wait(100, new AbortController().signal)
  t.ok(performance.now() - began > 50, "nothing wakes us while the interface is down")
  t.equal(captures.lost(), undefined)
  await world.run(a, ["ip", "link", "set", "eth0", "up"])
  // What is sent before its carrier is back is lost.
  await until("frames come again when it is up", () => {
    wire.send(1, frame("02000000000a", 80))
    return captures.read(Number.POSITIVE_INFINITY, 1).frames === 1
  })
  await world.run(a, ["ip", "link", "del", "eth0"])
  t.equal(captures.lost(), 0, "an interface that is removed is missed")
  captures.close()
  t.equal(sockets(), before, "nothing is left open")
})

t.test("Captures.read drops and counts what is not read, and takes up again", { skip: needsRoot }, async (t) => {
  const world = new World("slow")
  t.teardown(() => world.close())
  const a = world.namespace("a")
  const captures = new Captures(100, await compile("udp", 262_144))
  t.teardown(() => captures.close())
  captures.add({ netnsPath: a.path, ifname: "lo" })
  await world.run(a, flood(4000, 4000))
  const read = (): number => {
    let frames = 0
    for (let more = 1; more > 0; frames += more) more = captures.read(Number.POSITIVE_INFINITY, 1e9).frames
    return frames
  }
  let delivered = read()
  const [full] = captures.counters()
  t.equal(full!.received, 4000, "once for each datagram, though loopback sends and receives it")
  t.ok(full!.dropped > 1000 && full!.dropped < 4000, `${full!.dropped} dropped`)
  await world.run(a, flood(50, 4000))
  await until("the ring takes frames again", () => (delivered += read()) >= 4000 - full!.dropped + 50)
  t.strictSame(captures.counters(), [{ received: 4050, dropped: full!.dropped, delivered: 4050 - full!.dropped }])
})

t.test("weft capture", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("capture")
  t.teardown(() => weftd.close())
  const lab = weftd.name("cap")
  const topology = {
    name: lab,
    nodes: { a: { kind: "host" }, r: { kind: "router" }, b: { kind: "host" } },
    links: [
      { endpoints: ["a:eth0", "r:eth0"], cidr: "10.71.1.0/24" },
      { endpoints: ["r:eth1", "b:eth0"], cidr: "10.71.2.0/24" }
    ]
  }
  await weftd.make(topology)
  const ping = (...more: ReadonlyArray<string>) => weftd.inNode(lab, "a", "ping", "-c", "2", "-i", "0.2", ...more, "10.71.1.2")
  const folder = mkdtempSync(join(tmpdir(), "weft-capture-"))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const idle = weftd.descriptors()

  /** The command line tool; `during` runs as soon as it says that the capture has begun. `into` takes its output. */
  const weft = async (words: ReadonlyArray<string>, during: (child: ChildProcess) => unknown, into?: Writable) => {
    const env = { ...process.env, WEFT_DAEMON: weftd.address, NODE_OPTIONS: "" }
    const child = spawn(join(checkout, "bin/weft"), words, { stdio: ["ignore", "pipe", "pipe"], env })
    let [stdout, stderr] = ["", ""]
    let activity: unknown
    if (into === undefined) child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    else child.stdout.pipe(into)
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
      if (stderr.includes("Capturing on")) activity ??= Promise.resolve(during(child)).finally(() => into?.end())
    })
    const [code] = (await once(child, "close")) as [number | null]
    await activity
    return { code, stdout, stderr }
  }

  /** A capture through the typed client; `during` runs as soon as it has begun. */
  const capture = async (start: Partial<CaptureStart>, during: (stop: () => void) => unknown) => {
    const call = weftd.client.capture({ ports: [], filter: "", count: 0, durationMs: 0, snaplen: 0, text: false, ...start })
    const chunks: Array<Uint8Array> = []
    let text = ""
    let ended: CaptureEnded | undefined
    let activity: unknown
    for await (const response of call) {
      activity ??= during(() => call.stop())
      if (response.message === "pcapng") chunks.push(response.pcapng)
      else if (response.message === "text") text += response.text
      else ended = response.ended
    }
    await activity
    return { file: Buffer.concat(chunks), text, ended: ended! }
  }

  t.test("several ports give one file in the order of time, with names and directions", async (t) => {
    const path = join(folder, "two.pcapng")
    const words = ["capture", "a:eth0", `${lab}/r:eth0`, "-w", path, "--filter", "icmp", "--count", "8"]
    const done = await weft(words, () => ping())
    t.match(done, { code: 0, stdout: "" })
    t.match(done.stderr, new RegExp(`^Capturing on a:eth0, ${lab}/r:eth0 .*\n${lab}/a:eth0: 4 packets captured\n${lab}/r:eth0: 4 packets`))
    const blocks = blocksOf(readFileSync(path))
    t.match(blocks[0], { kind: "section", comment: new RegExp(`^lab ${lab}, captured from 20`), application: "weft" })
    t.match(blocks.slice(1, 3), [
      { name: `${lab}/a:eth0`, description: `eth0 of host a in lab ${lab}`, timestampResolution: 9, filter: "icmp" },
      { name: `${lab}/r:eth0`, description: `eth0 of router r in lab ${lab}` }
    ])
    const packets = blocks.flatMap((block) => (block.kind === "packet" ? [block] : []))
    const trip = ["0 outbound", "1 inbound", "1 outbound", "0 inbound"]
    t.strictSame(packets.map(({ direction, interfaceId }) => `${interfaceId} ${direction}`), [...trip, ...trip])
    t.match(blocks.slice(-2), [
      { kind: "statistics", interfaceId: 0, received: 4n, dropped: 0n, delivered: 4n },
      { kind: "statistics", interfaceId: 1, received: 4n, dropped: 0n, delivered: 4n }
    ])
    if (!has("tshark")) return
    const read = await run(["tshark", "-r", path, "-T", "fields", "-e", "frame.interface_name", "-e", "icmp.type", "-e", "_ws.malformed"])
    const names = [`${lab}/a:eth0`, `${lab}/r:eth0`]
    const seen = [`${names[0]}\t8\t`, `${names[1]}\t8\t`, `${names[1]}\t0\t`, `${names[0]}\t0\t`]
    t.strictSame(read.stdout.trimEnd().split("\n").map((line) => line.trimEnd()), [...seen, ...seen].map((line) => line.trimEnd()))
  })

  t.test("through a pipe, live, until Ctrl-C", { skip: has("tshark") ? false : "tshark is not installed" }, async (t) => {
    const reader = weftd.startIn(lab, "b", ["tshark", "-l", "-i", "-", "-Y", "icmp"])
    let seen = ""
    reader.stdout!.setEncoding("utf8").on("data", (text: string) => (seen += text))
    const done = await weft(
      ["capture", "a:eth0", "-w", "-"],
      async (child) => {
        await ping()
        // What tshark shows, it has got while the capture went on.
        await until("tshark shows four packets", () => seen.trim().split("\n").length === 4)
        child.kill("SIGINT")
      },
      reader.stdin!
    )
    t.equal(done.code, 0)
    t.match(done.stderr, new RegExp(`\n${lab}/a:eth0: \\d+ packets captured\n$`))
    t.match(seen, /Echo \(ping\) request/)
  })

  t.test("without -w packets are lines", async (t) => {
    const done = await weft(["capture", "a:eth0", "--filter", "icmp", "-c", "2"], () => ping())
    t.match(done.stdout, /^\d\d:\d\d:\d\d\.\d{6}  a:eth0  out  10\.71\.1\.1 > 10\.71\.1\.2 ICMP echo request id \d+ seq 1  \(98\)\n/)
    t.match(done.stdout, /  a:eth0  in   10\.71\.1\.2 > 10\.71\.1\.1 ICMP echo reply id \d+ seq 1  \(98\)\n$/)
    t.equal(done.code, 0)
  })

  t.test("--snaplen cuts, --duration ends, stop delivers what is under way", async (t) => {
    const cut = await capture({ ports: ["a:eth0"], filter: "icmp", snaplen: 50 }, async (stop) => {
      await ping("-s", "1000")
      stop()
    })
    t.strictSame(packetsOf(cut.file).map(({ data, originalLength }) => [data.length, originalLength]), new Array(4).fill([50, 1042]))
    t.match(cut.ended, { reason: "stopped", failed: false, ports: [{ received: 4, delivered: 4, dropped: 0 }] })
    const began = performance.now()
    const timed = await capture({ ports: ["b:eth0"], durationMs: 300 }, () => undefined)
    t.ok(performance.now() - began >= 300 + settleMs)
    t.match(timed.ended, { reason: "0.3 s have passed", failed: false })
  })

  t.test("mistakes are told with what to do", async (t) => {
    const wrong = async (code: number, message: RegExp, ...words: ReadonlyArray<string>) => {
      const path = join(folder, "none.pcapng")
      t.match(await weftd.weft(["capture", ...words, "-w", path]), { code, stdout: "", stderr: message })
      t.throws(() => readFileSync(path), { code: "ENOENT" }, "no file is made")
    }
    await wrong(1, /No node "aa" in .*; did you mean "a"\?/, "aa:eth0")
    await wrong(1, /No interface "eth2" in node "a" of lab ".*"; did you mean "eth0"\?/, "r:eth0", "a:eth2")
    await wrong(1, /No lab "nolab"/, "nolab/a:eth0")
    await wrong(2, /Cannot use "tcp por 80" as a filter: .*syntax error/, "a:eth0", "--filter", "tcp por 80")
    await wrong(2, /Cannot capture on "a": NODE:IF is expected/, "a")
    await wrong(2, /as --count: a whole number/, "a:eth0", "--count", "0")
    const gone = await weftd.weft(["capture", "a:eth0", "-w", "/nonexistent/x.pcapng"])
    t.match(gone, { code: 1, stderr: /Cannot write "\/nonexistent\/x.pcapng": ENOENT/ })
  })

  t.test("a reader that is slow costs drops, not memory", async (t) => {
    const rss = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${weftd.pid}/status`, "utf8"))![1])
    const call = weftd.client.capture({ ports: ["a:lo"], filter: "udp", count: 0, durationMs: 0, snaplen: 0, text: false })
    const responses = call[Symbol.asyncIterator]()
    await responses.next()
    const before = rss()
    await weftd.inNode(lab, "a", ...flood(20_000, 8000))
    t.ok(rss() - before < 60_000, `160 MB passed, ${rss() - before} KiB more`)
    call.stop()
    let ended: CaptureEnded | undefined
    for (let next = await responses.next(); next.done !== true; next = await responses.next()) {
      if (next.value.message === "ended") ended = next.value.ended
    }
    const [port] = ended!.ports
    t.equal(port!.received, 20_000)
    t.ok(port!.dropped > 0, `${port!.dropped} dropped`)
    t.equal(port!.delivered + port!.dropped, 20_000, "each packet is either there or counted as dropped")
  })

  t.test("nothing stays open afterwards, not even of calls that were cancelled", async (t) => {
    for (let i = 0; i < 5; i++) {
      const call = weftd.client.capture({ ports: ["a:eth0", "b:eth0"], filter: "", count: 0, durationMs: 0, snaplen: 0, text: false })
      for await (const _ of call) break
    }
    await until("descriptors are as before", () => count(weftd.descriptors()) <= count(idle)).catch(() => undefined)
    t.strictSame(Object.fromEntries(weftd.descriptors()), Object.fromEntries(idle))
  })

  t.test("a node that goes away ends the capture and says so", async (t) => {
    const { links: _, ...rest } = topology
    const path = join(folder, "gone.pcapng")
    const done = await weft(["capture", "b:eth0", "a:eth0", "-w", path], () =>
      weftd.make({ ...rest, nodes: { a: { kind: "host" } } })
    )
    t.match(done, { code: 1, stderr: /error: The capture ended early: interface "eth0" of node "[ab]" in lab ".*" has gone\n$/ })
    t.equal(blocksOf(readFileSync(path)).at(-1)!.kind, "statistics", "the file is complete")
    await until("descriptors are as before", () => (weftd.descriptors().get("socket") ?? 0) <= (idle.get("socket") ?? 0))
  })

  t.test("a daemon that ends tells its captures, and does not wait for those that nobody reads", async (t) => {
    const lazy = weftd.client.capture({ ports: ["a:lo"], filter: "", count: 0, durationMs: 0, snaplen: 0, text: false })
    const responses = lazy[Symbol.asyncIterator]()
    await responses.next()
    await weftd.inNode(lab, "a", ...flood(3000, 8000))
    const done = await weft(["capture", "a:lo"], () => weftd.stop())
    t.match(done, { code: 1, stderr: /captured\nerror: The capture ended early: weftd is ending\n$/ })
    await weftd.start()
  })
})
