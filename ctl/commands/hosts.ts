/** `weft hosts`: the hosts that share labs. */

import { withClient } from "../client.ts"
import { Exit } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import type { HostInfo } from "../messages.ts"
import { agoOf } from "../render/ago.ts"
import { stateOf } from "../render/lab.ts"
import { table } from "../render/table.ts"
import { printValue } from "../render/value.ts"
import { print, printable, printError, styleOf, widthOf } from "../terminal.ts"
import type { specs } from "./table.ts"

export const run = async (input: InputOf<typeof specs.hosts>, context: Context): Promise<number> => {
  const { error, hosts } = await withClient(context.daemon, (client) => client.hosts())
  if (error !== "") printError(`${styleOf(process.stderr).yellow("warning:")} ${printable(error)}`)
  if (input.output !== "table") {
    await printValue(input.output, hosts)
    return Exit.done
  }
  if (hosts.length === 0) {
    print("No hosts are known")
    return Exit.done
  }
  const style = styleOf(process.stdout)
  const columns = [
    { title: "HOST" },
    { title: "STATE" },
    { title: "UNDERLAY" },
    { title: "CAPACITY", align: "right" },
    { title: "LABS", align: "right" },
    { title: "NODES", align: "right" },
    { title: "SINCE" },
    { title: "VERSION" },
    { title: "LABELS", folds: true }
  ] as const
  const rows = hosts.map((host) => [
    host.asked ? style.bold(host.name) : host.name,
    stateOf(host.state, style),
    host.underlay === "" ? style.dim("-") : host.underlay,
    String(host.capacity),
    String(host.labs),
    String(host.nodes),
    agoOf(host.since, Date.now()),
    printable(host.version),
    printable(labelsOf(host))
  ])
  print(table(columns, rows, { width: widthOf(process.stdout), style }).join("\n"))
  return Exit.done
}

const labelsOf = ({ labels }: HostInfo): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .toSorted()
    .join(", ")
