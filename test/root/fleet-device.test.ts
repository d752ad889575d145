/** A VXLAN device that somebody sets down: it is set up again, and while it is not, its tunnels are not called up. */
import t from "tap"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"
import { sh } from "./daemon-harness.ts"

t.test("a device that is set down comes up again", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("device", { hosts: 2 })
  t.teardown(() => fleet.close())
  const lab = fleet.name("lab")
  const nodes = { a: { kind: "host", host: "h1" }, b: { kind: "host", host: "h2" } }
  await fleet.make({ name: lab, nodes, networks: { lan: { cidr: "10.1.0.0/24", ports: ["a", "b"] } } })
  const pings = (): Promise<boolean> => fleet.pings(lab, "a", "10.1.0.2")
  await until("frames cross", pings, 120_000)
  sh("ip", "-n", fleet.weftd(2).fabric, "link", "set", "vxlan4789", "down")
  await until("frames cross again", pings, 120_000)
  t.match(fleet.weftd(2).log, /VXLAN device of UDP port 4789 was set down by somebody: up again/)
  t.equal(fleet.weftd(1).log.includes("set down by somebody"), false, "a device that is new is no such case")
  const isUp = async (): Promise<boolean> => (await fleet.inspect(lab)).tunnels.every(({ state }) => state === "up")
  await until("both ends are up", isUp, 120_000)
})
