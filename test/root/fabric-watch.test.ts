/** Wires behave like wires: carrier, captures, and interfaces that go behind weft's back. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import * as Fabric from "../../daemon/linux/fabric.ts"
import { decide } from "../../daemon/reconciler/fabric-watch.ts"
import type { Link } from "../../daemon/wire/rtnetlink/link.ts"
import { sh, type TopologyObject, Weftd } from "./daemon-harness.ts"
import { ipBatch, needsRoot, until, World } from "./harness.ts"

const wire = (name: string, subnet: string): TopologyObject => ({
  name,
  nodes: { a: { kind: "host" }, b: { kind: "host" } },
  links: [{ endpoints: ["a:eth0", "b:eth0"], cidr: `${subnet}.0/30` }]
})

const hasCarrier = (lab: string, node: string): boolean =>
  sh("ip", "-n", `weft.${lab}.${node}`, "link", "show", "eth0").includes("LOWER_UP")

const set = (lab: string, node: string, state: "up" | "down"): string => sh("ip", "-n", `weft.${lab}.${node}`, "link", "set", "eth0", state)

/** Frames in a capture that speak of an address. */
const heard = (file: string, address: string): number =>
  sh("tcpdump", "-n", "-r", file, "host", address).split("\n").filter((line) => line !== "").length

t.test("fabricWatch.decide never leaves a link that nobody can wake", async (t) => {
  const end = (index: number, up: boolean, carrier: boolean): Link => ({ index, up, carrier }) as Link
  t.same(decide(end(1, false, false), end(2, false, false)), { index: 1, up: true })
  t.same(decide(end(1, true, false), end(2, true, true)), { index: 2, up: false })
  t.same(decide(end(1, true, true), end(2, true, false)), { index: 1, up: false })
  t.same(decide(end(1, true, false), end(2, true, false)), { index: 2, up: false })
  t.same(decide(end(1, true, true), end(2, false, false)), { index: 2, up: true })
  t.equal(decide(end(1, true, false), end(2, false, false)), undefined)
  t.equal(decide(end(1, true, true), end(2, true, true)), undefined)
})

t.test("linksAt reads those it is asked for, and says when one is not there", { skip: needsRoot }, (t) => {
  const world = new World("links-at")
  t.teardown(() => world.close())
  const namespace = world.namespace("n")
  const { fd } = namespace
  ipBatch(namespace, ["link add name a index 10 type veth peer name b index 11", "link add name c index 12 type veth"])
  const all = Fabric.links(fd)
  t.same(Fabric.linksAt(fd, [10, 12]), all.filter(({ index }) => index === 10 || index === 12), "as in the list of all")
  t.same(Fabric.linksAt(fd, []), [])
  t.equal(Fabric.linksAt(fd, [10, 77]), undefined)
  t.end()
})

t.test("fabric watch", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("watch")
  t.teardown(() => weftd.close())
  const lab = weftd.name("wire")
  await weftd.make(wire(lab, "10.1.0"))

  t.test("an end that goes down takes the carrier from the other, and gives it back", async (t) => {
    set(lab, "a", "down")
    await until("b has lost its carrier", () => !hasCarrier(lab, "b"))
    set(lab, "b", "down")
    set(lab, "a", "up")
    set(lab, "b", "up")
    await until("both have carrier again", () => hasCarrier(lab, "a") && hasCarrier(lab, "b"))
    await weftd.make(wire(lab, "10.1.0"))
    t.ok(await weftd.pings(lab, "a", "10.1.0.2"))
  })

  t.test("both sides of a port have different indexes: of equal ones the kernel tells late that the carrier is lost", async (t) => {
    for (const node of ["a", "b"]) {
      const [, own, peer] = /^(\d+): eth0@if(\d+)/.exec(sh("ip", "-n", `weft.${lab}.${node}`, "link", "show", "eth0"))!
      t.not(own, peer)
    }
  })

  t.test("a host side taken down by hand comes up again by itself", async (t) => {
    const port = (await weftd.inspect(lab)).nodes.find(({ name }) => name === "a")!.ports[0]!
    sh("ip", "-n", weftd.fabric, "link", "set", port.fabricName, "down")
    await until("both have carrier again", () => hasCarrier(lab, "a") && hasCarrier(lab, "b"))
    t.same(await weftd.drift(lab), [])
  })

  t.test("both ends that go down while weftd is held up come back", async (t) => {
    process.kill(weftd.pid, "SIGSTOP")
    set(lab, "a", "down")
    set(lab, "b", "down")
    process.kill(weftd.pid, "SIGCONT")
    await until("weftd answers", async () => (await weftd.client.list()).length === 1)
    set(lab, "a", "up")
    set(lab, "b", "up")
    await until("both have carrier again", () => hasCarrier(lab, "a") && hasCarrier(lab, "b"))
    await weftd.make(wire(lab, "10.1.0"))
    t.ok(await weftd.pings(lab, "a", "10.1.0.2"))
  })

  t.test("an interface deleted by hand leaves nothing that another lab's could inherit", async (t) => {
    sh("ip", "-n", `weft.${lab}.b`, "link", "delete", "eth0")
    const other = weftd.name("other")
    await weftd.make(wire(other, "10.2.0"))
    const file = join(weftd.directory, "other.pcap")
    const tcpdump = weftd.startIn(other, "b", ["tcpdump", "-U", "-n", "-i", "eth0", "-w", file])
    await until("tcpdump listens", () => existsSync(file) && readFileSync(file).length >= 24)
    // Into nothing; then something that must be heard, so that what came before has been written too.
    await weftd.pings(lab, "a", "10.1.0.2")
    t.ok(await weftd.pings(other, "a", "10.2.0.2"))
    await until("tcpdump has written its own lab's frames", () => heard(file, "10.2.0.2") > 0)
    tcpdump.kill("SIGINT")
    t.equal(heard(file, "10.1.0.2"), 0)
    await weftd.make(wire(lab, "10.1.0"))
    t.ok(await weftd.pings(lab, "a", "10.1.0.2"))
  })
})
