/** Labs over two hosts: links and networks on every path between them, changed while they run. */
import t from "tap"
import { Engine } from "../../daemon/datapath/engine.ts"
import * as Bpf from "../../daemon/linux/bpf.ts"
import * as Fabric from "../../daemon/linux/fabric.ts"
import { EventLog } from "../../daemon/observe/events.ts"
import { Reconciler } from "../../daemon/reconciler/reconciler.ts"
import { EngineLinks } from "../../daemon/resources/engine-link.ts"
import { Tunnels } from "../../daemon/resources/tunnel.ts"
import { objectPath } from "./bpf/frames.ts"
import { HostPair, type Family, type Host } from "./host-pair.ts"
import { ipBatch, needsRoot, until } from "./harness.ts"

type Words = Readonly<Record<string, unknown>>

const nodes = { a: { kind: "host", host: "h1" }, b: { kind: "host", host: "h2" } }
const link = (more: Words = {}, lab: Words = {}) => ({
  ...lab,
  nodes,
  links: [{ name: "wire", endpoints: ["a:e1", "b:e1"], cidr: "10.9.0.0/24", ...more }]
})
const network = (lab: Words = {}) => ({
  ...lab,
  nodes: { a: nodes.a, b: nodes.b, c: { kind: "host", host: "h2" }, d: { kind: "host", host: "h1" } },
  networks: { lan: { cidr: "10.7.0.0/24", ports: ["a", "b", "c", "d"] } }
})

/** How frames cross, as the topology says it. */
const ways: ReadonlyArray<readonly [title: string, words: Words, underlay: Family]> = [
  ["the kernel's VXLAN over IPv4", {}, "ipv4"],
  ["the kernel's VXLAN over IPv6", {}, "ipv6"],
  ["the engine's VXLAN over IPv4", { datapath: "engine" }, "ipv4"],
  ["Geneve over IPv6", { encapsulation: "geneve" }, "ipv6"],
  ["GRE over IPv4", { encapsulation: "gre" }, "ipv4"]
]

for (const [i, [title, words, underlay]] of ways.entries()) {
  t.test(`a link and a network by ${title}`, { skip: needsRoot }, async (t) => {
    const pair = await HostPair.make(`way${i}`, { underlay })
    t.teardown(() => pair.close())
    const topology = { ...network(words), ...link(), ...words, nodes: network().nodes }
    await pair.deploy(topology)
    t.ok(await pair.ping("a", "10.9.0.2"), "the link")
    t.ok(await pair.ping("a", "10.7.0.2"), "the network")
    t.ok(await pair.ping("d", "10.7.0.3"))
    t.ok(await pair.ping("b", "10.7.0.3"), "on one host")
    t.strictSame(await pair.drift(), [])
    t.strictSame(await pair.deploy(topology), [], "the same again changes nothing")
  })
}

for (const underlay of ["ipv4", "ipv6"] as const) {
  t.test(`packets of 9001 octets cross an underlay of 1500 over ${underlay}`, { skip: needsRoot }, async (t) => {
    const pair = await HostPair.make(`jumbo${underlay}`, { underlay })
    t.teardown(() => pair.close())
    const sized = (mtu: number) => ({ ...network(), ...link({ mtu }), nodes: network().nodes })
    const crosses = (mtu: number) => pair.ping("a", "10.9.0.2", "-M", "do", "-s", String(mtu - 28))
    await pair.deploy(sized(9001))
    for (const length of [64, 1400, 1500, 4000, 9001]) t.ok(await crosses(length), `${length} octets`)
    t.notOk(await crosses(9002), "the link's own MTU holds")
    t.strictSame(await pair.drift(), [])
    t.strictSame(await pair.deploy(sized(9001)), [], "the same again changes nothing")
    await pair.deploy(sized(1400))
    t.ok(await crosses(1400))
    t.strictSame(await pair.drift(), [], "and after a change")
    t.ok(await pair.ping("a", "10.7.0.2", "-s", "1472"), "a network of the usual MTU")
  })
}

t.test("a running lab changes how its frames cross", { skip: needsRoot }, async (t) => {
  const pair = await HostPair.make("change")
  t.teardown(() => pair.close())
  const steps: ReadonlyArray<readonly [title: string, more: Words, lab: Words]> = [
    ["the kernel's VXLAN", {}, {}],
    ["with a profile", { delay: "3ms" }, {}],
    ["another profile", { delay: "5ms" }, {}],
    ["by the engine, with the profile", { delay: "5ms" }, { datapath: "engine" }],
    ["by the engine", {}, { datapath: "engine" }],
    ["Geneve", {}, { encapsulation: "geneve" }],
    ["another port", {}, { port: 5000 }],
    ["the engine on that port", {}, { port: 5000, datapath: "engine" }],
    ["and back", {}, { port: 5000 }],
    ["GRE with a profile", { delay: "3ms" }, { encapsulation: "gre" }],
    ["the kernel's VXLAN with a profile", { delay: "3ms" }, {}],
    ["without", {}, {}]
  ]
  for (const [i, [title, more, lab]] of steps.entries()) {
    const done = await pair.deploy(link(more, lab))
    if (i > 0) t.strictSame(done.map(({ action, id }) => `${action} ${id}`), Array(2).fill("update segment/link/wire"), title)
    t.ok(await pair.ping("a", "10.9.0.2"), `${title}: forwards`)
    const { stdout } = await pair.run("a", "ping", "-n", "-c", "20", "-i", "0.02", "10.9.0.2")
    const fastest = Math.min(...[...stdout.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1])))
    const wanted = more["delay"] === undefined ? 0 : 2 * Number.parseInt(String(more["delay"]))
    t.ok(fastest >= wanted && fastest < wanted + 5, `${title}: ${fastest} ms`)
    t.strictSame(await pair.drift(), [], title)
    t.strictSame(await pair.deploy(link(more, lab)), [], `${title}: the same again changes nothing`)
  }
})

/** The VXLAN devices in a host's fabric. */
const devices = ({ daemon }: Host) => Fabric.ports(daemon.fabric.fd).vxlans

t.test("what somebody breaks is seen, and mended", { skip: needsRoot }, async (t) => {
  const pair = await HostPair.make("mend")
  t.teardown(() => pair.close())
  const [h1] = pair.hosts
  const topology = { ...network(), ...link(), nodes: network().nodes }
  await pair.deploy(topology)
  const forwards = async (): Promise<boolean> => (await pair.ping("a", "10.9.0.2")) && pair.ping("a", "10.7.0.2")
  const fabric = { name: h1.daemon.fabric.name, path: `/run/netns/${h1.daemon.fabric.name}`, fd: h1.daemon.fabric.fd }
  const [device] = devices(h1)
  t.match(device, { name: "vxlan4789", mtu: 65_485, up: true, altNames: ["weft-vxlan.4789"], vxlan: { port: 4789, external: true } })
  t.strictSame((await pair.world.run(h1.underlay, ["ip", "-o", "link", "show", "type", "vxlan"])).stdout, "", "it is not in the underlay")

  ipBatch(fabric, ["link del vxlan4789"])
  await until("it is there again", () => devices(h1)[0]?.up === true)
  t.equal(devices(h1)[0]!.index, device!.index)
  t.match(h1.told, [/VXLAN device of UDP port 4789 was deleted by somebody: made again/])
  t.ok(await forwards(), "deleted: made again at once")
  ipBatch(fabric, ["link set vxlan4789 down"])
  await until("it is up again", () => devices(h1)[0]?.up === true)
  t.ok(await forwards(), "set down: set up at once")
  t.strictSame(await pair.drift(), [])

  const [way] = h1.daemon.tunnels.endsOf(vniOf(pair, topology)).keys()
  const breaks: ReadonlyArray<readonly [title: string, act: () => unknown]> = [
    ["without its program", () => pair.world.run(fabric, ["tc", "qdisc", "del", "dev", "vxlan4789", "clsact"])],
    ["without a tunnel end", () => h1.daemon.program.removeTunnelEnds([way!])],
    ["a tunnel end that leads elsewhere", () => {
      const [again] = h1.daemon.tunnels.endsOf(vniOf(pair, topology)).keys()
      h1.daemon.program.setPort(again!, { kind: "p2p", peer: 1, mac: "00:00:00:00:00:00", tunnel: true })
    }],
    ["a tunnel end that nobody wants", () => h1.daemon.tunnels.add(4789, vniOf(pair, topology), "10.88.0.77")]
  ]
  for (const [title, act] of breaks) {
    await act()
    t.ok((await pair.drift()).some((one) => one.startsWith("h1: segment/link/wire")), `${title}: seen`)
    await pair.deploy(topology)
    t.strictSame(await pair.drift(), [], `${title}: mended`)
    t.ok(await forwards(), `${title}: forwards again`)
  }
})

/** The VNI of the link. */
const vniOf = (pair: HostPair, topology: Words): number => {
  const resource = pair.parts(topology)[0].resources.find(({ id }) => id === "segment/link/wire")
  return resource?.kind === "segment" ? resource.spec.vni : 0
}

t.test("nodes move, hosts come and go", { skip: needsRoot }, async (t) => {
  const pair = await HostPair.make("move")
  t.teardown(() => pair.close())
  const [h1, h2] = pair.hosts
  const placed = (b: string, c: string) => {
    const { nodes, ...rest } = network()
    return { ...rest, ...link(), nodes: { ...nodes, b: { kind: "host", host: b }, c: { kind: "host", host: c } } }
  }
  const everybody = async (title: string): Promise<void> => {
    t.ok(await pair.ping("a", "10.9.0.2"), `${title}: the link`)
    for (const to of ["10.7.0.2", "10.7.0.3", "10.7.0.4"]) t.ok(await pair.ping("a", to), `${title}: ${to}`)
    t.strictSame(await pair.drift(), [], title)
  }
  await pair.deploy(placed("h2", "h2"))
  await everybody("b and c there")
  // Host 2 has to let go of the node first: here both share one /run/netns.
  const [, empty] = pair.parts(placed("h1", "h1"))
  await pair.make(h2, empty)
  await pair.deploy(placed("h1", "h1"))
  await everybody("all here")
  t.strictSame([devices(h1), devices(h2)], [[], []], "without tunnels there are no devices")
  await pair.make(h1, pair.parts(placed("h2", "h1"))[0])
  await pair.deploy(placed("h2", "h1"))
  await everybody("b there")
})

t.test("a UDP port that is taken", { skip: needsRoot }, async (t) => {
  const pair = await HostPair.make("taken")
  t.teardown(() => pair.close())
  const { underlay } = pair.hosts[0]
  const attempt = () => pair.deploy(link())
  ipBatch(underlay, ["link add vx0 type vxlan id 9 remote 10.88.0.2 dstport 4789", "link set vx0 up"])
  const what = 'Cannot make VXLAN device for UDP port "4789"'
  await t.rejects(attempt(), new RegExp(`${what}: EADDRINUSE \\(the port is taken in the underlay: .*another .port:.\\)`))
  ipBatch(underlay, ["link del vx0", "link add vx0 type vxlan external dstport 4789 udp6zerocsumrx", "link set vx0 up"])
  await t.rejects(attempt(), /EEXIST \(another VXLAN device without peers of its own has port 4789/)
  ipBatch(underlay, ["link del vx0"])
  await attempt()
  t.ok(await pair.ping("a", "10.9.0.2"), "and when it is free")
})

t.test("a daemon that was killed finds its tunnels again", { skip: needsRoot }, async (t) => {
  const pair = await HostPair.make("again")
  t.teardown(() => pair.close())
  const topology = { ...network(), ...link(), nodes: network().nodes }
  await pair.deploy(topology)
  const [{ address, daemon: former, store, underlay }] = pair.hosts
  const { fabric } = former
  const ids = Fabric.programIds(fabric.fd, Fabric.ports(fabric.fd).marked.map((port) => port.link.index))

  // What a new process does, with nothing but what is in the kernel and in the store.
  const program = Bpf.takeOver(objectPath, new Set(ids.values()))
  t.equal(program.programId, former.program.programId)
  t.strictSame(program.tunnelEnds(), former.program.tunnelEnds())
  program.addTunnelEnd({ device: devices(pair.hosts[0])[0]!.index, vni: 999, remote: "10.88.0.9" })
  const tell = (): void => {}
  const links = new EngineLinks({ fabric, program, start: Engine.start, tell })
  const tunnels = new Tunnels({ fabric, program, address, underlay: { ...underlay, inode: 0 }, tell })
  const reconciler = new Reconciler({ daemon: { ...former, program, links, tunnels }, store, events: new EventLog() })
  await reconciler.recover()
  t.strictSame((await reconciler.inspect(pair.lab)).drift, [])
  t.notOk([...program.tunnelEnds().values()].some(({ vni }) => vni === 999), "what belongs to no lab is gone")
  t.ok((await pair.ping("a", "10.9.0.2")) && (await pair.ping("a", "10.7.0.2")))
  await reconciler.close()
  await links.close()
  program.close()
})
