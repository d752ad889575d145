/** Faults of nodes under real traffic: a crash without a goodbye, a boot, a control plane that stands still. */
import { once } from "node:events"
import { existsSync, readFileSync, rmSync } from "node:fs"
import t, { type Test } from "tap"
import * as Netns from "../../daemon/linux/netns.ts"
import { needsRoot, until } from "./harness.ts"
import { Weftd } from "./daemon-harness.ts"
import { healAll, inject, stateOf } from "./fault-harness.ts"

/**
 *     pc --- lan (10.1.0.0/24) --- r1 (AS 65001) --- up (10.9.0.0/30) --- r2 (AS 65002) --- srv (10.2.0.0/24, static)
 *                                   `----- bfd (10.9.1.0/30, BFD) --- r3
 */
const topology = (name: string, marker: string) => ({
  name,
  nodes: {
    pc: { kind: "host", routes: [{ to: "default", via: "r1:lan" }] },
    srv: { kind: "host", routes: [{ to: "default", via: "r2:lan" }], exec: [["sh", "-c", `echo booted >> ${marker}`]] },
    r1: {
      kind: "router",
      bgp: { as: 65001, networks: "10.1.0.0/24", timers: { hold: "3s", keepalive: "1s" } },
      routes: [{ to: "203.0.113.0/24", via: "r3:e1", bfd: { "min-tx": "50ms", "min-rx": "50ms", multiplier: 3 } }]
    },
    r2: { kind: "router", bgp: { as: 65002, networks: "10.2.0.0/24", timers: { hold: "3s", keepalive: "1s" } } },
    r3: { kind: "router", routes: [{ to: "198.51.100.0/24", via: "r1:e3", bfd: { "min-tx": "50ms", "min-rx": "50ms", multiplier: 3 } }] }
  },
  networks: { lan: { cidr: "10.1.0.0/24", ports: ["r1:lan", { port: "pc", addresses: ["10.1.0.2"] }] } },
  links: [
    { name: "up", endpoints: ["r1:up", "r2:up"], cidr: "10.9.0.0/30" },
    { name: "far", endpoints: ["r2:lan", "srv:eth0"], cidr: "10.2.0.0/24" },
    { name: "bfd", endpoints: ["r1:e3", "r3:e1"], cidr: "10.9.1.0/30", bgp: "none" }
  ]
})
const nodes = ["pc", "srv", "r1", "r2", "r3"]
const srv = "10.2.0.2"

t.test("faults of nodes", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const weftd = await Weftd.start("fault-nodes")
  const marker = `${weftd.directory}-booted`
  t.teardown(async () => {
    await weftd.close()
    rmSync(marker, { force: true })
  })
  const lab = weftd.name("fault-nodes")
  await weftd.make(topology(lab, marker))
  await until("pc reaches srv", () => weftd.pings(lab, "pc", srv))
  const boots = (): number => readFileSync(marker, "utf8").split("\n").length - 1
  const state = (): string => nodes.map((node) => `${node}\n${stateOf(lab, node)}`).join("\n")
  const has = async (node: string, prefix: string): Promise<boolean> =>
    (await weftd.inNode(lab, node, "ip", "route", "show", prefix)).stdout !== ""
  await until("BFD has both routes in the kernel", async () => (await has("r1", "203.0.113.0/24")) && (await has("r3", "198.51.100.0/24")))
  const before = state()

  const cured = async (t: Test): Promise<void> => {
    await healAll(weftd, lab)
    await until("the kernel is as it was", () => state() === before).catch(() => t.equal(state(), before))
    t.strictSame(await weftd.drift(lab), [], "nothing differs from the plan")
    await until("packets pass", () => weftd.pings(lab, "pc", srv))
  }

  await t.test("node-crash: gone, carriers with it, and booted again", async (t) => {
    t.equal(boots(), 1)
    const sleeper = weftd.startIn(lab, "srv", ["sleep", "1000"])
    const ended = once(sleeper, "exit")
    await inject(weftd, lab, "node-crash srv")
    await ended
    t.notOk(existsSync(Netns.path(Netns.nodeName(lab, "srv"))), "the node is gone")
    t.equal((await weftd.inNode(lab, "r2", "cat", "/sys/class/net/lan/carrier")).stdout.trim(), "0", "its neighbour has no carrier")
    t.strictSame(await weftd.drift(lab), [])
    await cured(t)
    t.equal(boots(), 2, "its commands ran again")
  })

  await t.test("node-crash of a BGP speaker: no goodbye, the neighbour finds out", async (t) => {
    await inject(weftd, lab, "node-crash r2 carrier=keep")
    t.equal((await weftd.inNode(lab, "r1", "cat", "/sys/class/net/up/carrier")).stdout.trim(), "1")
    t.ok(await has("r1", "10.2.0.0/24"), "for the neighbour all is well, as long as its hold time")
    await until("the hold time is over", async () => !(await has("r1", "10.2.0.0/24")))
    t.match((await weftd.weft(["bgp", "-o", "json", "r1"])).stdout, /[Hh]old/, "and no NOTIFICATION came")
    await cured(t)
  })

  await t.test("node-restart heals itself", async (t) => {
    await inject(weftd, lab, "node-restart srv 300ms")
    await until("it boots again", async () => (await weftd.client.faults(lab)).length === 0)
    await until("its commands ran again", () => boots() === 3)
    await cured(t)
  })

  await t.test("node-pause: the kernel forwards, processes, BGP and BFD stand still", async (t) => {
    const counter = weftd.startIn(lab, "r1", ["sh", "-c", "while true; do echo x; sleep 0.02; done"])
    let heard = 0
    counter.stdout!.on("data", () => heard++)
    await until("it counts", () => heard > 3)
    await inject(weftd, lab, "node-pause r1")
    const stopped = heard
    t.ok(await weftd.pings(lab, "pc", srv), "what it forwards goes on")
    await until("BFD's peer finds it silent", async () => !(await has("r3", "198.51.100.0/24")))
    await until("BGP's peer finds it silent", async () => !(await has("r2", "10.1.0.0/24")))
    t.ok(await has("r1", "10.2.0.0/24"), "it itself has not noticed anything")
    t.ok(await has("r1", "203.0.113.0/24"))
    t.ok(heard <= stopped + 1, "its process stood still")
    t.strictSame(await weftd.drift(lab), [])
    await weftd.kill()
    await weftd.start()
    await until("the lab is looked after again", async () => (await weftd.drift(lab)).length === 0)
    t.notOk(await has("r2", "10.1.0.0/24"), "it stands still for the next weftd, too")
    t.ok(await has("r1", "10.2.0.0/24"))
    await cured(t)
    const later = heard
    await until("its process goes on", () => heard > later)
    counter.kill("SIGKILL")
  })

  await t.test("faults of nodes and links overlap, and nothing is left", async (t) => {
    const words = [
      "link-down up", "node-crash r2", "loss far 20%", "node-pause r1", "partition r1,pc rest", "node-crash srv carrier=keep", "mtu far 900"
    ]
    for (const word of words) await inject(weftd, lab, word)
    const ids = (await weftd.client.faults(lab)).map(({ id }) => id)
    t.strictSame(await weftd.drift(lab), [])
    for (const index of [6, 2, 5, 1, 4, 0, 3]) {
      const { failures } = await weftd.client.heal({ lab, ids: [ids[index]!], all: false })
      t.strictSame(failures, [])
    }
    await cured(t)
  })
})
