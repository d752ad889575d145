/** The store of many hosts when etcd fails it: members killed and frozen, answers lost, history compacted, all of it away. */
import { connect, createServer, type AddressInfo, type Socket } from "node:net"
import t, { type Test } from "tap"
import * as Etcd from "../../daemon/store/etcd.ts"
import type { FleetStore } from "../../daemon/store/fleet.ts"
import { Heard, isEtcdInstalled, lab, Members, needsEtcd, record, report, until } from "../store/etcd-fixture.ts"

if (!isEtcdInstalled) {
  t.plan(0, needsEtcd)
  process.exit()
}

const unhandled: Array<unknown> = []
process.on("unhandledRejection", (error) => unhandled.push(error))

interface Stream {
  readonly stop: () => Promise<number>
  slowestMs: number
  readonly failures: ReadonlyArray<string>
}

/** Commits one generation of lab `name` after the other. */
const commits = (store: FleetStore, name: string): Stream => {
  const failures: Array<string> = []
  const stream = { slowestMs: 0, failures, stop: () => ((running = false), ended) }
  let running = true
  const run = async (): Promise<number> => {
    let revision = "0"
    let generation = 0
    while (running) {
      const startedMs = performance.now()
      try {
        const result = await store.commit(name, revision, () => lab(name, [17], { generation: generation + 1 }))
        if (!result.ok) throw new Error(`somebody else has committed ${JSON.stringify(result.winner?.revision)} after ${revision}`)
        revision = result.revision
        generation += 1
        await store.report(name, report("h1", { generation }))
      } catch (error) {
        failures.push((error as Error).message)
        running = false
      }
      stream.slowestMs = Math.max(stream.slowestMs, performance.now() - startedMs)
      await new Promise((next) => setTimeout(next, 5))
    }
    return generation
  }
  const ended = run()
  return stream
}

t.test("one of three members killed, then frozen, each in turn: nobody notices", async (t) => {
  const etcd = await Members.start(t, { count: 3 })
  const [store, reader] = await Promise.all([etcd.open(t), etcd.open(t)])
  await store.register(record("h1"))
  const heard = new Heard(t, reader)
  await until("it is connected", () => heard.connections.length > 0)
  const stream = commits(store, "a")
  const some = async (what: string): Promise<void> => {
    const before = heard.generations.length
    await until(`commits are made and told ${what}`, () => heard.generations.length > before + 20 || stream.failures.length > 0)
  }
  for (const index of [0, 1, 2]) {
    await some("before")
    await etcd.kill(index)
    await some(`without member ${index}`)
    await etcd.run(index)
    await until(`member ${index} is back`, () => etcd.isHealthy(index))
  }
  t.comment(`killed: slowest commit and report ${Math.round(stream.slowestMs)} ms`)
  for (const index of [0, 1, 2]) {
    etcd.freeze(index)
    await some(`with member ${index} frozen`)
    etcd.thaw(index)
    await until(`member ${index} is back`, () => etcd.isHealthy(index))
  }
  t.comment(`and frozen: ${Math.round(stream.slowestMs)} ms`)
  const generation = await stream.stop()
  t.strictSame(stream.failures, [])
  await until("all is told", () => heard.labs.get("a")?.lab.generation === generation)
  t.ok(isRising(heard.generations), "in order")
  t.strictSame(heard.connections, ["connected"])
  t.match(await reader.hosts(), [{ alive: true }])
  t.ok(heard.hosts[0]?.alive)
})

const isRising = (numbers: ReadonlyArray<number>): boolean => numbers.every((each, index) => index === 0 || each >= numbers[index - 1]!)

t.test("etcd away: calls say so in time, the watch tells, and all is caught up with when it is back", async (t) => {
  const etcd = await Members.start(t)
  const [store, reader] = await Promise.all([etcd.open(t), etcd.open(t)])
  await store.register(record("h1"))
  const first = await store.commit("a", "0", () => lab("a", [1]))
  await store.commit("b", "0", () => lab("b", [2]))
  const heard = new Heard(t, reader)
  await until("it is connected", () => heard.connections.length > 0)
  await etcd.kill(0)
  const startedMs = performance.now()
  await t.rejects(store.labs(), {
    message: /^Cannot read the labs: etcd at \S+ did not answer within 5 s \(connect ECONNREFUSED 127\.0\.0\.1:\d+\)\. See whether it runs/
  })
  t.ok(performance.now() - startedMs < 20_000, "in time")
  await t.rejects(store.commit("a", "1", () => lab("a", [])), { message: /^Cannot commit lab "a"/ })
  await until("the loss is told", () => heard.connections.length > 1)
  t.match(heard.connections[1], /^lost: no answer from http:\/\/127\.0\.0\.1:\d+ \(connect ECONNREFUSED 127/)

  await etcd.run(0)
  await until("etcd serves", () => etcd.isHealthy(0))
  // By a third, so that it is there before the reader comes back or right after.
  const third = await etcd.open(t)
  if (first.ok) t.ok(await third.remove("a", first.revision))
  await third.commit("c", "0", () => lab("c", [3]))
  await until("it is connected again", () => heard.connections.length > 2)
  await until("all is told", () => heard.labs.has("c") && heard.gone.includes("a"))
  t.strictSame([...heard.labs.keys()].toSorted(), ["b", "c"])
  t.equal(heard.connections[2], "connected")
  await until("the host is there", async () => (await third.hosts())[0]?.alive === true)
})

t.test("who registers while etcd is away is registered when it is back", async (t) => {
  const etcd = await Members.start(t)
  const [former, store] = await Promise.all([etcd.open(t), etcd.open(t)])
  await former.register(record("h1"))
  await etcd.kill(0)
  await t.rejects(store.register(record("h1", { capacity: 9 })), { name: "EtcdError", message: /^Cannot register host "h1": etcd at/ })
  await etcd.run(0)
  await until("it is registered, though its predecessor's lease lasts", async () => (await store.hosts())[0]?.capacity === 9)
  t.match(await store.hosts(), [{ alive: true }])
})

t.test("a frozen etcd is found out, too", async (t) => {
  const etcd = await Members.start(t)
  const heard = new Heard(t, await etcd.open(t))
  await until("it is connected", () => heard.connections.length > 0)
  etcd.freeze(0)
  await until("the loss is told", () => heard.connections.length > 1)
  t.match(heard.connections[1], /^lost: .*no answer in time/)
  etcd.thaw(0)
  await until("it is connected again", () => heard.connections.length > 2)
})

t.test("history that is compacted while the watch is away is not missed", async (t) => {
  const etcd = await Members.start(t)
  const [store, reader] = await Promise.all([etcd.open(t), etcd.open(t)])
  const heard = new Heard(t, reader)
  await until("it is connected", () => heard.connections.length > 0)
  const stream = commits(store, "a")
  for (let round = 0; round < 3; round++) {
    await etcd.kill(0)
    await etcd.run(0)
    await until("etcd serves", () => etcd.isHealthy(0))
    const there = await (await etcd.open(t)).lab("a")
    if (there !== undefined) etcd.control("compact", there.revision, "--physical")
    const before = heard.generations.length
    await until("the stream goes on", () => heard.generations.length > before + 5 || stream.failures.length > 0)
  }
  const generation = await stream.stop()
  t.strictSame(stream.failures, [])
  await until("all is told", () => heard.labs.get("a")?.lab.generation === generation)
  t.ok(isRising(heard.generations))
})

/** Stands before etcd; from `deafen` on, what etcd says does not arrive, and the connection breaks soon after. */
const deafProxy = async (t: Test, port: number): Promise<{ readonly url: string; readonly deafen: () => void }> => {
  const sockets = new Set<Socket>()
  let deaf = false
  const server = createServer((client) => {
    const upstream = connect(port, "127.0.0.1")
    for (const socket of [client, upstream]) sockets.add(socket.on("error", () => {}))
    client.pipe(upstream)
    upstream.on("data", (octets) => {
      if (!deaf) client.write(octets)
      else setTimeout(() => client.destroy(), 50)
    })
    client.on("close", () => upstream.destroy())
    upstream.on("close", () => client.destroy())
  }).listen(0, "127.0.0.1")
  await new Promise((resolve) => server.once("listening", resolve))
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, deafen: () => (deaf = true) }
}

t.test("a commit whose answer is lost is found to be done", async (t) => {
  const etcd = await Members.start(t)
  const direct = await etcd.open(t)
  const port = Number(new URL(etcd.endpoints[0]!).port)
  for (const [what, others] of [["another member is asked", etcd.endpoints], ["somebody has changed it since", etcd.endpoints]] as const) {
    const proxy = await deafProxy(t, port)
    const store = await Etcd.open({ endpoints: [proxy.url, ...others], log: () => {} })
    t.teardown(() => store.close())
    const before = await direct.lab("a")
    const deployer = store.commit("a", before?.revision ?? "0", () => {
      proxy.deafen()
      return lab("a", [1], { deployedBy: what, generation: 5 })
    })
    if (what.startsWith("another")) {
      t.match(await deployer, { ok: true }, what)
      t.match(await direct.lab("a"), { lab: { deployedBy: what } })
      continue
    }
    await until("it went through", async () => (await direct.lab("a"))?.lab.deployedBy === what)
    const there = (await direct.lab("a"))!
    await direct.commit("a", there.revision, () => lab("a", [1], { generation: 6 }))
    t.match(await deployer, { ok: true, revision: there.revision }, what)
  }
})

t.test("with nobody to ask, a commit whose answer is lost says that it does not know", async (t) => {
  const etcd = await Members.start(t)
  const proxy = await deafProxy(t, Number(new URL(etcd.endpoints[0]!).port))
  const store = await Etcd.open({ endpoints: [proxy.url], log: () => {} })
  t.teardown(() => store.close())
  const deployer = store.commit("a", "0", () => (proxy.deafen(), lab("a", [1])))
  await t.rejects(deployer, { message: /^Cannot commit lab "a": .*Whether it was committed is not known: look with weft list/ })
})

t.test("none of it has left a rejection unhandled", async (t) => {
  t.strictSame(unhandled, [])
})
