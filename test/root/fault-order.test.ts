/**
 * Every kind of fault, injected and healed in random orders that overlap: the lab comes back to the very same observed state.
 * What is compared is what the kernel says (`ip`, `nft`, `sysctl`), what weft observes, and what it would change.
 */
import t from "tap"
import { kindNames } from "../../daemon/faults/kinds.ts"
import { happensOnce } from "../../daemon/faults/read.ts"
import * as Netns from "../../daemon/linux/netns.ts"
import { files, nodes, orders, topology } from "../faults/every-kind.ts"
import { sh, Weftd } from "./daemon-harness.ts"
import { healAll, stateOf } from "./fault-harness.ts"
import { needsRoot, until } from "./harness.ts"

/** mulberry32: the same seed, the same order. */
const generator = (seed: number) => (): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let x = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
  return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
}

const shuffled = <A>(list: ReadonlyArray<A>, random: () => number): ReadonlyArray<A> =>
  list.map((one) => [random(), one] as const).toSorted(([a], [b]) => a - b).map(([, one]) => one)

/** Of each seed, how many kinds: all once, and then half of them in another order. */
const seeds = [{ seed: 1, share: 1 }, { seed: 2, share: 0.5 }]

t.test("faults overlap in any order, and healing restores the same state", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const weftd = await Weftd.start("fault-order")
  t.teardown(() => weftd.close())
  const lab = weftd.name("fault-order")
  await weftd.make(topology(lab))
  // The loss of a host needs a fleet.
  const kinds = kindNames.filter((name) => !happensOnce(name) && name !== "host-loss")
  const sent = Object.fromEntries(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)]))

  const inside = (node: string, ...argv: ReadonlyArray<string>): string =>
    sh("nsenter", `--net=${Netns.path(Netns.nodeName(lab, node))}`, "--", ...argv)
  /** Interfaces of a node that was made anew have other indexes, and nexthops of BGP other ids; counters count. */
  const kernel = (): string =>
    nodes.map((node) => [
      node,
      stateOf(lab, node).replaceAll(/@if\d+/g, "").replaceAll(/\b(nhid|id|group)[ /][\d/]+/g, "$1 #").replaceAll(/ +/g, " ")
        .split("\n").toSorted().join("\n"),
      inside(node, "nft", "list", "ruleset").replaceAll(/packets \d+ bytes \d+/g, "").split(/^(?=table )/m).toSorted().join(""),
      inside(node, "sysctl", "net.ipv4.conf", "net.ipv6.conf").split("\n").toSorted().join("\n")
    ].join("\n")).join("\n")
  const observed = async (): Promise<unknown> => {
    const { drift, faults, lab: summary, nodes: all, segments } = await weftd.inspect(lab)
    const { deployedAt: _, ...rest } = summary
    return { drift, faults, lab: rest, segments, nodes: all.map((node) => ({ ...node,
      ports: node.ports.map(({ counters: _, ifindex: __, ...port }) => port) })) }
  }
  await until("BGP has told all", () => weftd.pings(lab, "tv", "198.51.100.2"), 120_000)
  const [kernelBefore, before] = [kernel(), await observed()]

  for (const { seed, share } of seeds) {
    await t.test(`seed ${seed}`, async (t) => {
      const random = generator(seed)
      const inForce: string[] = []
      const heal = async (): Promise<void> => {
        const [id] = inForce.splice(Math.floor(random() * inForce.length), 1)
        const { failures } = await weftd.client.heal({ lab, ids: [id!], all: false })
        if (failures.length > 0) t.fail(`heal ${id}: ${failures.map(({ error }) => error).join("; ")}`)
      }
      const log: string[] = []
      for (const kind of shuffled(kinds, random).slice(0, kinds.length * share)) {
        const { diagnostics, failures, faults } = await weftd.client.inject({ lab, words: orders[kind]!.split(" "), for: "", files: sent })
        for (const { message } of diagnostics) t.fail(`${kind}: ${message} (after ${log.join(", ")})`)
        for (const { change, error } of failures) t.fail(`${kind}: ${change?.id} ${error} (after ${log.join(", ")})`)
        log.push(kind)
        inForce.push(...faults.map(({ id }) => id))
        while (inForce.length > 0 && random() < 0.45) await heal()
      }
      while (inForce.length > 3) await heal()
      await healAll(weftd, lab)
      t.strictSame(await weftd.plan(topology(lab)), [], "weft plan says no change")
      await until("the kernel is as it was", () => kernel() === kernelBefore, 120_000).catch(() => t.equal(kernel(), kernelBefore))
      t.strictSame(await observed(), before, "weft observes what it observed before")
    })
  }
})
