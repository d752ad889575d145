/** Faults of links under real traffic: the symptom, and that healing leaves exactly what was there before. */
import { once } from "node:events"
import t, { type Test } from "tap"
import { needsRoot, until } from "./harness.ts"
import { Weftd } from "./daemon-harness.ts"
import { healAll, inject, stateOf } from "./fault-harness.ts"

/**
 *     pc --- access (10.1.0.0/24, fd01::/64) --- r1 --- wan (10.9.0.0/30, delay 1ms) --- r2 --- far (10.2.0.0/24) --- srv
 *                                                `----- alt (10.9.1.0/30) ---------------'
 *     a, b, c --- lan (10.3.0.0/24, fd03::/64)
 */
const topology = (name: string) => ({
  name,
  nodes: {
    pc: { kind: "host", routes: [{ to: "default", via: "r1:lan" }] },
    srv: { kind: "host", routes: [{ to: "default", via: "r2:lan" }] },
    r1: {
      kind: "router",
      routes: [
        { to: "10.2.0.0/24", via: "r2:wan" },
        { to: ["198.51.100.0/24", "2001:db8:51::/48"], via: ["r2:wan", "r2:alt"] },
        { to: "203.0.113.0/24", via: ["r2:wan", "r2:alt"], bfd: { "min-tx": "100ms", "min-rx": "100ms", multiplier: 3 } }
      ]
    },
    r2: {
      kind: "router",
      routes: [
        { to: "10.1.0.0/24", via: "r1:wan" },
        { to: "192.0.2.0/24", via: ["r1:wan", "r1:alt"], bfd: { "min-tx": "100ms", "min-rx": "100ms", multiplier: 3 } }
      ]
    },
    a: { kind: "host", labels: { side: "left" } },
    b: { kind: "host", labels: { side: "left" } },
    c: { kind: "host" }
  },
  networks: {
    lan: {
      cidr: ["10.3.0.0/24", "fd03::/64"],
      ports: ["a", "b", "c"].map((port, i) => ({ port, addresses: [`10.3.0.${i + 1}/24`, `fd03::${i + 1}/64`] }))
    }
  },
  links: [
    { name: "access", endpoints: ["pc:eth0", "r1:lan"], cidr: ["10.1.0.0/24", "fd01::/64"] },
    { name: "wan", endpoints: ["r1:wan", "r2:wan"], cidr: ["10.9.0.0/30", "fd09::/64"], delay: "1ms" },
    { name: "alt", endpoints: ["r1:alt", "r2:alt"], cidr: ["10.9.1.0/30", "fd0a::/64"] },
    { name: "far", endpoints: ["srv:eth0", "r2:lan"], cidr: "10.2.0.0/24" }
  ]
})
const nodes = ["pc", "srv", "r1", "r2", "a", "b", "c"]

t.test("faults of links", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const weftd = await Weftd.start("fault-links")
  t.teardown(() => weftd.close())
  const lab = weftd.name("fault-links")
  await weftd.make(topology(lab))
  const srv = /inet (\S+?)\//.exec((await weftd.inNode(lab, "srv", "ip", "-4", "addr", "show", "eth0")).stdout)![1]!
  const state = (): string => nodes.map((node) => `${node}\n${stateOf(lab, node)}`).join("\n")
  await until("pc reaches srv", () => weftd.pings(lab, "pc", srv))
  const ways = (): Promise<string> => weftd.inNode(lab, "r1", "ip", "route", "show", "203.0.113.0/24").then(({ stdout }) => stdout)
  const hasBoth = async (): Promise<boolean> => /dev wan[^]*dev alt|dev alt[^]*dev wan/.test(await ways())
  await until("BFD has both ways in the kernel", hasBoth)
  const before = state()

  /** Milliseconds of one ping; undefined: no answer. */
  const ping = async (from: string, to: string, ...more: ReadonlyArray<string>): Promise<number | undefined> => {
    const { code, stdout } = await weftd.inNode(lab, from, "ping", "-c", "1", "-W", "0.5", ...more, to)
    return code === 0 ? Number(/time=([\d.]+)/.exec(stdout)?.[1]) : undefined
  }
  /** Whether anything is answered within seconds: a busy machine may be late. */
  const passes = async (from: string, to: string, ...more: ReadonlyArray<string>): Promise<boolean> =>
    (await weftd.inNode(lab, from, "ping", "-c", "1", "-w", "10", ...more, to)).code === 0
  /** The best of five: what a busy machine adds is not the link's. */
  const fastest = async (from: string, to: string): Promise<number> => {
    const { stdout } = await weftd.inNode(lab, from, "ping", "-c", "5", "-i", "0.1", "-W", "5", to)
    return Math.min(...[...stdout.matchAll(/time=([\d.]+)/g)].map((match) => Number(match[1])))
  }
  const carrier = async (node: string, ifname: string): Promise<string> =>
    (await weftd.inNode(lab, node, "cat", `/sys/class/net/${ifname}/carrier`)).stdout.trim()

  /** Heals everything and looks whether the lab is what it was. */
  const cured = async (t: Test): Promise<void> => {
    await healAll(weftd, lab)
    await until("the kernel is as it was, once BFD is up", () => state() === before).catch(() => t.equal(state(), before))
    t.strictSame(await weftd.drift(lab), [], "and differs in nothing from the plan")
    t.ok(await weftd.pings(lab, "pc", srv), "and packets pass")
  }

  await t.test("link-down takes the carrier of both ends", async (t) => {
    await inject(weftd, lab, "link-down wan")
    t.strictSame([await carrier("r1", "wan"), await carrier("r2", "wan")], ["0", "0"])
    t.equal(await ping("pc", srv), undefined)
    const left = (await weftd.inNode(lab, "r1", "ip", "route", "show", "198.51.100.0/24")).stdout
    t.notMatch(left, "dev wan", "the kernel took the nexthop on it out of the group")
    t.match(left, "dev alt")
    t.strictSame(await weftd.drift(lab), [], "and the plan with the fault says so")
    await cured(t)
  })

  await t.test("link-down of all ways of a group: the routes by it are gone, and come back", async (t) => {
    await inject(weftd, lab, "link-down wan")
    await inject(weftd, lab, "link-down alt")
    t.strictSame(await weftd.drift(lab), [])
    t.equal((await weftd.inNode(lab, "r1", "ip", "-6", "route", "show", "2001:db8:51::/48")).stdout, "")
    t.equal(await ways(), "")
    await cured(t)
  })

  await t.test("link-down of one side: only that end sees it", async (t) => {
    await inject(weftd, lab, "link-down r1:wan side=near")
    t.strictSame([await carrier("r1", "wan"), await carrier("r2", "wan")], ["0", "1"])
    t.equal(await ping("pc", srv), undefined)
    t.strictSame(await weftd.drift(lab), [])
    await cured(t)
  })

  await t.test("link-down without loss of carrier, on a link and on a port of a network", async (t) => {
    await inject(weftd, lab, "link-down access carrier=keep")
    await inject(weftd, lab, "link-down b:eth0 carrier=keep")
    t.strictSame([await carrier("pc", "eth0"), await carrier("b", "eth0")], ["1", "1"])
    t.equal(await ping("pc", srv), undefined)
    t.equal(await ping("a", "10.3.0.2"), undefined)
    t.equal(await ping("b", "10.3.0.3"), undefined)
    t.ok(await passes("a", "10.3.0.3"), "others of the network do not notice")
    await cured(t)
    await until("a reaches b again", async () => (await ping("a", "10.3.0.2")) !== undefined)
  })

  await t.test("one-way: what is sent one way is lost, the other way passes", async (t) => {
    await inject(weftd, lab, "one-way r1:wan out")
    const counter = "/sys/class/net/wan/statistics/rx_packets"
    const seen = async (): Promise<number> => Number((await weftd.inNode(lab, "r1", "cat", counter)).stdout)
    const count = await seen()
    t.equal(await ping("r2", "10.9.0.1"), undefined)
    t.ok((await seen()) > count, "the question arrives, the answer does not")
    await cured(t)
  })

  await t.test("impairments hold in their direction and leave the rest of the link as it is", async (t) => {
    await inject(weftd, lab, "delay r1:wan 60ms direction=out")
    const slow = await fastest("pc", srv)
    t.ok(slow >= 60 && slow < 110, `60 ms and the link's own ms back: ${slow}`)
    await healAll(weftd, lab)
    await inject(weftd, lab, "loss alt 100%")
    t.equal(await ping("r1", "10.9.1.2"), undefined, "a plain wire has become one that loses everything")
    await inject(weftd, lab, "delay alt 30ms")
    t.equal(await ping("r1", "10.9.1.2"), undefined, "with the delay beside it")
    await weftd.client.heal({ lab, ids: [(await weftd.client.faults(lab))[0]!.id], all: false })
    let healed: number | undefined
    await until("the addresses are resolved again", async () => (healed = await ping("r1", "10.9.1.2")) !== undefined)
    t.ok(healed! >= 60, `and when the loss has gone the delay stays: ${healed}`)
    await cured(t)
    t.ok((await fastest("r1", "10.9.1.2")) < 30)
  })

  await t.test("mtu: a black hole lets small packets pass and says nothing of large ones", async (t) => {
    await inject(weftd, lab, "mtu wan 1000")
    t.ok(await passes("pc", srv))
    const { stdout } = await weftd.inNode(lab, "pc", "ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1200", srv)
    t.match(stdout, /0 received/)
    t.notMatch(stdout, /Frag|mtu/)
    t.ok(await passes("pc", srv, "-M", "do", "-s", "972"), "1000 octets pass")
    t.equal(await ping("pc", srv, "-M", "do", "-s", "973"), undefined, "1001 do not")
    // What TCP sends in one go is cut into segments of 1448 octets: none passes. The handshake and the request do.
    const server = weftd.startIn(lab, "srv", ["python3", "-c", tcpServer])
    await once(server.stdout!, "data")
    const answer = await weftd.inNode(lab, "pc", "python3", "-c", tcpClient(srv))
    t.match(answer.stdout, "connected\nnothing", "ping works, large responses hang")
    server.kill("SIGKILL")
    await cured(t)
  })

  await t.test("mtu with icmp: the router says so, and the path works", async (t) => {
    await inject(weftd, lab, "mtu wan 1300 icmp=true")
    const { stdout } = await weftd.inNode(lab, "pc", "ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", srv)
    t.match(stdout, /mtu ?= ?1300/)
    await cured(t)
    await weftd.inNode(lab, "pc", "ip", "route", "flush", "cache")
  })

  await t.test("partition: links are shut, networks divided", async (t) => {
    await inject(weftd, lab, "partition label:side=left r2,srv rest")
    t.ok(await passes("a", "10.3.0.2"), "a and b are together")
    for (const to of ["10.3.0.3", "fd03::3"]) t.equal(await ping("a", to), undefined, `a does not reach ${to}`)
    const { stdout } = await weftd.inNode(lab, "a", "ping", "-c", "2", "-i", "0.3", "-W", "1", "-6", "-I", "eth0", "ff02::1")
    t.notMatch(stdout, "fe80::.*DUP", "only one other answers a multicast")
    t.equal(await ping("pc", srv), undefined, "r1 and r2 are in different sets")
    t.equal(await ping("r1", "10.9.1.2"), undefined)
    t.ok(await passes("r2", srv))
    await cured(t)
    for (const to of ["10.3.0.3", "fd03::3"]) await until(`a reaches ${to} again`, async () => (await ping("a", to)) !== undefined)
  })

  await t.test("faults that overlap, healed in any order, leave nothing", async (t) => {
    const words = [
      "link-down wan", "loss wan 40%", "partition a rest", "mtu lan-is-no-link 900", "one-way b:eth0 in",
      "partition label:side=left c", "impair alt delay=20ms rate=10mbit queue=50ms direction=a-to-b", "mtu wan 900", "link-down c:eth0"
    ]
    await t.rejects(inject(weftd, lab, words[3]!), /no link/)
    for (const word of words.filter((_, index) => index !== 3)) await inject(weftd, lab, word)
    const ids = (await weftd.client.faults(lab)).map(({ id }) => id)
    t.strictSame(await weftd.drift(lab), [])
    for (const index of [7, 2, 5, 0, 3, 6, 1, 4]) {
      const { failures } = await weftd.client.heal({ lab, ids: [ids[index]!], all: false })
      t.strictSame(failures, [])
    }
    await cured(t)
  })
})

const tcpServer = `
import socket
s = socket.create_server(("", 80))
print("ready", flush=True)
while True:
    c, _ = s.accept()
    c.recv(100)
    c.sendall(b"x" * 20000)
`
const tcpClient = (address: string): string => `
import socket
c = socket.create_connection(("${address}", 80), 5)
print("connected")
c.settimeout(1.5)
c.sendall(b"hello")
try:
    print("some" if c.recv(100000) else "closed")
except TimeoutError:
    print("nothing")
`
