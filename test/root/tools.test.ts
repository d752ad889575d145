/** The tools that network people know, on a running lab: none of them needs to know that weft is there. */
import { once } from "node:events"
import t from "tap"
import { needsRoot, until } from "./harness.ts"
import { inodeOf, run, Weftd } from "./daemon-harness.ts"

const lab = (name: string) => ({
  name,
  nodes: {
    pc: { kind: "host" },
    r1: {
      kind: "router",
      routes: [
        { to: "10.3.0.0/24", via: "r2" },
        { to: "2001:db8:3::/64", via: "r2" }
      ]
    },
    r2: {
      kind: "router",
      routes: [
        { to: "10.3.0.0/24", via: "r3" },
        { to: "10.1.0.0/24", via: "r1" },
        { to: "2001:db8:3::/64", via: "r3" },
        { to: "2001:db8:1::/64", via: "r1" }
      ]
    },
    r3: {
      kind: "router",
      routes: [
        { to: "10.1.0.0/24", via: "r2" },
        { to: "2001:db8:1::/64", via: "r2" }
      ]
    },
    srv: { kind: "host" }
  },
  networks: {
    lan: { cidr: ["10.1.0.0/24", "2001:db8:1::/64"], gateway: "r1", ports: ["r1:lan", "pc"] },
    dc: { cidr: ["10.3.0.0/24", "2001:db8:3::/64"], gateway: "r3", ports: ["r3:dc", "srv"] }
  },
  links: [
    { endpoints: ["r1:r2", "r2:r1"], cidr: ["10.2.0.0/31", "2001:db8:2::/127"] },
    { endpoints: ["r2:r3", "r3:r2"], cidr: ["10.2.0.2/31", "2001:db8:2::2/127"], mtu: 1400 }
  ]
})

t.test("users' own tools", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("tools")
  t.teardown(() => weftd.close())
  const name = weftd.name("tools")
  await weftd.make(lab(name))
  const inspected = await weftd.inspect(name)
  const fabricName = (node: string, ifname: string): string =>
    inspected.nodes.find((one) => one.name === node)!.ports.find((port) => port.name === ifname)!.fabricName

  t.test("ip netns exec: names resolve, in the node only", async (t) => {
    t.match(await weftd.inNode(name, "pc", "getent", "hosts", "srv"), { code: 0, stdout: /srv/ })
    t.match(await weftd.inNode(name, "pc", "getent", "ahostsv4", `srv.${name}`), { code: 0, stdout: /10\.3\.0\.2/ })
    t.equal((await weftd.inNode(name, "pc", "ping", "-c1", "-W2", "srv")).code, 0)
    t.not((await run(["getent", "hosts", `srv.${name}`])).code, 0, "not on the machine itself")
  })

  t.test("weft exec is the same namespace", async (t) => {
    const readlink = await weftd.weft(["exec", "pc", "--", "readlink", "/proc/self/ns/net"])
    t.equal(readlink.stdout.trim(), `net:[${inodeOf(name, "pc")}]`)
    t.match(await weftd.weft(["exec", "pc", "--", "getent", "hosts", "srv"]), { code: 0, stdout: /srv/ })
  })

  t.test("ping -M do: the path's MTU is found and told", async (t) => {
    t.equal((await weftd.inNode(name, "pc", "ping", "-c1", "-W2", "-M", "do", "-s", "1372", "10.3.0.2")).code, 0, "1400 octets fit")
    const large = await weftd.inNode(name, "pc", "ping", "-c1", "-W2", "-M", "do", "-s", "1373", "10.3.0.2")
    t.not(large.code, 0)
    t.match(large.stdout + large.stderr, /10\.2\.0\.1 .*Frag needed and DF set \(mtu = 1400\)/)
    t.match(await weftd.inNode(name, "pc", "ip", "route", "get", "10.3.0.2"), { stdout: /mtu 1400/ })
    const six = await weftd.inNode(name, "pc", "ping", "-6", "-c1", "-W2", "-M", "do", "-s", "1400", "2001:db8:3::2")
    t.match(six.stdout + six.stderr, /Packet too big: mtu=1400/)
    t.equal((await weftd.inNode(name, "pc", "ping", "-c1", "-W2", "-M", "dont", "-s", "8000", "10.3.0.2")).code, 0, "fragments pass")
  })

  t.test("traceroute shows each hop", async (t) => {
    const four = await weftd.inNode(name, "pc", "traceroute", "-n", "-w", "2", "10.3.0.2")
    t.match(four.stdout, /1 +10\.1\.0\.1 [^]*2 +10\.2\.0\.1 [^]*3 +10\.2\.0\.3 [^]*4 +10\.3\.0\.2 /)
    t.notMatch(four.stdout, /\*/, "no probe is lost: ICMP is not rate limited")
    const six = await weftd.inNode(name, "pc", "traceroute", "-6", "-n", "-w", "2", "2001:db8:3::2")
    t.match(six.stdout, /1 +2001:db8:1::1 [^]*2 +2001:db8:2::1 [^]*3 +2001:db8:2::3 [^]*4 +2001:db8:3::2 /)
    t.notMatch(six.stdout, /\*/)
  })

  t.test("tcpdump on a fabric port and in a node", async (t) => {
    for (const place of [
      [weftd.fabric, fabricName("r1", "r2")],
      [`weft.${name}.r2`, "r1"]
    ] as const) {
      const dump = weftd.spawnTool(["ip", "netns", "exec", place[0], "tcpdump", "-nlU", "--immediate-mode", "-i", place[1], "icmp"])
      let [seen, heard] = ["", ""]
      dump.stdout!.on("data", (chunk: Buffer) => (seen += chunk))
      dump.stderr!.on("data", (chunk: Buffer) => (heard += chunk))
      await until("tcpdump listens", () => heard.includes("listening on"))
      await until(`tcpdump on ${place.join(" ")} sees both directions`, async () => {
        await weftd.pings(name, "pc", "10.3.0.2")
        return /10\.1\.0\.2 > 10\.3\.0\.2: ICMP echo request/.test(seen) && /10\.3\.0\.2 > 10\.1\.0\.2: ICMP echo reply/.test(seen)
      })
      const ended = once(dump, "close")
      dump.kill("SIGINT")
      await ended
      t.match(seen, /echo request[^]*echo reply/)
    }
  })

  t.test("iperf3 over three routers", async (t) => {
    const server = weftd.startIn(name, "srv", ["iperf3", "-s", "-1", "--forceflush"])
    let heard = ""
    server.stdout!.on("data", (chunk: Buffer) => (heard += chunk))
    await until("iperf3 listens", () => heard.includes("listening"))
    const result = await weftd.inNode(name, "pc", "iperf3", "-c", "10.3.0.2", "-t", "1", "-J")
    const { end } = JSON.parse(result.stdout) as { end: { sum_received: { bits_per_second: number } } }
    t.ok(end.sum_received.bits_per_second > 1e8, `${(end.sum_received.bits_per_second / 1e9).toFixed(1)} Gbit/s`)
  })

  t.test("the counters of inspect count", async (t) => {
    const sent = async (): Promise<number> => (await weftd.inspect(name)).nodes[0]!.ports[0]!.counters!.fromPackets
    const before = await sent()
    await weftd.inNode(name, "pc", "ping", "-c", "20", "-i", "0.002", "-q", "10.1.0.1")
    const after = await sent()
    t.ok(after - before >= 20 && after - before < 30, `${after - before} packets`)
  })
})
