/**
 * Daemons of three hosts and a member of etcd, killed at random moments while a lab over all of them is deployed, changed
 * and destroyed from any of them. Afterwards the lab is one of the versions that somebody asked for, on every host, and
 * works.
 *
 * `WEFT_STORM=20` sets how often, `WEFT_STORM_SEED=7` repeats a run.
 */
import { setTimeout as wait } from "node:timers/promises"
import t from "tap"
import { seeded } from "../random.ts"
import type { TopologyObject } from "./daemon-harness.ts"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"
import * as Netns from "../../daemon/linux/netns.ts"

const times = Number(process.env["WEFT_STORM"] ?? 6)
const seed = Number(process.env["WEFT_STORM_SEED"] ?? Date.now() % 1_000_000)
const chance = seeded(seed)
const random = (): number => chance.below(1 << 20) / (1 << 20)
const range = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => i)

const nodeCount = 18

/** A ring of routers with a network at each; versions differ in addresses, in MTU, and in where nodes are. */
const lab = (name: string, version: 0 | 1): TopologyObject => {
  const host = (index: number): string => `h${((index + version) % 3) + 1}`
  const rings = range(nodeCount / 3)
  const around = (ring: number): number => (ring + 1) % rings.length
  return {
    name,
    nodes: Object.fromEntries(
      rings.flatMap((ring) => [
        [
          `r${ring}`,
          {
            kind: "router",
            host: host(ring),
            routes: rings.filter((other) => other !== ring).map((other) => ({ to: `10.${version}.${other}.0/24`, via: `r${around(ring)}` }))
          }
        ],
        [`a${ring}`, { kind: "host", host: host(ring + 1) }],
        [`b${ring}`, { kind: "host" }]
      ])
    ),
    networks: Object.fromEntries(
      rings.map((ring) => [
        `lan${ring}`,
        { cidr: `10.${version}.${ring}.0/24`, gateway: `r${ring}`, ports: [`r${ring}:lan`, `a${ring}`, `b${ring}`] }
      ])
    ),
    links: rings.map((ring) => ({
      name: `wire${ring}`,
      endpoints: [`r${ring}:next`, `r${around(ring)}:last`],
      cidr: `172.16.${ring}.0/30`,
      mtu: 1500 - 50 * version
    }))
  }
}

t.test(`storm over hosts: ${times} (WEFT_STORM_SEED=${seed})`, { skip: needsRoot, timeout: 600_000 + times * 60_000 }, async (t) => {
  const fleet = await Fleet.start("storm", { hosts: 3, etcdMembers: 3 })
  t.teardown(() => fleet.close())
  const name = fleet.name("storm")
  const versions = [lab(name, 0), lab(name, 1)] as const
  await fleet.make(versions[0])
  const started = performance.now()
  await fleet.make(versions[1])
  const usualMs = performance.now() - started

  let current: 0 | 1 | undefined = 1
  for (const turn of range(times)) {
    const target: 0 | 1 | undefined =
      current === undefined ? (random() < 0.5 ? 0 : 1) : random() < 0.2 ? undefined : ((1 - current) as 0 | 1)
    const via = 1 + Math.floor(random() * 3)
    const victims = [1, 2, 3].filter(() => random() < 0.45)
    const member = random() < 0.5 ? 1 + Math.floor(random() * 3) : undefined
    const moment = Math.round(random() * usualMs)
    const dead = [...victims.map((host) => `h${host}`), ...(member === undefined ? [] : [`e${member}`])].join(" ")
    const what = `${turn}: ${current ?? "nothing"} -> ${target ?? "nothing"} via h${via}, kill ${dead || "nobody"} after ${moment} ms`
    t.comment(what)
    const work = (target === undefined ? fleet.destroy(name, via) : fleet.deploy(versions[target], { via })).catch(() => {})
    await wait(moment)
    const dying = member === undefined ? [] : [fleet.stopEtcd(member, "SIGKILL")]
    await Promise.all([...victims.map((host) => fleet.kill(host)), ...dying])
    if (member !== undefined) fleet.startEtcd(member)
    await Promise.all(victims.map((host) => fleet.restart(host)))
    await fleet.etcdReady()
    await work
    await fleet.complete()

    const labsOf = async (host: number): Promise<string> =>
      (await fleet.client(host).list()).map(({ name, state }) => `${name} ${state}`).join()
    await until(
      `${what}: all hosts agree`,
      async () => {
        const [first, ...others] = await Promise.all([1, 2, 3].map(labsOf))
        return others.every((other) => other === first) && !/deploying|changing|destroying|recovering/.test(first!)
      },
      120_000
    )
    const [found] = await fleet.client(1).list()
    if (found === undefined) {
      t.ok(current === undefined || target === undefined, `${what}: nothing is deployed`)
      current = undefined
      t.same(Netns.list().filter((each) => each.startsWith(`weft.${name}.`)), [], `${what}: and nothing is left`)
      continue
    }
    t.equal(found.state, "ready", `${what}: ${found.error}`)
    const open = await Promise.all(versions.map((version) => fleet.weftd(via).plan(version)))
    const now = open.findIndex((plan) => plan.length === 0)
    t.ok(now === current || now === target, `${what}: it is what somebody asked for`, { open: open.map((plan) => plan.slice(0, 3)) })
    if (now < 0) break
    current = now as 0 | 1
    t.equal(Netns.list().filter((each) => each.startsWith(`weft.${name}.`)).length, nodeCount, `${what}: all nodes, and no more`)
    t.same((await fleet.inspect(name, via)).drift, [], `${what}: as it should be`)
    const [from, to] = [Math.floor(random() * 6), Math.floor(random() * 6)]
    t.ok(await fleet.pings(name, `a${from}`, `10.${now}.${to}.1`), `${what}: a${from} reaches r${to}`)
    t.ok(await fleet.pings(name, `b${from}`, `10.${now}.${to}.2`), `${what}: b${from} reaches a${to}`)
  }
})
