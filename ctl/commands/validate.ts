/** `weft validate`: the compiler runs in this process (docs/adr/0003-validate-without-a-daemon.md). */

import { load } from "../../daemon/compiler/load.ts"
import { Exit } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import type { Diagnostic } from "../messages.ts"
import { diagnosticLines, hasErrors, tally } from "../render/diagnostics.ts"
import { printValue } from "../render/value.ts"
import { print, printError, styleOf } from "../terminal.ts"
import { readTopology } from "../topology-file.ts"
import type { specs } from "./table.ts"

export const run = async (input: InputOf<typeof specs.validate>, _context: Context): Promise<number> => {
  const topology = await readTopology(input.file)
  const { content, filename, files = {}, unread = {} } = topology
  const loaded = load({ filename, content, files: new Map(Object.entries(files)), unread: new Map(Object.entries(unread)) })
  const found = loaded.ok ? loaded.warnings : loaded.diagnostics
  const diagnostics = found.map((diagnostic): Diagnostic => ({
    ...diagnostic,
    severity: diagnostic.severity === "error" ? "ERROR" : "WARNING",
    suggestion: diagnostic.suggestion ?? ""
  }))
  const failed = !loaded.ok || hasErrors(diagnostics)

  if (input.output !== "table") {
    await printValue(input.output, {
      ok: !failed,
      diagnostics: found,
      ...(loaded.ok ? { lab: loaded.plan.lab, ...sizeOf(loaded.plan) } : {})
    })
    return failed ? Exit.usage : Exit.done
  }
  const style = styleOf(process.stderr)
  if (diagnostics.length > 0)
    printError(diagnosticLines(diagnostics, style, process.stderr.isTTY ? topology : undefined).join("\n"))
  if (failed) {
    printError(`${style.red("invalid:")} ${filename} has ${tally(diagnostics)}`)
    return Exit.usage
  }
  if (loaded.ok) {
    const { nodes, resources, segments } = sizeOf(loaded.plan)
    print(`${filename}: valid. Lab "${loaded.plan.lab}": ${nodes} nodes, ${segments} segments, ${resources} resources`)
  }
  return Exit.done
}

interface Sized {
  readonly nodes: ReadonlyArray<unknown>
  readonly segments: ReadonlyArray<unknown>
  readonly resources: ReadonlyArray<unknown>
}

const sizeOf = ({
  nodes,
  resources,
  segments
}: Sized): { readonly nodes: number; readonly segments: number; readonly resources: number } => ({
  nodes: nodes.length,
  segments: segments.length,
  resources: resources.length
})
