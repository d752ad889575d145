/** A plan as terraform users read it: what is added, changed, replaced and removed, per node and per attribute. */

import type { Action, Change, PlanResponse } from "../messages.ts"
import type { Style } from "../terminal.ts"
import { printable } from "../terminal.ts"

const signs: Readonly<Record<Action, string>> = { NONE: " ", CREATE: "+", UPDATE: "~", REPLACE: "-/+", REMOVE: "-" }

const paintOf = (action: Action, style: Style): ((text: string) => string) => {
  switch (action) {
    case "CREATE":
      return style.green
    case "UPDATE":
      return style.yellow
    case "REPLACE":
    case "REMOVE":
      return style.red
    case "NONE":
      return style.dim
  }
}

/** How many resources would be added, changed and removed; a replacement is one of each, as terraform counts. */
export const summaryOf = (
  changes: ReadonlyArray<Change>
): { readonly add: number; readonly change: number; readonly remove: number } => {
  const count = (...actions: ReadonlyArray<Action>): number => changes.filter(({ action }) => actions.includes(action)).length
  return { add: count("CREATE", "REPLACE"), change: count("UPDATE"), remove: count("REMOVE", "REPLACE") }
}

/** The whole plan: changes grouped by node in the order of the plan, then the summary. */
export const planLines = (plan: PlanResponse, style: Style): ReadonlyArray<string> => {
  const changes = plan.changes.filter(({ action }) => action !== "NONE")
  if (changes.length === 0) return [`No changes. Lab "${plan.lab}" is what the topology says.`]
  const lines = [plan.exists ? `Lab "${plan.lab}" would change:` : `Lab "${plan.lab}" is new:`]
  const several = new Set(changes.map(({ host }) => host)).size > 1
  for (const [, ofNode] of Map.groupBy(changes, ({ host, node }) => `${host} ${node}`)) {
    const { host, node } = ofNode[0]!
    const where = several ? style.dim(` on ${printable(host)}`) : ""
    lines.push("", `${style.bold(node === "" ? "lab-wide" : `node ${printable(node)}`)}${where}`)
    for (const change of ofNode) lines.push(...changeLines(change, style))
  }
  const { add, change, remove } = summaryOf(changes)
  return [...lines, "", `${style.bold("Plan:")} ${add} to add, ${change} to change, ${remove} to remove.`]
}

const changeLines = (change: Change, style: Style): ReadonlyArray<string> => {
  const paint = paintOf(change.action, style)
  const reason = change.reason === "" || change.action === "CREATE" ? "" : style.dim(`  # ${printable(change.reason)}`)
  const head = `${paint(signs[change.action].padStart(5))} ${printable(change.id)}${reason}`
  if (change.action === "REMOVE") return [head]
  const widest = Math.min(32, Math.max(0, ...change.attributes.map(({ path }) => path.length)))
  return [head, ...change.attributes.map((attribute) => `${" ".repeat(8)}${attributeLine(attribute, widest, style)}`)]
}

const attributeLine = ({ after, before, path }: Change["attributes"][number], widest: number, style: Style): string => {
  const name = printable(path).padEnd(widest)
  if (before === "") return `${style.green("+")} ${name} = ${value(after)}`
  if (after === "") return `${style.red("-")} ${name} = ${value(before)}`
  const change = listChange(before, after, style) ?? `${value(before)} ${style.dim("→")} ${value(after)}`
  return `${style.yellow("~")} ${name} = ${change}`
}

/** What comes and goes in a list of which a part stays: `2 kept, + pc:eth0`. Undefined where the two say it better. */
const listChange = (before: string, after: string, style: Style): string | undefined => {
  if (!before.startsWith("[") || !after.startsWith("[")) return undefined
  const [old, now] = [before, after].map((json) => (JSON.parse(json) as ReadonlyArray<unknown>).map((item) => JSON.stringify(item)))
  const gone = old!.filter((item) => !now!.includes(item))
  const come = now!.filter((item) => !old!.includes(item))
  if (gone.length === old!.length || gone.length + come.length === 0) return undefined
  return [
    style.dim(`${old!.length - gone.length} kept`),
    ...gone.map((item) => `${style.red("-")} ${value(item)}`),
    ...come.map((item) => `${style.green("+")} ${value(item)}`)
  ].join(", ")
}

/**
 * JSON as it comes, without quotes around plain words, and ways out as `ip route` writes them. Long lists are cut, `-o json` has
 * them whole.
 */
const value = (json: string): string => {
  const way = /^\{(?:"gateway":"([^"\\]+)",)?"ifname":"([^"\\]+)"\}$/.exec(json)
  const short = way === null ? json : `${way[1] === undefined ? "" : `${way[1]} `}dev ${way[2]}`
  const text = printable(/^"[^"\\]*"$/.test(short) ? short.slice(1, -1) : short)
  return text.length > 120 ? `${text.slice(0, 119)}…` : text
}
