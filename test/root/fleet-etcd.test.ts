/** etcd with three members and TLS, under a fleet that works: a member dies, all stop in a deploy, two people deploy at once. */
import { setTimeout as wait } from "node:timers/promises"
import { dirname, join } from "node:path"
import t from "tap"
import { type Outcome, type TopologyObject } from "./daemon-harness.ts"
import { Fleet } from "./fleet-harness.ts"
import { checkout, needsRoot, until } from "./harness.ts"

const range = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => i)

/** A network over all hosts, with `count` nodes on each. `octet` is what differs between versions. */
const spread = (name: string, { count = 4, hosts = 3, octet = 1 } = {}): TopologyObject => ({
  name,
  nodes: Object.fromEntries(range(count * hosts).map((i) => [`n${i}`, { kind: "host", host: `h${(i % hosts) + 1}` }])),
  networks: { lan: { cidr: `10.${octet}.0.0/24`, ports: range(count * hosts).map((i) => `n${i}`) } }
})

/** A call that was refused, as an operation that failed. */
const failedFor = ({ message }: Error): Outcome =>
  ({ planned: undefined, steps: [], changed: -1, failures: [], message, rolledBack: false })

const isWhole = async (fleet: Fleet, lab: string, topology: TopologyObject): Promise<boolean> => {
  const inspected = await fleet.inspect(lab)
  const plan = await fleet.weftd(1).plan(topology)
  return inspected.drift.length === 0 && inspected.unreachable.length === 0 && plan.length === 0
}

t.test("etcd with three members and TLS", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("etcd", { hosts: 3, etcdMembers: 3, etcdTls: true })
  t.teardown(() => fleet.close())
  const lab = fleet.name("lab")

  t.test("losing one of three members is not noticed", async (t) => {
    for (const member of [1, 2, 3]) {
      await fleet.stopEtcd(member, "SIGKILL")
      await fleet.make(spread(lab, { octet: member }), member)
      t.ok(await fleet.pings(lab, "n0", `10.${member}.0.3`))
      t.same((await fleet.client(member).hosts()).hosts.filter(({ state }) => state !== "ready"), [])
      fleet.startEtcd(member)
      await until("the member is back", async () => (await fleet.etcdctl("endpoint", "health")).code === 0)
    }
  })

  t.test("all stop during a deploy: it ends done or clearly failed, never half", async (t) => {
    for (const [turn, delayMs] of [0, 60, 250].entries()) {
      const octet = 20 + turn
      const topology = spread(lab, { count: 8, octet })
      const deploying = fleet.deploy(topology, { via: 2 }).catch(failedFor)
      await wait(delayMs)
      await Promise.all([1, 2, 3].map((member) => fleet.stopEtcd(member, "SIGKILL")))
      t.comment(`down after ${delayMs} ms`)
      await wait(2000)
      t.equal((await fleet.weft(1, ["list"])).code, 0, "the daemons answer without it")
      for (const member of [1, 2, 3]) fleet.startEtcd(member)
      await fleet.etcdReady()
      const outcome = await deploying
      if (outcome.changed < 0) t.match(outcome.message, /etcd/i, "a failure says why")
      t.comment(outcome.changed < 0 ? outcome.message : `done, ${outcome.changed} changed`)
      const isSettled = async (host: number): Promise<boolean> => (await fleet.client(host).list()).every(({ state }) => state === "ready")
      await until("the lab is settled", async () => (await Promise.all([1, 2, 3].map(isSettled))).every(Boolean), 120_000)
      const [cidr] = (await fleet.inspect(lab)).segments.map(({ cidrs }) => cidrs[0]!)
      const there = Number(cidr!.split(".")[1])
      t.ok([turn === 0 ? 3 : octet - 1, octet].includes(there), `it is one of the two versions: ${cidr}`)
      if (outcome.changed >= 0) t.equal(there, octet, "what is done is done")
      t.ok(await fleet.pings(lab, "n0", `10.${there}.0.3`))
      await fleet.make(topology)
      t.ok(await isWhole(fleet, lab, topology), "deployed again it is whole")
    }
  })

  t.test("two deploy the same lab at once from two daemons: one wins, the other is told", async (t) => {
    const versions = [spread(lab, { octet: 101 }), spread(lab, { octet: 102 })] as const
    const outcomes = await Promise.all(
      versions.map((topology, index) => fleet.deploy(topology, { via: index + 1 }).catch(failedFor))
    )
    const winners = outcomes.flatMap(({ changed }, index) => (changed >= 0 ? [index] : []))
    t.ok(winners.length >= 1, "one wins", { outcomes })
    const loser = outcomes.find(({ changed }) => changed < 0)
    if (loser !== undefined) t.match(loser.message, /first|being changed/, "the other is told")
    else t.comment("they came one after the other")
    if (winners.length === 1) t.ok(await isWhole(fleet, lab, versions[winners[0]!]!), "the winner's version is what there is")
  })

  t.test("different labs at once share no VNI", async (t) => {
    const labs = range(6).map((i) => fleet.name(`at-once-${i}`))
    await Promise.all(labs.map((name, i) => fleet.make(spread(name, { count: 1 }), (i % 3) + 1)))
    const inspected = await Promise.all(labs.map((name) => fleet.inspect(name)))
    const vnis = inspected.flatMap(({ segments }) => segments.map(({ vni }) => vni))
    t.equal(new Set(vnis).size, labs.length)
    for (const name of labs) t.ok(await fleet.pings(name, "n0", "10.1.0.3"), `${name} works beside the others`)
    const gone = await Promise.all(labs.map((name, i) => fleet.destroy(name, (i % 3) + 1)))
    t.same(gone.filter(({ changed }) => changed < 0), [])
  })

  t.test("who has no certificate gets nothing from a daemon's port", async (t) => {
    const asked = (identity: string) =>
      fleet.onHost(1, join(checkout, "bin/weft"), "--daemon", `${fleet.address(2)}:7443`, "--pki", identity, "list")
    const known = await asked(dirname(fleet.pki("operator").ca))
    t.equal(known.code, 0, known.stderr)
    t.equal((await asked("/nonexistent")).code, 3, "cannot be reached")
  })
})
