/** Labs side by side, one after the other, at the same time: what belongs to whom, and what is left at the end. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import { needsRoot, until } from "./harness.ts"
import { identities, inodeOf, run, sh, toTopology, Weftd, type TopologyObject } from "./daemon-harness.ts"

const pair = (name: string, cidr: string): TopologyObject => ({
  name,
  nodes: { a: { kind: "host" }, b: { kind: "host" } },
  networks: { lan: { cidr, ports: ["a", "b"] } }
})

/** A pair whose deploy takes until `release` is called. */
const slowPair = (weftd: Weftd, name: string): { topology: TopologyObject; release: () => void } => {
  const flag = join(weftd.directory, `release-${name}`)
  const exec = [["sh", "-c", `while [ ! -e ${flag} ]; do sleep 0.02; done`]]
  return {
    topology: { ...pair(name, "10.1.0.0/24"), nodes: { a: { kind: "host", exec }, b: { kind: "host" } } },
    release: () => writeFileSync(flag, "")
  }
}

t.test("lifecycle", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("life")
  t.teardown(() => weftd.close())

  t.test("deploy, look, deploy again, destroy", async (t) => {
    const lab = weftd.name("one")
    const first = await weftd.make(pair(lab, "10.1.0.0/24"))
    t.ok(first.changed > 0)
    t.equal(first.steps.length, first.changed)
    const before = await weftd.inspect(lab)
    t.equal(before.lab.state, "ready")
    t.same(before.drift, [])
    t.ok(await weftd.pings(lab, "a", "10.1.0.2"))
    const second = await weftd.make(pair(lab, "10.1.0.0/24"))
    t.equal(second.changed, 0)
    t.same(identities(await weftd.inspect(lab)), identities(before))
    const sleeper = weftd.startIn(lab, "a", ["sleep", "1000"])
    const gone = await weftd.destroy(lab)
    t.ok(gone.changed > 0)
    await until("what ran in the node is gone", () => sleeper.exitCode !== null || sleeper.signalCode !== null)
    t.equal(existsSync(`/run/netns/weft.${lab}.a`), false)
    t.equal(existsSync(`/etc/netns/weft.${lab}.a`), false)
    t.same(await weftd.client.list(), [])
    await t.rejects(weftd.destroy(lab), /No lab/)
  })

  t.test("descriptors stay as many as they were", async (t) => {
    const lab = weftd.name("fds")
    await weftd.make(pair(lab, "10.1.0.0/24"))
    const before = weftd.descriptors()
    for (let i = 0; i < 3; i++) {
      await weftd.make(pair(lab, i % 2 === 0 ? "10.2.0.0/24" : "10.1.0.0/24"))
      await weftd.inspect(lab)
      await weftd.plan(pair(lab, "10.3.0.0/24"))
    }
    t.same([...weftd.descriptors()].sort(), [...before].sort())
    await weftd.destroy(lab)
  })

  t.test("a command that goes on in the background", async (t) => {
    const lab = weftd.name("background")
    const marker = `${2_000_000 + (process.pid % 1000)}`
    const running = async (): Promise<boolean> => (await run(["pgrep", "-f", `^sleep ${marker}$`])).code === 0
    await weftd.make({
      ...pair(lab, "10.1.0.0/24"),
      nodes: { a: { kind: "host", exec: [["sh", "-c", `sleep ${marker} &`]] }, b: { kind: "host" } }
    })
    t.ok(await running(), "goes on when the lab is ready")
    await weftd.kill()
    t.ok(await running(), "and without the daemon")
    await weftd.start()
    await weftd.destroy(lab)
    t.notOk(await running(), "and ends with its node")
  })

  t.test("two labs with the same node names and addresses", async (t) => {
    const [left, right] = [weftd.name("left"), weftd.name("right")]
    await Promise.all([weftd.make(pair(left, "10.1.0.0/24")), weftd.make(pair(right, "10.1.0.0/24"))])
    const before = identities(await weftd.inspect(left))
    t.ok(await weftd.pings(left, "a", "10.1.0.2"))
    t.ok(await weftd.pings(right, "a", "10.1.0.2"))
    t.not(inodeOf(left, "a"), inodeOf(right, "a"))
    const [one, other] = [await weftd.inspect(left), await weftd.inspect(right)]
    t.not(one.segments[0]!.vni, other.segments[0]!.vni)
    const ambiguous = await weftd.weft(["exec", "a", "--", "true"])
    t.not(ambiguous.code, 0)
    t.match(ambiguous.stderr, new RegExp(`${left}/a`))
    t.equal((await weftd.weft(["exec", `${left}/a`, "--", "true"])).code, 0)
    for (const words of [["inspect"], ["inject", "node-pause", "a"], ["probe", "a", "b"]]) {
      t.match(await weftd.weft(words), { code: 2, stderr: /Which lab\? Deployed: .*\. Name one/ }, `weft ${words.join(" ")}`)
    }
    t.match(await weftd.weft(["inject", "--lab", right, "node-pause", `${left}/a`]), { code: 2, stderr: /The words name lab/ })
    await weftd.destroy(right)
    t.same(identities(await weftd.inspect(left)), before)
    t.ok(await weftd.pings(left, "a", "10.1.0.2"))
    await weftd.destroy(left)
  })

  t.test("two daemons beside each other", async (t) => {
    const other = await Weftd.start("life2")
    t.teardown(() => other.close())
    const [mine, theirs] = [weftd.name("mine"), other.name("theirs")]
    await Promise.all([weftd.make(pair(mine, "10.1.0.0/24")), other.make(pair(theirs, "10.1.0.0/24"))])
    const before = identities(await weftd.inspect(mine))
    // A name that the other one has: refused, and nothing of it is touched.
    const inode = inodeOf(theirs, "a")
    weftd.name("theirs")
    const refused = await weftd.deploy(pair(theirs, "10.9.0.0/24"))
    t.equal(refused.changed, -1)
    t.match(refused.message, `weft.${theirs}.a`)
    t.match(refused.message, other.instance)
    t.equal(inodeOf(theirs, "a"), inode)
    t.same(await other.drift(theirs), [])
    t.ok((await weftd.destroy(theirs)).changed >= 0, "what could not be made can be given up")
    t.equal(inodeOf(theirs, "a"), inode)
    await other.kill()
    await weftd.stop()
    await Promise.all([other.start(), weftd.start()])
    t.same(await other.drift(theirs), [])
    t.same(identities(await weftd.inspect(mine)), before)
    await other.close()
    t.same(identities(await weftd.inspect(mine)), before)
    t.ok(await weftd.pings(mine, "a", "10.1.0.2"))
    await weftd.destroy(mine)
  })

  t.test("a second daemon of the same instance is refused", async (t) => {
    const second = await run([".weft/bin/node", "daemon/main.ts", "--instance", weftd.instance, "--state", `${weftd.directory}/other`])
    t.not(second.code, 0)
    t.match(second.stderr, /another weftd/)
    t.same(await weftd.client.list(), [], "the first one goes on")
  })

  t.test("one change of a lab at a time", async (t) => {
    const lab = weftd.name("busy")
    const { release, topology } = slowPair(weftd, lab)
    const first = weftd.deploy(topology)
    await until("the deploy is under way", () => existsSync(`/run/netns/weft.${lab}.a`))
    const second = await weftd.weft(["deploy", "-"], { input: JSON.stringify(topology) })
    t.equal(second.code, 1)
    t.match(second.stderr, /being changed by another command/)
    release()
    t.equal((await first).failures.length, 0)
    await weftd.destroy(lab)
  })

  t.test("a client that goes away does not stop a deploy", async (t) => {
    const lab = weftd.name("gone")
    const { release, topology } = slowPair(weftd, lab)
    const there = (): boolean => existsSync(`/run/netns/weft.${lab}.a`)
    const ready = async (): Promise<boolean> => (await weftd.client.list()).some(({ name, state }) => name === lab && state === "ready")
    const interrupted = await weftd.weft(["deploy", "-"], {
      input: JSON.stringify(topology),
      onStart: (child) => void until("the deploy is under way", there).then(() => child.kill("SIGINT"))
    })
    t.equal(interrupted.code, 130)
    t.match(interrupted.stderr, /the daemon goes on/)
    release()
    await until("the lab is ready", ready)
    await weftd.destroy(lab)
    for await (const progress of weftd.client.deploy(toTopology(topology), false)) if (progress.event === "change") break
    await until("the lab is ready", ready)
    t.same(await weftd.plan(topology), [])
    await weftd.destroy(lab)
  })

  t.test("a daemon that is told to end finishes its deploy first", async (t) => {
    const lab = weftd.name("term")
    const { release, topology } = slowPair(weftd, lab)
    const deploy = weftd.deploy(topology).catch((error: Error) => error)
    await until("the deploy is under way", () => existsSync(`/run/netns/weft.${lab}.a`))
    const stopped = weftd.stop()
    release()
    await stopped
    await deploy
    await weftd.start()
    t.match(weftd.log, new RegExp(`${lab} was ready; adopted as it was`))
    await weftd.destroy(lab)
  })

  t.test("a command in a node ends with its lab", async (t) => {
    const lab = weftd.name("ends")
    await weftd.make(pair(lab, "10.1.0.0/24"))
    let destroyed: Promise<unknown> = Promise.resolve()
    const exec = await weftd.weft(["exec", "a", "--", "sh", "-c", "trap '' TERM HUP; echo up; while :; do sleep 0.1; done"], {
      onStart: (child) => child.stdout!.once("data", () => (destroyed = weftd.destroy(lab)))
    })
    await destroyed
    t.equal(exec.code, 137)
    t.same(await weftd.client.list(), [])
  })

  t.test("the fabric goes with the last lab when the daemon ends", async (t) => {
    const lab = weftd.name("fabric")
    await weftd.make(pair(lab, "10.1.0.0/24"))
    t.match(sh("ip", "-n", weftd.fabric, "link"), `weft.${lab}.a.eth0`)
    t.equal(await weftd.stop(), 0)
    t.ok(existsSync(`/run/netns/${weftd.fabric}`), "a lab needs it")
    t.match(await run(["ip", "netns", "exec", `weft.${lab}.a`, "ping", "-c1", "10.1.0.2"]), { code: 0 })
    await weftd.start()
    await weftd.destroy(lab)
    await weftd.stop()
    t.same(await weftd.remaining(), [])
    await weftd.start()
    t.match(readFileSync(`${weftd.directory}/weftd.log`, "utf8"), /adopted as it was/)
  })
})
