/**
 * Nodes of a lab that run FRR, BIRD and GoBGP beside one that runs weft's own speaker: one table of features, each tried with
 * each peer that has it, in both directions.
 *
 *     pc -- weft -- the peer     10.1.0.0/24 from weft, 10.2.0.0/24 from the peer
 */
import t from "tap"
import * as Netns from "../../daemon/linux/netns.ts"
import { type Peer, missingPeers, startBird, startFrr, startGobgp } from "./bgp-peers.ts"
import { sh, type TopologyObject, Weftd } from "./daemon-harness.ts"
import { type Namespace, needsRoot, until, World } from "./harness.ts"

const lab = (name: string): TopologyObject => ({
  name,
  nodes: {
    pc: { kind: "host" },
    weft: {
      kind: "router",
      bgp: {
        as: 65001,
        "router-id": "10.255.0.1",
        networks: ["10.1.0.0/24"],
        neighbors: [{ peer: "other", export: "marked" }],
        policies: { marked: [{ permit: "any", set: { med: 77, "add-community": "65001:42" } }] }
      }
    },
    other: { kind: "router", bgp: { as: 65002, external: true } }
  },
  networks: { lan: { cidr: "10.1.0.0/24", ports: ["weft:lan", "pc:eth0"] } },
  links: [{ endpoints: ["weft:e", "other:e"], cidr: "192.0.2.0/30" }]
})

interface Kind {
  readonly start: (world: World, namespace: Namespace) => Promise<Peer>
  /** All that it says of the prefix. */
  readonly look: (peer: Peer, prefix: string) => Promise<string>
  readonly withdraw: (peer: Peer) => Promise<unknown>
}

const birdConfiguration = (routes: string): string => `
router id 10.255.0.2;
protocol device {}
protocol kernel { ipv4 { export all; }; }
protocol static originated { ipv4; ${routes} }
protocol bgp weft {
  local 192.0.2.2 as 65002;
  neighbor 192.0.2.1 as 65001;
  ipv4 { import all; export where source = RTS_STATIC; };
}`

/** Some wait for many seconds before they try again, or before they say that they have told everything. */
const patienceMs = 120_000

const text = (answer: unknown): string => (typeof answer === "string" ? answer : JSON.stringify(answer))

const kinds: Readonly<Record<"frr" | "bird" | "gobgp", Kind>> = {
  frr: {
    start: (world, namespace) =>
      startFrr(world, namespace, [
        "router bgp 65002", " bgp router-id 10.255.0.2", " no bgp ebgp-requires-policy", " no bgp network import-check",
        " neighbor 192.0.2.1 remote-as 65001", " neighbor 192.0.2.1 timers connect 1",
        " address-family ipv4 unicast", "  network 10.2.0.0/24", " exit-address-family"
      ].join("\n")),
    look: async (peer, prefix) => text(await peer.ask(`show bgp ipv4 unicast ${prefix}`)),
    withdraw: (peer) => peer.configure("router bgp 65002\n address-family ipv4 unicast\n  no network 10.2.0.0/24")
  },
  bird: {
    start: (world, namespace) => startBird(world, namespace, birdConfiguration("route 10.2.0.0/24 blackhole;")),
    look: async (peer, prefix) => text(await peer.ask(`show route for ${prefix} all`).catch((error: Error) => error.message)),
    withdraw: (peer) => peer.configure(birdConfiguration(""))
  },
  gobgp: {
    start: async (world, namespace) => {
      const peer = await startGobgp(world, namespace, `
[global.config]
  as = 65002
  router-id = "10.255.0.2"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "192.0.2.1"
    peer-as = 65001
`)
      await peer.ask("global rib add 10.2.0.0/24")
      return peer
    },
    look: async (peer, prefix) => text(await peer.ask(`global rib ${prefix}`).catch((error: Error) => error.message)),
    withdraw: (peer) => peer.ask("global rib del 10.2.0.0/24")
  }
}

for (const [kind, { look, start, withdraw }] of Object.entries(kinds)) {
  const skip = needsRoot || missingPeers(kind as Peer["kind"])
  t.test(`weft with ${kind}`, { skip }, async (t) => {
    const weftd = await Weftd.start(`interop-${kind}`)
    t.teardown(() => weftd.close())
    const world = new World(`interop-${kind}`)
    t.teardown(() => world.close())
    const name = weftd.name(kind)
    const deploying = weftd.make(lab(name))
    // The deploy waits for the session, so the peer has to start meanwhile.
    const node = Netns.nodeName(name, "other")
    const isThere = (): boolean => Netns.owner(node) === weftd.instance && sh("ip", "-n", node, "addr").includes("192.0.2.2")
    await until("the peer's node is there", isThere)
    const netns = Netns.open(node)!
    t.teardown(() => Netns.close(netns))
    const peer = await start(world, { name: node, path: Netns.path(node), fd: netns.fd })
    t.teardown(() => peer.stop())
    await deploying
    const weft = async () => (await weftd.client.bgp(`${name}/weft`)).neighbors[0]!
    await until("the session is up", async () => (await weft()).state === "Established", patienceMs)
    const kernel = (): string => sh("ip", "-n", Netns.nodeName(name, "weft"), "route", "show", "proto", "95")

    t.test("what the peer announces is in the kernel", async (t) => {
      await until("the route", () => kernel().includes("10.2.0.0/24"))
      t.match(kernel(), /10\.2\.0\.0\/24.* via 192\.0\.2\.2 dev e/)
      t.match((await weftd.weft(["bgp", `${name}/weft`, "rib", "10.2.0.0/24"])).stdout, /65002\n/)
    })

    t.test("the peer has what weft announces, as the policy made it", async (t) => {
      await until("the route", async () => (await look(peer, "10.1.0.0/24")).includes("192.0.2.1"), patienceMs)
      const seen = await look(peer, "10.1.0.0/24")
      t.match(seen, /65001/)
      t.match(seen, /77/, "the metric")
      t.match(seen, /65001[:,] ?42|4259905578/, "the community")
    })

    t.test("refresh in both directions", async (t) => {
      await weftd.weft(["bgp", `${name}/weft`, "reset", "other", "soft"])
      t.equal((await weft()).state, "Established")
      t.match(kernel(), /10\.2\.0\.0\/24/)
    })

    t.test("a killed weftd comes back, and the peer's route was never missing", async (t) => {
      await weftd.kill()
      t.match(kernel(), /10\.2\.0\.0\/24/)
      await weftd.start()
      await until("the session is up", async () => (await weft().catch(() => undefined))?.state === "Established", patienceMs)
      await until("the restart is over", async () => !(await weftd.client.bgp(`${name}/weft`)).restarting, patienceMs)
      t.match(kernel(), /10\.2\.0\.0\/24/)
      await until("the peer has our route", async () => (await look(peer, "10.1.0.0/24")).includes("192.0.2.1"), patienceMs)
    })

    t.test("what the peer withdraws leaves the kernel", async (t) => {
      await withdraw(peer)
      await until("the route has gone", () => !kernel().includes("10.2.0.0/24"))
      t.equal((await weft()).state, "Established")
    })

    t.test("a reset is told in words", async (t) => {
      const before = (await weft()).establishedCount
      await weftd.weft(["bgp", `${name}/weft`, "reset", "other"])
      await until("it is back", async () => (await weft()).state === "Established" && (await weft()).establishedCount > before, patienceMs)
      t.match((await weftd.weft(["events", name])).stdout, /bgp\.down.*Administrative Reset/)
    })
  })
}
