/** Questions about speakers, each to the file that answers it. */
import type { Scheduler } from "../scheduler.ts"
import type { Speaker } from "../speaker.ts"
import { familyNames } from "../neighbor-spec.ts"
import { neighborView } from "./neighbors.ts"
import { routesPage } from "./routes.ts"
import type { Neighbor } from "../neighbor.ts"
import type { Answer, MissingSession, Query, Settled, SpeakerView } from "./view.ts"

export interface Asked {
  /** By `LAB/NODE`. */
  readonly speakers: ReadonlyMap<string, Speaker>
  readonly scheduler: Scheduler
}

export const answer = (query: Query, { scheduler, speakers }: Asked): Answer => {
  if (query.kind === "load") {
    const { heapUsed, rss } = process.memoryUsage()
    return { kind: "load", speakers: speakers.size, heapOctets: heapUsed, rssOctets: rss, busyMs: scheduler.busyMs }
  }
  if (query.kind === "settled") return settled(query.lab, { scheduler, speakers })
  const speaker = speakers.get(`${query.lab}/${query.node}`)
  if (speaker === undefined) return { kind: "nothing", reason: `Node "${query.node}" has no BGP speaker` }
  if (query.kind === "routes") return routesPage(speaker, query)
  return { kind: "speaker", speaker: speakerView(speaker) }
}

const speakerView = (speaker: Speaker): SpeakerView => {
  const { place, spec } = speaker
  const vrfs = Array.from(speaker.tables, ({ rib, spec: { name, table } }) => {
    const counts = familyNames.map((_, family) => rib.counts(family as 0 | 1))
    const sum = (field: "prefixes" | "paths"): number => counts.reduce((total, count) => total + count[field], 0)
    return { name, table, prefixes: sum("prefixes"), paths: sum("paths") }
  })
  return {
    ...place,
    asn: spec.asn,
    routerId: spec.routerId,
    vrfs,
    neighbors: Array.from(speaker.neighbors(), (one) => neighborView(one, spec)),
    restarting: speaker.isRestarting
  }
}

const settled = (lab: string, { scheduler, speakers }: Asked): Settled => {
  const ours = Array.from(speakers.values()).filter(({ place }) => place.lab === lab)
  const meant = ours.flatMap((speaker) => {
    const neighbors = Array.from(speaker.neighbors()).filter(({ spec }) => !spec.shutdown && spec.remote.kind !== "prefix")
    return neighbors.map((neighbor) => ({ neighbor, speaker }))
  })
  const established = meant.filter(({ neighbor }) => neighbor.isEstablished)
  return {
    kind: "settled",
    sessions: meant.length,
    established: established.length,
    missing: meant.filter(({ neighbor }) => !neighbor.isEstablished).map(({ neighbor, speaker }) => missing(neighbor, speaker)),
    incomplete: established.filter(({ neighbor }) => !neighbor.isComplete).length,
    isBusy: scheduler.isBusy || ours.some((speaker) => !speaker.ground.fib.isIdle)
  }
}

const missing = (neighbor: Neighbor, speaker: Speaker): MissingSession => {
  const { description, lastReset, name, state } = neighborView(neighbor, speaker.spec)
  return { node: speaker.place.node, neighbor: name, description, state, reason: lastReset }
}
