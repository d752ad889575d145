/** `weft graph`: one lab as a drawing. */

import { writeFileSync } from "node:fs"
import { withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import type { InspectResponse } from "../messages.ts"
import { graphOf } from "../render/graph/model.ts"
import { svg } from "../render/graph/svg.ts"
import { dot, mermaid } from "../render/graph/text.ts"
import { print, printError } from "../terminal.ts"
import { labOf } from "../topology-file.ts"
import type { specs } from "./table.ts"

export const run = async (input: InputOf<typeof specs.graph>, context: Context): Promise<number> => {
  if (input.file !== undefined && input.lab !== undefined) throw new Failure(Exit.usage, "Give either a lab or --file, not both")
  const name = input.file === undefined ? (input.lab ?? "") : await labOf(input.file)
  const lab = await withClient(context.daemon, (client) => client.inspect(name))
  const drawing = draw(lab, input.output)
  const file = input.write ?? (input.output === "svg" && process.stdout.isTTY ? `${lab.lab.name}.svg` : "-")
  if (file === "-") print(drawing)
  else {
    save(file, drawing)
    printError(`Wrote ${file}`)
  }
  return Exit.done
}

/** A lab in one of the languages that `-o` knows. */
export const draw = (lab: InspectResponse, language: "svg" | "mermaid" | "dot"): string => {
  const graph = graphOf(lab)
  return language === "svg" ? svg(graph) : language === "mermaid" ? mermaid(graph) : dot(graph)
}

/** Writes a drawing; a file that cannot be written is a failure with the system's reason. */
export const save = (file: string, drawing: string): void => {
  try {
    writeFileSync(file, drawing)
  } catch (error) {
    throw new Failure(Exit.failed, `Cannot write "${file}": ${(error as NodeJS.ErrnoException).code ?? String(error)}`)
  }
}
