/** The way through the engine on its own: what happens when the engine dies, when a TAP goes, and to odd frames. */
import t from "tap"
import { Engine } from "../../daemon/datapath/engine.ts"
import * as Fabric from "../../daemon/linux/fabric.ts"
import type { LinkProfiles } from "../../daemon/plan/link-profile.ts"
import { EngineLinks, leadThrough } from "../../daemon/resources/engine-link.ts"
import { broadcast, connect, frame, hex, macOf, makeFixture, Wire } from "./bpf/frames.ts"
import { descriptorCount, ipBatch, needsRoot, until } from "./harness.ts"

const id = "lab/segment/link/wire"
const names = ["n0:eth0", "n1:eth0"] as const
const delayed: LinkProfiles = { aToB: { delayMs: 2 }, bToA: { delayMs: 3 }, seed: 1 }
const spec = (profiles: LinkProfiles) => ({ lab: "lab", ports: names, endpoints: names, profiles })

/** Two nodes, a link of the engine between them, and every engine that was started for it. */
const makeLink = async (label: string) => {
  const fixture = makeFixture(label, 2, { mtu: 9000 })
  const { fabric, ports, program } = fixture
  const engines: Engine[] = []
  const told: string[] = []
  const start = async (): Promise<Engine> => {
    const engine = await Engine.start()
    engines.push(engine)
    return engine
  }
  const links = new EngineLinks({ fabric: { ...fabric, inode: 0 }, program, start, tell: (message) => told.push(message) })
  const lead = async (profiles: LinkProfiles): Promise<void> => {
    const there = new Map(Fabric.ports(fabric.fd).taps.map((tap) => [tap.index, tap]))
    const link = await links.set(id, spec(profiles), there)
    leadThrough(program, link, ports.map((index, i) => ({ port: names[i]!, index, mac: macOf(i) })))
  }
  await lead(delayed)
  return { ...fixture, engines, told, links, lead }
}

t.test("EngineLinks pass every frame as it is, and to nobody else", { skip: needsRoot }, async (t) => {
  const { links, nodes, world } = await makeLink("engine-frames")
  t.teardown(async () => {
    await links.close()
    world.close()
  })
  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()
  const cases: ReadonlyArray<readonly [title: string, octets: Uint8Array]> = [
    ["to the other node", frame({ to: macOf(1), from: macOf(0) })],
    ["to another station", frame({ to: macOf(9), from: macOf(0) })],
    ["to no station", frame({ to: "00:00:00:00:00:00", from: macOf(0) })],
    ["broadcast", frame({ to: broadcast, from: macOf(0) })],
    ["LACP", frame({ to: "01:80:c2:00:00:02", from: macOf(0), type: 0x8809 })],
    ["with a VLAN tag", frame({ to: macOf(1), from: macOf(0), vlan: 5 })],
    ["a jumbo frame", frame({ to: macOf(1), from: macOf(0), length: 9014 })]
  ]
  for (const [title, octets] of cases) {
    const arrivals = await wire.exchange(0, octets, 1)
    t.strictSame(arrivals.map(({ port, frame }) => ({ port, frame })), [{ port: 1, frame: hex(octets) }], title)
  }
})

t.test("EngineLinks carry on when the engine dies", { skip: needsRoot }, async (t) => {
  const { engines, fabric, links, nodes, told, world } = await makeLink("engine-dies")
  t.teardown(async () => {
    await links.close()
    world.close()
  })
  nodes.forEach((node, i) => ipBatch(node, [`address add 10.0.0.${i + 1}/24 dev eth0`]))
  const pings = async (): Promise<boolean> => (await world.run(nodes[0]!, ["ping", "-c", "1", "-W", "0.3", "10.0.0.2"])).code === 0
  await until("the link forwards", pings)
  const before = links.get(id)!.taps
  for (let round = 1; round <= 3; round++) {
    await engines.at(-1)!.kill()
    await until("the link forwards again", pings)
    t.equal(engines.length, round + 1)
    t.strictSame(links.get(id)!.taps, before, "by the same TAPs")
  }
  t.equal(told.length, 3, "each time it says so")

  await links.remove(id)
  t.equal(links.get(id), undefined)
  t.equal(Fabric.ports(fabric.fd).taps.length, 0)
  await t.rejects(engines.at(-1)!.stats(), "without links there is no engine")
})

t.test("EngineLinks.release keeps a link until what is on its way has arrived", { skip: needsRoot }, async (t) => {
  const fixture = await makeLink("engine-drain")
  const { fabric, lead, links, nodes, program, world } = fixture
  t.teardown(async () => {
    await links.close()
    world.close()
  })
  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()
  await lead({ aToB: { delayMs: 300 }, bToA: {}, seed: 1 })
  const octets = frame({ to: macOf(1), from: macOf(0) })
  const late = wire.exchange(0, octets, 1)
  const [tap] = links.get(id)!.taps.values()
  await until("the frame has left for the engine", () => (program.counters(tap!)?.to.packets ?? 0) > 0)
  connect(fixture, 0, 1)
  links.release(id)
  t.equal(links.get(id), undefined, "nobody may count on it")
  t.strictSame((await late).map(({ frame }) => frame), [hex(octets)])
  t.equal(Fabric.ports(fabric.fd).taps.length, 2)
  await lead(delayed)
  t.not(links.get(id), undefined, "it can be taken up again")
  connect(fixture, 0, 1)
  links.release(id)
  await until("the TAPs are gone", () => Fabric.ports(fabric.fd).taps.length === 0)
})

t.test("EngineLinks leave no descriptor", { skip: needsRoot }, async (t) => {
  const { lead, links, world } = await makeLink("engine-descriptors")
  t.teardown(() => world.close())
  await links.remove(id)
  const before = descriptorCount()
  for (let round = 0; round < 3; round++) {
    await lead(delayed)
    await lead({ ...delayed, seed: 2 + round })
    await links.remove(id)
  }
  await until("all are closed", () => descriptorCount() <= before)
  await links.close()
  await t.rejects(lead(delayed), "closed is closed")
})
