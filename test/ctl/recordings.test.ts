/** Which files beside a topology are read, and which are not. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { readFaultRecordings, readRecordings } from "../../ctl/recordings.ts"

const folder = mkdtempSync(join(tmpdir(), "weft-recordings-"))
t.teardown(() => rmSync(folder, { recursive: true }))
const lab = join(folder, "lab")
mkdirSync(join(lab, "air"), { recursive: true })
writeFileSync(join(folder, "secret"), "1\n")
writeFileSync(join(lab, "lte.down"), "1\n2\n")
writeFileSync(join(lab, "air", "wan.csv"), "time,loss\n0,1%\n")
writeFileSync(join(lab, "large"), "")
truncateSync(join(lab, "large"), (8 << 20) + 1)
symlinkSync("../secret", join(lab, "link"))
symlinkSync("air/wan.csv", join(lab, "inner"))
mkdirSync(`${lab}-twin`)
writeFileSync(`${lab}-twin/file`, "1\n")

const read = (...links: ReadonlyArray<unknown>) => {
  const { files, unread } = readRecordings(Buffer.from(JSON.stringify({ links: links.map((trace) => ({ trace })) })), lab)
  return { files: Object.fromEntries(Object.entries(files).map(([name, octets]) => [name, Buffer.from(octets).toString()])), unread }
}

t.test("readRecordings reads what links name, for both directions or one", async (t) => {
  t.strictSame(read("lte.down", { "a-to-b": "./air/wan.csv", "b-to-a": "lte.down" }, "inner"), {
    files: { "lte.down": "1\n2\n", "./air/wan.csv": "time,loss\n0,1%\n", inner: "time,loss\n0,1%\n" },
    unread: {}
  })
  t.strictSame(readRecordings(Buffer.from("links: [{endpoints: [a, b], trace: lte.down}]"), lab).unread, {})
})

t.test("readRecordings reads nothing outside of the topology's folder, and says why", async (t) => {
  const outside = "it is not in the topology's folder"
  t.strictSame(read("../secret", join(folder, "secret"), "link", "../lab-twin/file", "nothing", "air", "large", "lte.down/x", "a\0b", ""), {
    files: {},
    unread: {
      "../secret": outside,
      [join(folder, "secret")]: "no such file",
      link: outside,
      "../lab-twin/file": outside,
      nothing: "no such file",
      air: "it is no regular file",
      large: "it has 8388609 octets, at most 8388608 are accepted",
      "lte.down/x": "no such file",
      "a\0b": "no such file",
      "": outside
    }
  })
})

t.test("readFaultRecordings reads what brownouts name, wherever they stand", async (t) => {
  const names = (text: string) => {
    const { files, unread } = readFaultRecordings(Buffer.from(text), lab, "scenario")
    return [Object.keys(files).sort(), unread]
  }
  t.strictSame(names(`timeline:
  - { inject: { brownout: { link: a, trace: lte.down } } }
  - sequence: [{ parallel: [{ inject: [{ loss: { link: a } }, { brownout: { link: b, trace: air/wan.csv } }] }] }]
  - random: { of: [&same { brownout: { trace: inner } }, *same], targets: [a] }
  - { check: { run: { trace: large } } }
`), [["air/wan.csv", "inner", "lte.down"], {}])
  t.strictSame(names("timeline: [{ inject: { brownout: { link: a, trace: ../secret } } }]"),
    [[], { "../secret": "it is not in the scenario's folder" }])
  const odd = ["", "trace: [", "brownout: trace", "brownout: { trace: 7 }", "- brownout: [trace]"]
  for (const text of odd) t.strictSame(names(text), [[], {}])
})

t.test("readRecordings bounds what it reads in all", async (t) => {
  const name = (i: number): string => `large-${i}`
  for (let i = 0; i < 4; i++) {
    writeFileSync(join(lab, name(i)), "")
    truncateSync(join(lab, name(i)), 7 << 20)
  }
  const { files, unread } = read(...[0, 1, 2, 3].map(name))
  t.strictSame(Object.keys(files), [0, 1, 2].map(name))
  t.match(unread["large-3"], /all together have more than 25165824 octets/)
})

t.test("readRecordings leaves topologies that it does not understand to the compiler", async (t) => {
  const odd = "links: [1, null, {trace: 7}, {trace: [a]}]"
  const texts = ["", "trace", "trace: [", "links: trace", "links: {trace: x}", "- trace", odd, `trace: ${"[".repeat(5000)}`]
  for (const text of texts) t.strictSame(readRecordings(Buffer.from(text), lab), { files: {}, unread: {} }, text.slice(0, 40))
  const more = (name: string): string => `*${name},`.repeat(50)
  const bomb = `a: &a [${"x,".repeat(50)}]\nb: &b [${more("a")}]\nc: &c [${more("b")}]\nlinks: [${more("c")}]\ntrace: x`
  t.strictSame(readRecordings(Buffer.from(bomb), lab).files, {})
})
