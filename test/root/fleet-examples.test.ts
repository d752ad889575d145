/**
 * Every topology in `topologies/` over several hosts: everybody reaches whom it reached on one host, and is seen there as
 * the same. First placed by the fleet itself, then moved, while it runs, to the worst placement: node after node on
 * another host, so that hardly any wire stays inside one.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import { parseDocument, type YAMLMap } from "yaml"
import type { Client } from "../../ctl/client.ts"
import type { ReachResult } from "../../ctl/messages.ts"
import { Weftd } from "./daemon-harness.ts"
import { Fleet, matrixOf, placementOf } from "./fleet-harness.ts"
import { checkout, needsRoot, until } from "./harness.ts"

const folder = join(checkout, "topologies")
const isAll = process.env["WEFT_FLEET_ALL"] !== undefined
/** Steps of a change that differ from another example by a route or two. */
const steps = ["idc-move-both", "idc-move-done", "site-to-site", "narrow-link"]
const examples = readdirSync(folder)
  .filter((name) => name.endsWith(".weft.yaml"))
  .map((name) => name.replace(".weft.yaml", ""))
  // Images may not be there, and containers have tests of their own.
  .filter((name) => !name.endsWith("-containers") && (isAll || !steps.includes(name)))
/** The others over five hosts, and steps of changes, take more than a minute: WEFT_FLEET_ALL=1. */
const overFive = isAll ? examples : ["hybrid-idc-aws-office"]

/** The file under another name; with `hosts`, its nodes on these in turn. */
const topology = (example: string, name: string, hosts: ReadonlyArray<string> = []): string => {
  const document = parseDocument(readFileSync(join(folder, `${example}.weft.yaml`), "utf8"))
  document.set("name", name)
  const nodes = document.get("nodes") as YAMLMap<unknown, unknown>
  if (hosts.length > 0) {
    for (const [index, { key }] of nodes.items.entries()) document.setIn(["nodes", String(key), "host"], hosts[index % hosts.length])
  }
  return document.toString()
}

const families = (example: string): ReadonlyArray<boolean> => (example === "spine-leaf" ? [false, true] : [false])

/**
 * Who reaches whom. A thousand pairs at once on a busy machine: who does not reach another has a second chance,
 * and what counts is its best.
 */
const matrix = async (client: Client, lab: string, ipv6: boolean): Promise<Readonly<Record<string, string>>> => {
  const best = new Map<string, ReachResult>()
  const isWhole = ({ icmp, tcp }: ReachResult): boolean => icmp && tcp
  for (let tries = 0; tries < 2; tries++) {
    for await (const result of client.reach({ lab, nodes: [], timeoutMs: 2000, ipv6 })) {
      const pair = `${result.from} ${result.to}`
      const before = best.get(pair)
      if (before === undefined || (!isWhole(before) && isWhole(result))) best.set(pair, result)
    }
    if ([...best.values()].every(isWhole)) break
  }
  return matrixOf([...best.values()])
}

t.test("examples", { skip: needsRoot }, async (t) => {
  /** What each reached on one host. */
  const known = new Map<string, ReadonlyArray<unknown>>()
  const alone = await Weftd.start("fleet-one")
  try {
    for (const example of examples) {
      const lab = alone.name(`one-${example.slice(0, 8).replace(/-$/, "")}`)
      await alone.make(topology(example, lab))
      const matrices = []
      for (const ipv6 of families(example)) {
        matrices.push(await matrix(alone.client, lab, ipv6))
      }
      known.set(example, matrices)
      await alone.destroy(lab)
    }
  } finally {
    await alone.close()
  }

  for (const [hosts, underlay, names] of [
    [3, "ipv4", examples],
    [5, "ipv6", overFive]
  ] as const) {
    await t.test(`over ${hosts} hosts, ${underlay}`, async (t) => {
      const fleet = await Fleet.start(`ex${hosts}`, { hosts, underlay })
      t.teardown(() => fleet.close())
      for (const [turn, example] of names.entries()) {
        const via = (turn % hosts) + 1
        const lab = fleet.name(`ex${hosts}-${example.slice(0, 8).replace(/-$/, "")}`)
        const same = async (what: string): Promise<void> => {
          for (const [at, ipv6] of families(example).entries()) {
            t.same(await matrix(fleet.client(via), lab, ipv6), known.get(example)![at], `${example} ${what}${ipv6 ? ", IPv6" : ""}`)
          }
        }
        await fleet.make(topology(example, lab), via)
        const first = await fleet.inspect(lab, via)
        t.same(first.drift, [], `${example}: as it should be`)
        t.same(first.unreachable, [])
        t.comment(`${example}: ${new Set(Object.values(placementOf(first))).size} hosts, ${first.tunnels.length} tunnels`)
        await same("as the fleet places it")
        t.equal((await fleet.make(topology(example, lab), via)).changed, 0, `${example}: the same file again changes nothing`)

        await fleet.make(topology(example, lab, fleet.hostNames), via)
        const moved = await fleet.inspect(lab, (via % hosts) + 1)
        t.equal(new Set(Object.values(placementOf(moved))).size, Math.min(hosts, moved.nodes.length), `${example}: on all hosts`)
        t.same(moved.drift, [])
        t.ok(moved.tunnels.length > 0)
        // New ones are `unknown` until their far end has been asked.
        const areUp = async (): Promise<boolean> => (await fleet.inspect(lab, via)).tunnels.every(({ state }) => state === "up")
        await until(`${example}: tunnels are up`, areUp)
        await same("with neighbours apart")

        const gone = await fleet.destroy(lab, via)
        t.ok(gone.changed >= 0, gone.message)
      }
    })
  }
})
