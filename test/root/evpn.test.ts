/** EVPN between hosts: what one host knows of a network's stations, all know, without flooding. */
import t from "tap"
import type { EvpnNetwork, EvpnResponse, EvpnStation } from "../../ctl/messages.ts"
import { missingPeers, startFrr } from "./bgp-peers.ts"
import { Fleet } from "./fleet-harness.ts"
import { ipBatch, type Namespace, needsRoot, until, World } from "./harness.ts"

const topology = (name: string, where: Readonly<Record<string, string>> = {}) => ({
  name,
  nodes: {
    a: { kind: "host", host: where["a"] ?? "h1" },
    b: { kind: "host", host: where["b"] ?? "h2" },
    c: { kind: "router", host: where["c"] ?? "h3" }
  },
  networks: { lan: { cidr: "10.20.0.0/24", ports: ["a", "b", "c:lan"] } }
})

const evpnOf = (fleet: Fleet, host: number, lab = ""): Promise<EvpnResponse> => fleet.client(host).evpn(lab)

const networkOf = async (fleet: Fleet, host: number, lab: string): Promise<EvpnNetwork | undefined> =>
  (await evpnOf(fleet, host, lab)).networks[0]

const stationOf = async (fleet: Fleet, host: number, lab: string, mac: string): Promise<EvpnStation | undefined> =>
  (await networkOf(fleet, host, lab))?.stations.find((station) => station.mac === mac)

const settled = (fleet: Fleet, lab: string, stations: number, hosts = [1, 2, 3]): Promise<void> =>
  until(
    "every host knows every station",
    async () => {
      const counts = await Promise.all(hosts.map(async (host) => (await networkOf(fleet, host, lab))?.stations.length))
      return counts.every((count) => count === stations)
    },
    20_000
  )

/** Link-layer address of a node's interface. */
const macOf = async (fleet: Fleet, lab: string, node: string, ifname: string): Promise<string> =>
  JSON.parse((await fleet.inNode(lab, node, "ip", "-j", "link", "show", ifname)).stdout)[0].address

t.test("three hosts", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("evpn", { hosts: 3 })
  t.teardown(() => fleet.close())
  const lab = fleet.name("evpn")
  await fleet.make(topology(lab))

  await t.test("sessions, and ports of the plan", async (t) => {
    await settled(fleet, lab, 3)
    const view = await evpnOf(fleet, 1)
    t.strictSame(view.peers.map(({ asn, role, state }) => [role, asn, state]), [["h2", 64999, "Established"], ["h3", 64999, "Established"]])
    const [network] = view.networks
    t.strictSame(network!.floods, [fleet.address(2), fleet.address(3)])
    t.strictSame(
      network!.stations.map(({ addresses, sequence, vtep }) => [addresses, sequence, vtep]).toSorted(),
      [[["10.20.0.1"], 0, ""], [["10.20.0.2"], 0, fleet.address(2)], [["10.20.0.3"], 0, fleet.address(3)]]
    )
    const shown = await fleet.weft(1, ["evpn", lab])
    t.match(shown, { code: 0, stdout: /h2 +10\.99\.0\.2 +64999 +Established/ })
    t.match(shown.stdout, /lan: VNI \d+, RD 10\.99\.0\.1:\d+, floods to 10\.99\.0\.2, 10\.99\.0\.3/)
  })

  await t.test("nothing is flooded to find out who is where", async (t) => {
    const heard = async (): Promise<number> =>
      JSON.parse((await fleet.inNode(lab, "c", "ip", "-j", "-s", "link", "show", "lan")).stdout)[0].stats64.rx.packets
    await until("c is quiet", async () => {
      const before = await heard()
      await new Promise((next) => setTimeout(next, 300))
      return (await heard()) === before
    }, 20_000)
    const [before, answered] = [await heard(), Number((await networkOf(fleet, 1, lab))!.answered)]
    t.ok(await fleet.pings(lab, "a", "10.20.0.2"))
    t.equal(await heard(), before, "c hears neither the request nor the echo")
    t.equal(Number((await networkOf(fleet, 1, lab))!.answered), answered + 1, "ARP was answered by the host that was asked")
    t.notOk(await fleet.pings(lab, "a", "10.20.0.99"))
    t.ok((await heard()) > before, "who is not known is asked for as ever")
  })

  const guest = "02:00:00:00:77:01"
  /** What a machine behind a node sends. */
  const speak = (node: string, ifname = "eth0") =>
    fleet.inNode(lab, node, "/usr/bin/python3", "-c", [
      "import socket",
      "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
      `s.bind(("${ifname}", 0))`,
      `s.send(b"\\xff" * 6 + bytes.fromhex("${guest.replaceAll(":", "")}") + b"\\x88\\xb5" + bytes(46))`
    ].join("\n"))
  const isAt = (host: number, vtep: number, sequence: number) => async () => {
    const station = await stationOf(fleet, host, lab, guest)
    return station?.vtep === (host === vtep ? "" : fleet.address(vtep)) && station.sequence === sequence
  }
  const everywhere = (vtep: number, sequence: number) => async () =>
    (await Promise.all([1, 2, 3].map((host) => isAt(host, vtep, sequence)()))).every(Boolean)

  await t.test("a station that no plan has is learnt and announced, and followed when it moves", async (t) => {
    await speak("b")
    await until("all know that it is on h2", everywhere(2, 0))
    for (const [node, ifname, host, sequence] of [["a", "eth0", 1, 1], ["c", "lan", 3, 2], ["b", "eth0", 2, 3]] as const) {
      await speak(node, ifname)
      await until(`all know that it is on h${host} now`, everywhere(host, sequence), 1000)
    }
    const events = (await fleet.weft(3, ["events", lab, "-o", "json"])).stdout
    t.match(events, /02:00:00:00:77:01 in lan has moved from h1 to h3 \(sequence number 2\)/)
  })

  await t.test("a duplicate is left alone", async (t) => {
    for (let i = 0; i < 12; i++) {
      await speak(i % 2 === 0 ? "a" : "b")
      await until("somebody has noticed", async () => (await stationOf(fleet, 1, lab, guest)) !== undefined)
      await new Promise((next) => setTimeout(next, 250))
    }
    await until("it is frozen on both hosts", async () => {
      const stations = await Promise.all([1, 2].map((host) => stationOf(fleet, host, lab, guest)))
      return stations.some((station) => station?.frozen)
    })
    t.match((await fleet.weft(1, ["events", lab])).stdout, /in two places/)
    const shown = await Promise.all([1, 2].map((host) => fleet.weft(host, ["evpn", lab])))
    t.match(shown.map(({ stdout }) => stdout).join(""), /02:00:00:00:77:01 .* duplicate/)
  })

  await t.test("losing it cuts nothing", async (t) => {
    await fleet.kill(2)
    await until("h1 has lost its session", async () => (await evpnOf(fleet, 1)).peers.find(({ role }) => role === "h2")!.state !== "Established", 40_000)
    t.ok(await fleet.pings(lab, "a", "10.20.0.2"), "a reaches b, whose host has no daemon")
    t.ok(await fleet.pings(lab, "b", "10.20.0.3"))
    await fleet.restart(2)
    await until("h1 has its session again", async () => (await evpnOf(fleet, 1)).peers.every(({ state }) => state === "Established"), 40_000)
    await until("and knows b", async () => (await networkOf(fleet, 1, lab))!.stations.some(({ addresses }) => addresses[0] === "10.20.0.2"), 10_000)
    t.ok(await fleet.pings(lab, "a", "10.20.0.2"))
  })

  await t.test("a lab that goes is forgotten", async (t) => {
    await fleet.destroy(lab)
    await until("no host has a network", async () => {
      const views = await Promise.all([1, 2, 3].map((host) => evpnOf(fleet, host)))
      return views.every(({ networks, peers }) => networks.length === 0 && peers.every(({ received }) => received === 0))
    })
  })
})

/** A router with FRR that is no weft: a bridge with a VXLAN device on the underlay, and a station of its own behind it. */
const leafAddress = "10.99.0.50"
const tenantAddress = "10.20.0.50/24"

const plugIn = (fleet: Fleet, world: World, name: string, address: string): Namespace => {
  const namespace = world.namespace(name)
  ipBatch(fleet.underlayNetns, [
    `link add ${name} type veth peer name eth0 netns ${namespace.name}`,
    `link set ${name} master br0 up`
  ])
  ipBatch(namespace, ["link set eth0 up", `address add ${address}/24 dev eth0`])
  return namespace
}

const bridgeTo = (world: World, leaf: Namespace, vni: number): Namespace => {
  const tenant = world.namespace("tenant")
  ipBatch(leaf, [
    "link add lan type bridge",
    "link set lan up",
    `link add vx1 type vxlan id ${vni} local ${leafAddress} dstport 4789 nolearning`,
    "link set vx1 master lan up",
    `link add tenant type veth peer name eth0 netns ${tenant.name}`,
    "link set tenant master lan up"
  ])
  ipBatch(tenant, ["link set eth0 up", `address add ${tenantAddress} dev eth0`])
  return tenant
}

t.test("a leaf of FRR joins", { skip: needsRoot || missingPeers("frr") }, async (t) => {
  const words = (host: number) => (host === 1 ? ["--evpn-peer", `${leafAddress}:65050`] : [])
  const fleet = await Fleet.start("evpnleaf", { hosts: 2, words })
  const world = new World("evpnleaf-frr")
  t.teardown(async () => {
    world.close()
    await fleet.close()
  })
  const lab = fleet.name("leaf")
  await fleet.make(topology(lab, { c: "h2" }))
  await settled(fleet, lab, 3, [1, 2])
  const { vni } = (await networkOf(fleet, 1, lab))!

  const leaf = plugIn(fleet, world, "leaf", leafAddress)
  const tenant = bridgeTo(world, leaf, vni)
  const frr = await startFrr(
    world,
    leaf,
    [
      "router bgp 65050",
      ` bgp router-id ${leafAddress}`,
      " no bgp ebgp-requires-policy",
      " no bgp default ipv4-unicast",
      ` neighbor ${fleet.address(1)} remote-as 64999`,
      " address-family l2vpn evpn",
      `  neighbor ${fleet.address(1)} activate`,
      "  advertise-all-vni"
    ].join("\n")
  )
  t.teardown(() => frr.stop())
  await until("the leaf is a VTEP of the network on both hosts", async () => {
    const [one, two] = await Promise.all([networkOf(fleet, 1, lab), networkOf(fleet, 2, lab)])
    return one!.floods.includes(leafAddress) && two!.floods.includes(leafAddress)
  }, 30_000)
  const tenantMac = JSON.parse((await world.run(tenant, ["ip", "-j", "link", "show", "eth0"])).stdout)[0].address as string
  const pings = async (address: string) => (await world.run(tenant, ["ping", "-c", "1", "-W", "2", address])).code === 0
  await until("the leaf's station reaches a node on the host that it has no session with", () => pings("10.20.0.2"), 15_000)
  t.ok(await pings("10.20.0.1"), "and one on the other host")
  t.ok(await fleet.pings(lab, "a", "10.20.0.50"), "and back")
  await until("its address is known on both hosts", async () => {
    const stations = await Promise.all([1, 2].map((host) => stationOf(fleet, host, lab, tenantMac)))
    return stations.every((station) => station?.vtep === leafAddress)
  }, 15_000)
  const macs = (await frr.ask(`show evpn mac vni ${vni} json`)) as { macs: Record<string, { type: string; remoteVtep?: string }> }
  const [a, b] = await Promise.all([macOf(fleet, lab, "a", "eth0"), macOf(fleet, lab, "b", "eth0")])
  t.match(macs.macs[a], { type: "remote", remoteVtep: fleet.address(1) }, "FRR has the nodes' addresses")
  t.match(macs.macs[b], { type: "remote", remoteVtep: fleet.address(2) }, "each with its own host")
  t.equal((await fleet.make(topology(lab, { c: "h2" }))).changed, 0, "a tunnel that nobody planned is no difference")

  await frr.stop()
  await until("without its route the tunnel goes", async () => {
    const [one, two] = await Promise.all([networkOf(fleet, 1, lab), networkOf(fleet, 2, lab)])
    return !one!.floods.includes(leafAddress) && !two!.floods.includes(leafAddress)
  }, 30_000)
  t.notOk(await pings("10.20.0.1"), "and the leaf is not heard any more")
  t.ok(await fleet.pings(lab, "a", "10.20.0.2"), "the lab goes on")
})
