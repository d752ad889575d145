/**
 * Flows between nodes of a lab, by what they are to do: a set of them begins together, is read together, and ends together.
 *
 *     const probing = await Probing.start(flows, specs, respond)
 *     await probing.look(whereabouts)   from time to time: flows end whose node the lab has no more
 *     probing.read()                    any time: a report for each spec, in their order
 *     probing.end()
 *
 * Flows run in the source's host; ICMP is answered by the destination's kernel, HTTP and DNS by the service that runs there, UDP, TCP and
 * throughput by a responder that `respond` opens there, one for each address and port, whichever host has it. A flow that cannot begin does
 * not stop the others: its report says why. One whose node goes away goes on when the lab has the node again.
 */
import type { FlowReport, Outage } from "./flow-report.ts"
import type { Flows, ResponderKind } from "./flows.ts"
import { type Change, type Protocol, type ProtocolOptions, terms } from "./protocols.ts"
import type { ReachNode } from "./reach.ts"

export interface ProbeSpec extends ProtocolOptions {
  /** On this host. */
  readonly from: ReachNode
  /** Who answers where the daemon does; the others need to know only the address. */
  readonly to?: ReachNode
  readonly address: string
  readonly protocol: Protocol
  readonly spacingMs: number
  readonly timeoutMs: number
  readonly payload: number
  /** Where `to` is to listen, when that is not where probes go (NAT). */
  readonly answerAt?: string
}

export interface Answerer {
  readonly port: number
  /** The node itself serves at this port: nothing was opened. */
  readonly isOwn?: boolean
  readonly close: () => void
}

export interface Answering {
  readonly address: string
  readonly kind: ResponderKind
  /** 0: a free one. */
  readonly port: number
}

/** Has probes to a node answered. Rejects with why that is not possible. */
export type Respond = (node: ReachNode, answering: Answering) => Promise<Answerer>

/** Whether this host still has the node; else why not. */
export type Whereabouts = (node: string) => Promise<{ readonly isHere: true } | { readonly isHere: false; readonly why: string }>

export interface ProbeReport extends Omit<FlowReport, "outages" | "isGone"> {
  /** Those that ended since the report before this one, and the one that lasts. */
  readonly outages: ReadonlyArray<Outage>
}

export type ProbeOutcome = { readonly report: ProbeReport } | { readonly error: string }

interface Running {
  readonly spec: ProbeSpec
  readonly flow: number
  /** Outages that are over and were told of. */
  told: number
  isGone: boolean
}

interface Refusal {
  readonly error: string
}

type Slot = Running | Refusal

export class Probing {
  readonly #flows: Flows
  readonly #slots: Array<Slot>
  readonly #answerers: ReadonlyArray<Answerer>

  /** Resolves when all flows run that can. Rejects never. */
  static async start(flows: Flows, specs: ReadonlyArray<ProbeSpec>, respond: Respond): Promise<Probing> {
    const opening = new Map<string, Promise<Answerer | Refusal>>()
    const answererFor = (spec: ProbeSpec): Promise<Answerer | Refusal> | undefined => {
      const { address, answerAt = address, port = 0, protocol, to } = spec
      const kind = terms[protocol].answered
      if (kind === undefined) return undefined
      // Whoever has it serves there, or does not.
      if (to === undefined && (terms[protocol].needsAnswer === false || (protocol === "tcp-connect" && port > 0))) return undefined
      if (to === undefined) return Promise.resolve({ error: nobody(spec) })
      const key = `${kind} ${to.name} ${answerAt} ${port}`
      const opened = opening.get(key) ?? respond(to, { address: answerAt, kind, port }).catch(({ message }: Error) => ({ error: message }))
      opening.set(key, opened)
      return opened
    }
    const answering = await Promise.all(specs.map(answererFor))
    const slots = specs.map((spec, place) => begin(flows, spec, answering[place]))
    const opened = await Promise.all(opening.values())
    return new Probing(flows, slots, opened.filter((one) => "port" in one))
  }

  private constructor(flows: Flows, slots: Array<Slot>, answerers: ReadonlyArray<Answerer>) {
    this.#flows = flows
    this.#slots = slots
    this.#answerers = answerers
  }

  /** Whether any flow runs. */
  get runs(): boolean {
    return this.#slots.some((slot) => "flow" in slot)
  }

  /** Ends flows whose source has gone for good. */
  async look(whereabouts: Whereabouts): Promise<void> {
    const gone = this.#slots.flatMap((slot, place) => ("flow" in slot && slot.isGone ? [{ slot, place }] : []))
    const asked = new Map<string, ReturnType<Whereabouts>>()
    for (const { place, slot } of gone) {
      const { name } = slot.spec.from
      const answer = asked.get(name) ?? whereabouts(name)
      asked.set(name, answer)
      const found = await answer
      if (found.isHere) continue
      this.#flows.end(slot.flow)
      this.#slots[place] = { error: found.why }
    }
  }

  /** What each flow has seen so far, in the order of the specs. Outages are told of once they are over, once. */
  read(): ReadonlyArray<ProbeOutcome> {
    return this.#slots.map((slot) => {
      if ("error" in slot) return slot
      const { changes, detail, isGone, ...report } = this.#flows.read(slot.flow, slot.told)
      slot.told += report.outages.filter(({ lasts }) => !lasts).length
      slot.isGone = isGone
      const named = (text: string): string => text.replace(/^the node is (gone|back)$/, `node ${slot.spec.from.name} is $1`)
      const renamed = changes.map((change): Change => ({ ...change, before: named(change.before), after: named(change.after) }))
      return { report: { ...report, changes: renamed, detail: named(detail) } }
    })
  }

  /** Ends all flows, and what answers them. Fine when it has ended. */
  end(): void {
    for (const slot of this.#slots) if ("flow" in slot) this.#flows.end(slot.flow)
    for (const answerer of this.#answerers) answerer.close()
  }
}

const nobody = ({ address, protocol }: ProbeSpec): string =>
  `nobody answers ${protocol === "udp" ? "UDP" : protocol} probes at ${address}: no node of the lab has it; try ICMP, or name who answers`

const begin = (flows: Flows, spec: ProbeSpec, answerer: Answerer | Refusal | undefined): Slot => {
  if (answerer !== undefined && "error" in answerer) return answerer
  const { answerAt: _, from: { name, netnsPath }, to: __, ...options } = spec
  const { address, protocol } = spec
  if (answerer?.isOwn === true && protocol !== "tcp-connect" && terms[protocol].needsAnswer !== false) {
    const busy = `port ${answerer.port} of node ${spec.to?.name ?? address} is taken by a program there`
    return { error: `${busy}: ${protocol} probes need a port at which weft can answer; tcp-connect does not` }
  }
  try {
    const port = answerer?.port ?? ((spec.port ?? 0) || (terms[protocol].port ?? 0))
    return { spec, flow: flows.add({ ...options, netnsPath, port }), told: 0, isGone: false }
  } catch (error) {
    return { error: `cannot send probes from ${name} to ${address}: ${(error as Error).message}` }
  }
}
