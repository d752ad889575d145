/** `Labs.Events` and `Peers.Events`: what happened on this host, or on all, past and live. */
import type { ServerWritableStream } from "@grpc/grpc-js"
import type { Event, EventLog } from "../observe/events.ts"

export interface EventsRequest {
  readonly lab: string
  readonly follow: boolean
  readonly last: number
}

export type EventsCall = ServerWritableStream<EventsRequest, object>

/** An event and the host on which it happened. */
export type HostEvent = Event & { readonly host: string }

/** Events of other hosts; nothing where there are none. */
export interface OtherEvents {
  /** The past ones of all hosts that answer, in any order. */
  past(request: EventsRequest): Promise<ReadonlyArray<HostEvent>>
  /** Live ones; returns what ends it. */
  listen(request: EventsRequest, listener: (event: HostEvent) => void): () => void
}

/** A client that does not read loses events rather than filling our memory. */
const maxWaiting = 1000

const nobody: OtherEvents = { past: async () => [], listen: () => () => {} }

/** @param host name of this host */
export const eventsHandler =
  (events: EventLog, host: string, others = nobody) =>
  (call: EventsCall): void => {
    serve(call, { events, host, others }).catch(() => call.end())
  }

const serve = async (
  call: EventsCall,
  { events, host, others }: { readonly events: EventLog; readonly host: string; readonly others: OtherEvents }
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
  const stops = follow
    ? [
        events.listen((event) => {
          if (lab === "" || event.lab === lab) live({ ...event, host })
        }),
        others.listen(request, live)
      ]
    : []
  const stop = (): void => stops.forEach((each) => each())
  call.once("cancelled", () => {
    stop()
    call.end()
  })
  const own = events.last(lab, last).map((event) => ({ ...event, host }))
  const past = [...own, ...(await others.past(request))].toSorted((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))
  for (const event of last === 0 ? past : past.slice(-last)) if (isOpen()) call.write(event)
  for (const event of waiting) write(event)
  waiting = undefined
  if (!follow && isOpen()) call.end()
}
