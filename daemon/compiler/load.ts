/** A topology file -> plan in one step: what every verb that takes a file does first. */
import { inOrder } from "../topology/diagnostic.ts"
import { examine, type TopologySource } from "../topology/parse.ts"
import { compile, type CompileResult } from "./compile.ts"

/** Parses and compiles; the errors of both come together. Never throws. */
export const load = (source: TopologySource): CompileResult => {
  const { topology, diagnostics } = examine(source)
  if (topology === undefined) return { ok: false, diagnostics }
  const compiled = compile(topology)
  const wrong = diagnostics.some((d) => d.severity === "error")
  if (compiled.ok && !wrong) return { ...compiled, warnings: inOrder([...diagnostics, ...compiled.warnings]) }
  // Warnings after errors would be guesses about a topology that is not what its author meant.
  const found = [...diagnostics, ...(compiled.ok ? [] : compiled.diagnostics)].filter((d) => d.severity === "error")
  return { ok: false, diagnostics: inOrder(found) }
}
