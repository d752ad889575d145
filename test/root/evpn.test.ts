/** EVPN between hosts: what one host knows of a network's stations, all know, without flooding. */
import t from "tap"
import { evpnOf, networkOf, settled, stationOf, topology } from "./evpn-harness.ts"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"

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
    })
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
    const times: Array<number> = []
    for (const [node, ifname, host, sequence] of [["a", "eth0", 1, 1], ["c", "lan", 3, 2], ["b", "eth0", 2, 3]] as const) {
      await speak(node, ifname)
      const spoken = performance.now()
      await until(`all know that it is on h${host} now`, everywhere(host, sequence))
      times.push(performance.now() - spoken)
    }
    t.ok(Math.min(...times) < 3000, "at once: a busy machine may be late for one move, not for all", { times })
    const events = (await fleet.weft(3, ["events", lab, "-o", "json"])).stdout
    t.match(events, /02:00:00:00:77:01 in lan has moved from h1 to h3 \(sequence number 2\)/)
  })

  await t.test("a duplicate is left alone", async (t) => {
    const isFrozen = async () =>
      (await Promise.all([1, 2].map((host) => stationOf(fleet, host, lab, guest)))).some((station) => station?.frozen)
    for (let i = 0; i < 12 && !(await isFrozen()); i++) {
      const [node, host] = i % 2 === 0 ? (["a", 1] as const) : (["b", 2] as const)
      await speak(node)
      const other = 3 - host
      // A move is one only when the other host has heard of it.
      const isHeard = async () => (await stationOf(fleet, other, lab, guest))?.vtep === fleet.address(host)
      await until(`the other host knows that it is on h${host}`, async () => (await isHeard()) || (await isFrozen()))
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
    const isUp = async () => (await evpnOf(fleet, 1)).peers.every(({ state }) => state === "Established")
    await until("h1 has lost its session", async () => !(await isUp()), 120_000)
    t.ok(await fleet.pings(lab, "a", "10.20.0.2"), "a reaches b, whose host has no daemon")
    t.ok(await fleet.pings(lab, "b", "10.20.0.3"))
    await fleet.restart(2)
    await until("h1 has its session again", isUp, 120_000)
    const knowsB = async () => (await networkOf(fleet, 1, lab))!.stations.some(({ addresses }) => addresses[0] === "10.20.0.2")
    await until("and knows b", knowsB)
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
