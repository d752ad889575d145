/** `Labs.Events` and `Peers.Events`: what happened on this host, or on all, past and live. */
import type { ServerWritableStream } from "@grpc/grpc-js"
import type { HostEvent, OtherEvents } from "../fleet/peer-requests.ts"
import type { EventLog } from "../observe/events.ts"

export interface EventsRequest {
  readonly lab: string
  readonly follow: boolean
  readonly last: number
}

export type EventsCall = ServerWritableStream<EventsRequest, object>

/** Those of other hosts, for one client; see fleet/peer-requests.ts. */
export type AskOthers = (request: EventsRequest, listener: (event: HostEvent) => void) => OtherEvents

/** A client that does not read loses events rather than filling our memory. */
const maxWaiting = 1000

const nobody: AskOthers = () => ({ past: Promise.resolve([]), stop: () => {} })

/** @param host name of this host */
export const eventsHandler =
  (events: EventLog, host: string, others = nobody) =>
  (call: EventsCall): void => {
    serve(call, { events, host, others }).catch(() => call.end())
  }

const serve = async (
  call: EventsCall,
  { events, host, others }: { readonly events: EventLog; readonly host: string; readonly others: AskOthers }
): Promise<void> => {
  const { request } = call
  const { follow, lab, last } = request
  const isOpen = (): boolean => !call.cancelled && !call.destroyed && !call.writableEnded
  const write = (event: HostEvent): void => {
    if (isOpen() && call.writableLength < maxWaiting) call.write(event)
  }
  // What happens while others are asked for the past comes after it.
  let waiting: HostEvent[] | undefined = []
  const live = (event: HostEvent): void => void (waiting === undefined ? write(event) : waiting.push(event))
  const asked = others(request, live)
  const unlisten = events.listen((event) => {
    if (follow && (lab === "" || event.lab === lab)) live({ ...event, host })
  })
  const stop = (): void => {
    asked.stop()
    unlisten()
  }
  call.once("cancelled", () => {
    stop()
    call.end()
  })
  const own = events.last(lab, last).map((event) => ({ ...event, host }))
  const past = [...own, ...(await asked.past)].toSorted((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))
  for (const event of last === 0 ? past : past.slice(-last)) if (isOpen()) call.write(event)
  for (const event of waiting) write(event)
  waiting = undefined
  if (follow) return
  stop()
  if (isOpen()) call.end()
}
