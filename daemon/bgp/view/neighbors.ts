/** Sessions as people look at them. */
import type { BgpSpec } from "../../plan/bgp.ts"
import { familyNames } from "../neighbor-spec.ts"
import type { Neighbor } from "../neighbor.ts"
import type { MessageCounters, SessionStatus } from "../session/api.ts"
import type { FamilyView, NeighborView } from "./view.ts"

const messages = ({ keepalive, notification, open, routeRefresh, update }: MessageCounters): number =>
  keepalive + notification + open + routeRefresh + update

const familiesOf = (one: Neighbor): ReadonlyArray<FamilyView> =>
  familyNames.flatMap((family, index) => {
    if (!one.spec.families.some((spec) => spec.family === family)) return []
    const at = index as 0 | 1
    const { accepted, advertised, received } = one.table.rib.peerCounts(one.peer, at)
    return [{ family, received, accepted, sent: advertised, complete: one.isFamilyComplete(at) }]
  })

/** Without a session: dynamic neighbours that nobody has used. */
const noSession = { messagesReceived: 0, messagesSent: 0, holdTimeS: 0, keepaliveS: 0, capabilities: [], establishedCount: 0, sinceMs: 0 }

const sessionPart = (status: SessionStatus) => ({
  messagesReceived: messages(status.received),
  messagesSent: messages(status.sent),
  holdTimeS: status.holdTimeS ?? 0,
  keepaliveS: status.keepaliveS ?? 0,
  capabilities: status.capabilities.filter(({ advertised, received }) => advertised && received).map(({ name }) => name),
  establishedCount: status.establishedCount,
  sinceMs: Date.now() - status.sinceMs
})

/** `range`: what a dynamic neighbour has come from. */
export const neighborView = (one: Neighbor, speaker: BgpSpec, range = ""): NeighborView => {
  const { spec } = one
  const status = one.session?.status()
  return {
    name: spec.name,
    description: spec.description ?? "",
    vrf: spec.vrf,
    group: range,
    remoteAs: status?.remoteAs ?? (typeof spec.remoteAs === "number" ? spec.remoteAs : spec.remoteAs === "internal" ? speaker.asn : 0),
    localAs: spec.localAs?.asn ?? speaker.asn,
    remoteAddress: status?.remoteAddress ?? (spec.remote.kind === "address" ? spec.remote.address : ""),
    localAddress: status?.localAddress ?? "",
    remoteRouterId: status?.remoteId ?? "",
    state: status === undefined ? "Idle" : status.adminDown ? "Shutdown" : status.state,
    lastReset: status?.lastError ?? one.lastReset,
    ...(status === undefined ? noSession : sessionPart(status)),
    families: familiesOf(one),
    bfd: one.bfdState
  }
}
