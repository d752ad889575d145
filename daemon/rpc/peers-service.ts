/** `Peers`: what daemons of other hosts ask of this one. All of it is about this host's own part of a lab. */
import type { EventLog } from "../observe/events.ts"
import type { Fleet } from "../fleet/fleet.ts"
import { unpackPart } from "../fleet/peer-requests.ts"
import { eventsHandler } from "./events.ts"
import { unary } from "./server.ts"
import { toStatus } from "./status.ts"

export interface PeersDependencies {
  readonly fleet: Fleet
  readonly events: EventLog
  /** Name of this host. */
  readonly host: string
}

export const makePeers = ({ events, fleet, host }: PeersDependencies) => ({
  planPart: unary(toStatus, async ({ part }: { lab: string; part: Uint8Array }) => ({
    changes: await fleet.planPart(await unpackPart(part))
  })),
  inspectPart: unary(toStatus, ({ lab }: { lab: string }) => fleet.inspectPart(lab)),
  events: eventsHandler(events, host)
})
