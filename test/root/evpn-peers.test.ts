/** EVPN with others: a leaf of FRR joins a lab's network, and reflectors of FRR and GoBGP stand in for the full mesh. */
import t from "tap"
import { missingPeers, type Peer, startFrr, startGobgp } from "./bgp-peers.ts"
import { evpnOf, macOf, networkOf, settled, stationOf, topology } from "./evpn-harness.ts"
import { Fleet } from "./fleet-harness.ts"
import { ipBatch, type Namespace, needsRoot, until, World } from "./harness.ts"

const leafAddress = "10.99.0.50"
const tenantAddress = "10.20.0.50/24"

/** Never the lowest of a bridge's ports: that is the bridge's own address, which etcd has in the underlay. */
const portMac = "fe:ff:00:00:00:01"

const plugIn = (fleet: Fleet, world: World, name: string, address: string): Namespace => {
  const namespace = world.namespace(name)
  ipBatch(fleet.underlayNetns, [
    `link add ${name} address ${portMac} type veth peer name eth0 netns ${namespace.name}`,
    `link set ${name} master br0 up`
  ])
  ipBatch(namespace, ["link set eth0 up", `address add ${address}/24 dev eth0`])
  return namespace
}

/** Makes of the namespace what a leaf is: a bridge with a VXLAN device on the underlay, and a station of its own behind it. */
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

/** Behind the router `c` of the network: a link to `d`, and what a static route has behind that. */
const routed = (lab: string) => {
  const { networks, nodes } = topology(lab, { c: "h2" })
  return {
    name: lab,
    networks,
    nodes: {
      ...nodes,
      c: { ...nodes.c, routes: [{ to: "10.40.0.0/16", via: "d" }] },
      d: { kind: "router", host: "h2", routes: [{ to: "default", via: "c" }] }
    },
    links: [{ endpoints: ["c:back", "d:back"], cidr: "10.30.0.0/30" }]
  }
}

/** Routes of type 5 that FRR has, with all that it says of each, by prefix. */
const prefixesOf = async (frr: Peer): Promise<Readonly<Record<string, string>>> => {
  const byRd = (await frr.ask("show bgp l2vpn evpn route type prefix json")) as Record<string, Record<string, unknown>>
  const routes = Object.values(byRd).flatMap((one) => (typeof one === "object" ? Object.entries(one) : []))
  return Object.fromEntries(routes.filter(([name]) => name.startsWith("[5]")).map(([name, route]) => [name, JSON.stringify(route)]))
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
  await fleet.make(routed(lab))
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
  }, 120_000)
  const tenantMac = JSON.parse((await world.run(tenant, ["ip", "-j", "link", "show", "eth0"])).stdout)[0].address as string
  const pings = async (address: string) => (await world.run(tenant, ["ping", "-c", "1", "-W", "2", address])).code === 0
  await until("the leaf's station reaches a node on the host that it has no session with", () => pings("10.20.0.2"))
  t.ok(await pings("10.20.0.1"), "and one on the other host")
  t.ok(await fleet.pings(lab, "a", "10.20.0.50"), "and back")
  await until("its address is known on both hosts", async () => {
    const stations = await Promise.all([1, 2].map((host) => stationOf(fleet, host, lab, tenantMac)))
    return stations.every((station) => station?.vtep === leafAddress)
  })
  const macs = (await frr.ask(`show evpn mac vni ${vni} json`)) as { macs: Record<string, { type: string; remoteVtep?: string }> }
  const [a, b] = await Promise.all([macOf(fleet, lab, "a", "eth0"), macOf(fleet, lab, "b", "eth0")])
  t.match(macs.macs[a], { type: "remote", remoteVtep: fleet.address(1) }, "FRR has the nodes' addresses")
  t.match(macs.macs[b], { type: "remote", remoteVtep: fleet.address(2) }, "each with its own host")
  t.equal((await fleet.make(routed(lab))).changed, 0, "a tunnel that nobody planned is no difference")

  await t.test("what is behind a router of the network", async (t) => {
    const keys = ["[5]:[0]:[16]:[10.40.0.0]", "[5]:[0]:[30]:[10.30.0.0]"]
    const arePrefixes = (wanted: ReadonlyArray<string>) => async () =>
      JSON.stringify(Object.keys(await prefixesOf(frr)).toSorted()) === JSON.stringify(wanted)
    await until("FRR has both prefixes", arePrefixes(keys))
    for (const route of Object.values(await prefixesOf(frr))) {
      t.match(route, `RT:64999:${0x4000_0000 + vni} ET:8`, "in a target of their own, VXLAN")
      t.match(route, `"ip":"${fleet.address(2)}"`, "from the router's host")
    }
    const fdb = (await world.run(leaf, ["bridge", "-j", "fdb", "show", "dev", "vx1"])).stdout
    t.strictSame(
      [...new Set((JSON.parse(fdb) as ReadonlyArray<{ dst?: string }>).flatMap(({ dst }) => dst ?? []))].toSorted(),
      [fleet.address(1), fleet.address(2)],
      "FRR takes no prefix for a tunnel's end"
    )
    const { prefixes } = await evpnOf(fleet, 1, lab)
    const found = prefixes.map(({ at, gateway, mac, network, prefix, vtep }) => ({ at, gateway, mac, network, prefix, vtep }))
    const [mac, vtep] = [await macOf(fleet, lab, "c", "lan"), fleet.address(2)]
    const by = { at: vtep, gateway: "10.20.0.3", mac, network: `${lab}/lan`, vtep }
    t.strictSame(found, [{ ...by, prefix: "10.30.0.0/30" }, { ...by, prefix: "10.40.0.0/16" }], "h1 resolves the gateway to c on h2")
    t.match((await fleet.weft(1, ["evpn", lab])).stdout, new RegExp(`10\\.30\\.0\\.0/30 .*10\\.20\\.0\\.3 +${mac} at ${vtep}`))
    const d = JSON.parse((await fleet.inNode(lab, "d", "ip", "-j", "-4", "address", "show", "back")).stdout)[0].addr_info[0].local as string
    await world.run(tenant, ["ip", "route", "add", "10.30.0.0/30", "via", by.gateway])
    t.ok(await pings(d), "the leaf's station reaches what is behind the router by the gateway that was announced")

    t.match(await fleet.weft(1, ["inject", "node-crash", `${lab}/c`]), { code: 0 })
    await until("the router has no power: its prefixes are gone", arePrefixes([]))
    t.match(await fleet.weft(1, ["heal", `${lab}/f1`]), { code: 0 })
    await until("it has booted: they are back", arePrefixes(keys))
    await fleet.make(topology(lab, { c: "h2" }))
    await until("nothing is behind it any more", arePrefixes([]))
  })

  await t.test("prefixes of the leaf's own routing table, without a gateway: passed on and shown, and in no node", async (t) => {
    const l3vni = 4100
    ipBatch(leaf, [
      "link add br9 type bridge",
      `link add vx9 type vxlan id ${l3vni} local ${leafAddress} dstport 4789 nolearning`,
      "link set vx9 master br9 up",
      "link set br9 up"
    ])
    await frr.configure([
      `vni ${l3vni}`, "router bgp 65050", "no bgp network import-check", "address-family ipv4 unicast", "network 10.77.0.0/16",
      "exit-address-family", "address-family l2vpn evpn", "advertise ipv4 unicast"
    ].join("\n"))
    const shown = async (host: number) =>
      (await evpnOf(fleet, host, lab)).prefixes.map(({ at, gateway, mac, network, prefix, vni: of, vtep }) =>
        ({ at, gateway, mac, network, prefix, vni: of, vtep })).filter(({ prefix }) => prefix === "10.77.0.0/16")
    await until("both hosts have it", async () => (await shown(1)).length + (await shown(2)).length === 2, 60_000)
    const wanted = [{ at: "", gateway: "0.0.0.0", mac: "", network: "", prefix: "10.77.0.0/16", vni: l3vni, vtep: leafAddress }]
    t.strictSame(await shown(1), wanted)
    t.strictSame(await shown(2), wanted, "passed on as it came")
    t.equal((await fleet.inNode(lab, "a", "ip", "route", "show", "10.77.0.0/16")).stdout, "")
  })

  await frr.stop()
  await until("without its route the tunnel goes", async () => {
    const [one, two] = await Promise.all([networkOf(fleet, 1, lab), networkOf(fleet, 2, lab)])
    return !one!.floods.includes(leafAddress) && !two!.floods.includes(leafAddress)
  }, 120_000)
  t.notOk(await pings("10.20.0.1"), "and the leaf is not heard any more")
  t.ok(await fleet.pings(lab, "a", "10.20.0.2"), "the lab goes on")
})

/** Joins the namespace `rr` to the underlay at this address. */
const plugReflector = (fleet: Fleet, world: World, address: string): Namespace => {
  const namespace = world.namespace("rr", { ipv6: true })
  const [length, flags] = address.includes(":") ? [64, "nodad"] : [24, ""]
  ipBatch(fleet.underlayNetns, [
    `link add rr address ${portMac} type veth peer name eth0 netns ${namespace.name}`,
    "link set rr master br0 up"
  ])
  ipBatch(namespace, ["link set eth0 up", `address add ${address}/${length} dev eth0 ${flags}`])
  return namespace
}

/** FRR, for VTEPs with IPv4 addresses: of others it refuses routes of type 3 (8.4: bgpd/bgp_attr.c, bgp_attr_pmsi_tunnel). */
const frrReflector = (world: World, namespace: Namespace): Promise<Peer> =>
  startFrr(
    world,
    namespace,
    [
      "router bgp 64999",
      " bgp router-id 10.99.0.51",
      " no bgp default ipv4-unicast",
      " neighbor hosts peer-group",
      " neighbor hosts remote-as 64999",
      " bgp listen range 10.99.0.0/24 peer-group hosts",
      " address-family l2vpn evpn",
      "  neighbor hosts activate",
      "  neighbor hosts route-reflector-client"
    ].join("\n")
  )

const gobgpReflector = (world: World, namespace: Namespace, clients: ReadonlyArray<string>): Promise<Peer> =>
  startGobgp(
    world,
    namespace,
    [
      '[global.config]\nas = 64999\nrouter-id = "10.99.0.51"',
      ...clients.map((address) =>
        [
          `[[neighbors]]\n[neighbors.config]\nneighbor-address = "${address}"\npeer-as = 64999`,
          "[neighbors.transport.config]\npassive-mode = true",
          '[neighbors.route-reflector.config]\nroute-reflector-client = true\nroute-reflector-cluster-id = "10.99.0.51"',
          '[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = "l2vpn-evpn"'
        ].join("\n")
      )
    ].join("\n")
  )

for (const { address, kind, underlay } of [
  { kind: "frr", underlay: "ipv4", address: "10.99.0.51" },
  { kind: "gobgp", underlay: "ipv6", address: "fd99::51" }
] as const) {
  t.test(`${kind} reflects, over ${underlay}`, { skip: needsRoot || missingPeers(kind) }, async (t) => {
    const fleet = await Fleet.start(`evpn${kind}`, { hosts: 3, underlay, words: () => ["--evpn-rr", address] })
    const world = new World(`evpn${kind}-rr`)
    t.teardown(async () => {
      world.close()
      await fleet.close()
    })
    const lab = fleet.name("rr")
    await fleet.make(topology(lab))
    t.ok(await fleet.pings(lab, "a", "10.20.0.2"), "without the reflector hosts flood and learn")
    const namespace = plugReflector(fleet, world, address)
    const hosts = [1, 2, 3].map((host) => fleet.address(host))
    const peer = await (kind === "frr" ? frrReflector(world, namespace) : gobgpReflector(world, namespace, hosts))
    t.teardown(() => peer.stop())
    await settled(fleet, lab, 3)
    const view = await evpnOf(fleet, 1, lab)
    t.strictSame(view.peers.map(({ address, role, state }) => [address, role, state]), [[address, "reflector", "Established"]])
    t.strictSame(view.networks[0]!.floods, hosts.slice(1), "each host's routes came through it, next hops as they were")
    t.ok(await fleet.pings(lab, "a", "10.20.0.3"))
    await peer.stop(true)
    await until("h1 has lost it", async () => (await evpnOf(fleet, 1)).peers[0]!.state !== "Established", 120_000)
    t.ok(await fleet.pings(lab, "b", "10.20.0.3"), "and without it again")
  })
}

/** Says hello as AS 65051, sends the UPDATEs of its arguments and prints what the NOTIFICATION says that answers the last. */
const rudePeer = `
import socket, struct, sys
def message(kind, body): return b"\\xff" * 16 + struct.pack(">HB", 19 + len(body), kind) + body
capabilities = bytes([1, 4, 0, 25, 0, 70, 65, 4]) + struct.pack(">I", 65051)
s = socket.create_connection((sys.argv[1], 179), timeout=10, source_address=(sys.argv[2], 0))
hello = struct.pack(">BHH4sBBB", 4, 65051, 90, b"\\x0a\\x63\\0\\x34", len(capabilities) + 2, 2, len(capabilities))
s.sendall(message(1, hello + capabilities))
s.sendall(message(4, b""))
for nlri in sys.argv[3:]:
    nlri = bytes.fromhex(nlri)
    reach = bytes.fromhex("001946040a63003400") + nlri
    attributes = bytes.fromhex("4001010040020602010000fe1b") + bytes([0x80, 14, len(reach)]) + reach
    s.sendall(message(2, struct.pack(">HH", 0, len(attributes)) + attributes))
stream = s.makefile("rb")
while True:
    header = stream.read(19)
    if len(header) < 19: break
    length, kind = struct.unpack(">HB", header[16:])
    body = stream.read(length - 19)
    if kind == 3: print(body.hex())
`

t.test("a peer that sends rubbish", { skip: needsRoot }, async (t) => {
  const address = "10.99.0.52"
  const fleet = await Fleet.start("evpnrude", { hosts: 1, words: () => ["--evpn-peer", `${address}:65051`] })
  const world = new World("evpnrude-peer")
  t.teardown(async () => {
    world.close()
    await fleet.close()
  })
  const rude = plugIn(fleet, world, "rude", address)
  const send = async (...nlri: ReadonlyArray<string>) =>
    (await world.run(rude, ["/usr/bin/python3", "-c", rudePeer, fleet.address(1), address, ...nlri])).stdout.trim()
  const rd = "0001 0a630034 0001".replaceAll(" ", "")
  const multicast = `0311${rd}00000000200a630034`
  const badMac = `0221${rd}${"00".repeat(10)}00000000 28 020000007701 00 000064`.replaceAll(" ", "")
  const notified = await send(multicast, `0908${rd}`, badMac)
  t.match(notified, /^03(09|0a)/, "a route of an unknown type is passed over, one that cannot be read ends the session")
  const view = await evpnOf(fleet, 1)
  t.equal(view.unknown, 1)
  t.equal(view.peers[0]!.received, 0, "its routes have gone with it")
  t.match(view.peers[0]!.lastError, /UPDATE Message Error/)
  t.equal((await fleet.weft(1, ["hosts"])).code, 0, "nothing else has happened")
})
