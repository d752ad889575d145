/**
 * The routing thread crashes under traffic: its handle starts another one, sessions come back by graceful restart, and packets do not
 * notice, neither behind the speaker that crashed nor behind its neighbour.
 */
import t from "tap"
import { Routing, type NodeNamespace } from "../../daemon/bgp/routing.ts"
import type { Happening } from "../../daemon/bgp/messages.ts"
import type { SpeakerView } from "../../daemon/bgp/view/view.ts"
import { load } from "../../daemon/compiler/load.ts"
import * as Netns from "../../daemon/linux/netns.ts"
import type { BgpSpec } from "../../daemon/plan/bgp.ts"
import { Flows } from "../../daemon/probes/flows.ts"
import { descriptorCount, ipBatch, needsRoot, until, World } from "./harness.ts"

const topology = `
name: crash
nodes:
  a: { kind: host }
  b: { kind: host }
  r1: { kind: router, bgp: { as: 65001, networks: 10.1.0.0/24 } }
  r2: { kind: router, bgp: { as: 65002, networks: 10.2.0.0/24 } }
networks:
  lan1: { cidr: 10.1.0.0/24, gateway: r1, ports: ["r1:lan", a] }
  lan2: { cidr: 10.2.0.0/24, gateway: r2, ports: ["r2:lan", b] }
links: [{ endpoints: ["r1:wan", "r2:wan"], cidr: 10.0.0.0/30 }]
`

const specs = (): ReadonlyMap<string, BgpSpec> => {
  const loaded = load({ filename: "crash", content: topology })
  if (!loaded.ok) throw new Error("the topology is refused")
  return new Map(loaded.plan.resources.flatMap((resource) => (resource.kind === "bgp" ? [[resource.spec.node, resource.spec]] : [])))
}

t.test("the routing thread crashes under traffic", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const world = new World("bgpcrash")
  t.teardown(() => world.close())
  // A routing thread keeps no process alive.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(alive))
  const [a, b, r1, r2] = ["a", "b", "r1", "r2"].map((name) => world.namespace(name)) as [Ns, Ns, Ns, Ns]
  ipBatch(r1, [`link add lan type veth peer name eth0 netns ${a.name}`, `link add wan type veth peer name wan netns ${r2.name}`])
  ipBatch(r2, [`link add lan type veth peer name eth0 netns ${b.name}`])
  ipBatch(r1, ["addr add 10.1.0.1/24 dev lan", "addr add 10.0.0.1/30 dev wan", "link set lan up", "link set wan up"])
  ipBatch(r2, ["addr add 10.2.0.1/24 dev lan", "addr add 10.0.0.2/30 dev wan", "link set lan up", "link set wan up"])
  ipBatch(a, ["addr add 10.1.0.2/24 dev eth0", "link set eth0 up", "route add default via 10.1.0.1"])
  ipBatch(b, ["addr add 10.2.0.2/24 dev eth0", "link set eth0 up", "route add default via 10.2.0.1"])
  for (const router of [r1, r2]) await world.run(router, ["sysctl", "-qw", "net.ipv4.ip_forward=1"])

  const flows = Flows.start()
  t.teardown(() => flows.close())
  const descriptors = descriptorCount()
  const told: Happening[] = []
  const log: string[] = []
  const parts = { tell: (happening: Happening) => void told.push(happening), log: (message: string) => void log.push(message) }
  const routings = [0, 1].map(() => new Routing(parts))
  const [crashing, other] = routings as [Routing, Routing]
  t.teardown(() => Promise.all(routings.map((routing) => routing.close())))
  const opened = ({ name, path }: Ns): NodeNamespace => {
    const { fd, inode } = Netns.open(name)!
    return { fd, inode, path }
  }
  const wanted = specs()
  const place = (node: string) => ({ lab: "crash", node })
  await crashing.add(place("r1"), opened(r1), wanted.get("r1")!)
  await other.add(place("r2"), opened(r2), wanted.get("r2")!)
  const speaker = async (routing: Routing, node: string): Promise<SpeakerView | undefined> => {
    const answer = await routing.ask({ kind: "speaker", ...place(node) }).catch(() => undefined)
    return answer?.kind === "speaker" ? answer.speaker : undefined
  }
  const isUp = async (): Promise<boolean> =>
    (await Promise.all([speaker(crashing, "r1"), speaker(other, "r2")])).every((one) => one?.neighbors[0]?.state === "Established")
  const ofBgp = async (router: Ns): Promise<string> => (await world.run(router, ["ip", "route", "show", "proto", "95"])).stdout
  await until("the session is up", isUp)
  await until("routes are there", async () => (await ofBgp(r1)).includes("10.2.0.0/24") && (await ofBgp(r2)).includes("10.1.0.0/24"))

  const responder = flows.respond(b.path, "0.0.0.0", 0)
  const flow = flows.add({ netnsPath: a.path, address: "10.2.0.2", port: responder.port, spacingMs: 1, timeoutMs: 1000 })
  await until("packets flow", () => flows.read(flow).received > 500)
  const [routesOfR1, routesOfR2] = [await ofBgp(r1), await ofBgp(r2)]
  for (let crash = 1; crash <= 2; crash++) {
    await crashing.kill()
    t.equal(await ofBgp(r1), routesOfR1, "the kernel goes on")
    t.equal(await ofBgp(r2), routesOfR2, "its neighbour keeps its routes")
    await until("another thread has the session again", isUp, 120_000)
    await until("the restart is over", async () => (await speaker(crashing, "r1"))?.restarting === false, 120_000)
    t.equal(await ofBgp(r1), routesOfR1)
    t.equal((await speaker(other, "r2"))?.neighbors[0]?.establishedCount, crash + 1)
  }
  const { received } = flows.read(flow)
  await until("packets flow still", () => flows.read(flow).received > received + 500)
  const { lost, unreachable, refused, outageCount } = flows.read(flow)
  t.strictSame({ lost, unreachable, refused, outageCount }, { lost: 0, unreachable: 0, refused: 0, outageCount: 0 })
  t.equal(log.filter((line) => /The routing thread has ended.*starting it again with 1 speakers/.test(line)).length, 2)
  flows.end(flow)
  flows.silence(responder)
  await Promise.all(routings.map((routing) => routing.close()))
  await until("no descriptor is left", () => descriptorCount() <= descriptors)
})

type Ns = ReturnType<World["namespace"]>
