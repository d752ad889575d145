/** How sessions between weft and FRR find each other: TCP, authentication, distance, ranges, links without addresses. */
import t from "tap"
import { FrrLab, family, neighbor, router } from "./bgp-frr-lab.ts"
import { missingPeers } from "./bgp-peers.ts"
import { sh } from "./daemon-harness.ts"
import { needsRoot, until } from "./harness.ts"

const [f1, w1] = ["10.0.1.2", "10.0.1.1"]
const networks = ["10.1.0.0/24"]
const patienceMs = 120_000

/** FRR in AS 65002 with weft at `address` as its only neighbour. */
const frr = (lines: ReadonlyArray<string> = [], words: ReadonlyArray<string> = [], address = w1, asn = 65001): string =>
  router(65002, 1, neighbor(address, asn, ...lines),
    family("ipv4", ...["activate", ...words].map((word) => `neighbor ${address} ${word}`), "network 10.2.0.0/24"))

t.test("sessions with FRR", { skip: needsRoot || missingPeers("frr") }, async (t) => {
  const lab = await FrrLab.start(t, "sessions", 1)
  const weft = (session: object = {}, more: object = {}) =>
    ({ as: 65001, networks, neighbors: [{ peer: f1, as: 65002, ...session }], ...more })
  /** Routes went both ways. */
  const exchanged = async (): Promise<void> => {
    await lab.frrPath("f1", "10.1.0.0/24")
    await lab.paths("10.2.0.0/24")
  }
  /** A counter of TCP's in weft's node. */
  const counter = (name: string): number => {
    const text = sh("ip", "netns", "exec", `weft.${lab.name}.weft`, "nstat", "-asz", name)
    return Number(new RegExp(`^${name} +(\\d+)`, "m").exec(text)?.[1] ?? 0)
  }

  await t.test("MD5 that is right, and that is not", async (t) => {
    await lab.set(weft({ password: "wrong" }), { f1: frr(["password right"]) })
    await until("a segment was refused", () => counter("TcpExtTCPMD5Failure") > 0, patienceMs)
    t.equal((await lab.neighbor(f1))!.establishedCount, 0)
    await lab.weft(weft({ password: "right" }))
    await exchanged()
    t.equal((await lab.neighbor(f1))!.state, "Established")
    // Nobody without a password gets through either: weft has none now.
    await lab.set(weft(), { f1: frr(["password right"]) })
    await until("a segment was refused", () => counter("TcpExtTCPMD5Unexpected") > 0, patienceMs)
    t.not((await lab.neighbor(f1))!.state, "Established")
  })

  await t.test("passive on either side", async (t) => {
    await lab.set(weft({ passive: true }), { f1: frr() })
    await exchanged()
    await lab.set(weft(), { f1: frr(["passive"]) })
    await exchanged()
    t.equal((await lab.neighbor(f1))!.establishedCount, 1)
  })

  await t.test("TTL security: one hop is near enough, and one that is too far is not heard", async (t) => {
    await lab.set(weft({ "ttl-security": 1 }), { f1: frr(["ttl-security hops 1"]) })
    await exchanged()
    const dropped = counter("TcpExtTCPMinTTLDrop")
    const { establishedCount } = (await lab.neighbor(f1))!
    await lab.set(weft({ "ttl-security": 1 }), { f1: frr() })
    await until("FRR's packets with TTL 1 are dropped", () => counter("TcpExtTCPMinTTLDrop") > dropped, patienceMs)
    t.match(await lab.neighbor(f1), { establishedCount })
    t.not((await lab.neighbor(f1))!.state, "Established")
  })

  await t.test("multihop between loopbacks, over a static route", async (t) => {
    sh("ip", "-n", `weft.${lab.name}.f1`, "addr", "add", "10.255.1.1/32", "dev", "lo")
    sh("ip", "-n", `weft.${lab.name}.f1`, "route", "add", "10.255.0.1/32", "via", w1, "proto", "static")
    sh("ip", "-n", `weft.${lab.name}.weft`, "route", "add", "10.255.1.1/32", "via", f1, "proto", "static")
    const remote = { peer: "10.255.1.1", as: 65002, multihop: true, "update-source": "10.255.0.1" }
    await lab.set({ as: 65001, networks, neighbors: [remote] },
      { f1: frr(["ebgp-multihop 4", "update-source 10.255.1.1"], [], "10.255.0.1") })
    await exchanged()
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2 dev f1/)
    await lab.set({ as: 65001, networks, neighbors: [{ ...remote, "ttl-security": 2, multihop: false }] },
      { f1: frr(["ttl-security hops 2", "update-source 10.255.1.1"], [], "10.255.0.1") })
    await exchanged()
  })

  await t.test("neighbors from a range, on either side", async (t) => {
    await lab.set({ as: 65001, networks, neighbors: [{ range: "10.0.1.0/24", as: "external", limit: 3 }] }, { f1: frr() })
    await exchanged()
    t.match(await lab.neighbor(f1), { group: "10.0.1.0/24", remoteAs: 65002, state: "Established" })
    // Another range that it is in, and another limit: it stays.
    const { establishedCount } = (await lab.neighbor(f1))!
    const ranged = (range: string, limit: number) => lab.weft({ as: 65001, networks, neighbors: [{ range, as: "external", limit }] })
    for (const [range, limit] of [["10.0.1.0/25", 3], ["10.0.1.0/25", 2]] as const) {
      await ranged(range, limit)
      t.match(await lab.neighbor(f1), { group: range, state: "Established", establishedCount })
      t.match((await lab.weftd.client.bgp(`${lab.name}/weft`)).ranges, [{ prefix: range, limit }])
    }
    const asked = async (...words: string[]): Promise<string> => {
      const { stdout, stderr } = await lab.weftd.weft(["bgp", `${lab.name}/weft`, ...words])
      return `${stdout}${stderr}`
    }
    t.match(await asked("received", f1, "10.2.0.0/24"), /10\.2\.0\.0\/24/)
    t.match(await asked("received", f1, "10.2.0.9"), /10\.2\.0\.0\/24/)
    t.match(await asked("received", f1, "10.1.0.0/24"), /got no route to 10\.1\.0\.0\/24 from 10\.0\.1\.2/)
    t.match(await asked("advertised", f1, "10.1.0.0/24"), /10\.1\.0\.0\/24/)
    await ranged("10.0.1.64/26", 2)
    await until("it is not in the range any more", async () => (await lab.neighbor(f1)) === undefined, patienceMs)
    t.match(await asked(), /Waits for neighbors from 10\.0\.1\.64\/26, at most 2/)
    const group = ["neighbor many peer-group", "neighbor many remote-as external", "bgp listen range 10.0.1.0/24 peer-group many"]
    await lab.set(weft(), { f1: router(65002, 1, ...group, family("ipv4", "neighbor many activate", "network 10.2.0.0/24")) })
    await exchanged()
  })

  await t.test("unnumbered: IPv4 with IPv6 next hops", async (t) => {
    const lines = ["interface remote-as external", "timers 3 9", "timers connect 1", "advertisement-interval 0"]
    const text = router(65002, 1, ...lines.map((line) => `neighbor weft ${line}`),
      family("ipv4", "neighbor weft activate", "network 10.2.0.0/24"),
      family("ipv6", "neighbor weft activate", "network 2001:db8:b::/48"))
    await lab.set({ as: 65001, networks: [...networks, "2001:db8:a::/48"], neighbors: [{ interface: "f1", as: "external" }] }, { f1: text })
    await exchanged()
    await lab.inKernel("weft", "10.2.0.0/24", /via inet6 fe80::\S+ dev f1/)
    await lab.inKernel("f1", "10.1.0.0/24", /via inet6 fe80::\S+ dev weft/)
    await lab.inKernel("weft", "2001:db8:b::/48", /via fe80::\S+ dev f1/)
    await lab.inKernel("f1", "2001:db8:a::/48", /via fe80::\S+ dev weft/)
    const theirs = await lab.frrNeighbor("f1", "weft")
    t.match(theirs.neighborCapabilities, { extendedNexthop: "advertisedAndReceived" })
    t.ok((await lab.neighbor("f1"))!.capabilities.some((name) => /next.hop/i.test(name)), (await lab.neighbor("f1"))!.capabilities.join())
    // The link goes and comes: the next hop is found again.
    sh("ip", "-n", `weft.${lab.name}.f1`, "link", "set", "weft", "down")
    await until("weft has lost it", async () => (await lab.neighbor("f1"))!.state !== "Established", patienceMs)
    await lab.inKernel("weft", "10.2.0.0/24", /^$/)
    sh("ip", "-n", `weft.${lab.name}.f1`, "link", "set", "weft", "up")
    await exchanged()
    await lab.frr("f1").configure("interface weft\nipv6 nd suppress-ra")
  })

  await t.test("IPv4 over an IPv6 session, with its next hop (RFC 8950)", async (t) => {
    // A link that was down has lost its IPv6 address.
    sh("ip", "-n", `weft.${lab.name}.f1`, "addr", "replace", "2001:db8:1::2/64", "dev", "weft", "nodad")
    const [six, here] = ["2001:db8:1::2", "2001:db8:1::1"]
    await lab.set(
      { as: 65001, networks, neighbors: [{ peer: six, as: 65002, families: ["ipv4", "ipv6"] }] },
      { f1: frr(["capability extended-nexthop"], [], here) }
    )
    await exchanged()
    await lab.inKernel("weft", "10.2.0.0/24", /via inet6 \S+ dev f1/)
    await lab.inKernel("f1", "10.1.0.0/24", /via inet6 \S+ dev weft/)
    t.match((await lab.paths("10.2.0.0/24"))[0]!.nextHop, /^(2001:db8:1::2|fe80:)/)
  })
})
