/** Who a daemon says it is, and what it may show: a name or an address that a living host has, and a start without etcd. */
import { readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import { toTopology, Weftd } from "./daemon-harness.ts"
import { daemonPort, Fleet } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"

t.test("two hosts", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("names", { hosts: 2 })
  t.teardown(() => fleet.close())
  const lab = fleet.name("lab")
  const nodes = { a: { kind: "host", host: "h1" }, b: { kind: "host", host: "h2" } }
  await fleet.make({ name: lab, nodes, networks: { lan: { cidr: "10.1.0.0/24", ports: ["a", "b"] } } })

  await t.test("what cannot be placed is said with the file's name, by plan as by deploy", async (t) => {
    const topology = { name: lab, nodes: { a: { kind: "host", host: "nowhere" } } }
    const { diagnostics } = await fleet.client(1).plan(toTopology(topology))
    t.match(diagnostics, [{ filename: "test.weft.yaml", message: /there is no host "nowhere"/ }])
  })

  /** The log of a daemon on the first host that is refused. */
  const refusedAs = async (host: string): Promise<string> => {
    const { ca, cert, key } = fleet.pki("h1")
    const address = fleet.address(1)
    const identity = ["--host", host, "--underlay", address, "--listen", `${address}:${daemonPort + 1}`]
    const words = ["--etcd", fleet.endpoints, ...identity, "--tls-ca", ca, "--tls-cert", cert, "--tls-key", key]
    const second = new Weftd(`as-${host}`, words, { netns: fleet.netns(1).path })
    t.teardown(() => rmSync(second.directory, { recursive: true, force: true }))
    const log = (): string => readFileSync(join(second.directory, "weftd.log"), "utf8")
    second.spawn()
    await until("it is refused", () => log().includes("Cannot register host"), 120_000).catch((error: unknown) => t.comment(error, log()))
    await second.stop()
    t.same(await second.remaining(), [])
    return log()
  }

  await t.test("a second daemon with the name of one makes nothing before it is refused", async (t) => {
    const log = await refusedAs("h2")
    t.match(log, /Cannot register host "h2": a living host has that name/)
    t.notMatch(log, /lab\./, "no lab is touched")
  })

  await t.test("a host with the underlay address of another is refused", async (t) => {
    t.match(await refusedAs("h9"), /Cannot register host "h9": the living host "h1" .* has the underlay address 10\.99\.0\.1/)
  })

  await t.test("a host whose name somebody takes says so, leaves labs alone, and goes on when the name is free", async (t) => {
    const holder = JSON.stringify({ token: "another", underlay: "10.99.0.77", instance: "x", host: "h2" })
    const key = "/weft/v1/alive/h2"
    const warns = async (): Promise<boolean> =>
      /a living host has that name \(underlay 10\.99\.0\.77/.test((await fleet.weft(2, ["hosts"])).stderr)
    // All leases end, as if etcd had been away for long, and somebody is faster.
    const leases = (await fleet.etcdctl("lease", "list")).stdout.match(/^[0-9a-f]{10,}$/gm) ?? []
    for (const id of leases) await fleet.etcdctl("lease", "revoke", id)
    await fleet.etcdctl("put", key, holder)
    await until("it warns", warns, 120_000)
    t.match(await fleet.weft(2, ["destroy", lab]), { code: 1, stderr: /leaves its labs as they are/ })
    await fleet.etcdctl("del", key)
    await until("it has its name", async () => !(await warns()), 120_000)
    await fleet.complete()
    const networks = { lan: { cidr: "10.2.0.0/24", ports: ["a", "b"] } }
    await fleet.make({ name: lab, nodes, networks }, 2)
    t.match(fleet.weftd(2).log, /host\.refused .*\n(.*\n)*.*host\.registered/)
  })

  await t.test("a daemon that starts while etcd is away says that it shows its own part only", async (t) => {
    await fleet.stopEtcd()
    await fleet.kill(1)
    await fleet.restart(1)
    const { nodes, unreachable } = await fleet.inspect(lab)
    t.same(nodes.map(({ name }) => name), ["a"])
    t.match(unreachable.join(), /^etcd cannot be reached since .*what host h1 has/)
    fleet.startEtcd()
    await fleet.etcdReady()
    await fleet.complete()
  })
})
