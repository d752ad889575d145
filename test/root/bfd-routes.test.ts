/** Static routes that BFD watches, in a real daemon: lost next hops leave the kernel and come back; weft bfd; engine and daemon die. */
import t from "tap"
import type { BfdChange, BfdOptions, BfdStatus } from "../../daemon/datapath/bfd-api.ts"
import { Engine } from "../../daemon/datapath/engine.ts"
import { BfdSessions } from "../../daemon/resources/bfd-sessions.ts"
import { EngineLinks } from "../../daemon/resources/engine-link.ts"
import { sh, type TopologyObject, Weftd } from "./daemon-harness.ts"
import { ipBatch, needsRoot, until, World } from "./harness.ts"

const bfd = { interval: "20ms", multiplier: 3 }

const topology = (name: string, more: object = { bfd }): TopologyObject => ({
  name,
  nodes: {
    a: {
      kind: "router",
      routes: [
        { to: "10.2.0.0/24", via: ["b:e1", "b:e2"], ...more },
        { to: ["10.3.0.0/24", "2001:db8:3::/64"], via: "b:e1", ...more },
        { to: "10.3.0.0/24", via: "b:e2", metric: 50 }
      ]
    },
    // A node with commands may have nftables tables of its own: deploys leave them.
    b: { kind: "router", exec: ["true"], bfd: { peers: [{ address: "192.0.2.5", interval: "40ms" }] } }
  },
  links: [
    { endpoints: ["a:e1", "b:e1"], cidr: ["192.0.2.0/30", "2001:db8:1::/64"] },
    { endpoints: ["a:e2", "b:e2"], cidr: "192.0.2.4/30" }
  ]
})

t.setTimeout(600_000)

t.test("static routes", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("bfdroutes")
  t.teardown(() => weftd.close())
  const name = weftd.name("bfdroutes")
  const [a, b] = [`weft.${name}.a`, `weft.${name}.b`]
  await weftd.make(topology(name))
  const waysTo = (prefix: string): ReadonlyArray<string> =>
    Array.from(sh("ip", "-n", a, "route", "show", prefix).matchAll(/via (\S+) dev (\S+)/g), ([, via, dev]) => `${via} ${dev}`)
  const sessions = async (node: string): Promise<ReadonlyArray<{ peer: string; state: string; downCount: number }>> =>
    JSON.parse((await weftd.weft(["bfd", `${name}/${node}`, "-o", "json"])).stdout).sessions
  const areUp = async (): Promise<boolean> => (await sessions("a")).every(({ state }) => state === "up")
  const both = ["192.0.2.2 e1", "192.0.2.6 e2"]
  const drop = (words: string): void => void sh("ip", "netns", "exec", b, "nft", words)
  drop("add table inet cut; add chain inet cut in { type filter hook input priority 0; }")

  await t.test("all sessions come up, at both ends", async (t) => {
    await until("they are up", areUp)
    t.same((await sessions("a")).map(({ peer }) => peer), ["192.0.2.2", "192.0.2.6", "2001:db8:1::2"])
    t.same((await sessions("b")).map(({ peer }) => peer), ["192.0.2.1", "192.0.2.5", "2001:db8:1::1"])
    t.same(waysTo("10.2.0.0/24"), both)
    const { stdout } = await weftd.weft(["bfd", `${name}/a`])
    t.match(stdout, /192\.0\.2\.2 +e1 +up .* 20\/20\/3 +20\/20\/3 +20ms +60ms/)
    t.same(await weftd.plan(topology(name)), [], "nothing to do")
  })

  await t.test("a way that loses packets without a word is left, and taken again", async (t) => {
    drop("add rule inet cut in iifname e1 drop")
    await until("the group does without it", () => waysTo("10.2.0.0/24").join() === "192.0.2.6 e2")
    await until("the single route is left to the one with the higher metric", () => waysTo("10.3.0.0/24").join() === "192.0.2.6 e2")
    await until("IPv6, too", () => !sh("ip", "-n", a, "-6", "route").includes("2001:db8:3::/64"))
    t.same(await weftd.plan(topology(name)), [], "no difference to mend")
    const { steps } = await weftd.deploy(topology(name))
    t.same(steps, [], "nor for a deploy")
    t.same(waysTo("10.2.0.0/24"), ["192.0.2.6 e2"])
    t.match((await sessions("a"))[0], { state: /down|init/, downCount: 1, lastDownReason: /detection time expired/ })
    drop("add rule inet cut in iifname e2 drop")
    await until("no way is left, and no route", () => waysTo("10.2.0.0/24").length === 0)
    t.same(await weftd.plan(topology(name)), [], "no difference to mend")
    drop("flush chain inet cut in")
    await until("all is back", () => ["10.2.0.0/24", "10.3.0.0/24"].every((prefix) => waysTo(prefix).join() === both.join()))
    await until("IPv6, too", () => sh("ip", "-n", a, "-6", "route").includes("2001:db8:3::/64"))
    const events = (await weftd.weft(["events", name])).stdout
    t.match(events, /bfd\.down +a 192\.0\.2\.2 .*|bfd\.down/)
    t.match(events, /BFD session with 192\.0\.2\.1 is down: control detection time expired/)
  })

  await t.test("times change in place, without a flap", async (t) => {
    await until("they are up", areUp)
    const before = (await sessions("a")).map(({ downCount }) => downCount)
    const slower = topology(name, { bfd: { interval: "60ms", multiplier: 4 } })
    await weftd.deploy(slower)
    await until("they are agreed on", async () => JSON.stringify(await sessions("a")).includes('"detectionMs":240'))
    t.same((await sessions("a")).map(({ downCount }) => downCount), before)
    t.same(await weftd.plan(slower), [])
  })

  await t.test("a daemon that is killed leaves the routes, and watches them again", async (t) => {
    await weftd.kill()
    t.same(waysTo("10.2.0.0/24"), both)
    await weftd.start()
    await until("the sessions are up", areUp)
    t.same(waysTo("10.2.0.0/24"), both)
  })

  await t.test("without bfd nobody watches", async (t) => {
    await weftd.deploy(topology(name, {}))
    t.same(await sessions("a"), [])
    t.same((await sessions("b")).map(({ peer }) => peer), ["192.0.2.5"], "but what the node names itself")
    t.same(waysTo("10.2.0.0/24"), both)
  })
})

t.test("BfdSessions gives a new engine what the old one had, within two seconds", { skip: needsRoot }, async (t) => {
  const world = new World("bfd-engine")
  const [a, b] = [world.namespace("a"), world.namespace("b")]
  ipBatch(a, [`link add e1 type veth peer name e1 netns ${b.name}`, "addr add 10.9.0.1/24 dev e1", "link set e1 up"])
  ipBatch(b, ["addr add 10.9.0.2/24 dev e1", "link set e1 up"])
  const engines: Array<Engine> = []
  const start = async (): Promise<Engine> => {
    const engine = await Engine.start()
    engines.push(engine)
    return engine
  }
  // No link here needs a fabric or a program.
  const program = { removePorts: () => {} } as never
  const told: Array<string> = []
  const links = new EngineLinks({ fabric: { fd: a.fd } as never, program, start, tell: (message) => told.push(message) })
  t.teardown(async () => {
    await links.close()
    world.close()
  })
  const changes: Array<BfdChange> = []
  const options = (netns: string, peer: string): BfdOptions => ({ netns, peer, multihop: false, minTxMs: 50, minRxMs: 50, multiplier: 3 })
  links.onStart((engine) => {
    engine.onBfd((change) => changes.push(change))
    void engine.addBfd("a", options(a.path, "10.9.0.2"))
    void engine.addBfd("b", options(b.path, "10.9.0.1"))
  })
  await links.hold("test")
  const isUp = async (): Promise<boolean> => {
    const states: ReadonlyArray<BfdStatus> = await links.runningEngine?.bfdStates().catch(() => []) ?? []
    return states.length === 2 && states.every(({ state }) => state === "up")
  }
  await until("both are up", isUp)
  await engines[0]!.kill()
  t.match(told[0], /starting it again/)
  await until("both are up again", isUp)
  t.equal(engines.length, 2)
  await links.releaseHold("test")
  t.equal(links.runningEngine, undefined, "nobody needs it any more")
  t.type(new BfdSessions({ links, tell: () => {} }), BfdSessions)
})
