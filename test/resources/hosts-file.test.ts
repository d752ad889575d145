import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import t from "tap"
import { diff, type StepOf } from "../../daemon/plan/diff.ts"
import { id, type HostsFileSpec, type ResourceOf } from "../../daemon/plan/resource.ts"
import { handler, hostsPath } from "../../daemon/resources/hosts-file.ts"
import { asObserved } from "../plan/plans.ts"
import { emptyLab } from "./lab.ts"

const resource = (spec: HostsFileSpec): ResourceOf<"hosts-file"> => ({ kind: "hosts-file", id: id.hostsFile(), spec, dependsOn: [] })

const wanted = resource({
  entries: [
    { address: "10.0.0.1", names: ["pc", "pc.lab"] },
    { address: "2001:db8::1", names: ["pc"] }
  ]
})

/** The steps that the reconciler would take, from the file as it is. */
const steps = async (lab: ReturnType<typeof emptyLab>): Promise<ReadonlyArray<StepOf<"hosts-file">>> => {
  const found = new Map(Array.from(await handler.observe(lab), ([one, spec]) => [one, { kind: "hosts-file", spec }] as const))
  const plan = { lab: lab.name, nodes: [], segments: [], resources: [wanted] }
  return diff(plan, asObserved(found)) as ReadonlyArray<StepOf<"hosts-file">>
}

t.test("the hosts file is made, believed, and mended when somebody edits it", async (t) => {
  const lab = emptyLab(t.testdir(), [wanted])
  t.match(await steps(lab), [{ action: "create" }])
  t.strictSame(await handler.converge(lab, await steps(lab)), [])
  t.strictSame(await steps(lab), [], "what was written is what is read")
  const content = readFileSync(hostsPath(lab), "utf8")
  t.match(content, /\n127\.0\.0\.1 localhost\n::1 localhost .*\n10\.0\.0\.1 pc pc\.lab\n2001:db8::1 pc\n$/)

  const edits: ReadonlyArray<readonly [string, string]> = [
    ["an entry is gone", content.replace("2001:db8::1 pc\n", "")],
    ["an entry is more", `${content}192.0.2.1 stranger\n`],
    ["localhost leads elsewhere", content.replace("127.0.0.1 localhost", "127.0.0.9 localhost")],
    ["a line was put in front", `192.0.2.1 stranger\n${content}`],
    ["it is empty", ""],
    ["it was cut short", content.slice(0, 40)]
  ]
  for (const [what, text] of edits) {
    writeFileSync(hostsPath(lab), text)
    const found = await steps(lab)
    t.match(found, [{ action: "update" }], what)
    await handler.converge(lab, found)
    t.equal(readFileSync(hostsPath(lab), "utf8"), content, `${what}: mended`)
  }
})

t.test("a folder that cannot be written is a failure of the step, with its reason", async (t) => {
  const directory = t.testdir({ labs: { "unit-test-lab": { hosts: {} } } })
  const lab = emptyLab(directory, [wanted])
  const what = { action: "create", id: wanted.id, kind: "hosts-file", node: "", after: wanted } as const
  const [failure] = await handler.converge(lab, [{ ...what, attributes: [], reason: "", implied: false }])
  t.match(failure, { id: "hosts-file", error: { operation: "write", code: "EISDIR", object: hostsPath(lab) } })
  t.strictSame(readdirSync(dirname(hostsPath(lab))), ["hosts"], "and nothing unfinished stays")
})
