/** `weft heal`: take faults out of a lab. */

import { type Client, withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { duration } from "../converge.ts"
import type { FaultsChanged } from "../fault-messages.ts"
import { changesOf } from "../render/faults.ts"
import { printValue } from "../render/value.ts"
import { print, printable, printError, styleOf } from "../terminal.ts"
import type { specs } from "./table.ts"

export const run = (input: InputOf<typeof specs.heal>, context: Context): Promise<number> => {
  if (input.all && input.ids.length > 0) throw new Failure(Exit.usage, "Give either ids or --all, not both")
  if (!input.all && input.ids.length === 0) {
    throw new Failure(Exit.usage, "Which fault? None is named", "weft faults shows those in force; --all heals them all")
  }
  return withClient(context.daemon, async (client) => {
    const answers: Array<FaultsChanged> = []
    for (const { ids, lab } of await meant(input, client)) answers.push(await client.heal({ lab, ids, all: input.all }))
    if (input.output !== "table") await printValue(input.output, answers)
    else for (const answer of answers) show(answer, input.ids)
    if (input.output === "table" && input.all && answers.every(({ faults }) => faults.length === 0)) print("No faults, nothing to heal")
    return answers.some(({ failures }) => failures.length > 0) ? Exit.failed : Exit.done
  })
}

interface Meant {
  readonly lab: string
  readonly ids: ReadonlyArray<string>
}

/** An id is `f1`, or `LAB/f1`; `--all` without a lab means those of all labs. */
const meant = async (input: InputOf<typeof specs.heal>, client: Client): Promise<ReadonlyArray<Meant>> => {
  if (input.all) {
    if (input.lab !== undefined) return [{ lab: input.lab, ids: [] }]
    return [...new Set((await client.faults("")).map(({ lab }) => lab))].map((lab) => ({ lab, ids: [] }))
  }
  const byLab = new Map<string, string[]>()
  for (const id of input.ids) {
    const slash = id.indexOf("/")
    const lab = slash < 0 ? (input.lab ?? "") : id.slice(0, slash)
    byLab.set(lab, [...(byLab.get(lab) ?? []), id.slice(slash + 1)])
  }
  return [...byLab].map(([lab, ids]) => ({ lab, ids }))
}

const show = ({ changed, durationMs, failures, faults }: FaultsChanged, asked: ReadonlyArray<string>): void => {
  const [style, errorStyle] = [styleOf(process.stdout), styleOf(process.stderr)]
  const figures = style.dim(`(${changesOf(changed)}${duration(durationMs)})`)
  for (const { id, title } of faults) print(`${style.green("✓")} ${style.bold(id)} is healed: ${printable(title)} ${figures}`)
  const healed = new Set(faults.map(({ id }) => id))
  const before = asked.map((id) => id.slice(id.indexOf("/") + 1)).filter((id) => !healed.has(id))
  if (before.length > 0 && failures.length === 0) print(`${before.join(", ")}: healed before`)
  for (const { error } of failures) printError(`${errorStyle.red("error:")} ${printable(error)}`)
}
