/** Questions about speakers, each to the file that answers it. */
import type { Scheduler } from "../scheduler.ts"
import type { Speaker } from "../speaker.ts"
import { familyNames } from "../neighbor-spec.ts"
import { neighborView } from "./neighbors.ts"
import { routesPage } from "./routes.ts"
import type { Answer, MissingSession, Query, SpeakerView } from "./view.ts"

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
  if (query.kind === "settled") {
    const ours = Array.from(speakers.values()).filter(({ place }) => place.lab === query.lab)
    return { kind: "settled", missing: ours.flatMap(missingOf), isBusy: scheduler.isBusy || ours.some((one) => !isSettled(one)) }
  }
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

/** Sessions that are meant to be and are not. */
const missingOf = (speaker: Speaker): ReadonlyArray<MissingSession> =>
  Array.from(speaker.neighbors()).flatMap((one) => {
    const { description = "", name, remote, shutdown } = one.spec
    if (one.isEstablished || shutdown || remote.kind === "prefix") return []
    const { lastReset, state } = neighborView(one, speaker.spec)
    return [{ node: speaker.place.node, neighbor: name, description, state, reason: lastReset }]
  })

/** Whether the kernel has what the tables say, and neighbours have told what they have. */
const isSettled = (speaker: Speaker): boolean =>
  speaker.ground.fib.isIdle && !speaker.isRestarting && Array.from(speaker.neighbors()).every((one) => !one.isEstablished || one.isComplete)
