/** The kernel refuses a change half-way: what is remembered is what the maps hold, and trying again succeeds. */
import t from "tap"
import * as Bpf from "../../../daemon/linux/bpf.ts"
import { addon } from "../../../daemon/native/index.ts"
import { needsRoot } from "../harness.ts"
import { macOf, makeFixture } from "./frames.ts"
import { look } from "./maps.ts"

const refusal = (): Error => Object.assign(new Error("no memory"), { code: "ENOMEM", errno: 12, syscall: "bpf", object: "" })

/** `action`, while only the first `allowed` keys of all updates and deletes get through to the kernel. */
const refusing = (allowed: number, action: () => void): void => {
  const { bpfUpdate, bpfDelete } = addon
  let left = allowed
  const limit = (count: number, pass: (count: number) => void): void => {
    const passing = Math.min(left, count)
    left -= passing
    if (passing > 0) pass(passing)
    if (passing < count) throw refusal()
  }
  const cut = (octets: Uint8Array, count: number, passing: number) => octets.subarray(0, (octets.length / count) * passing)
  addon.bpfUpdate = (map, keys, values, count) =>
    limit(count, (passing) => bpfUpdate(map, cut(keys, count, passing), cut(values, count, passing), passing))
  addon.bpfDelete = (map, keys, count) => limit(count, (passing) => bpfDelete(map, cut(keys, count, passing), passing))
  try {
    action()
  } finally {
    Object.assign(addon, { bpfUpdate, bpfDelete })
  }
}

t.test("PortProgram remembers what the kernel has when it refuses a change half-way", { skip: needsRoot }, async (t) => {
  const { world, program, ports } = makeFixture("refused", 4)
  t.teardown(() => world.close())
  const inNetwork = (segment: number) => ports.map((ifindex, i) => [ifindex, { kind: "network", segment, mac: macOf(i) }] as const)
  const steps: ReadonlyArray<readonly [string, () => void]> = [
    ["make", () => program.setPorts(inNetwork(1))],
    ["move", () => program.setPorts(inNetwork(2))],
    ["change to links", () => program.setPorts(ports.map((ifindex, i) => [ifindex, { kind: "p2p", peer: ports[i ^ 1]!, mac: macOf(i) }]))],
    ["change back", () => program.setPorts(inNetwork(3))],
    ["change the segment", () => program.setSegment(3, ports.slice(1), { ageingS: 7 })],
    ["remove", () => program.removePorts(ports)]
  ]
  for (const [what, step] of steps) {
    for (let allowed = 0; ; allowed++) {
      let refused = false
      try {
        refusing(allowed, step)
      } catch (error) {
        t.match(error, { name: "KernelError", code: "ENOMEM" })
        refused = true
      }
      if (!refused) t.strictSame(look(program).copies, look(program).entries, `${what}: copies`)
      const fresh = Bpf.adopt(program.programId)!
      t.strictSame(program.ports(), fresh.ports(), `${what}, ${allowed} allowed: ports`)
      t.strictSame(program.segments(), fresh.segments(), `${what}, ${allowed} allowed: segments`)
      fresh.close()
      const slots = Array.from(program.ports().values(), ({ slot }) => slot)
      t.equal(new Set(slots).size, slots.length, "no slot counts for two")
      if (!refused) break
    }
  }
  t.equal(program.ports().size, 0)
  t.strictSame([...program.segments().values()].flatMap((segment) => segment.ports), [], "nobody is left in a segment")
  program.removePorts(ports)
  program.close()
})
