/** The peers of the interoperation tests themselves: each starts, speaks with another and stops. */
import { existsSync } from "node:fs"
import t, { type Test } from "tap"
import { missingPeers, type Peer, startBird, startExabgp, startFrr, startGobgp } from "./bgp-peers.ts"
import { ipBatch, needsRoot, until, World } from "./harness.ts"

const patienceMs = 120_000

/** Two nodes with a link: 10.0.0.1 and 10.0.0.2. */
const pair = (label: string): readonly [World, ReturnType<World["namespace"]>, ReturnType<World["namespace"]>] => {
  const world = new World(label)
  const one = world.namespace("one", { ipv6: true })
  const two = world.namespace("two", { ipv6: true })
  ipBatch(one, [`link add eth0 type veth peer name eth0 netns ${two.name}`, "addr add 10.0.0.1/24 dev eth0", "link set eth0 up"])
  ipBatch(two, ["addr add 10.0.0.2/24 dev eth0", "link set eth0 up"])
  return [world, one, two]
}

const stopAll = async (t: Test, peers: ReadonlyArray<Peer>): Promise<void> => {
  for (const peer of peers) {
    await peer.stop()
    t.notOk(existsSync(peer.directory), `${peer.kind} leaves nothing`)
  }
}

t.test("FRR and BIRD", { skip: needsRoot || missingPeers("frr", "bird"), timeout: 600_000 }, async (t) => {
  const [world, one, two] = pair("peers1")
  t.teardown(() => world.close())
  const frr = await startFrr(world, one, [
    "router bgp 65001", " bgp router-id 1.1.1.1", " no bgp ebgp-requires-policy", " neighbor 10.0.0.2 remote-as 65002",
    " neighbor 10.0.0.2 timers connect 1", " address-family ipv4 unicast", "  network 192.0.2.0/24", " exit-address-family",
    "ip route 192.0.2.0/24 blackhole"
  ].join("\n"))
  const bird = await startBird(world, two, `
    router id 2.2.2.2;
    protocol device {}
    protocol bgp peer { local 10.0.0.2 as 65002; neighbor 10.0.0.1 as 65001; ipv4 { import all; export all; }; }`)
  await until("BIRD has FRR's route", async () => /192\.0\.2\.0\/24/.test(String(await bird.ask("show route all"))), patienceMs)
  t.match(await frr.ask("show bgp summary json"), { ipv4Unicast: { peers: { "10.0.0.2": { state: "Established" } } } })
  await frr.configure("router bgp 65001\n address-family ipv4 unicast\n  network 198.51.100.0/24\nip route 198.51.100.0/24 blackhole")
  await until("BIRD has the new route", async () => /198\.51\.100\.0\/24/.test(String(await bird.ask("show route"))), patienceMs)
  await t.rejects(frr.ask("show nonsense"), { message: /Unknown command/ })
  await stopAll(t, [frr, bird])
})

t.test("GoBGP and ExaBGP", { skip: needsRoot || missingPeers("gobgp", "exabgp"), timeout: 600_000 }, async (t) => {
  const [world, one, two] = pair("peers2")
  t.teardown(() => world.close())
  const gobgp = await startGobgp(world, one, `
    [global.config]
      as = 65001
      router-id = "1.1.1.1"
    [[neighbors]]
      [neighbors.config]
        neighbor-address = "10.0.0.2"
        peer-as = 65002
      [neighbors.transport.config]
        passive-mode = true
  `)
  const exabgp = await startExabgp(world, two, `neighbor 10.0.0.1 {
    router-id 2.2.2.2; local-address 10.0.0.2; local-as 65002; peer-as 65001; family { ipv4 unicast; }
  }`)
  const state = async (): Promise<unknown> => ((await gobgp.ask("neighbor -j")) as any)[0]?.state?.session_state
  await until("the session is up", async () => (await state()) === 6, patienceMs)
  await exabgp.ask("announce route 192.0.2.0/24 next-hop 10.0.0.2")
  await until("GoBGP has the route", async () => /192\.0\.2\.0\/24/.test(JSON.stringify(await gobgp.ask("global rib -j"))), patienceMs)
  await gobgp.ask("global rib add 198.51.100.0/24")
  await until("ExaBGP tells of the route", async () => /198\.51\.100\.0\/24/.test(JSON.stringify(await exabgp.ask("events"))), patienceMs)
  await stopAll(t, [gobgp, exabgp])
})
