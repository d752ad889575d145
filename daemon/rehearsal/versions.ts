/** The files that a rehearsal names, as whoever runs it has sent them, and the versions of the lab that they make. Pure. */
import { nodesOf } from "../checks/nodes.ts"
import type { LabNode } from "../checks/lab.ts"
import type { Plan } from "../plan/resource.ts"
import type { Diagnostic, Path, Reporter } from "../topology/diagnostic.ts"
import type { Source } from "../topology/source.ts"
import type { Version } from "./model.ts"

export interface NamedFile {
  /** As messages call it. */
  readonly filename: string
  readonly content: Uint8Array
  /** Why it could not be read; else empty. */
  readonly missing: string
  /** Of a topology: its recordings. */
  readonly files: ReadonlyMap<string, Uint8Array>
  readonly unread: ReadonlyMap<string, string>
}

/** `compiler/load.ts`: a topology file -> plan. */
export type Load = (source: {
  readonly filename: string
  readonly content: Uint8Array
  readonly files: ReadonlyMap<string, Uint8Array>
  readonly unread: ReadonlyMap<string, string>
  readonly lab?: string
}) =>
  | { readonly ok: true; readonly plan: Plan; readonly warnings: ReadonlyArray<Diagnostic> }
  | { readonly ok: false; readonly diagnostics: ReadonlyArray<Diagnostic> }

/** Finds files by the names that the rehearsal gives them, and compiles each topology once. */
export class Files {
  /** What is wrong in the files that are named. */
  readonly diagnostics: Array<Diagnostic> = []
  readonly #files: ReadonlyMap<string, NamedFile>
  readonly #load: Load
  readonly #versions = new Map<string, Version | undefined>()

  constructor(files: ReadonlyMap<string, NamedFile>, load: Load) {
    this.#files = files
    this.#load = load
  }

  /** A file that stands at `path` of the rehearsal; one that cannot be read is an error there. */
  named(name: string, path: Path, reporter: Reporter): Source & NamedFile | undefined {
    const file = this.#files.get(name)
    if (file !== undefined && file.missing === "") return file
    reporter.error(path, `cannot read it: ${file?.missing ?? "it was not sent along"}`)
    return undefined
  }

  /** The version that a topology makes of the lab. `lab`: its name; absent: the file's own. */
  version(name: string, path: Path, reporter: Reporter, lab?: string): Version | undefined {
    const file = this.named(name, path, reporter)
    if (file === undefined) return undefined
    if (this.#versions.has(name)) return this.#versions.get(name)
    const { content, filename, files, unread } = file
    const result = this.#load({ filename, content, files, unread, ...(lab === undefined ? {} : { lab }) })
    this.diagnostics.push(...(result.ok ? result.warnings : result.diagnostics))
    const version = result.ok ? { filename, plan: result.plan } : undefined
    this.#versions.set(name, version)
    return version
  }
}

export type Nodes = ReadonlyMap<string, LabNode>

const cache = new WeakMap<Plan, Nodes>()

export const nodesIn = (plan: Plan): Nodes => {
  const nodes = cache.get(plan) ?? nodesOf(plan)
  cache.set(plan, nodes)
  return nodes
}

/** The nodes of several plans; of one that several have, the first. */
export const nodesInAny = (plans: ReadonlyArray<Plan>): Nodes => {
  const nodes = new Map<string, LabNode>()
  for (const plan of plans) for (const [name, node] of nodesIn(plan)) if (!nodes.has(name)) nodes.set(name, node)
  return nodes
}
