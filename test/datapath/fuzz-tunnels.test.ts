/**
 * Random and mutated packets into the native decoders, built with the address sanitizer: see native/fuzz-tunnels.cc. 20,000 for
 * each here; WEFT_FUZZ=10000000 for a long run, WEFT_FUZZ_SEED for another one.
 */
import { execFile, execFileSync } from "node:child_process"
import { mkdirSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import t from "tap"
import { refusalReasons } from "../../daemon/datapath/tunnel.ts"
import { checkout } from "../sources.ts"

const count = process.env["WEFT_FUZZ"] ?? "20000"
const seed = process.env["WEFT_FUZZ_SEED"] ?? "1"

/** As numbered in native/src/encapsulation.h. */
const meanings = ["known", "ignored", "critical"]
const nameOf = (kind: string, verdict: number): string => {
  if (kind === "options") return meanings[verdict]!
  return kind === "frame" ? (verdict === 1 ? "super-frame" : "packet") : (refusalReasons[verdict] ?? "accepted")
}

const build = (): string => {
  const directory = join(checkout, ".weft/tools")
  const program = join(directory, `fuzz-tunnels.${process.pid}`)
  mkdirSync(directory, { recursive: true })
  const headers = readdirSync(join(checkout, "node_modules")).find((name) => name.startsWith("node-linux-"))
  const sources = ["encapsulation", "segment", "train"].map((name) => `daemon/native/src/${name}.cc`)
  // What needs Node is in sections that nothing refers to.
  const sections = ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"]
  const sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
  const include = ["-isystem", `node_modules/${headers}/include/node`]
  const argv = ["-O1", "-g", "-std=c++20", ...sections, ...sanitizers, ...include, "-o", program]
  execFileSync("g++", [...argv, "test/datapath/native/fuzz-tunnels.cc", ...sources], { cwd: checkout, stdio: "inherit" })
  return program
}

t.test("decapsulate, closedPacket, describe and cutHeaders read nothing beyond a packet, whatever it is", async (t) => {
  const program = build()
  t.teardown(() => execFileSync("rm", ["-f", program]))
  const { stdout } = await promisify(execFile)(program, [count, seed])
  const verdicts = new Map<string, number>()
  const totals = new Map<string, number>()
  for (const line of stdout.trim().split("\n")) {
    const [kind, verdict, number] = line.split(" ") as [string, string, string]
    const name = nameOf(kind, Number(verdict))
    verdicts.set(`${kind} ${name}`, Number(number))
    totals.set(kind, (totals.get(kind) ?? 0) + Number(number))
  }
  for (const kind of ["vxlan", "geneve", "gre", "frame"]) t.equal(totals.get(kind), Number(count), kind)
  const expected = ["truncated", "flags"].flatMap((reason) => ["vxlan", "geneve", "gre"].map((kind) => `${kind} ${reason}`))
  const judged = meanings.map((meaning) => `options ${meaning}`)
  const reached = [...judged, "geneve options", "geneve protocol", "gre protocol", "gre checksum", "frame super-frame", ...expected]
  for (const name of reached) t.ok((verdicts.get(name) ?? 0) > 0, `${verdicts.get(name)} times ${name}`)
})
