/** `weft list`: the labs of this daemon. */

import { withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { agoOf } from "../render/ago.ts"
import { stateOf } from "../render/lab.ts"
import { table, type Column } from "../render/table.ts"
import { printValue } from "../render/value.ts"
import type { Format } from "../render/value.ts"
import { print, printable, printError, styleOf, widthOf } from "../terminal.ts"
import type { specs } from "./table.ts"

export const run = async (input: InputOf<typeof specs.list>, context: Context): Promise<number> => {
  const format = (input.format ?? input.output) as Format
  if (!["table", "json", "yaml"].includes(format))
    throw new Failure(Exit.usage, `Unknown format "${format}": table, json or yaml`)
  const { error, labs } = await withClient(context.daemon, (client) => client.listAll())
  if (error !== "") printError(`${styleOf(process.stderr).yellow("warning:")} ${printable(error)}`)
  if (format !== "table") {
    await printValue(format, labs)
    return Exit.done
  }
  if (labs.length === 0) {
    print("No labs. Deploy one: weft deploy FILE")
    return Exit.done
  }
  const style = styleOf(process.stdout)
  const isSpread = labs.some(({ hosts }) => hosts.length > 1)
  const isFaulty = labs.some(({ faults }) => faults > 0)
  const columns = [
    { title: "LAB" },
    { title: "STATE" },
    ...(isSpread ? [{ title: "HOSTS", folds: true }] : []),
    { title: "NODES", align: "right" as const },
    { title: "SEGMENTS", align: "right" as const },
    ...(isFaulty ? [{ title: "FAULTS", align: "right" as const }] : []),
    { title: "DEPLOYED" },
    { title: "FILE", folds: true }
  ] satisfies ReadonlyArray<Column>
  const rows = labs.map((lab) => [
    lab.name,
    stateOf(lab.state, style),
    ...(isSpread ? [printable(lab.hosts.join(", "))] : []),
    String(lab.nodes),
    String(lab.segments),
    ...(isFaulty ? [lab.faults === 0 ? "-" : style.yellow(String(lab.faults))] : []),
    agoOf(lab.deployedAt, Date.now()),
    printable(lab.filename)
  ])
  print(table(columns, rows, { width: widthOf(process.stdout), style }).join("\n"))
  for (const lab of labs) if (lab.error !== "") print(`${style.red(`${lab.name}:`)} ${printable(lab.error)}`)
  return Exit.done
}
