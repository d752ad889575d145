/** What packets cost in V8's heap: next to nothing, whatever is done to them. V8 counts, in a process of its own; no time matters. */

import { execFileSync } from "node:child_process"
import t from "tap"

const packets = 1_000_000
/** One number for each packet would be 16. What is left comes with each look at the clock, here for 16 packets: 3 to 8. */
const octetsPerPacket = 12
/** V8 compiles beside the program, and what it inlines depends on what it saw by then. */
const attempts = 3

t.test("packets of any profile leave next to nothing to collect", async (t) => {
  const flags = ["--expose-gc", "--min-semi-space-size=256", "--max-semi-space-size=256"]
  const script = new URL("./allocation.ts", import.meta.url).pathname
  const least = new Map<string, number>()
  for (let attempt = 0; attempt < attempts; attempt++) {
    // Without what the test runner loads into its children.
    const output = execFileSync(process.execPath, [...flags, script, String(packets)], { encoding: "utf8", env: {} })
    for (const line of output.trim().split("\n")) {
      const [name, octets, collections] = line.split(" ")
      t.equal(Number(collections), 0, "nothing was collected while it was counted")
      least.set(name!, Math.min(least.get(name!) ?? Infinity, Number(octets)))
    }
    if ([...least.values()].every((octets) => octets < octetsPerPacket)) break
  }
  t.equal(least.size, 10)
  for (const [name, octets] of least) t.ok(octets < octetsPerPacket, `${name}: ${octets} octets per packet`)
})
