import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import * as Pcapng from "../../daemon/wire/pcapng.ts"
import { seeded } from "../random.ts"

interface Vector {
  readonly name: string
  readonly octets: string
  /** What tshark says about the packets. */
  readonly says: ReadonlyArray<{ interface: string; time: string; length: number; captured: number; direction?: Pcapng.Direction }>
}

const vectors = JSON.parse(readFileSync(new URL("../vectors/pcapng.json", import.meta.url), "utf8")) as ReadonlyArray<Vector>

const blocksOf = (octets: Uint8Array): ReadonlyArray<Pcapng.Block> => {
  const blocks: Array<Pcapng.Block> = []
  for (let at = 0; at < octets.length; ) {
    const decoded = Pcapng.decode(octets, at)
    if (!decoded.ok) throw new Error(`${decoded.error._tag} at ${at}`)
    if (decoded.value.kind === "other") throw new Error(`block of type ${decoded.value.type} at ${at}`)
    blocks.push(decoded.value)
    at += decoded.length
  }
  return blocks
}

for (const vector of vectors) {
  const octets = Uint8Array.from(Buffer.from(vector.octets, "hex"))

  t.test(`Pcapng.decode agrees with tshark about: ${vector.name}`, async (t) => {
    const blocks = blocksOf(octets)
    const interfaces = blocks.flatMap((block) => (block.kind === "interface" ? [block] : []))
    const packets = blocks.flatMap((block) => {
      if (block.kind !== "packet") return []
      const { data, direction, interfaceId, originalLength, timestamp } = block
      t.equal(interfaces[interfaceId]!.timestampResolution, 9)
      const time = `${timestamp / 1_000_000_000n}.${String(timestamp % 1_000_000_000n).padStart(9, "0")}`
      const packet = { interface: interfaces[interfaceId]!.name, time, length: originalLength, captured: data.length }
      return [direction === undefined ? packet : { ...packet, direction }]
    })
    t.strictSame(packets, vector.says)
  })

  t.test(`Pcapng.encode writes the same octets: ${vector.name}`, async (t) => {
    const blocks = blocksOf(octets)
    t.strictSame(Pcapng.encode(...blocks), octets)
    let at = 0
    for (const block of blocks) {
      // Poison: every octet that is claimed must be written, none beside.
      const length = Pcapng.encodedLength(block)
      const target = new Uint8Array(length + 8).fill(0xee)
      t.equal(Pcapng.encodeInto(block, target, 4), length)
      t.strictSame(target.subarray(4, 4 + length), octets.subarray(at, at + length), block.kind)
      t.strictSame([...target.subarray(0, 4), ...target.subarray(4 + length)], new Array(8).fill(0xee))
      at += length
    }
  })

  t.test(`Pcapng.decode refuses every truncation of: ${vector.name}`, async (t) => {
    for (let at = 0; at < octets.length; at += Pcapng.blockLength(octets, at)) {
      const lengths = Array.from({ length: Pcapng.blockLength(octets, at) }, (_, length) => length)
      const accepted = lengths.filter((length) => {
        const decoded = Pcapng.decode(octets.slice(at, at + length))
        return decoded.ok || decoded.error._tag !== "Truncated"
      })
      t.strictSame(accepted, [], `the block at ${at}`)
    }
  })
}

t.test("Pcapng.decode never throws and never reads beside, whatever is damaged", async (t) => {
  const random = seeded(7)
  const octets = Uint8Array.from(Buffer.from(vectors[1]!.octets, "hex"))
  let accepted = 0
  for (let round = 0; round < 20_000; round++) {
    const damaged = octets.slice()
    for (let hits = 1 + random.below(4); hits > 0; hits--) damaged[random.below(damaged.length)] = random.below(256)
    for (let at = 0; at < damaged.length; ) {
      const decoded = Pcapng.decode(damaged, at)
      if (!decoded.ok) break
      if (decoded.value.kind === "packet" && decoded.value.data.length > decoded.length) t.fail("data reaches out of its block")
      at += decoded.length
      accepted++
    }
  }
  t.ok(accepted > 0, "some blocks survive")
})

t.test("Pcapng.decode says what is wrong", async (t) => {
  const section = Pcapng.encode({ kind: "section" })
  const changed = (at: number, ...octets: ReadonlyArray<number>): Uint8Array => {
    const copy = section.slice()
    copy.set(octets, at)
    return copy
  }
  t.match(Pcapng.decode(section), { ok: true, value: { kind: "section" }, length: 28 })
  t.match(Pcapng.decode(changed(8, 0x1a, 0x2b, 0x3c, 0x4d)), { error: { _tag: "WrongByteOrder" } })
  t.match(Pcapng.decode(changed(8, 0)), { error: { _tag: "NoMagic" } })
  t.match(Pcapng.decode(changed(12, 2)), { error: { _tag: "UnknownVersion", major: 2 } })
  t.match(Pcapng.decode(changed(4, 30)), { error: { _tag: "WrongLength" } }, "no multiple of four")
  t.match(Pcapng.decode(changed(4, 0, 0, 0, 2)), { error: { _tag: "WrongLength" } }, "32 MiB")
  t.match(Pcapng.decode(changed(24, 24)), { error: { _tag: "WrongLength" } }, "the two lengths differ")
  const named = Pcapng.encode({ kind: "interface", linkType: 1, snapLength: 0, name: "a" })
  named[18] = 200
  t.match(Pcapng.decode(named), { error: { _tag: "WrongOption" } }, "an option reaches past its block")
  const other = Uint8Array.of(99, 0, 0, 0, 16, 0, 0, 0, 1, 2, 3, 4, 16, 0, 0, 0)
  t.strictSame(Pcapng.decode(other), { ok: true, value: { kind: "other", type: 99, body: Uint8Array.of(1, 2, 3, 4) }, length: 16 })
})

const ethernet = { kind: "interface", linkType: Pcapng.ethernet, timestampResolution: 9 } as const

const file: ReadonlyArray<Pcapng.Block> = [
  { kind: "section", comment: "lab ü, captured from then", os: "Linux", application: "weft" },
  { ...ethernet, snapLength: 262_144, name: "ü/a:eth0", description: "eth0", filter: "arp" },
  { ...ethernet, snapLength: 0, name: "ü/b:eth0", comment: "no limit", os: "Linux" },
  ...(["unicast", "multicast", "broadcast", "promiscuous"] as const).map(
    (reception, index): Pcapng.Packet => ({
      kind: "packet",
      interfaceId: index % 2,
      timestamp: 1_795_303_261_030_568_600n + BigInt(index),
      originalLength: 1000,
      data: new Uint8Array(60 + index).fill(index),
      direction: index === 0 ? "outbound" : "inbound",
      reception
    })
  ),
  {
    kind: "statistics",
    interfaceId: 0,
    timestamp: 1_795_303_262_000_000_000n,
    start: 1_795_303_260_000_000_000n,
    end: 1_795_303_262_000_000_000n,
    received: (1n << 40n) + 5n,
    dropped: 3n,
    filterAccepted: 4n,
    delivered: 2n,
    comment: "done"
  }
]

t.test("Pcapng.encode and Pcapng.decode keep everything", async (t) => {
  t.strictSame(blocksOf(Pcapng.encode(...file)), file)
})

const tshark = (...argv: ReadonlyArray<string>): string =>
  execFileSync("tshark", argv, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
const withoutTshark = spawnSync("tshark", ["--version"]).status === 0 ? false : "tshark is not installed"

t.test("tshark and capinfos read what Pcapng.encode writes", { skip: withoutTshark }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "weft-pcapng-"))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, "a.pcapng")
  writeFileSync(path, Pcapng.encode(...file))
  const fields = ["interface_name", "time_epoch", "len", "cap_len", "packet_flags_direction", "packet_flags_reception_type"]
  t.strictSame(tshark("-r", path, "-T", "fields", ...fields.flatMap((field) => ["-e", `frame.${field}`])).trim().split("\n"), [
    "ü/a:eth0\t1795303261.030568600\t1000\t60\t0x00000002\t1",
    "ü/b:eth0\t1795303261.030568601\t1000\t61\t0x00000001\t2",
    "ü/a:eth0\t1795303261.030568602\t1000\t62\t0x00000001\t3",
    "ü/b:eth0\t1795303261.030568603\t1000\t63\t0x00000001\t4"
  ])
  const about = execFileSync("capinfos", [path], { encoding: "utf8" })
  const lines = ["lab ü, captured from then", "Capture application: weft", "Filter string = arp", "Number of stat entries = 1"]
  for (const line of lines) t.ok(about.includes(line), line)
})
