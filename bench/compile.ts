/**
 * How long a topology takes from its text to a plan, with the number of its nodes: a star of hosts around one router. Time that grows
 * faster than the nodes do shows as a `us per node` that grows.
 */
import { load } from "../daemon/compiler/load.ts"
import type * as Report from "./report.ts"
import { figure } from "./report.ts"

const sizes = [500, 1000, 4000]

const star = (hosts: number): string => {
  const names = Array.from({ length: hosts }, (_, i) => `h${i}`)
  const networks = Array.from({ length: hosts / 100 }, (_, i) =>
    `  n${i}: { cidr: 10.${i}.0.0/16, gateway: r, ports: [r, ${names.slice(i * 100, i * 100 + 100).join(", ")}] }`
  )
  const nodes = names.map((name) => `  ${name}: { kind: host }`)
  return `name: star\nnodes:\n  r: { kind: router }\n${nodes.join("\n")}\nnetworks:\n${networks.join("\n")}\n`
}

const timed = (content: string): number => {
  const began = performance.now()
  if (!load({ filename: "star", content }).ok) throw new Error("the topology is refused")
  return performance.now() - began
}

export const run = async (argv: ReadonlyArray<string>, emit: Report.Emit): Promise<void> => {
  if (argv.length > 0) throw new TypeError(`compile takes no options: ${argv.join(" ")}`)
  for (const hosts of sizes) {
    const content = star(hosts)
    timed(content)
    const samples = Array.from({ length: 5 }, () => timed(content))
    emit(figure({ bench: "compile", case: `${hosts}-hosts`, metric: "load", unit: "ms" }, samples))
    emit(figure({ bench: "compile", case: `${hosts}-hosts`, metric: "per-node", unit: "us" }, samples.map((ms) => (ms * 1000) / hosts)))
  }
}
