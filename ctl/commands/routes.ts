/** `weft routes`: the routes of a node's kernel, as they come: a table of a million is never in memory here. */

import { type Client, withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { routeLines, routesLegend, tableTitle } from "../render/routes.ts"
import { print, styleOf } from "../terminal.ts"
import type { specs } from "./table.ts"

type Pages = ReturnType<Client["routes"]>

export const run = async (input: InputOf<typeof specs.routes>, context: Context): Promise<number> =>
  withClient(context.daemon, async (client) => {
    const { family, limit, node, output, prefix = "", protocol = "", table = "" } = input
    const request = { node, table, family: family === "both" ? "" : family, prefix, protocol, limit: limitOf(limit) }
    const pages = client.routes(request)
    if (output === "json") await asJson(pages)
    else if (output === "yaml") await asYaml(pages)
    else await asTable(pages)
    return Exit.done
  })

const limitOf = (text: string | undefined): number => {
  const limit = text === undefined ? 0 : Number(text)
  if (Number.isInteger(limit) && limit >= 0) return limit
  throw new Failure(Exit.usage, `Cannot use "${text}" as --limit: a whole number is expected`)
}

const asTable = async (pages: Pages): Promise<void> => {
  const style = styleOf(process.stdout)
  let title = ""
  for await (const { routes } of pages) {
    const lines: string[] = []
    for (const route of routes) {
      if (title === "") lines.push(routesLegend(style))
      const own = tableTitle(route, style)
      if (own !== title) lines.push("", own)
      title = own
      lines.push(...routeLines(route, style))
    }
    if (lines.length > 0) await written(`${lines.join("\n")}\n`)
  }
  if (title === "") print("No routes")
}

const asJson = async (pages: Pages): Promise<void> => {
  let isFirst = true
  for await (const { routes } of pages) {
    for (const route of routes) {
      await written(`${isFirst ? "[\n" : ",\n"}${JSON.stringify(route)}`)
      isFirst = false
    }
  }
  await written(isFirst ? "[]\n" : "\n]\n")
}

const asYaml = async (pages: Pages): Promise<void> => {
  const { stringify } = await import("yaml")
  let isFirst = true
  for await (const { routes } of pages) {
    if (routes.length > 0) await written(stringify(routes, { lineWidth: 0 }))
    isFirst &&= routes.length === 0
  }
  if (isFirst) print("[]")
}

/** Resolves when there is room for more: a slow pager slows the daemon down. */
const written = (text: string): Promise<void> =>
  new Promise((resolve) => (process.stdout.write(text) ? resolve() : process.stdout.once("drain", resolve)))
