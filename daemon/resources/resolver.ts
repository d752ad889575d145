/** `/etc/resolv.conf` of nodes that have name servers: `/etc/netns/<name>/resolv.conf`. */
import { readFileSync, rmSync } from "node:fs"
import * as Netns from "../linux/netns.ts"
import type { ResolverSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { each, type Handler } from "./handler.ts"
import { fileError, hasOwnEtc, refreshCopy, writeWhole } from "./hosts-file.ts"
import type { Lab } from "./lab.ts"

const pathOf = (lab: Lab, node: string): string => `${Netns.etcPath(Netns.nodeName(lab.name, node))}/resolv.conf`

/** The file of resolv.conf(5). */
export const render = (spec: ResolverSpec): string =>
  (spec.search.length === 0 ? "" : `search ${spec.search.join(" ")}\n`) + spec.servers.map((server) => `nameserver ${server}\n`).join("")

/** What resolv.conf(5) makes of a file's `nameserver` and `search` lines; of several `search` lines the last counts. */
export const parse = (node: string, content: string): ResolverSpec => {
  const words = content.split("\n").map((line) => line.trimEnd().split(/[ \t]+/))
  return {
    node,
    servers: words.filter(([key]) => key === "nameserver").map(([, server]) => server ?? ""),
    search: words.findLast(([key]) => key === "search")?.slice(1) ?? []
  }
}

const write = (lab: Lab, spec: ResolverSpec): void => {
  const content = render(spec)
  refreshCopy(lab, spec.node, "resolv.conf", content)
  writeWhole(pathOf(lab, spec.node), content, Netns.unfinishedEtcPath(Netns.nodeName(lab.name, spec.node)))
}

function* observe(lab: Lab): Generator<readonly [string, ResolverSpec]> {
  for (const { spec } of lab.knownOf("resolver")) {
    if (lab.snapshot.foreign.has(spec.node) || !hasOwnEtc(lab, spec.node)) continue
    try {
      yield [id.resolver(spec.node), parse(spec.node, readFileSync(pathOf(lab, spec.node), "utf8"))]
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw fileError("read", pathOf(lab, spec.node), error)
    }
  }
}

export const handler: Handler<"resolver"> = {
  kind: "resolver",
  observe,
  converge: (lab, steps) => each(steps, (step) => write(lab, step.after!.spec)),
  remove: (lab, steps) =>
    each(steps, (step) => {
      refreshCopy(lab, step.node, "resolv.conf", "")
      if (hasOwnEtc(lab, step.node)) rmSync(pathOf(lab, step.node), { force: true })
    })
}
