/**
 * A daemon that is killed at random moments while it deploys, changes and destroys a lab of a hundred nodes, and sometimes
 * again while it recovers. Each time the next one must bring the lab to one of the two versions between which it was, and
 * the kernel must hold exactly that version: nothing less, nothing more.
 *
 * `WEFT_STORM=50` sets how often, `WEFT_STORM_SEED=7` repeats a run.
 */
import { readdirSync } from "node:fs"
import { setTimeout as wait } from "node:timers/promises"
import t from "tap"
import { seeded } from "../random.ts"
import { needsRoot, until } from "./harness.ts"
import { sh, Weftd, type TopologyObject } from "./daemon-harness.ts"

const times = Number(process.env["WEFT_STORM"] ?? 12)
const seed = Number(process.env["WEFT_STORM_SEED"] ?? Date.now() % 1_000_000)

const chance = seeded(seed)
/** Uniform in [0, 1). */
const random = (): number => chance.below(1 << 20) / (1 << 20)

const range = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => i)

/**
 * Ten routers in a ring, nine hosts at each. The two versions differ in everything that can differ: addresses, MTUs, NAT,
 * sysctls, ECMP, which hosts there are, on which network they are, whether a wire is a link or a network.
 */
const lab = (name: string, version: 0 | 1): TopologyObject => {
  const hosts = (ring: number): ReadonlyArray<string> => range(9).map((i) => `h${ring}-${i + (version === 1 && i > 6 ? 2 : 0)}`)
  const next = (ring: number): number => (ring + 1) % 10
  const nodes: Record<string, unknown> = {}
  const networks: Record<string, unknown> = {}
  const links: unknown[] = []
  for (const ring of range(10)) {
    const others = range(10).filter((other) => other !== ring)
    const routes = others.map((other) => ({
      to: `10.${version}.${other}.0/24`,
      via:
        version === 1 && (other + 5) % 10 === ring
          ? [`r${next(ring)}`, `r${(ring + 9) % 10}`]
          : [(other - ring + 10) % 10 <= 5 ? `r${next(ring)}` : `r${(ring + 9) % 10}`]
    }))
    const nat = version === 1 && ring % 2 === 0 ? { masquerade: { out: "lan", from: "192.168.0.0/16" } } : undefined
    nodes[`r${ring}`] = {
      kind: "router",
      routes,
      ...(nat === undefined ? {} : { nat }),
      sysctls: { "net.ipv4.ip_default_ttl": 60 + version }
    }
    // The last host of each ring lives next door in the second version.
    const guests = hosts(version === 0 ? ring : next(ring)).slice(8)
    for (const host of hosts(ring)) nodes[host] = { kind: "host", ...(host.endsWith("-0") ? { exec: [["sleep", "0.05"]] } : {}) }
    networks[`lan${ring}`] = {
      cidr: `10.${version}.${ring}.0/24`,
      gateway: `r${ring}`,
      ports: [`r${ring}:lan`, ...hosts(ring).slice(0, 8), ...guests]
    }
    const wire = [`r${ring}:next`, `r${next(ring)}:last`]
    const cidr = `172.16.${ring}.0/30`
    if (version === 1 && ring === 3) networks["wire3"] = { cidr, ports: wire }
    else links.push({ name: `wire${ring}`, endpoints: wire, cidr, mtu: 1500 - 10 * ring * version })
  }
  return { name, nodes, networks, links }
}

/** What the kernel holds that it should not, or lacks. */
const differences = (weftd: Weftd, name: string, topology: TopologyObject | undefined): ReadonlyArray<string> => {
  const nodes = topology === undefined ? [] : Object.keys(topology["nodes"] as object)
  const wanted = nodes.map((node) => `weft.${name}.${node}`).sort()
  const unlike = (what: string, found: ReadonlyArray<string>): ReadonlyArray<string> => [
    ...found.filter((one) => !wanted.includes(one)).map((one) => `${what} ${one} is too many`),
    ...wanted.filter((one) => !found.includes(one)).map((one) => `${what} ${one} is missing`)
  ]
  const ofLab = (folder: string): ReadonlyArray<string> => readdirSync(folder).filter((entry) => entry.startsWith(`weft.${name}.`))
  // Ten routers with three ports each, the rest hosts with one; and loopback.
  const ports = nodes.length === 0 ? 0 : nodes.length + 20
  const inFabric = sh("ip", "-n", weftd.fabric, "-o", "link").trim().split("\n").length - 1
  return [
    ...unlike("namespace", ofLab("/run/netns")),
    ...unlike("folder", ofLab("/etc/netns")),
    ...(inFabric === ports ? [] : [`${inFabric} of ${ports} ports`])
  ]
}

t.test(`storm: ${times} kills (WEFT_STORM_SEED=${seed})`, { skip: needsRoot, timeout: 600_000 + times * 20_000 }, async (t) => {
  const weftd = await Weftd.start("storm")
  t.teardown(() => weftd.close())
  const name = weftd.name("storm")
  const versions = [lab(name, 0), lab(name, 1)] as const
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const start = performance.now()
    await work()
    return performance.now() - start
  }
  /** How long each takes when nobody interferes, in ms; the first round warms up. */
  let usual = { deploy: 0, change: 0, destroy: 0 }
  for (let round = 0; round < 3; round++) {
    const deploy = await timed(() => weftd.make(versions[0]))
    const change = await timed(() => weftd.make(versions[1]))
    usual = { deploy, change, destroy: await timed(() => weftd.destroy(name)) }
  }
  await weftd.make(versions[0])

  /** Which version is deployed; undefined: none. */
  let current: 0 | 1 | undefined = 0
  let [interrupted, finished] = [0, 0]
  for (const turn of range(times)) {
    const target: 0 | 1 | undefined =
      current === undefined ? (random() < 0.5 ? 0 : 1) : random() < 0.3 ? undefined : random() < 0.85 ? ((1 - current) as 0 | 1) : current
    const moment = random() * usual[current === undefined ? "deploy" : target === undefined ? "destroy" : "change"]
    const work = (target === undefined ? weftd.destroy(name) : weftd.deploy(versions[target])).then(
      () => (finished += 1),
      () => (interrupted += 1)
    )
    await wait(moment)
    await weftd.kill()
    await work
    let kills = 1
    while (random() < 0.3) {
      weftd.spawn()
      await wait(random() * 1000)
      await weftd.kill()
      kills += 1
    }
    await weftd.start()
    await until("labs are recovered", async () => (await weftd.client.list()).every(({ state }) => state !== "recovering"))

    const what = `${turn}: ${current ?? "nothing"} -> ${target ?? "nothing"}, ${kills} kills, the first after ${Math.round(moment)} ms`
    const [found] = await weftd.client.list()
    let now: 0 | 1 | undefined
    if (found !== undefined) {
      t.equal(found.state, "ready", what)
      const candidates: ReadonlyArray<0 | 1> = [...new Set([current, target])].filter((version) => version !== undefined)
      const open: string[] = []
      for (const version of candidates) {
        const plan = await weftd.plan(versions[version])
        if (plan.length === 0) now = version
        else open.push(`${version}: ${plan.slice(0, 3).join("; ")}`)
      }
      t.not(now, undefined, `${what}: the lab is one of the two versions`, { open })
      if (now === undefined) break
    } else t.ok(current === undefined || target === undefined, `${what}: nothing is deployed`)
    t.same(differences(weftd, name, now === undefined ? undefined : versions[now]), [], `${what}: the kernel has that and nothing else`)
    if (now !== undefined) {
      const [from, to] = [Math.floor(random() * 10), Math.floor(random() * 10)]
      t.ok(await weftd.pings(name, `h${from}-0`, `10.${now}.${to}.1`), `${what}: h${from}-0 reaches r${to}`)
      t.ok(await weftd.pings(name, `h${from}-3`, `10.${now}.${to}.4`), `${what}: h${from}-3 reaches a host of r${to}`)
    }
    current = now
  }
  t.comment(`${interrupted} of ${times} were cut short, ${finished} had finished; undisturbed: ${JSON.stringify(usual)} ms`)
  if (current !== undefined) t.ok((await weftd.destroy(name)).changed > 0)
  t.same(differences(weftd, name, undefined), [])
})
