/** What a fleet asks of its other hosts: a part's plan, a part's inspection, events. */
import { gunzip, gzip } from "node:zlib"
import { promisify } from "node:util"
import type { Event } from "../observe/events.ts"
import type { Plan } from "../plan/resource.ts"
import { type Change, type Inspection, Refused } from "../reconciler/control.ts"
import type { Peers } from "./fleet.ts"
import type { Mirror } from "./mirror.ts"
import { type PeerClients, PeerError } from "./peer-clients.ts"

/** google.rpc.Code */
const notFound = 5

/** A host that is down is found out by then, and the others are shown. */
const inspectPatienceMs = 8000
const planPatienceMs = 60_000
const pastPatienceMs = 8000
const againMs = 1000
/** Events remembered of each host as given: more than its log keeps (observe/events.ts), so none comes twice. */
const maxGiven = 2000
/** Of a part, unpacked: what a peer sends is bounded, too. */
const maxPartOctets = 256 << 20

export const packPart = (part: Plan): Promise<Buffer> => promisify(gzip)(JSON.stringify(part))

/** @throws Error when it is none */
export const unpackPart = async (packed: Uint8Array): Promise<Plan> => {
  const text = await new Promise<Buffer>((resolve, reject) =>
    gunzip(packed, { maxOutputLength: maxPartOctets }, (error, octets) => (error === null ? resolve(octets) : reject(error)))
  )
  return JSON.parse(text.toString("utf8")) as Plan
}

export const peersOver = (clients: PeerClients): Peers => ({
  planPart: async (host, part) => {
    const request = { lab: part.lab, part: await packPart(part) }
    const options = { deadlineMs: planPatienceMs }
    return (await clients.unary<{ changes: ReadonlyArray<Change> }>(host, "Peers", "PlanPart", request, options)).changes
  },
  inspectPart: async (host, lab) => {
    try {
      return await clients.unary<Inspection>(host, "Peers", "InspectPart", { lab }, { deadlineMs: inspectPatienceMs })
    } catch (error) {
      if (error instanceof PeerError && (error.code as number) === notFound) throw new Refused("not-found", error.message)
      throw error
    }
  }
})

/** An event and the host on which it happened. */
export type HostEvent = Event & { readonly host: string }

export interface EventsRequest {
  readonly lab: string
  readonly follow: boolean
}

/** Events of other hosts for one client. */
export interface OtherEvents {
  /** All that are kept on the hosts that answer, in any order. */
  readonly past: Promise<ReadonlyArray<HostEvent>>
  readonly stop: () => void
}

const keyOf = ({ host, message, subject, time, type }: HostEvent): string => JSON.stringify([host, time, type, subject, message])

/**
 * Events of all hosts but this one. A host's stream begins with its past, again after every break, so what has been given
 * to the client once is left out. `listener` gets what is live, and what was past but did not come in time.
 */
export const eventsOfOthers = (
  { clients, host: own, mirror }: { readonly clients: PeerClients; readonly mirror: Mirror; readonly host: string },
  { follow, lab }: EventsRequest,
  listener: (event: HostEvent) => void
): OtherEvents => {
  const ended = new AbortController()
  const givenOf = new Map<string, Set<string>>()
  const isNew = (event: HostEvent): boolean => {
    const given = givenOf.get(event.host) ?? new Set<string>()
    const key = keyOf(event)
    if (given.has(key)) return false
    givenOf.set(event.host, given.add(key))
    // A set keeps the order in which things were added.
    if (given.size > maxGiven) given.delete(given.values().next().value!)
    return true
  }
  const others = (): ReadonlyArray<string> => mirror.hosts.flatMap(({ alive, name }) => (alive && name !== own ? [name] : []))
  const pastOf = async (host: string): Promise<ReadonlyArray<HostEvent>> => {
    const found: HostEvent[] = []
    const request = { lab, follow: false, last: 0 }
    const options = { deadlineMs: pastPatienceMs, signal: ended.signal }
    try {
      for await (const event of clients.stream<HostEvent>(host, "Peers", "Events", request, options)) found.push(event)
    } catch {
      // Its events are on it: weft hosts says why it cannot be asked.
    }
    return found
  }
  const past = Promise.all(others().map(pastOf)).then((all) => all.flat().filter(isNew))
  const streams = new Set<string>()
  const stream = async (host: string): Promise<void> => {
    streams.add(host)
    while (!ended.signal.aborted && others().includes(host)) {
      try {
        const request = { lab, follow: true, last: 0 }
        for await (const event of clients.stream<HostEvent>(host, "Peers", "Events", request, { signal: ended.signal })) {
          if (isNew(event)) listener(event)
        }
      } catch {
        // It is asked again as long as it is registered.
      }
      await new Promise((resolve) => setTimeout(resolve, againMs).unref())
    }
    streams.delete(host)
  }
  const streamAll = (): void => {
    for (const host of others()) if (!streams.has(host)) void stream(host)
  }
  let unlisten = (): void => {}
  if (follow) {
    void past.then(streamAll)
    unlisten = mirror.listen(({ kind }) => {
      if (kind === "hosts") void past.then(streamAll)
    })
  }
  return {
    past,
    stop: () => {
      unlisten()
      ended.abort()
    }
  }
}
