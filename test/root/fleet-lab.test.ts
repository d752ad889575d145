/** A lab over three hosts: deployed, looked at, changed, moved and destroyed through any of their daemons. */
import t from "tap"
import { describe as lines } from "./daemon-harness.ts"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"

const branch = (name: string, where: Readonly<Record<string, string>> = {}) => ({
  name,
  nodes: {
    pc: { kind: "host", host: where["pc"] ?? "h1" },
    tv: { kind: "host", host: where["tv"] ?? "h2" },
    fw: { kind: "router", host: where["fw"] ?? "h2" },
    isp: { kind: "router", host: where["isp"] ?? "h3" }
  },
  networks: { lan: { cidr: "10.10.0.0/24", ports: ["pc", "tv", "fw:lan"] } },
  links: [{ name: "wan", endpoints: ["fw:wan", "isp:e1"], cidr: "203.0.113.0/30" }]
})

const asFile = (topology: object) => ({ filename: "f.weft.yaml", content: Buffer.from(JSON.stringify(topology)) })

t.test("a lab over three hosts", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("lab", { hosts: 3 })
  t.teardown(() => fleet.close())
  const lab = fleet.name("branch")
  const placesOf = async (via: number) => (await fleet.inspect(lab, via)).nodes.map(({ host, name, state }) => `${name} ${host} ${state}`)

  await t.test("plan, deploy and inspect", async (t) => {
    const planned = await fleet.client(2).plan(asFile(branch(lab)))
    t.strictSame([...new Set(planned.changes.map(({ host }) => host))], ["h1", "h2", "h3"])
    t.ok(lines(planned.changes).includes("+ node/pc"))

    const outcome = await fleet.make(branch(lab))
    t.equal(outcome.changed, planned.changes.length, "as planned")
    t.strictSame(await placesOf(3), ["pc h1 ready", "tv h2 ready", "fw h2 ready", "isp h3 ready"])
    const seen = await fleet.inspect(lab, 3)
    t.strictSame([seen.lab.state, seen.drift, seen.unreachable, seen.host], ["ready", [], [], "h3"])
    t.ok(await fleet.pings(lab, "pc", "10.10.0.3"), "pc on h1 reaches fw on h2")
    t.ok(await fleet.pings(lab, "fw", "203.0.113.2"), "and fw on h2 reaches isp on h3")
    t.equal((await fleet.make(branch(lab), 2)).changed, 0, "the same again, through another host")
    t.strictSame((await fleet.client(3).plan(asFile(branch(lab)))).changes, [])
  })

  await t.test("any daemon answers for all", async (t) => {
    const output = await fleet.weft(3, ["exec", "pc", "--", "hostname"])
    t.match(output, { code: 0, stdout: "pc\n" })
    t.match((await fleet.weft(2, ["exec", "isp", "--", "sh", "-c", "exit 7"])).code, 7)
    const shown = await fleet.weft(1, ["inspect", lab])
    t.match(shown.stdout, /on 3 hosts \(h1, h2, h3\)/)
    t.match(shown.stdout, /h1 > h2 +(up|unknown)/)
    await until("tunnels are seen to be up", async () => {
      const { tunnels } = await fleet.inspect(lab, 1)
      return tunnels.length === 4 && tunnels.every(({ state }) => state === "up")
    })
    const { tunnels } = await fleet.inspect(lab, 1)
    t.strictSame(tunnels.map(({ host, peer, segments }) => [host, peer, segments]), [
      ["h1", "h2", ["lan"]], ["h2", "h1", ["lan"]], ["h2", "h3", ["wan"]], ["h3", "h2", ["wan"]]
    ])
    t.ok(tunnels.every(({ rttMs }) => rttMs > 0))
    const events = (await fleet.weft(2, ["events", lab, "-o", "json"])).stdout.trim().split("\n").map((line) => JSON.parse(line))
    t.strictSame([...new Set(events.filter(({ type }) => type === "lab.ready").map(({ host }) => host))].toSorted(), ["h1", "h2", "h3"])
    t.match((await fleet.weft(1, ["hosts"])).stdout, /h1 +ready[^]*h2 +ready +10\.99\.0\.2 +\d+ +1 +2[^]*h3 +ready/)
    t.match((await fleet.weft(2, ["list"])).stdout, new RegExp(`${lab} +ready +h1, h2, h3 +4 `))
  })

  await t.test("a node moves", async (t) => {
    const moved = branch(lab, { pc: "h3" })
    const changing = new Set<string>()
    const following = fleet.client(2).events({ lab, follow: true, last: 1 })[Symbol.asyncIterator]()
    const follow = async (): Promise<void> => {
      for (let next = await following.next(); next.done !== true; next = await following.next()) {
        if (next.value.type === "lab.changing" && next.value.message.includes("is changing")) changing.add(next.value.host)
      }
    }
    void follow().catch(() => {})
    const planned = await fleet.client(1).plan(asFile(moved))
    const nodes = planned.changes.filter(({ kind }) => kind === "node").map(({ action, host, id }) => `${action} ${id} ${host}`)
    t.strictSame(nodes, ["REMOVE node/pc h1", "CREATE node/pc h3"])
    await fleet.make(moved, 2)
    t.strictSame(await placesOf(1), ["pc h3 ready", "tv h2 ready", "fw h2 ready", "isp h3 ready"])
    t.ok(await fleet.pings(lab, "pc", "10.10.0.3"), "and has its links again")
    await until("whoever follows the events hears of all hosts", () => changing.size >= 2 && changing.has("h3"))
    void following.return?.()
    t.strictSame((await fleet.client(1).list())[0]!.hosts, ["h2", "h3"], "h1 has confirmed that nothing is left there")
  })

  await t.test("who is late is told who was first", async (t) => {
    const attempts = await Promise.allSettled([fleet.deploy(branch(lab), { via: 1 }), fleet.deploy(branch(lab, { pc: "h2" }), { via: 2 })])
    const refused = attempts.flatMap((attempt) => (attempt.status === "rejected" ? [String(attempt.reason)] : []))
    t.equal(refused.length, 1, "one of two wins")
    t.match(refused[0], /Somebody else on host h[12] deployed|is being changed by host h[12] since 20/)
    t.match((await fleet.inspect(lab)).lab.state, "ready")
  })

  await t.test("a host is drained", async (t) => {
    const free = fleet.name("free")
    await fleet.make({
      name: free,
      nodes: Object.fromEntries(["a", "b", "c", "d", "e", "f"].map((node) => [node, { kind: "host" }])),
      networks: { net: { cidr: "10.9.0.0/24", ports: ["a", "b", "c", "d", "e", "f"] } }
    })
    t.match(await fleet.weft(1, ["drain", "h3"]), { code: 1, stderr: new RegExp(`lab ${lab}: its topology wants .*"isp" on h3`) })
    t.strictSame((await fleet.inspect(free)).nodes.filter(({ host }) => host === "h3"), [], "what can move has moved")
    t.ok(await fleet.pings(free, "a", "10.9.0.6"))
    t.match((await fleet.weft(2, ["hosts"])).stdout, /h3 +drained/)
    t.match(await fleet.deploy(branch(lab, { tv: "h3" })).then(({ message }) => message), /the topology has 2 errors|error/)
    t.match(await fleet.weft(1, ["drain", "h3", "--undo"]), { code: 0 })
    t.match(await fleet.weft(1, ["drain", "h9"]), { code: 1, stderr: /No host "h9"/ })
    await fleet.destroy(free, 3)
  })

  await t.test("destroy", async (t) => {
    t.ok((await fleet.destroy(lab, 3)).changed > 10)
    for (const via of [1, 2, 3]) await until(`host ${via} knows`, async () => (await fleet.client(via).list()).length === 0)
    t.match(await fleet.weft(1, ["destroy", lab]), { code: 1, stderr: /No lab/ })
  })
})
