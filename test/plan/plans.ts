/** Plans of every example, of the topology that uses everything, and what the kernel would show of them. */
import { readdirSync, readFileSync } from "node:fs"
import { load } from "../../daemon/compiler/load.ts"
import type { Observed, Step } from "../../daemon/plan/diff.ts"
import type { Plan, Resource } from "../../daemon/plan/resource.ts"

const folders = ["../../topologies/", "../compiler/golden/"].map((path) => new URL(path, import.meta.url))

const compiled = (file: URL): Plan => {
  const result = load({ filename: file.pathname, content: readFileSync(file) })
  if (!result.ok) throw new Error(`${file.pathname} does not compile`)
  return result.plan
}

export const plans: ReadonlyArray<readonly [file: string, plan: Plan]> = folders.flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".weft.yaml"))
    .map((name) => [name, compiled(new URL(name, folder))] as const)
)

export type Model = Map<string, { kind: Resource["kind"]; spec: Resource["spec"] }>

/** What is observed when everything is as the plan wants it. */
export const observedOf = (resources: ReadonlyArray<Resource>): Model =>
  new Map(resources.map(({ id, kind, spec }) => [id, { kind, spec }]))

export const asObserved = (model: Model): Observed => model as unknown as Observed

/** Everything that needs `id`, directly or by way of others. */
const above = (id: string, resources: ReadonlyArray<Resource>): ReadonlySet<string> => {
  const found = new Set([id])
  for (let size = 0; size !== found.size; ) {
    size = found.size
    for (const { dependsOn, id: one } of resources) if (dependsOn.some((other) => found.has(other))) found.add(one)
  }
  found.delete(id)
  return found
}

/** What has run has run, and a container or a speaker runs on while interfaces of its namespace come and go. */
const staying = /^(exec|container|publish|bgp)\//

/**
 * Does to the model what the handlers do to the kernel. `replace` makes a thing anew, and what stood on the old one is gone;
 * an implied removal does nothing by itself and relies on its owner's.
 */
export const perform = (step: Step, model: Model, resources: ReadonlyArray<Resource>): void => {
  if (step.action === "remove") {
    model.delete(step.id)
    return
  }
  if (step.action === "replace") for (const id of above(step.id, resources)) if (!staying.test(id)) model.delete(id)
  model.set(step.id, { kind: step.after!.kind, spec: step.after!.spec })
}
