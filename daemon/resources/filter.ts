/**
 * What a node lets in, through and out: one nftables table `inet weft-filter` inside it, replaced as a whole in one
 * transaction, so that no packet meets half a rule set. Connections that the kernel knows stay known; counters and the
 * count of connections begin anew.
 *
 * As with NAT, the digest of what nft lists right after we applied it is recorded; another one later means that somebody
 * changed it. `filter-rules.ts` has the rules.
 */
import { KernelError } from "../linux/errors.ts"
import * as Netns from "../linux/netns.ts"
import * as Nftables from "../linux/nftables.ts"
import type { StepOf } from "../plan/diff.ts"
import { type FilterSpec, openFilter } from "../plan/filter.ts"
import { id } from "../plan/resource.ts"
import type { Table } from "../wire/nfnetlink.ts"
import { strictNodes } from "./by-hand.ts"
import { family, remove, render, table as ownTable } from "./filter-rules.ts"
import { asFailure, type Failure, type Failures, type Handler, inParallel } from "./handler.ts"
import type { Lab } from "./lab.ts"
import { digest } from "./nft-expressions.ts"

/** Processes of nft. */
const atOnce = 16

/** `inet weft` is NAT's (nat.ts). */
const isOurs = (table: Table): boolean => table.family === family && (table.name === ownTable || table.name === "weft")

/** Tables that somebody made in nodes where nothing makes them by itself (by-hand.ts). */
const strangers = (lab: Lab): ReadonlyArray<readonly [string, FilterSpec]> => {
  const isStrict = strictNodes(lab)
  const nodes = [...lab.snapshot.nodes.keys()].filter(isStrict)
  return nodes.flatMap((node) => tablesOf(lab, node).filter((one) => !isOurs(one)).map((one) => {
    const { family, name } = one
    const state = `table ${family} ${name}, which is none of weft's`
    return [`${id.filter(node)}/${family}/${name}`, { ...openFilter(node), state, byHand: { family, table: name } }] as const
  }))
}

/** None where the kernel has no nftables: then there is nothing of ours, either. */
const tablesOf = (lab: Lab, node: string): ReadonlyArray<Table> => {
  try {
    return Nftables.tablesIn(lab.netns(node).fd)
  } catch (error) {
    if (error instanceof KernelError) return []
    throw error
  }
}

const observe = async (lab: Lab): Promise<ReadonlyArray<readonly [string, FilterSpec]>> => {
  const nodes = Array.from(lab.knownOf("filter"), ({ spec }) => spec.node).filter((node) => lab.snapshot.nodes.has(node))
  const found = await inParallel(atOnce, nodes, async (node): Promise<readonly [string, FilterSpec] | undefined> => {
    const listing = await Nftables.listTable(Netns.nodeName(lab.name, node), family, ownTable)
    if (listing === undefined) return undefined
    const record = lab.records.get(id.filter(node))
    if (record?.kind !== "filter") return [id.filter(node), { ...openFilter(node), state: "unknown rules" }]
    return [id.filter(node), record.listing === digest(listing) ? record.spec : { ...record.spec, state: "changed by somebody else" }]
  })
  return [...found.filter((one) => one !== undefined), ...strangers(lab)]
}

const apply = async (lab: Lab, step: StepOf<"filter">): Promise<Failure | undefined> => {
  const name = Netns.nodeName(lab.name, step.node)
  try {
    const stranger = step.before?.byHand
    if (stranger !== undefined) {
      await Nftables.apply(name, [{ delete: { table: { family: stranger.family, name: stranger.table } } }])
      return undefined
    }
    lab.records.delete(step.id)
    if (step.after === undefined) {
      await Nftables.apply(name, remove)
      return undefined
    }
    await Nftables.apply(name, render(step.after.spec))
    const listing = (await Nftables.listTable(name, family, ownTable)) ?? []
    lab.records.set(step.id, { kind: "filter", spec: step.after.spec, listing: digest(listing) })
    return undefined
  } catch (error) {
    return asFailure(step.id, error)
  }
}

const applyAll = async (lab: Lab, steps: ReadonlyArray<StepOf<"filter">>): Promise<Failures> =>
  (await inParallel(atOnce, steps, (step) => apply(lab, step))).filter((failure) => failure !== undefined)

export const handler: Handler<"filter"> = { kind: "filter", observe, converge: applyAll, remove: applyAll }
