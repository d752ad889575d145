/**
 * UPDATEs as they come in, as an MRT file (RFC 6396 4.4, BGP4MP_ET): for bgpdump and whoever else reads what collectors write.
 *
 * A tap belongs to one reader, who asks for what has come since. It keeps a bounded number of octets: a reader that is too slow loses the
 * newest messages, and is told how many. One that does not ask any more is forgotten.
 */
import type { SessionContext } from "../../wire/bgp/context.ts"
import { Family } from "../../wire/bgp/iana.ts"
import * as Mrt from "../../wire/mrt.ts"
import type { Session } from "../session/api.ts"
import type { Speaker } from "../speaker.ts"
import type { Tap } from "../tap.ts"
import type { Answer, UpdatesQuery } from "./view.ts"

const mostOctets = 32 * 1024 * 1024
/** A reader that has not asked for so long has gone. */
const patienceMs = 30_000
/** RFC 6396 4.4.1: states of the FSM. */
const states = { OpenConfirm: 5, Established: 6, Idle: 1 } as const

class UpdateTap implements Tap {
  readonly #speaker: Speaker
  /** Name, address or node; empty: all. */
  readonly #wanted: string
  readonly #closed: () => void
  #records: Uint8Array[] = []
  #octets = 0
  #lost = 0
  #timer: NodeJS.Timeout

  constructor(speaker: Speaker, wanted: string, closed: () => void) {
    this.#speaker = speaker
    this.#wanted = wanted
    this.#closed = closed
    this.#timer = setTimeout(closed, patienceMs).unref()
  }

  message(neighbor: string, session: Session, context: SessionContext, message: Uint8Array): void {
    if (!this.#isMeant(neighbor)) return
    const addPath = context.addPathReceive(Family.ipv4Unicast) || context.addPathReceive(Family.ipv6Unicast)
    this.#add({ kind: "message", session: this.#endsOf(session), asn4: context.asn4, isLocal: false, addPath, message })
  }

  stateChanged(neighbor: string, session: Session, isUp: boolean): void {
    if (!this.#isMeant(neighbor)) return
    const [from, to] = isUp ? [states.OpenConfirm, states.Established] : [states.Established, states.Idle]
    this.#add({ kind: "stateChange", session: this.#endsOf(session), asn4: true, from, to })
  }

  take(): { readonly octets: Uint8Array; readonly lost: number } {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(this.#closed, patienceMs).unref()
    const taken = { octets: new Uint8Array(Buffer.concat(this.#records)), lost: this.#lost }
    this.#records = []
    this.#octets = this.#lost = 0
    return taken
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  #isMeant(neighbor: string): boolean {
    return this.#wanted === "" || this.#speaker.neighbor(this.#wanted)?.spec.name === neighbor
  }

  #endsOf(session: Session): Mrt.Session {
    const { remoteAs = 0 } = session.status()
    const peerAddress = session.remoteAddress ?? "0.0.0.0"
    const localAddress = session.localAddress ?? (peerAddress.includes(":") ? "::" : "0.0.0.0")
    return { peerAsn: remoteAs, localAsn: this.#speaker.spec.asn, interfaceIndex: 0, peerAddress, localAddress }
  }

  #add(body: Mrt.Body): void {
    const nowMs = performance.timeOrigin + performance.now()
    const microseconds = Math.floor((nowMs % 1000) * 1000)
    const octets = Mrt.encode({ timestampS: Math.floor(nowMs / 1000), microseconds, body })
    if (this.#octets + octets.length > mostOctets) {
      this.#lost++
      return
    }
    this.#octets += octets.length
    this.#records.push(octets)
  }
}

let lastTap = 0

/** Begins, goes on with or ends a tap of the speaker's. */
export const updatesOf = (speaker: Speaker, { neighbor, tap, end = false }: UpdatesQuery): Answer => {
  if (tap === undefined) {
    if (neighbor !== "" && speaker.neighbor(neighbor) === undefined) {
      const names = Array.from(speaker.neighbors(), ({ spec }) => spec.name).join(", ")
      return { kind: "nothing", reason: `Node "${speaker.place.node}" has no BGP neighbor "${neighbor}" (it has: ${names || "none"})` }
    }
    const number = ++lastTap
    speaker.taps.set(number, new UpdateTap(speaker, neighbor, () => speaker.taps.delete(number)))
    return { kind: "updates", tap: number, octets: new Uint8Array(0), lost: 0 }
  }
  const found = speaker.taps.get(tap)
  if (found === undefined) return { kind: "nothing", reason: `The BGP speaker of "${speaker.place.node}" has been started anew` }
  if (end) {
    found.close()
    speaker.taps.delete(tap)
  }
  return { kind: "updates", tap, ...found.take() }
}
