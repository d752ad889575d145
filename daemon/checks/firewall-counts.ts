/** What the firewalls of nodes have dropped so far, for whoever wonders where packets went (docs/topology.md, Firewalls). */
import type { Lab } from "./lab.ts"

/** What libnftables-json(5) says of one table, as far as it is read here. */
interface Listed {
  readonly counter?: { readonly name: string; readonly packets: number }
  readonly chain?: { readonly name: string; readonly policy?: string }
  readonly rule?: { readonly comment?: string; readonly expr: ReadonlyArray<Readonly<Record<string, unknown>>> }
}

const command = ["nft", "-j", "list", "table", "inet", "weft-filter"]

/** Names of rules that dropped or refused something, with how many packets; policies as `policy of forward`. */
export const dropsIn = (text: string): ReadonlyArray<readonly [name: string, packets: number]> => {
  const { nftables } = JSON.parse(text) as { readonly nftables: ReadonlyArray<Listed> }
  const packets = new Map(nftables.flatMap(({ counter }) => (counter === undefined ? [] : [[counter.name, counter.packets] as const])))
  const closed = new Set(nftables.flatMap(({ chain }) => (chain?.policy === "drop" ? [chain.name] : [])))
  const names = new Map<string, string>()
  for (const { rule } of nftables) {
    const counter = rule?.expr.map((one) => one["counter"]).find((one) => typeof one === "string")
    if (rule === undefined || typeof counter !== "string") continue
    // A policy is the chain's: its rule only counts what comes to the end.
    const hook = /^(.*)-policy$/.exec(counter)?.[1]
    const isRefusal = rule.expr.some((one) => "drop" in one || "reject" in one) || (hook !== undefined && closed.has(hook))
    const name = hook !== undefined ? `policy of ${hook}` : rule.comment === undefined ? counter : `rule "${rule.comment}"`
    if (isRefusal) names.set(counter, name)
  }
  return [...names].map(([counter, name]) => [name, packets.get(counter) ?? 0] as const).filter(([, count]) => count > 0)
}

/** `the firewall of fw has dropped packets: 3 by rule "no-9999"`; empty when none of the nodes has dropped anything. Never rejects. */
export const firewallCounts = async (lab: Lab, nodes: ReadonlyArray<string>): Promise<string> => {
  const said = await Promise.all([...new Set(nodes)].map(async (node) => {
    const { code, stdout } = await lab.ask(node, "exec", { argv: command, timeoutMs: 2000 }).catch(() => ({ code: 1, stdout: "" }))
    if (code !== 0) return ""
    try {
      const drops = dropsIn(stdout).map(([name, count]) => `${count} by ${name}`)
      return drops.length === 0 ? "" : `the firewall of ${node} has dropped packets: ${drops.join(", ")}`
    } catch {
      return ""
    }
  }))
  return said.filter((one) => one !== "").join("; ")
}
