import t from "tap"
import { needsRoot, until } from "../harness.ts"
import { connect, frame, macOf, makeFixture, network, Wire } from "./frames.ts"

for (const kind of ["link", "network"] as const) {
  t.test(`a capture on a ${kind}'s port in the fabric`, { skip: needsRoot }, async (t) => {
    const fixture = makeFixture(`visible-${kind}`, 2)
    const { program, ports, nodes, world, fabric } = fixture
    t.teardown(() => world.close())
    if (kind === "link") connect(fixture, 0, 1)
    else network(fixture, 1, [0, 1])
    const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
    await wire.ready()
    // Both stations are known from here on.
    await wire.exchange(0, frame({ to: macOf(1), from: macOf(0) }), 1)
    await wire.exchange(1, frame({ to: macOf(0), from: macOf(1) }), 1)

    const capture = world.start(fabric, ["tcpdump", "-i", `p${ports[0]!}`, "-l", "-n", "-e", "-U", "--immediate-mode"])
    let seen = ""
    let log = ""
    capture.stdout!.on("data", (text) => (seen += text))
    capture.stderr!.on("data", (text) => (log += text))
    await until("tcpdump listens", () => log.includes("listening on"))
    const lines = (from: number, to: number) => seen.split("\n").filter((line) => line.includes(`${macOf(from)} > ${macOf(to)}`)).length

    await wire.exchange(1, frame({ to: macOf(0), from: macOf(1) }), 1)
    await wire.exchange(0, frame({ to: macOf(1), from: macOf(0) }), 1)
    await until("the capture shows what the node sends", () => lines(0, 1) === 1)
    t.equal(lines(1, 0), 0, "what the node is sent passes unseen")

    program.setVisible(ports[0]!, true)
    await wire.exchange(1, frame({ to: macOf(0), from: macOf(1) }), 1)
    await until("the capture shows what the node is sent", () => lines(1, 0) === 1)
    t.ok(program.ports().get(ports[0]!)!.visible)

    program.setPort(ports[0]!, program.ports().get(ports[0]!)!.port)
    t.ok(program.ports().get(ports[0]!)!.visible, "it stays when the port is set again")
    program.setVisible(ports[0]!, false)
    await wire.exchange(1, frame({ to: macOf(0), from: macOf(1) }), 1)
    await wire.exchange(0, frame({ to: macOf(1), from: macOf(0) }), 1)
    await until("the capture has caught up", () => lines(0, 1) === 2)
    t.equal(lines(1, 0), 1, "and can be turned off")
  })
}
