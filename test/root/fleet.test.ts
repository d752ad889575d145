/** One lab over three hosts, used from any of them: commands, captures, live changes, a cut underlay, a drained host. */
import { once } from "node:events"
import { text } from "node:stream/consumers"
import { setTimeout as wait } from "node:timers/promises"
import t, { type Test } from "tap"
import { run, Connection, type TopologyObject } from "./daemon-harness.ts"
import { Fleet, placementOf } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"

interface Variant {
  /** Of the wire between a and b. */
  readonly link?: Readonly<Record<string, unknown>>
  readonly top?: Readonly<Record<string, unknown>>
}

/** a, b and c on a host each, on one network; a and b also on a wire. `free` goes where the fleet wants. */
const small = (name: string, { link = {}, top = {} }: Variant = {}): TopologyObject => ({
  name,
  ...top,
  nodes: {
    a: { kind: "host", host: "h1" },
    b: { kind: "host", host: "h2" },
    c: { kind: "host", host: "h3" },
    free: { kind: "host" }
  },
  networks: { lan: { cidr: "10.1.0.0/24", ports: ["a", "b", "c", "free"] } },
  links: [{ name: "wire", endpoints: ["a:wire", "b:wire"], cidr: "10.2.0.0/30", ...link }]
})

const addresses = { a: "10.1.0.1", b: "10.1.0.2", c: "10.1.0.3", free: "10.1.0.4" } as const

t.test("a lab over three hosts", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("fleet", { hosts: 3 })
  t.teardown(() => fleet.close())
  const lab = fleet.name("lab")
  await fleet.make(small(lab))

  t.test("any daemon knows all of it", async (t) => {
    for (const via of [1, 2, 3]) {
      const [one] = await fleet.client(via).list()
      t.match(one, { name: lab, state: "ready", nodes: 4 })
      const inspected = await fleet.inspect(lab, via)
      t.match(placementOf(inspected), { a: "h1", b: "h2", c: "h3" })
      t.same(inspected.nodes.filter(({ state }) => state !== "ready").map(({ name }) => name), [])
      t.same(inspected.unreachable, [])
      const between = new Set(inspected.tunnels.map(({ host, peer }) => `${host} ${peer}`))
      t.same([...between].sort(), ["h1 h2", "h1 h3", "h2 h1", "h2 h3", "h3 h1", "h3 h2"], "both ends of each tunnel")
      t.equal((await fleet.weft(via, ["hosts"])).code, 0)
    }
  })

  t.test("commands run where the node is", async (t) => {
    for (const via of [1, 2, 3]) {
      for (const [node, address] of Object.entries(addresses)) {
        const shown = await fleet.weft(via, ["exec", node, "--", "ip", "-4", "-o", "address", "show", "dev", "eth0"])
        t.match(shown.stdout, `${address}/24`, `${node} through h${via}`)
      }
      t.equal((await fleet.weft(via, ["exec", "b", "--", "sh", "-c", "exit 7"])).code, 7)
      const echoed = await fleet.weft(via, ["exec", "-i", "c", "--", "cat"], { input: "through\n" })
      t.equal(echoed.stdout, "through\n")
    }
    t.match((await fleet.weft(1, ["exec", "nobody", "--", "true"])).stderr, /nobody/)
  })

  t.test("captures come from where the port is", async (t) => {
    for (const via of [1, 2, 3]) {
      const capturing = fleet.weft(via, ["capture", "b:eth0", "--filter", "icmp", "--count", "2", "--duration", "120s"])
      let ended = false
      void capturing.then(() => (ended = true))
      await until("the capture has two packets", async () => ended || ((await fleet.pings(lab, "a", addresses.b)) && ended))
      const { code, stderr, stdout } = await capturing
      t.equal(code, 0, stderr)
      t.match(stdout, /10\.1\.0\.1 > 10\.1\.0\.2.*ICMP|ICMP.*10\.1\.0\.1/, `through h${via}`)
    }
  })

  t.test("a profile changes under a connection over the tunnel", (t) => profileChanges(t, fleet, lab))
  t.test("a cut underlay", (t) => underlayCut(t, fleet, lab))
  t.test("a daemon that is killed leaves the lab forwarding, and takes it up again", async (t) => {
    const connection = await Connection.open(fleet.weftd(1), lab, "a", "b", addresses.b)
    await fleet.kill(2)
    t.ok(await connection.exchange("without h2's daemon"))
    const without = await fleet.inspect(lab, 1)
    t.match(without.unreachable.join(), /h2/, "inspect says whom it could not ask")
    await fleet.restart(2)
    t.ok(await connection.exchange("with it"))
    await until("h2 is back in the whole", async () => (await fleet.inspect(lab, 1)).unreachable.length === 0)
    t.same((await fleet.inspect(lab, 1)).drift, [])
  })
  t.test("a host is drained under traffic", (t) => drained(t, fleet, lab))
  await t.test("destroying it leaves nothing", async (t) => {
    const { changed, message } = await fleet.destroy(lab, 3)
    t.ok(changed > 0, message)
    for (const host of [1, 2, 3]) t.same(await fleet.client(host).list(), [])
  })
})

/** iperf3 over the wire, while its profile comes, changes and goes. */
const profileChanges = async (t: Test, fleet: Fleet, lab: string): Promise<void> => {
  const server = fleet.weftd(2).startIn(lab, "b", ["iperf3", "-s", "-1", "--forceflush"])
  await once(server.stdout!, "data")
  // For as long as it takes: it is interrupted at the end.
  const client = fleet.weftd(1).startIn(lab, "a", ["iperf3", "-c", "10.2.0.2", "-t", "300", "-i", "1", "-J"])
  const measured = text(client.stdout!)
  const rtt = async (): Promise<number> => {
    const { stdout } = await fleet.inNode(lab, "a", "ping", "-c", "1", "-W", "2", "10.2.0.2")
    return Number(/time=([\d.]+)/.exec(stdout)?.[1] ?? -1)
  }
  await wait(1000)
  await fleet.make(small(lab, { link: { delay: "15ms", rate: "50mbit" } }), 3)
  await until("the delay is felt", async () => (await rtt()) > 29)
  await wait(1500)
  await fleet.make(small(lab, { link: { delay: "3ms" } }), 2)
  await wait(1500)
  await fleet.make(small(lab), 1)
  await until("and gone", async () => {
    const now = await rtt()
    return now > 0 && now < 3
  })
  await wait(2500)
  client.kill("SIGINT")
  const { error, intervals } = JSON.parse(await measured) as {
    readonly error: string
    readonly intervals: ReadonlyArray<{ readonly sum: { readonly bits_per_second: number } }>
  }
  t.match(error, /^interrupt/, "it has not ended by itself")
  const rates = intervals.map(({ sum }) => sum.bits_per_second / 1e6)
  t.ok(rates.at(-1)! > 100, "the same connection goes on at full speed", { rates })
  t.ok(Math.min(...rates) < 100, "and was slow meanwhile", { rates })
}

/** Without the underlay frames stop; with it they go on, and nobody has to do anything. */
const underlayCut = async (t: Test, fleet: Fleet, lab: string): Promise<void> => {
  const stateOf = async (host: string, peer: string): Promise<string | undefined> =>
    (await fleet.inspect(lab, 1)).tunnels.find((tunnel) => tunnel.host === host && tunnel.peer === peer)?.state
  t.ok(await fleet.pings(lab, "a", addresses.b))
  fleet.part(1, 2)
  t.notOk(await fleet.pings(lab, "a", addresses.b))
  t.ok(await fleet.pings(lab, "a", addresses.c), "others are not concerned")
  await until("inspect shows the tunnel down", async () => (await stateOf("h1", "h2")) === "down")
  t.equal(await stateOf("h1", "h3"), "up")
  fleet.join(1, 2)
  const mended = performance.now()
  await until("frames pass again", () => fleet.pings(lab, "a", addresses.b))
  t.ok(performance.now() - mended < 20_000, "soon")
  await until("inspect shows it up", async () => (await stateOf("h1", "h2")) === "up")

  // A host that is cut off from everything, etcd included, and comes back.
  fleet.cut(3)
  t.notOk(await fleet.pings(lab, "a", addresses.c))
  t.ok(await fleet.pings(lab, "a", addresses.b))
  fleet.mend(3)
  await until("frames pass again", () => fleet.pings(lab, "a", addresses.c))
  await until("the daemon is back", async () => (await fleet.inspect(lab, 1)).unreachable.length === 0, 120_000)
}

/** Its nodes go elsewhere, what passes between others does not notice. */
const drained = async (t: Test, fleet: Fleet, lab: string): Promise<void> => {
  const pinned = { a: { kind: "host", host: "h1" }, c: { kind: "host", host: "h3" } }
  const roaming = { ...small(lab), nodes: { ...pinned, b: { kind: "host" }, free: { kind: "host" } } }
  await fleet.make(roaming)
  const where = placementOf(await fleet.inspect(lab))["b"]!
  t.comment(`b is on ${where}, free on ${placementOf(await fleet.inspect(lab))["free"]}`)
  const flow = fleet.inNode(lab, "a", "ping", "-i", "0.05", "-c", "150", "-W", "1", addresses.c)
  const out = await fleet.weft(1, ["drain", "h2"])
  t.equal(out.code, 0, out.stderr)
  const after = await fleet.inspect(lab)
  t.notOk(Object.values(placementOf(after)).includes("h2"), "h2 has no node", { placement: placementOf(after) })
  t.same(after.drift, [])
  const lost = /(\d+)% packet loss/.exec((await flow).stdout)?.[1]
  t.ok(Number(lost) <= 2, `a and c talk on: ${lost} % lost`)
  t.ok(await fleet.pings(lab, "a", addresses.b), "b is reached where it is now")
  t.match((await fleet.weft(3, ["hosts"])).stdout, /h2 .*drained/)
  const inFabric = (await run(["ip", "-n", fleet.weftd(2).fabric, "-o", "link"])).stdout.trim().split("\n")
  t.equal(inFabric.length, 1, "its fabric holds neither port nor tunnel", { inFabric })
  t.equal((await fleet.weft(1, ["drain", "h2", "--undo"])).code, 0)
  t.notMatch((await fleet.weft(3, ["hosts"])).stdout, /drained/)
}
