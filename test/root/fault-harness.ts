/** What tests of faults share: injecting and healing by words, and whether a lab is again what it was. */
import type { FaultsChanged } from "../../ctl/fault-messages.ts"
import { sh, type Weftd } from "./daemon-harness.ts"
import * as Netns from "../../daemon/linux/netns.ts"

/** Injects one fault; throws with everything that is wrong with it. */
export const inject = async (weftd: Weftd, lab: string, words: string, options: { readonly for?: string } = {}): Promise<FaultsChanged> => {
  const answer = await weftd.client.inject({ lab, words: words.split(" "), for: options.for ?? "", files: {} })
  const failed = answer.failures.map(({ change, error }) => `${change?.id}: ${error}`)
  const wrong = [...answer.diagnostics.map(({ message }) => message), ...failed]
  if (wrong.length > 0) throw new Error(`inject ${words}: ${wrong.join("; ")}`)
  return answer
}

/** Heals all faults of the lab. */
export const healAll = async (weftd: Weftd, lab: string): Promise<void> => {
  const { failures } = await weftd.client.heal({ lab, ids: [], all: true })
  if (failures.length > 0) throw new Error(`heal: ${failures.map(({ change, error }) => `${change?.id}: ${error}`).join("; ")}`)
}

/** What `ip` says of a node, without what only time changes, and numbers that BGP and the kernel choose anew. */
export const stateOf = (lab: string, node: string): string => {
  const inside = (...argv: ReadonlyArray<string>): string => sh("ip", "netns", "exec", Netns.nodeName(lab, node), ...argv)
  const parts = [
    inside("ip", "-br", "link"),
    inside("ip", "-br", "address"),
    ...["-4", "-6"].map((family) => inside("ip", family, "route", "show", "table", "all").split("\n").toSorted().join("\n")),
    inside("ip", "nexthop").split("\n").toSorted().join("\n"),
    inside("ip", "rule")
  ]
  const text = parts.join("\n").replaceAll(/ (expires|pref|linkdown|dead)( \S+sec)?/g, "")
  return text.replaceAll(/@if\d+/g, "").replaceAll(/\b(nhid|id|group) \d+/g, "$1").replaceAll(/ +/g, " ")
}
