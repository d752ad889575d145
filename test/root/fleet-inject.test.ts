/** Faults in a lab over three hosts: injected through any daemon, kept in the shared state, healed by whoever is there. */
import t from "tap"
import { toTopology } from "./daemon-harness.ts"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"

const branch = (name: string) => ({
  name,
  nodes: {
    pc: { kind: "host", host: "h1" },
    fw: { kind: "router", host: "h2", routes: [{ to: "198.51.100.0/24", via: "isp" }] },
    isp: { kind: "router", host: "h3", routes: [{ to: "10.10.0.0/24", via: "fw" }] }
  },
  networks: { lan: { cidr: "10.10.0.0/24", gateway: "fw", ports: ["pc", "fw:lan"] } },
  links: [{ name: "wan", endpoints: ["fw:wan", "isp:e1"], cidr: "203.0.113.0/30", delay: "1ms" }]
})

t.test("faults over three hosts", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const fleet = await Fleet.start("inject", { hosts: 3 })
  t.teardown(() => fleet.close())
  const lab = fleet.name("inject")
  const file = branch(lab)
  await fleet.make(file)
  const inject = async (via: number, words: string, time = "") => {
    const answer = await fleet.client(via).inject({ lab: "", words: words.split(" "), for: time, files: {} })
    const wrong = [...answer.diagnostics.map(({ message }) => message), ...answer.failures.map(({ error }) => error)]
    if (wrong.length > 0) throw new Error(`inject ${words}: ${wrong.join("; ")}`)
    return answer
  }
  const ids = async (via: number) => (await fleet.client(via).faults(lab)).map(({ id }) => id)
  const reaches = (): Promise<boolean> => fleet.pings(lab, "pc", "203.0.113.2")
  /** What `deploy` would change, and what hosts find other than they should. */
  const changes = async (via: number) =>
    [...(await fleet.client(via).plan(toTopology(file))).changes, ...(await fleet.inspect(lab, via)).drift].map(({ id }) => id)
  await until("pc on h1 reaches isp on h3", reaches)

  await t.test("injected from another host than the node's, seen from a third", async (t) => {
    const { changed, faults } = await inject(1, "link-down fw:wan carrier=keep")
    t.ok(changed > 0, "both ends are changed, each by its host, and all of them are counted")
    t.strictSame(faults.map(({ id }) => id), ["f1"])
    t.notOk(await reaches())
    t.strictSame(await ids(3), ["f1"])
    const seen = await fleet.inspect(lab, 3)
    t.match(seen, { lab: { state: "ready", faults: 1 }, faults: [{ id: "f1", lab }], drift: [] })
    t.match(seen.segments.find(({ name }) => name === "wan"), { faults: ["f1"] })
    t.strictSame(await changes(2), [])
    t.match((await fleet.client(2).plan(toTopology(file))).notes.join("; "), /in force.*f1/)
    t.equal((await fleet.make(file, 2)).changed, 0, "a deploy of the same keeps it")
    t.match(await fleet.weft(2, ["heal", "f1"]), { code: 0, stdout: /f1 is healed: .* \([1-9]\d* changes?, / })
    await until("the way is back", reaches)
    t.strictSame([await ids(1), await changes(1)], [[], []])
  })

  await t.test("from all hosts at once: each is in force, with an id of its own", async (t) => {
    const answers = await Promise.all([inject(1, "delay wan 20ms"), inject(2, "mtu wan 1200"), inject(3, "route-missing isp 10.10.0.0/24")])
    const given = answers.flatMap(({ faults }) => faults.map(({ id }) => id)).toSorted()
    t.strictSame(given, ["f2", "f3", "f4"])
    t.strictSame((await ids(2)).toSorted(), given)
    await Promise.all(given.map((id, index) => fleet.client(index + 1).heal({ lab, ids: [id], all: false })))
    t.strictSame([await ids(2), await changes(2)], [[], []])
  })

  await t.test("the clock is kept by every daemon, and a host that is away catches up", async (t) => {
    await inject(3, "route-missing fw 198.51.100.0/24", "2s")
    await fleet.kill(3)
    await until("its time is up, though the host that was asked has died", async () => (await ids(1)).length === 0)
    await inject(1, "node-pause pc")
    await fleet.restart(3)
    await until("h3 knows of it", async () => (await ids(3)).length === 1)
    await until("all are settled", async () => (await fleet.inspect(lab, 1)).lab.state === "ready")
    t.match(await fleet.client(3).heal({ lab, ids: [], all: true }), { failures: [] })
    t.strictSame([await ids(1), await changes(1)], [[], []])
    await until("pc reaches isp", reaches)
  })

  await t.test("what happens once is done where the node is; destroy takes faults along", async (t) => {
    t.match(await fleet.client(1).inject({ lab, words: ["bgp-reset", "fw"], for: "", files: {} }), { diagnostics: [{ message: /BGP/i }] })
    await inject(2, "link-down wan")
    await fleet.destroy(lab, 3)
    t.strictSame(await fleet.client(1).faults(""), [])
    await fleet.make(file)
    t.strictSame((await inject(2, "mtu wan 1200")).faults.map(({ id }) => id), ["f1"])
  })
})
