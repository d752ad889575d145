/** What `weft` says of files and of itself where no daemon answers (docs/adr/0003-validate-without-a-daemon.md). */
import t from "tap"
import { startResident } from "./resident.ts"

const weft = startResident(t)

const topology = JSON.stringify({
  name: "small",
  nodes: { pc: { kind: "host" }, db: { kind: "host" } },
  links: [{ endpoints: ["pc:eth0", "db:eth0"], cidr: "10.1.0.0/24" }]
})

const steps = [{ inject: { loss: { link: "pc:eth0", value: "5%" } } }]
const rehearsal = (more: object): string => JSON.stringify({ name: "a try", flows: [{ from: "pc", to: "db" }], steps, ...more })

t.test("rehearse --plan reads the files where they are", async (t) => {
  const cwd = t.testdir({
    "small.weft.yaml": topology,
    "good.rehearsal.yaml": rehearsal({ topology: "small.weft.yaml" }),
    "bad.rehearsal.yaml": rehearsal({ topology: "small.weft.yaml", steps: [{ deploy: "gone.weft.yaml" }, { heal: "nothing" }] }),
    "lab.rehearsal.yaml": rehearsal({ lab: "running" })
  })
  const plan = (name: string, ...words: ReadonlyArray<string>) => weft(["rehearse", `${name}.rehearsal.yaml`, "--plan", ...words], { cwd })
  const good = await plan("good")
  t.match(good, { code: 0, stderr: /^No daemon answers: / })
  t.match(good.stdout, /^a try in small, deployed from small\.weft\.yaml and destroyed: 1 flow\n {2}warm-up\n {2}inject .*: loss 5%/)
  t.match(JSON.parse((await plan("good", "-o", "json", "--lab", "mine")).stdout), {
    lab: "mine", deploys: true, flows: [{ from: "pc", to: "db" }], steps: [{ kind: "warm-up" }, { kind: "inject" }]
  })
  const bad = await plan("bad")
  t.match(bad, { code: 2, stdout: "", stderr: /\ninvalid: 2 errors; nothing was touched/ })
  t.match(bad.stderr, /bad\.rehearsal\.yaml:1:\d+: steps\[0\]\.deploy: cannot read it: no such file\n.*steps\[1\]\.heal: /)
  t.match(await plan("lab"), { code: 2, stderr: /of labs that run already nothing is known\n.*"running" is not deployed/ })
  t.match(await weft(["rehearse", "good.rehearsal.yaml"], { cwd }), { code: 3 }, "to run it takes a daemon")
})

t.test("inject --list shows the kinds of this program", async (t) => {
  const all = await weft(["inject", "--list"])
  t.match(all, { code: 0, stderr: "", stdout: /^KIND +WORDS, AND WHAT IT DOES\nlink-down +LINK\|NODE:IF / })
  const one: unknown = JSON.parse((await weft(["inject", "brownout", "--list", "-o", "json"])).stdout)
  t.match(one, [{ name: "brownout", files: ["trace"], once: false }])
  const typo = await weft(["inject", "link-donw", "--list"])
  t.match(typo, { code: 2, stderr: /Unknown kind of fault "link-donw" \(did you mean link-down\?\)/ })
  t.match(await weft(["inject", "link-down", "pc:eth0"]), { code: 3 }, "to inject takes a daemon")
})

t.test("a topology that a scenario names and that is not there is told with its place", async (t) => {
  const cwd = t.testdir({ "storm.scenario.yaml": "timeline: [{ wait: 1s }]\ntopology: gone.weft.yaml\n", "small.weft.yaml": topology })
  const stderr = /storm\.scenario\.yaml:2:11: Cannot read topology "gone\.weft\.yaml": no such file/
  t.match(await weft(["scenario", "storm.scenario.yaml", "--plan"], { cwd }), { code: 2, stdout: "", stderr })
})
