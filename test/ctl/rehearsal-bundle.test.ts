import { join } from "node:path"
import t from "tap"
import { readBundle } from "../../ctl/rehearsal/bundle.ts"

const rehearsal = `topology: one.weft.yaml
flows: []
steps:
  - deploy: sub/two.weft.yaml
  - check: { file: none.check.yaml, only: smoke }
  - check: { reachable: { from: a, to: b } }
  - scenario: chaos.scenario.yaml
  - inject: [{ brownout: { link: a, trace: day.csv } }, { brownout: { link: a, trace: ../secret.csv } }]
  - deploy: /etc/passwd
roll-back: [{ deploy: one.weft.yaml }]
`

const chaos = "timeline: [{ inject: { brownout: { link: a, trace: sub/wire.csv } } }]"

t.test("readBundle reads what a rehearsal names, from its folder, and says why it could not", async (t) => {
  const here = {
    "a.rehearsal.yaml": rehearsal, "one.weft.yaml": "name: one", "chaos.scenario.yaml": chaos, "day.csv": "time,delay",
    sub: { "two.weft.yaml": "links: [{ trace: wire.csv }]", "wire.csv": "time,rate" }
  }
  const folder = join(t.testdir({ "secret.csv": "secret", here }), "here")
  const { content, filename, files } = readBundle(join(folder, "a.rehearsal.yaml"))
  t.equal(filename, join(folder, "a.rehearsal.yaml"))
  t.equal(Buffer.from(content).toString(), rehearsal)
  const told = Object.entries(files).map(([name, { content: octets, missing = "" }]) =>
    [name, missing !== "" ? `missing: ${missing}` : Buffer.from(octets!).toString()])
  t.strictSame(Object.fromEntries(told), {
    "one.weft.yaml": "name: one",
    "sub/two.weft.yaml": "links: [{ trace: wire.csv }]",
    "none.check.yaml": "missing: no such file",
    "chaos.scenario.yaml": chaos,
    "day.csv": "time,delay",
    "../secret.csv": "missing: it is not in the rehearsal's folder",
    "/etc/passwd": "missing: it is no YAML file: its name ends in .yaml"
  })
  t.strictSame(Object.keys(files["sub/two.weft.yaml"]!.files!), ["wire.csv"], "a topology's recordings come from its own folder")
  t.strictSame(Object.keys(files["chaos.scenario.yaml"]!.files!), ["sub/wire.csv"], "and those of a scenario from its own")
})

t.test("readBundle takes any octets, and says what is not there", async (t) => {
  const folder = t.testdir({ "odd.rehearsal.yaml": "steps: [1, null, {deploy: 3}]\ntopology: [\n" })
  t.strictSame(readBundle(join(folder, "odd.rehearsal.yaml")).files, {})
  const none = join(folder, "none.rehearsal.yaml")
  t.throws(() => readBundle(none), { message: `Cannot read rehearsal "${none}": no such file`, exitCode: 2 })
})
