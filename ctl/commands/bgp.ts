/** `weft bgp`: look into a node's BGP speaker, and reset its sessions. */

import { type Client, withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import type { BgpPath, BgpRoutesRequest } from "../messages.ts"
import { explainLines, neighborLines, type Options, ordered, routeLine, routesHeading, routesLegend, summaryLines } from "../render/bgp.ts"
import { printValue } from "../render/value.ts"
import { print, printError, styleOf, widthOf } from "../terminal.ts"
import { duration as durationOf } from "./capture.ts"
import type { specs } from "./table.ts"

type Input = InputOf<typeof specs.bgp>

export const run = async (input: Input, context: Context): Promise<number> => {
  const { what = "summary", words } = input
  return withClient(context.daemon, (client) => {
    switch (what) {
      case "summary":
        return summary(client, input)
      case "neighbors":
        return neighbors(client, input, words[0])
      case "rib":
        return routes(client, input, { table: "rib", prefix: words[0] ?? "", neighbor: "" })
      case "received":
      case "advertised":
        return routes(client, input, { table: what, prefix: words[1] ?? "", neighbor: needed(words[0], what) })
      case "dump":
        return dump(client, input, words[0])
      case "reset":
        return reset(client, input, words)
      default:
        throw new Failure(Exit.usage, `Unknown part "${what}" of weft bgp`, "Try: weft bgp --help")
    }
  })
}

const needed = (peer: string | undefined, what: string): string => {
  if (peer !== undefined) return peer
  throw new Failure(Exit.usage, `weft bgp NODE ${what} needs a neighbor: its address, interface or node`, `Example: weft bgp r1 ${what} r2`)
}

const optionsNow = (): Options => ({ width: widthOf(process.stdout), style: styleOf(process.stdout), nowMs: Date.now() })

const summary = async (client: Client, { node, output }: Input): Promise<number> => {
  const speaker = await client.bgp(node)
  if (output === "table") print(summaryLines(speaker, optionsNow()).join("\n"))
  else await printValue(output, speaker)
  return Exit.done
}

const neighbors = async (client: Client, { node, output }: Input, word: string | undefined): Promise<number> => {
  const all = (await client.bgp(node)).neighbors
  const chosen = word === undefined ? all : all.filter((one) => [one.name, one.remoteAddress, one.description].includes(word))
  if (word !== undefined && chosen.length === 0) {
    const names = all.map(({ name }) => name).join(", ")
    throw new Failure(Exit.failed, `Node "${node}" has no BGP neighbor "${word}"`, `It has: ${names || "none"}`)
  }
  if (output === "table") print(chosen.map((one) => neighborLines(one, optionsNow()).join("\n")).join("\n\n") || "No neighbors")
  else await printValue(output, chosen)
  return Exit.done
}

type Asked = Pick<BgpRoutesRequest, "table" | "neighbor" | "prefix">

const limitOf = (text: string | undefined): number => {
  const limit = text === undefined ? 0 : Number(text)
  if (Number.isInteger(limit) && limit >= 0) return limit
  throw new Failure(Exit.usage, `Cannot use "${text}" as --limit: a whole number is expected`)
}

/** As they come: a table of a million routes is never in memory here. */
const routes = async (client: Client, input: Input, asked: Asked): Promise<number> => {
  const { family, limit, node, output, vrf } = input
  const request: BgpRoutesRequest = { node, ...asked, vrf: vrf ?? "", family: family === "both" ? "" : family, limit: limitOf(limit) }
  const pages = client.bgpRoutes(request)
  if (output === "json") return jsonRoutes(pages)
  if (output === "yaml") return yamlRoutes(pages)
  return asked.prefix === "" ? tableOf(pages) : explained(pages)
}

type Pages = ReturnType<Client["bgpRoutes"]>
type Page = Pages extends AsyncIterable<infer One> ? One : never

const explained = async (pages: Pages): Promise<number> => {
  const paths: BgpPath[] = []
  for await (const page of pages) paths.push(...page.paths)
  print(explainLines(paths, optionsNow()).join("\n"))
  return Exit.done
}

/** Tables up to so many paths are shown in order; a larger one is shown as it comes. */
const orderedPaths = 20_000

/** The pages, or if they have not too many paths one page of all in order. */
const inOrder = async function* (pages: Pages): AsyncGenerator<Page, void, undefined> {
  const kept: Page[] = []
  let count = 0
  for await (const page of pages) {
    if (count > orderedPaths) {
      yield page
      continue
    }
    kept.push(page)
    count += page.paths.length
    if (count > orderedPaths) yield* kept
  }
  if (count > orderedPaths || count === 0) return
  yield { ...kept[0]!, paths: ordered(kept.flatMap(({ paths }) => paths)) }
}

const tableOf = async (pages: Pages): Promise<number> => {
  const style = styleOf(process.stdout)
  let [family, before]: [string | undefined, string | undefined] = [undefined, undefined]
  let [prefixes, total] = [0, 0]
  for await (const page of inOrder(pages)) {
    total = page.total
    const lines: string[] = []
    for (const path of page.paths) {
      if (family === undefined) lines.push(routesLegend(style))
      if (path.family !== family) lines.push("", routesHeading(path.family === "ipv6", style))
      if (path.prefix !== before || path.family !== family) prefixes += 1
      lines.push(routeLine(path, path.family === family ? before : undefined))
      family = path.family
      before = path.prefix
    }
    if (lines.length > 0) await written(`${lines.join("\n")}\n`)
  }
  if (prefixes === 0) print("No routes")
  else printError(prefixes < total ? `${prefixes} of ${total} prefixes` : `${prefixes} ${prefixes === 1 ? "prefix" : "prefixes"}`)
  return Exit.done
}

/** Resolves when there is room for more: a slow pager slows the daemon down. */
const written = (text: string | Uint8Array): Promise<void> =>
  new Promise((resolve) => (process.stdout.write(text) ? resolve() : process.stdout.once("drain", resolve)))

const jsonRoutes = async (pages: Pages): Promise<number> => {
  let isFirst = true
  for await (const { paths } of pages) {
    for (const path of paths) {
      await written(`${isFirst ? "[\n" : ",\n"}${JSON.stringify(path)}`)
      isFirst = false
    }
  }
  await written(isFirst ? "[]\n" : "\n]\n")
  return Exit.done
}

const yamlRoutes = async (pages: Pages): Promise<number> => {
  const { stringify } = await import("yaml")
  let isFirst = true
  for await (const { paths } of pages) {
    if (paths.length > 0) await written(stringify(paths, { lineWidth: 0 }))
    isFirst &&= paths.length === 0
  }
  if (isFirst) print("[]")
  return Exit.done
}

/** Pieces until the time is over or somebody interrupts; a second signal does not wait. */
const untilEnd = async function* <A>(pieces: AsyncIterable<A>, durationMs: number): AsyncGenerator<A, void, undefined> {
  let end = (): void => {}
  const over = new Promise<undefined>((resolve) => (end = () => resolve(undefined)))
  const timer = durationMs === 0 ? undefined : setTimeout(end, durationMs)
  const interrupted = (): void => {
    for (const signal of signals) process.on(signal, () => process.exit(130))
    end()
  }
  for (const signal of signals) process.once(signal, interrupted)
  const each = pieces[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await Promise.race([each.next(), over])
      if (next === undefined || next.done === true) return
      yield next.value
    }
  } finally {
    clearTimeout(timer)
    // It ends when the piece that is waited for has come.
    void each.return?.()?.catch(() => {})
  }
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const

/** The table, or what comes in, as MRT, to a file or a pipe; a terminal would not like it. */
const dump = async (client: Client, { duration, node, updates, vrf, write }: Input, neighbor = ""): Promise<number> => {
  if ((write === undefined || write === "-") && process.stdout.isTTY === true) {
    throw new Failure(Exit.usage, "MRT is not for reading: write it to a file", "Example: weft bgp r1 dump -w r1.mrt")
  }
  if (!updates && (duration !== undefined || neighbor !== "")) {
    const example = "Example: weft bgp r1 dump r2 --updates --duration 1m -w r2.mrt"
    throw new Failure(Exit.usage, "A neighbor and --duration are for --updates", example)
  }
  const all = client.bgpDump({ node, vrf: vrf ?? "", updates, neighbor })
  const pieces = updates ? untilEnd(all, durationOf(duration)) : all
  let isSilent = updates
  const began = (): void => {
    if (isSilent) printError(`Writing what ${neighbor === "" ? `the neighbors of ${node} send` : `${neighbor} sends`} (Ctrl-C ends it)`)
    isSilent = false
  }
  if (write === undefined || write === "-") {
    for await (const { mrt } of pieces) {
      began()
      await written(mrt)
    }
    return Exit.done
  }
  const { open } = await import("node:fs/promises")
  const file = await open(write, "w").catch((error: NodeJS.ErrnoException) => {
    throw new Failure(Exit.failed, `Cannot write "${write}": ${error.code}`)
  })
  try {
    for await (const { mrt } of pieces) {
      began()
      await file.writeFile(mrt)
    }
  } finally {
    await file.close()
  }
  return Exit.done
}

const softKinds = ["soft", "soft-in", "soft-out"]

const reset = async (client: Client, { node, output }: Input, words: ReadonlyArray<string>): Promise<number> => {
  const how = words.find((word) => softKinds.includes(word) || word === "hard") ?? "hard"
  const peers = words.filter((word) => word !== how)
  if (peers.length !== 1) {
    throw new Failure(Exit.usage, "weft bgp NODE reset needs one neighbor, or all", "Example: weft bgp r1 reset r2 soft")
  }
  const neighbor = peers[0] === "all" ? "" : peers[0]!
  const { neighbors: count } = await client.bgpReset({ node, neighbor, how })
  if (output === "table") print(`${how === "hard" ? "Reset" : "Refreshed"} ${count} ${count === 1 ? "session" : "sessions"} of ${node}`)
  else await printValue(output, { neighbors: count, how })
  return Exit.done
}
