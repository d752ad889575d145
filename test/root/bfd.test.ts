/** BFD in the engine's thread: sessions with ourselves, FRR's bfdd and BIRD; what is not to be believed; being held up. */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { Worker } from "node:worker_threads"
import t, { type Test } from "tap"
import type { BfdChange, BfdOptions, BfdStatus } from "../../daemon/datapath/bfd-api.ts"
import { BfdClient } from "../../daemon/datapath/bfd-client.ts"
import { Engine } from "../../daemon/datapath/engine.ts"
import { missingPeers, startBird, startFrr } from "./bgp-peers.ts"
import { descriptorCount, ipBatch, type Namespace, needsRoot, until, World } from "./harness.ts"

const fast = { minTxMs: 50, minRxMs: 50, multiplier: 3 } as const
/** How much later than computed a busy machine may notice. */
const slackMs = 1000

interface Rig {
  readonly world: World
  readonly engine: Engine
  readonly changes: Array<BfdChange & { readonly at: number }>
  readonly add: (id: string, node: Namespace, peer: string, more?: Partial<BfdOptions>) => Promise<void>
  readonly status: (id: string) => Promise<BfdStatus>
  readonly isUp: (id: string) => Promise<boolean>
}

const rig = async (t: Test, label: string): Promise<Rig> => {
  // Node opens some for good with the first child.
  await once(spawn("true"), "close")
  const descriptors = descriptorCount()
  const world = new World(label)
  const engine = await Engine.start()
  t.teardown(async () => {
    await engine.close()
    world.close()
    // The channel's own descriptor is closed when its end has been heard of.
    await until("descriptors are closed", () => descriptorCount() <= descriptors)
  })
  const changes: Rig["changes"] = []
  engine.onBfd((change) => changes.push({ ...change, at: performance.now() }))
  const status = async (id: string): Promise<BfdStatus> => {
    const found = (await engine.bfdStates()).find(({ ids }) => ids.includes(id))
    if (found === undefined) throw new Error(`No BFD session "${id}"`)
    return found
  }
  return {
    world,
    engine,
    changes,
    add: (id, node, peer, more = {}) => engine.addBfd(id, { netns: node.path, peer, multihop: false, ...fast, ...more }),
    status,
    isUp: async (id) => (await status(id)).state === "up"
  }
}

/** Two namespaces with a link of both families between them. */
const pair = (world: World): readonly [Namespace, Namespace] => {
  const [a, b] = [world.namespace("a", { ipv6: true }), world.namespace("b", { ipv6: true })]
  ipBatch(a, [`link add e1 type veth peer name e1 netns ${b.name}`])
  for (const [node, own] of [[a, 1], [b, 2]] as const) {
    ipBatch(node, [
      `addr add 10.9.0.${own}/24 dev e1`, `addr add fd09::${own}/64 dev e1 nodad`, "link set e1 addrgenmode none", "link set e1 up",
      `addr add fe80::${own}/64 dev e1 nodad`
    ])
  }
  return [a, b]
}

/** a - r - c, with routes. */
const chain = (world: World): readonly [Namespace, Namespace] => {
  const [a, r, c] = ["a", "r", "c"].map((name) => world.namespace(name, { ipv6: true })) as [Namespace, Namespace, Namespace]
  ipBatch(a, [`link add e1 type veth peer name e1 netns ${r.name}`])
  ipBatch(c, [`link add e1 type veth peer name e2 netns ${r.name}`])
  ipBatch(a, ["addr add 10.9.1.2/24 dev e1", "addr add fd09:1::2/64 dev e1 nodad", "link set e1 up"])
  ipBatch(c, ["addr add 10.9.2.2/24 dev e1", "addr add fd09:2::2/64 dev e1 nodad", "link set e1 up"])
  ipBatch(r, [
    "addr add 10.9.1.1/24 dev e1", "addr add 10.9.2.1/24 dev e2",
    "addr add fd09:1::1/64 dev e1 nodad", "addr add fd09:2::1/64 dev e2 nodad",
    "link set e1 up", "link set e2 up"
  ])
  for (const [node, net] of [[a, 1], [c, 2]] as const) {
    ipBatch(node, [`route add default via 10.9.${net}.1`, `route add ::/0 via fd09:${net}::1`])
  }
  return [forwarding(r, a), c]
}

const forwarding = (router: Namespace, node: Namespace): Namespace => {
  for (const name of ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]) {
    const { status } = spawnSyncIn(router, ["sysctl", "-qw", name])
    if (status !== 0) throw new Error(`Cannot set ${name}`)
  }
  return node
}

const spawnSyncIn = (node: Namespace, argv: ReadonlyArray<string>) =>
  spawnSync("nsenter", [`--net=${node.path}`, "--", ...argv], { encoding: "utf8" })

t.test("two of ours", { skip: needsRoot }, async (t) => {
  const { add, changes, engine, isUp, status, world } = await rig(t, "bfd-own")
  const [a, b] = pair(world)
  await add("a4", a, "10.9.0.2", { ifname: "e1" })
  await add("b4", b, "10.9.0.1", { ifname: "e1", passive: true })
  await add("a6", a, "fd09::2")
  await add("b6", b, "fd09::1")
  await add("aL", a, "fe80::2", { ifname: "e1", minTxMs: 10, minRxMs: 10 })
  await add("bL", b, "fe80::1", { ifname: "e1", minTxMs: 10, minRxMs: 10 })
  for (const id of ["a4", "b4", "a6", "b6", "aL", "bL"]) await until(`${id} is up`, () => isUp(id))
  await until("the poll sequence has ended", async () => !(await status("a4")).polling)
  t.match(await status("a4"), { state: "up", transmitMs: 50, detectionMs: 150, remote: fast, discarded: 0, unmatched: 0, sendErrors: 0 })
  t.match(await status("aL"), { transmitMs: 10, detectionMs: 30 })

  // Longer and shorter, on the fly.
  engine.setBfd("a4", { minTxMs: 200, minRxMs: 300, multiplier: 5 })
  await until("b4 detects by the new times", async () => (await status("b4")).detectionMs === 1000)
  t.match(await status("a4"), { transmitMs: 200, detectionMs: 900 })
  t.match(await status("b4"), { transmitMs: 300 })
  engine.setBfd("a4", fast)
  await until("b4 is as fast as before", async () => (await status("b4")).detectionMs === 150)
  t.same(changes.filter(({ previous }) => previous === "up"), [], "nothing went down")

  engine.setBfd("a4", { adminDown: true })
  await until("b4 hears of it", async () => (await status("b4")).state === "down")
  t.match(await status("b4"), { diagnostic: "neighbor signaled session down", remoteState: "admin-down", downCount: 1 })
  const heard = changes.find(({ id, state }) => id === "b4" && state === "down")
  t.match(heard, { reason: "neighbor signaled session down: administratively down" })
  engine.setBfd("a4", { adminDown: false })
  await until("b4 is up again", () => isUp("b4"))

  // The link dies without a word.
  await until("a4 is fast", async () => (await status("b4")).detectionMs === 150 && (await status("a4")).detectionMs === 150)
  spawnSyncIn(b, ["nft", "add table inet x; add chain inet x i { type filter hook input priority 0; }; add rule inet x i iifname e1 drop"])
  const cut = performance.now()
  await until("b4 is down", async () => (await status("b4")).state === "down")
  const down = changes.findLast(({ id }) => id === "b4")!
  t.equal(down.reason, "control detection time expired")
  t.ok(down.at - cut < 150 + slackMs, `noticed after ${Math.round(down.at - cut)} ms of 150`)
  await until("a4 is told", async () => (await status("a4")).state === "down")

  await t.rejects(add("a4", a, "10.9.0.2"), /there is one already/)
  await t.rejects(add("x", a, "fe80::9"), /needs an interface/)
  await t.rejects(add("x", a, "10.9.0.2", { minTxMs: 5 }), /10 ms or more/)
  await t.rejects(add("x", a, "10.9.0.3", { ifname: "nothere" }), /nothere: ENODEV/)
  await t.rejects(add("x", a, "10.9.0.3", { local: "10.0.0.9" }), /EADDRNOTAVAIL/)
  await t.rejects(engine.addBfd("x", { netns: "/run/netns/nothere", peer: "10.0.0.1", multihop: false, ...fast }), /ENOENT/)
})

t.test("owners share a session, and end with their channel", { skip: needsRoot }, async (t) => {
  const { add, engine, isUp, status, world } = await rig(t, "bfd-share")
  const [a, b] = pair(world)
  await add("mine", a, "10.9.0.2")
  await add("far", b, "10.9.0.1")
  const channel = engine.bfdPort()
  const other = new BfdClient(channel)
  const heard: Array<string> = []
  other.onChange(({ id, state }) => heard.push(`${id} ${state}`))
  await other.add("theirs", { netns: a.path, peer: "10.9.0.2", multihop: false, ...fast, minTxMs: 20 })
  await until("it is up", () => isUp("mine"))
  t.same((await status("mine")).ids.toSorted(), ["mine", "theirs"], "one session for both")
  await until("the shortest time counts", async () => (await status("mine")).timers.minTxMs === 20)
  await until("the other owner has heard", () => heard.includes("theirs up"))
  t.equal((await other.states()).length, 1)
  engine.removeBfd("mine")
  await until("one owner is left", async () => (await status("theirs")).ids.length === 1)
  t.equal((await status("theirs")).state, "up", "and keeps the session")
  engine.endBfdPort(channel.id)
  await until("nobody is left", async () => (await engine.bfdStates()).length === 1)
  await until("the peer was told", async () => (await status("far")).state === "down")
  t.match(await status("far"), { remoteState: "admin-down", remoteDiagnostic: "administratively down" })
  other.close()
})

t.test("FRR, one hop", { skip: needsRoot || missingPeers("frr") }, async (t) => {
  const { add, changes, engine, isUp, status, world } = await rig(t, "bfd-frr")
  const [a, b] = pair(world)
  const peers = ["10.9.0.1 interface e1", "fd09::1 local-address fd09::2 interface e1", "fe80::1 local-address fe80::2 interface e1"]
  const times = "  receive-interval 60\n  transmit-interval 70\n  detect-multiplier 4\n"
  const configuration = `bfd\n${peers.map((peer) => ` peer ${peer}\n${times} exit\n`).join("")}exit\n`
  const frr = await startFrr(world, b, configuration, { daemons: ["bfdd"] })
  t.teardown(() => frr.stop())
  await add("v4", a, "10.9.0.2", { ifname: "e1" })
  await add("v6", a, "fd09::2", { ifname: "e1" })
  await add("ll", a, "fe80::2", { ifname: "e1" })
  for (const id of ["v4", "v6", "ll"]) {
    await until(`${id} is up`, () => isUp(id))
    await until(`${id} is fast`, async () => (await status(id)).detectionMs === 280)
    t.match(await status(id), { transmitMs: 60, remote: { minTxMs: 70, minRxMs: 60, multiplier: 4 }, discarded: 0 })
  }
  const told = (): Promise<unknown> => frr.ask("show bfd peers json")
  await until("FRR says the same", async () =>
    (await told() as ReadonlyArray<{ status: string; "remote-transmit-interval": number }>).every((one) =>
      one.status === "up" && one["remote-transmit-interval"] === 50), 10_000)

  await frr.configure("bfd\npeer 10.9.0.1 interface e1\ntransmit-interval 100\nreceive-interval 120")
  await until("FRR's times have changed", async () => (await status("v4")).detectionMs === 400)
  t.match(await status("v4"), { transmitMs: 120 })
  engine.setBfd("v4", { minTxMs: 200, minRxMs: 250 })
  await until("FRR has ours", async () => JSON.stringify(await told()).includes('"remote-transmit-interval":200'))
  t.match(await status("v4"), { transmitMs: 200, detectionMs: 1000, polling: false })
  t.same(changes.filter(({ previous }) => previous === "up"), [], "nothing went down")

  await frr.configure("bfd\npeer 10.9.0.1 interface e1\nshutdown")
  await until("v4 is down", async () => (await status("v4")).state === "down")
  t.match(await status("v4"), { remoteState: "admin-down", diagnostic: "neighbor signaled session down" })
  await frr.configure("bfd\npeer 10.9.0.1 interface e1\nno shutdown")
  await until("v4 is up again", () => isUp("v4"))
  engine.setBfd("v6", { adminDown: true })
  await until("FRR hears that we are down", async () => /administratively down/.test(JSON.stringify(await told())))

  const { detectionMs } = await status("ll")
  const killed = performance.now()
  await frr.stop(true)
  await until("ll is down", async () => (await status("ll")).state === "down")
  const last = changes.findLast(({ id }) => id === "ll")!
  t.equal(last.reason, "control detection time expired")
  t.ok(last.at - killed < detectionMs + slackMs, `killed: noticed after ${Math.round(last.at - killed)} ms of ${detectionMs}`)
})

t.test("FRR, over a router", { skip: needsRoot || missingPeers("frr") }, async (t) => {
  const { add, isUp, status, world } = await rig(t, "bfd-frr-far")
  const [a, c] = chain(world)
  const peer = (far: string, own: string): string => ` peer ${far} multihop local-address ${own}\n  minimum-ttl 250\n exit\n`
  const frr = await startFrr(world, c, `bfd\n${peer("10.9.1.2", "10.9.2.2")}${peer("fd09:1::2", "fd09:2::2")}exit\n`, { daemons: ["bfdd"] })
  t.teardown(() => frr.stop())
  await add("v4", a, "10.9.2.2", { multihop: true, local: "10.9.1.2" })
  await add("v6", a, "fd09:2::2", { multihop: true })
  await add("strict", a, "10.9.2.1", { multihop: true, minTtl: 255 })
  for (const id of ["v4", "v6"]) await until(`${id} is up`, () => isUp(id))
  t.match(await status("v4"), { multihop: true, discarded: 0 })
})

t.test("BIRD", { skip: needsRoot || missingPeers("bird") }, async (t) => {
  const { add, changes, engine, isUp, status, world } = await rig(t, "bfd-bird")
  const [a, b] = pair(world)
  const configuration = (interval: number): string => `router id 10.9.0.2;
protocol device { }
protocol bfd {
  interface "e1" { min rx interval ${interval} ms; min tx interval ${interval} ms; multiplier 3; };
  neighbor 10.9.0.1 dev "e1";
  neighbor fd09::1 dev "e1";
  neighbor fe80::1 dev "e1";
}`
  const bird = await startBird(world, b, configuration(40))
  t.teardown(() => bird.stop())
  await add("v4", a, "10.9.0.2", { ifname: "e1" })
  await add("v6", a, "fd09::2")
  await add("ll", a, "fe80::2", { ifname: "e1" })
  for (const id of ["v4", "v6", "ll"]) {
    await until(`${id} is up`, () => isUp(id))
    await until(`${id} is fast`, async () => (await status(id)).detectionMs === 150)
  }
  await until("BIRD says so", async () => ((await bird.ask("show bfd sessions") as string).match(/ Up /g) ?? []).length === 3)
  await bird.configure(configuration(100))
  await until("BIRD's times have changed", async () => (await status("v4")).detectionMs === 300)
  engine.setBfd("v4", { minTxMs: 30, minRxMs: 200 })
  await until("ours have", async () => (await status("v4")).detectionMs === 600 && !(await status("v4")).polling)
  t.same(changes.filter(({ previous }) => previous === "up"), [], "nothing went down")
  engine.setBfd("ll", { adminDown: true })
  await until("BIRD hears that we are down", async () => /fe80::1.*Down/.test(await bird.ask("show bfd sessions") as string))

  const { detectionMs } = await status("v6")
  const killed = performance.now()
  await bird.stop(true)
  await until("v6 is down", async () => (await status("v6")).state === "down")
  const last = changes.findLast(({ id }) => id === "v6")!
  t.ok(last.at - killed < detectionMs + slackMs, `killed: noticed after ${Math.round(last.at - killed)} ms of ${detectionMs}`)
})

t.test("BIRD, over a router", { skip: needsRoot || missingPeers("bird") }, async (t) => {
  const { add, isUp, world } = await rig(t, "bfd-bird-far")
  const [a, c] = chain(world)
  const bird = await startBird(world, c, `router id 10.9.2.2;
protocol device { }
protocol bfd {
  multihop { min rx interval 50 ms; min tx interval 50 ms; };
  neighbor 10.9.1.2 local 10.9.2.2 multihop yes;
  neighbor fd09:1::2 local fd09:2::2 multihop yes;
}`)
  t.teardown(() => bird.stop())
  await add("v4", a, "10.9.2.2", { multihop: true })
  await add("v6", a, "fd09:2::2", { multihop: true })
  for (const id of ["v4", "v6"]) await until(`${id} is up`, () => isUp(id))
})

/** Sends payloads (hexadecimal) from `node` to UDP port `port` of `to` with this TTL. */
const inject = (node: Namespace, to: string, ttl: number, payloads: ReadonlyArray<string>, port = 3784): void => {
  const script = `import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP,socket.IP_TTL,${ttl})
for p in sys.argv[1:]: s.sendto(bytes.fromhex(p),("${to}",${port}))`
  const { status, stderr } = spawnSyncIn(node, ["/usr/bin/python3", "-c", script, ...payloads])
  if (status !== 0) throw new Error(stderr)
}

const hex = (value: number): string => value.toString(16).padStart(8, "0")

t.test("what is not to be believed", { skip: needsRoot }, async (t) => {
  const { add, changes, isUp, status, world } = await rig(t, "bfd-forged")
  const [a, b] = pair(world)
  await add("a", a, "10.9.0.2", { ifname: "e1" })
  await add("b", b, "10.9.0.1", { ifname: "e1" })
  await until("it is up", async () => (await isUp("a")) && !(await status("a")).polling)
  const { localDiscriminator: mine, remoteDiscriminator: theirs } = await status("a")
  const times = hex(50_000) + hex(50_000) + hex(0)
  const down = (your: number): string => `20400318${hex(theirs)}${hex(your)}${times}`
  const before = await status("a")
  // All of them would take the session down: this one says so over too many hops, from elsewhere, authenticated, ...
  inject(b, "10.9.0.1", 254, [down(mine)])
  inject(b, "10.9.0.1", 255, [
    `2044031a${hex(theirs)}${hex(mine)}${times}0102`,
    down(mine === 1 ? 2 : mine - 1),
    `20400318${hex(0)}${hex(mine)}${times}`,
    `20400018${hex(theirs)}${hex(mine)}${times}`,
    `20410318${hex(theirs)}${hex(mine)}${times}`,
    `40400318${hex(theirs)}${hex(mine)}${times}`,
    `20400317${hex(theirs)}${hex(mine)}${times}`,
    `20400319${hex(theirs)}${hex(mine)}${times}`,
    `20c00318${hex(theirs)}${hex(0)}${times}`,
    "20400318",
    ""
  ])
  inject(b, "10.9.0.1", 255, [down(mine)], 4784)
  await until("all have been looked at", async () => (await status("a")).unmatched - before.unmatched === 10)
  t.equal((await status("a")).discarded - before.discarded, 2, "TTL, authentication")
  t.equal((await status("a")).state, "up")
  t.same(changes.filter(({ previous }) => previous === "up"), [], "nothing went down")
  inject(b, "10.9.0.1", 255, [down(mine)])
  await until("the one that is right counts", () => changes.some(({ id, previous }) => id === "a" && previous === "up"))
})

t.test("being held up takes nothing down", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const { add, changes, engine, isUp, world } = await rig(t, "bfd-late")
  const [a, b] = pair(world)
  const quick = { minTxMs: 10, minRxMs: 10 }
  await add("a", a, "10.9.0.2", quick)
  await add("b", b, "10.9.0.1", quick)
  await until("it is up", async () => (await isUp("a")) && (await isUp("b")))

  // The main thread is busy, and collects garbage, for a hundred detection times.
  const end = performance.now() + 3000
  const garbage: Array<Array<number>> = []
  while (performance.now() < end) {
    garbage.push(Array.from({ length: 1000 }, (_, i) => i))
    if (garbage.length > 20_000) garbage.length = 0
  }
  await engine.bfdStates()
  t.same(changes.filter(({ previous }) => previous === "up"), [], "nothing went down beside a busy main thread")

  // Other threads take every processor, as a routing thread does that loads a table.
  const spin = `const until = performance.now() + 2000
    const list = []
    while (performance.now() < until) if (list.push({}) > 1e6) list.length = 0`
  const workers = Array.from({ length: 3 }, () => new Worker(spin, { eval: true }))
  await Promise.all(workers.map((worker) => once(worker, "exit")))
  await engine.bfdStates()
  t.same(changes.filter(({ previous }) => previous === "up"), [], "nothing went down beside three busy threads")

  // The whole process with both ends stands still.
  const script = `import { Engine } from "${new URL("../../daemon/datapath/engine.ts", import.meta.url).pathname}"
const engine = await Engine.start()
engine.onBfd((change) => console.log(change.id, change.state))
const times = { minTxMs: 10, minRxMs: 10, multiplier: 3, multihop: false }
await engine.addBfd("c", { netns: "${a.path}", peer: "fd09::2", ...times })
await engine.addBfd("d", { netns: "${b.path}", peer: "fd09::1", ...times })
process.stdin.on("data", async () => console.log((await engine.bfdStates()).map(({ state, downCount }) => state + downCount).join(" ")))
process.stdin.on("end", () => process.exit())`
  engine.removeBfd("a")
  engine.removeBfd("b")
  await until("the ports are free", async () => (await engine.bfdStates()).length === 0)
  const file = join(t.testdir({ "both.mts": script }), "both.mts")
  const child = spawn(process.execPath, [file], { stdio: ["pipe", "pipe", "inherit"] })
  t.teardown(() => void child.kill("SIGKILL"))
  const lines: Array<string> = []
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line))
  await until("both are up", () => lines.includes("c up") && lines.includes("d up"))
  for (let i = 0; i < 5; i++) {
    child.kill("SIGSTOP")
    const until400 = performance.now() + 400
    await until("it has stood still for a while", () => performance.now() > until400)
    child.kill("SIGCONT")
    const seen = lines.length
    child.stdin.write("?\n")
    await until("it says how it is", () => lines.length > seen)
    const until100 = performance.now() + 100
    await until("it has run for a while", () => performance.now() > until100)
  }
  t.same(lines.filter((line) => /^[cd]/.test(line)).filter((line) => !/init|up/.test(line)), [], "nothing went down")
  child.stdin.end()
  await once(child, "exit")
})

t.test("500 sessions", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const { changes, engine, world } = await rig(t, "bfd-many")
  const [a, b] = pair(world)
  const many = 250
  ipBatch(a, Array.from({ length: many }, (_, i) => `addr add 10.10.${i >> 7}.${i & 127}/16 dev e1`).slice(1))
  ipBatch(b, Array.from({ length: many }, (_, i) => `addr add 10.10.${128 + (i >> 7)}.${i & 127}/16 dev e1`).slice(1))
  for (let i = 1; i < many; i++) {
    const [one, two] = [`10.10.${i >> 7}.${i & 127}`, `10.10.${128 + (i >> 7)}.${i & 127}`]
    await engine.addBfd(`a${i}`, { netns: a.path, peer: two, local: one, multihop: false, ...fast })
    await engine.addBfd(`b${i}`, { netns: b.path, peer: one, local: two, multihop: false, ...fast })
  }
  await until("all are up", async () => (await engine.bfdStates()).every(({ polling, state }) => state === "up" && !polling))
  const cpu = process.cpuUsage()
  const [start, packets] = [performance.now(), await sent(engine)]
  const end = start + 3000
  await until("they have run for a while", () => performance.now() > end)
  const { system, user } = process.cpuUsage(cpu)
  const rate = (await sent(engine) - packets) / (performance.now() - start) * 1000
  const share = (system + user) / 1000 / (performance.now() - start)
  t.comment(`${2 * (many - 1)} sessions at 50 ms: ${Math.round(rate)} packets/s sent and received, ${Math.round(100 * share)} % of one CPU`)
  t.ok(rate > 498 * 20 && rate < 498 * 27, "75 to 100 % of the interval")
  t.same(changes.filter(({ previous }) => previous === "up").length, 0, "nothing went down")
})

const sent = async (engine: Engine): Promise<number> =>
  (await engine.bfdStates()).reduce((sum, { packetsSent }) => sum + packetsSent, 0)
