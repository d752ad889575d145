/** Links with profiles, from the file to packets: made, changed and removed under traffic, and after crashes. */
import { once } from "node:events"
import t from "tap"
import { needsRoot, until } from "./harness.ts"
import { Connection, identities, sh, type TopologyObject, Weftd } from "./daemon-harness.ts"

const withLink = (name: string, profile: Readonly<Record<string, unknown>>): TopologyObject => ({
  name,
  nodes: { a: { kind: "host" }, b: { kind: "host" } },
  // The first endpoint is not the first by name: directions follow the file.
  links: [{ name: "wire", endpoints: ["b:e1", "a:e1"], cidr: "10.9.0.0/24", ...profile }]
})
const [addressOfB, addressOfA] = ["10.9.0.1", "10.9.0.2"]

/** Round trips in milliseconds of `count` pings, those that got lost left out. */
const roundTrips = async (weftd: Weftd, lab: string, from: string, to: string, count = 5): Promise<ReadonlyArray<number>> => {
  const { stdout } = await weftd.inNode(lab, from, "ping", "-n", "-c", String(count), "-i", "0.02", "-W", "1", to)
  return [...stdout.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1]))
}

/** The smallest: what the machine adds while it is busy is not the link's. The first one waits for ARP, too. */
const fastest = async (weftd: Weftd, lab: string): Promise<number> =>
  Math.min(...(await roundTrips(weftd, lab, "a", addressOfB, 12)).slice(1))

const taps = (weftd: Weftd): number => sh("ip", "-n", weftd.fabric, "-o", "link").match(/weft-tap\./g)?.length ?? 0

t.test("a link's profile", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const weftd = await Weftd.start("profile")
  t.teardown(() => weftd.close())

  await t.test("delays each direction, is changed in place under a TCP connection, and goes without a trace", async (t) => {
    const lab = weftd.name("delay")
    await weftd.make(withLink(lab, { delay: { "a-to-b": "4ms", "b-to-a": "6ms" } }))
    const slow = await fastest(weftd, lab)
    t.ok(slow >= 10 && slow < 14, `there and back in ${slow} ms`)
    t.strictSame(await weftd.drift(lab), [])
    t.equal((await weftd.make(withLink(lab, { delay: { "a-to-b": "4ms", "b-to-a": "6ms" } }))).changed, 0, "the same file changes nothing")

    const before = identities(await weftd.inspect(lab))
    const connection = await Connection.open(weftd, lab, "a", "b", addressOfB)
    t.ok(await connection.exchange("before"))
    const longer = withLink(lab, { delay: { "a-to-b": "6ms", "b-to-a": "14ms" }, rate: "100mbit" })
    const [step] = await weftd.plan(longer)
    t.match(step, /^~ segment\/link\/wire .*profiles\.aToB\.delayMs: 4 -> 6.*profiles\.aToB\.rateBps: .*-> 100000000/)
    await weftd.make(longer)
    // The thread that holds frames back hears of it a moment after the deploy.
    let longest = 0
    await until("the longer delay is felt", async () => (longest = await fastest(weftd, lab)) >= 20)
    t.ok(longest >= 20 && longest < 24, `there and back in ${longest} ms`)
    t.ok(await connection.exchange("longer"))

    const shown = (await weftd.inspect(lab)).segments[0]!
    t.strictSame(shown.profile, ["b:e1 -> a:e1: delay 6ms rate 100mbit", "a:e1 -> b:e1: delay 14ms rate 100mbit"])
    t.equal(shown.profileLabel, "100mbit 6/14ms")

    await weftd.make(withLink(lab, {}))
    let direct = Infinity
    await until("the delay has gone", async () => (direct = await fastest(weftd, lab)) < 4)
    t.ok(direct < 4, `there and back in ${direct} ms`)
    t.ok(await connection.exchange("direct"))
    await until("the TAPs are gone", () => taps(weftd) === 0)
    t.strictSame(await weftd.drift(lab), [])

    await weftd.make(withLink(lab, { delay: "5ms" }))
    t.ok(await connection.exchange("again"))
    t.ok((await fastest(weftd, lab)) >= 10)
    t.strictSame(identities(await weftd.inspect(lab)), before, "namespaces and interfaces are those of the beginning")
    await weftd.destroy(lab)
    t.equal(taps(weftd), 0)
  })

  await t.test("is by way of the engine where the topology says so, with nothing done to packets", async (t) => {
    const lab = weftd.name("forced")
    await weftd.make(withLink(lab, { datapath: "engine" }))
    t.equal(taps(weftd), 2)
    t.ok(await weftd.pings(lab, "a", addressOfB))
    t.strictSame(await weftd.drift(lab), [])
    t.match((await weftd.inspect(lab)).segments[0]!.profile, ["b:e1 -> a:e1: nothing, by way of the engine", /^a:e1 -> b:e1: nothing/])
    t.equal((await weftd.make(withLink(lab, { datapath: "engine" }))).changed, 0, "the same file changes nothing")
    const connection = await Connection.open(weftd, lab, "a", "b", addressOfB)
    for (const datapath of ["kernel", "engine", "auto"]) {
      await weftd.make(withLink(lab, { datapath }))
      t.ok(await connection.exchange(datapath), datapath)
    }
    await until("the TAPs are gone", () => taps(weftd) === 0)
    await weftd.destroy(lab)
  })

  await t.test("drops one way and lets the other pass; down and up again", async (t) => {
    const lab = weftd.name("loss")
    await weftd.make(withLink(lab, {}))
    t.ok(await weftd.pings(lab, "a", addressOfB))
    const received = async (node: string): Promise<number> =>
      Number(/Icmp: .*\nIcmp: (\d+)/.exec((await weftd.inNode(lab, node, "cat", "/proc/net/snmp")).stdout)![1])

    await weftd.make(withLink(lab, { loss: { "a-to-b": "100%" } }))
    const [a, b] = [await received("a"), await received("b")]
    t.strictSame(await roundTrips(weftd, lab, "a", addressOfB, 3), [], "no answer")
    t.equal((await received("b")) - b, 3, "questions arrive")
    t.equal((await received("a")) - a, 0)

    await weftd.make(withLink(lab, { down: true }))
    t.notOk(await weftd.pings(lab, "b", addressOfA))
    await weftd.make(withLink(lab, { down: false, loss: 0, delay: "0" }))
    t.ok(await weftd.pings(lab, "b", addressOfA))
    await until("the TAPs are gone", () => taps(weftd) === 0)
    await weftd.destroy(lab)
  })

  await t.test("keeps what a change does not name, and resets what it takes out or sets to 0", async (t) => {
    const lab = weftd.name("parts")
    const all = { delay: { "a-to-b": "4ms", "b-to-a": "6ms" }, rate: "100mbit", loss: { "a-to-b": "1%" }, queue: "50ms", aqm: "codel" }
    const shown = async (profile: Readonly<Record<string, unknown>>): Promise<ReadonlyArray<string>> => {
      await weftd.make(withLink(lab, profile))
      t.strictSame(await weftd.drift(lab), [])
      return (await weftd.inspect(lab)).segments[0]!.profile
    }
    const [whole] = await shown(all)
    t.match(whole, /delay 4ms/)
    t.match(whole, /rate 100mbit/)
    t.match(whole, /loss 1%/)
    const [faster, back] = await shown({ ...all, rate: "200mbit" })
    t.equal(faster, whole!.replace("100mbit", "200mbit"), "all else is as before")
    t.match(back, /delay 6ms/)
    const { delay, loss, ...unlimited } = all
    t.match(await shown({ ...all, loss: 0 }), [/^(?!.*loss)/, /^(?!.*loss)/], "0 takes it out")
    t.match(await shown({ ...unlimited, loss, rate: "200mbit" }), [/loss 1%/, /^(?!.*loss)/], "one that is not named is reset")
    t.ok((await fastest(weftd, lab)) < 5, "the delay is gone")
    t.strictSame(await shown({ rate: 0, delay: "0", loss: "0%", jitter: 0, duplicate: 0, corrupt: "0", reorder: 0 }), [])
    await until("the TAPs are gone", () => taps(weftd) === 0)
    await weftd.destroy(lab)
  })

  await t.test("has a rate whose queue is limited by packets, octets or time", async (t) => {
    const lab = weftd.name("queue")
    /** How many of 40 frames of 1042 octets that come at once arrive: those of the queue, and the one being sent. */
    const passed = async (queue: string): Promise<number> => {
      await weftd.make(withLink(lab, { rate: { "a-to-b": "200kbit" }, queue }))
      await weftd.pings(lab, "b", addressOfA)
      const { stdout } = await weftd.inNode(lab, "b", "ping", "-n", "-q", "-c", "40", "-l", "40", "-s", "1000", "-W", "3", addressOfA)
      return Number(/, (\d+) received/.exec(stdout)![1])
    }
    // 42 ms each: on a busy machine one or the other leaves while ping still sends.
    for (const [queue, count] of [["5p", 6], ["12p", 13], ["10kb", 10], ["500ms", 12]] as const) {
      const received = await passed(queue)
      t.ok(received >= count && received <= count + 4, `${queue}: ${received} of about ${count}`)
    }
    await weftd.destroy(lab)
  })

  await t.test("has a queue that codel and red keep shorter than fifo does", async (t) => {
    const lab = weftd.name("aqm")
    /** Milliseconds for a ping there and back while UDP offers a fifth more than the rate, when that has lasted for a while. */
    const wait = async (aqm: string): Promise<number> => {
      await weftd.make(withLink(lab, { rate: "5mbit", queue: "400ms", aqm }))
      const server = weftd.startIn(lab, "b", ["iperf3", "-s", "-1", "--forceflush"])
      await new Promise<void>((listening) => server.stdout!.on("data", (text: Buffer) => text.includes("listening") && listening()))
      const stream = weftd.inNode(lab, "a", "iperf3", "-c", addressOfB, "-u", "-b", "6M", "-l", "1400", "-t", "12")
      const times = (await roundTrips(weftd, lab, "a", addressOfB, 350)).slice(-100).sort((one, other) => one - other)
      t.equal((await stream).code, 0, `${aqm}: iperf3`)
      return times[times.length >> 1]!
    }
    const [fifo, codel, red] = [await wait("fifo"), await wait("codel"), await wait("red")]
    t.ok(fifo > 300, `fifo ${fifo} ms`)
    t.ok(codel < fifo / 2, `codel ${codel} ms`)
    t.ok(red < fifo - 30, `red ${red} ms`)
    await weftd.destroy(lab)
  })

  await t.test("has an MTU beside its profile, and goes down one way", async (t) => {
    const lab = weftd.name("oneway")
    const fits = async (size: number): Promise<boolean> =>
      (await weftd.inNode(lab, "a", "ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", String(size - 28), addressOfB)).code === 0
    await weftd.make(withLink(lab, { delay: "1ms", mtu: 1300 }))
    t.ok(await fits(1300))
    t.notOk(await fits(1301))
    await weftd.make(withLink(lab, { delay: "1ms", mtu: 3000 }))
    t.ok(await fits(3000), "bigger, in place")
    t.strictSame(await weftd.drift(lab), [])

    const arrived = async (node: string): Promise<number> =>
      Number((await weftd.inNode(lab, node, "cat", "/sys/class/net/e1/statistics/rx_packets")).stdout)
    await weftd.make(withLink(lab, { delay: "1ms", down: { "b-to-a": true } }))
    const [a, b] = [await arrived("a"), await arrived("b")]
    t.notOk(await weftd.pings(lab, "a", addressOfB))
    t.notOk(await weftd.pings(lab, "b", addressOfA))
    // The first endpoint of the file, its a, is b.
    t.equal(await arrived("b"), b, "nothing comes to b")
    t.ok((await arrived("a")) > a, "but to a")
    await weftd.make(withLink(lab, { delay: "1ms" }))
    await until("the way back is open", () => weftd.pings(lab, "a", addressOfB))
    await weftd.destroy(lab)
  })

  await t.test("shows both directions to a capture in the fabric", async (t) => {
    const lab = weftd.name("captured")
    await weftd.make(withLink(lab, { delay: "2ms" }))
    const name = (await weftd.inspect(lab)).nodes.find((node) => node.name === "a")!.ports[0]!.fabricName
    const capture = weftd.spawnTool(["ip", "netns", "exec", weftd.fabric, "tcpdump", "-lnni", name, "icmp"])
    let seen = ""
    capture.stdout!.setEncoding("utf8").on("data", (text: string) => (seen += text))
    // It takes the daemon a moment to see that somebody captures.
    await until("both directions are captured", async () => {
      await weftd.pings(lab, "a", addressOfB)
      return seen.includes("echo request") && seen.includes("echo reply")
    })
    capture.kill()
    await once(capture, "exit")
    t.match(seen, /echo reply/)
    await weftd.destroy(lab)
  })

  await t.test("passes on the carrier", async (t) => {
    const lab = weftd.name("carrier")
    await weftd.make(withLink(lab, { delay: "1ms" }))
    const carrier = async (): Promise<boolean> =>
      (await weftd.inNode(lab, "b", "ip", "-br", "link", "show", "e1")).stdout.includes("LOWER_UP")
    t.ok(await carrier())
    await weftd.inNode(lab, "a", "ip", "link", "set", "e1", "down")
    await until("b has no carrier", async () => !(await carrier()))
    await weftd.inNode(lab, "a", "ip", "link", "set", "e1", "up")
    await until("b has its carrier back", carrier)
    t.ok(await weftd.pings(lab, "b", addressOfA))
    await weftd.destroy(lab)
  })

  await t.test("comes back with a daemon that was killed", async (t) => {
    const lab = weftd.name("killed")
    await weftd.make(withLink(lab, { delay: "5ms", seed: 7 }))
    const before = identities(await weftd.inspect(lab))
    const connection = await Connection.open(weftd, lab, "a", "b", addressOfB)
    await weftd.kill()
    t.notOk(await weftd.pings(lab, "a", addressOfB), "down meanwhile")
    await weftd.start()
    await until("the link is back", () => weftd.pings(lab, "a", addressOfB))
    const back = await fastest(weftd, lab)
    t.ok(back >= 10 && back < 14, `there and back in ${back} ms`)
    t.ok(await connection.exchange("survived"))
    t.strictSame(await weftd.drift(lab), [])
    t.strictSame(identities(await weftd.inspect(lab)), before)
    t.equal(taps(weftd), 2)

    sh("ip", "-n", weftd.fabric, "link", "del", tapName(weftd))
    t.not((await weftd.drift(lab)).length, 0, "a TAP that somebody deleted is noticed")
    await weftd.make(withLink(lab, { delay: "5ms", seed: 7 }))
    t.ok((await fastest(weftd, lab)) >= 10)

    const inspected = await weftd.inspect(lab)
    sh("ip", "-n", weftd.fabric, "link", "del", inspected.nodes[0]!.ports[0]!.fabricName)
    await weftd.make(withLink(lab, { delay: "5ms", seed: 7 }))
    t.ok((await fastest(weftd, lab)) >= 10, "a port that was deleted is mended, on the same TAPs")
    t.equal(taps(weftd), 2)

    await weftd.stop()
    await weftd.start()
    await until("the link is back", () => weftd.pings(lab, "a", addressOfB))
    t.ok((await fastest(weftd, lab)) >= 10, "and with one that was stopped")
    await weftd.destroy(lab)
    t.equal(taps(weftd), 0)
  })

  await t.test("ends with a moved link and a removed one", async (t) => {
    const lab = weftd.name("moved")
    const topology = (endpoints: ReadonlyArray<string>, profile: object): TopologyObject => ({
      name: lab,
      nodes: { a: { kind: "host" }, b: { kind: "host" }, c: { kind: "host" } },
      links: [{ name: "wire", endpoints, cidr: "10.9.0.0/24", ...profile }]
    })
    await weftd.make(topology(["b:e1", "a:e1"], { delay: "5ms" }))
    await weftd.make(topology(["c:e1", "a:e1"], { delay: "5ms" }))
    t.equal(taps(weftd), 2)
    t.ok((await fastest(weftd, lab)) >= 10)
    await weftd.make(topology(["a:e1", "c:e1"], { delay: "5ms" }))
    t.strictSame(await weftd.drift(lab), [], "the other way round")
    t.equal(taps(weftd), 2)
    await weftd.make({ name: lab, nodes: { a: { kind: "host" } } })
    t.equal(taps(weftd), 0)
    await weftd.destroy(lab)
  })
})

/** The name of one of the TAPs. */
const tapName = (weftd: Weftd): string =>
  /^\d+: ([^:@]+).*weft-tap\./m.exec(sh("ip", "-n", weftd.fabric, "-o", "link"))![1]!
