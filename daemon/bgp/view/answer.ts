/** Questions about speakers, each to the file that answers it. */
import type { Scheduler } from "../scheduler.ts"
import type { Speaker } from "../speaker.ts"
import { familyNames } from "../neighbor-spec.ts"
import { dumpPage } from "./dump.ts"
import { neighborView } from "./neighbors.ts"
import { routesPage } from "./routes.ts"
import { updatesOf } from "./updates.ts"
import type { Neighbor } from "../neighbor.ts"
import type { Answer, MissingSession, Query, Settled, SpeakerView } from "./view.ts"

export interface Asked {
  /** By `LAB/NODE`. */
  readonly speakers: ReadonlyMap<string, Speaker>
  readonly scheduler: Scheduler
  /** How long the thread has not looked at its sockets and timers, at most. */
  readonly longestTurnMs: number
}

export const answer = (query: Query, { longestTurnMs, scheduler, speakers }: Asked): Answer => {
  if (query.kind === "load") {
    const { heapUsed, rss } = process.memoryUsage()
    return { kind: "load", speakers: speakers.size, heapOctets: heapUsed, rssOctets: rss, busyMs: scheduler.busyMs, longestTurnMs }
  }
  if (query.kind === "settled") return settled(query.lab, { scheduler, speakers })
  const speaker = speakers.get(`${query.lab}/${query.node}`)
  if (speaker === undefined) return { kind: "nothing", reason: `Node "${query.node}" has no BGP speaker` }
  if (query.kind === "routes") return routesPage(speaker, query)
  if (query.kind === "dump") return dumpPage(speaker, query)
  if (query.kind === "updates") return updatesOf(speaker, query)
  return { kind: "speaker", speaker: { ...speakerView(speaker), longestTurnMs } }
}

const speakerView = (speaker: Speaker): Omit<SpeakerView, "longestTurnMs"> => {
  const { place, spec } = speaker
  const vrfs = Array.from(speaker.tables, ({ rib, spec: { name, table } }) => {
    const counts = familyNames.map((_, family) => rib.counts(family as 0 | 1))
    const sum = (field: "prefixes" | "paths"): number => counts.reduce((total, count) => total + count[field], 0)
    return { name, table, prefixes: sum("prefixes"), paths: sum("paths") }
  })
  const inGroups = Array.from(speaker.groups, ({ members, spec: { name } }) => Array.from(members, (one) => [one, name] as const))
  const ranges = new Map(inGroups.flat())
  return {
    ...place,
    asn: spec.asn,
    routerId: spec.routerId,
    vrfs,
    neighbors: Array.from(speaker.neighbors(), (one) => neighborView(one, spec, ranges.get(one))),
    ranges: Array.from(speaker.groups, ({ spec: { remote, shutdown } }) => (shutdown || remote.kind !== "prefix" ? [] : [remote])).flat(),
    restarting: speaker.isRestarting
  }
}

/** Missing sessions that are told in full. */
const toldAtMost = 20

const settled = (lab: string, { scheduler, speakers }: Omit<Asked, "longestTurnMs">): Settled => {
  let [sessions, established, incomplete, isBusy] = [0, 0, 0, scheduler.isBusy]
  const missing: MissingSession[] = []
  for (const speaker of speakers.values()) {
    if (speaker.place.lab !== lab) continue
    isBusy ||= !speaker.ground.fib.isIdle
    for (const neighbor of speaker.neighbors()) {
      const { remote, shutdown } = neighbor.spec
      if (shutdown || remote.kind === "prefix") continue
      sessions += 1
      if (neighbor.isEstablished) established += 1
      else missing.push(missingOf(neighbor, speaker, missing.length < toldAtMost))
      if (neighbor.isEstablished && !neighbor.isComplete) incomplete += 1
    }
  }
  return { kind: "settled", sessions, established, missing, incomplete, isBusy }
}

const missingOf = (neighbor: Neighbor, speaker: Speaker, isFull: boolean): MissingSession => {
  const { description = "", name } = neighbor.spec
  const state = neighbor.session?.state ?? "Idle"
  const reason = isFull ? neighborView(neighbor, speaker.spec).lastReset : ""
  return { node: speaker.place.node, neighbor: name, description, state, reason }
}
