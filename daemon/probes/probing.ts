/**
 * Flows between nodes of a lab, by what they are to do: a set of them begins together, is read together, and ends together.
 *
 *     const probing = await Probing.start(flows, specs, respond)
 *     probing.read()      any time: a report for each spec, in their order
 *     probing.end()
 *
 * Flows run in the source's host; ICMP is answered by the destination's kernel, UDP by a responder that `respond` opens there, one for
 * each address, whichever host has it. A flow that cannot begin does not stop the others: its report says why.
 */
import { existsSync } from "node:fs"
import type { FlowReport, Outage } from "./flow-report.ts"
import type { Flows } from "./flows.ts"
import type { Protocol, ProtocolOptions } from "./protocols.ts"
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
}

export interface Answerer {
  readonly port: number
  readonly close: () => void
}

/** Has UDP probes to an address of a node answered. Rejects with why that is not possible. */
export type Respond = (node: ReachNode, address: string) => Promise<Answerer>

export interface ProbeReport extends Omit<FlowReport, "outages"> {
  /** Those that ended since the report before this one, and the one that lasts. */
  readonly outages: ReadonlyArray<Outage>
}

export type ProbeOutcome = { readonly report: ProbeReport } | { readonly error: string }

interface Running {
  readonly spec: ProbeSpec
  readonly flow: number
  /** Outages that are over and were told of. */
  told: number
}

type Slot = Running | { readonly error: string }

export class Probing {
  readonly #flows: Flows
  readonly #slots: Array<Slot>
  readonly #answerers: ReadonlyArray<Answerer>

  /** Resolves when all flows run that can. Rejects never. */
  static async start(flows: Flows, specs: ReadonlyArray<ProbeSpec>, respond: Respond): Promise<Probing> {
    const opening = new Map<string, Promise<Answerer | { readonly error: string }>>()
    const answererFor = ({ address, protocol, to }: ProbeSpec): Promise<Answerer | { readonly error: string }> | undefined => {
      if (protocol === "icmp") return undefined
      if (to === undefined) return Promise.resolve({ error: nobody(address) })
      const opened = opening.get(address) ?? respond(to, address).catch(({ message }: Error) => ({ error: message }))
      opening.set(address, opened)
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

  /** What each flow has seen so far, in the order of the specs. Outages are told of once they are over, once. */
  read(): ReadonlyArray<ProbeOutcome> {
    return this.#slots.map((slot, place) => {
      if ("error" in slot) return slot
      if (!existsSync(slot.spec.from.netnsPath)) {
        this.#flows.end(slot.flow)
        const gone = { error: `node ${slot.spec.from.name} is gone` }
        this.#slots[place] = gone
        return gone
      }
      const report = this.#flows.read(slot.flow, slot.told)
      slot.told += report.outages.filter(({ lasts }) => !lasts).length
      return { report }
    })
  }

  /** Ends all flows, and what answers them. Fine when it has ended. */
  end(): void {
    for (const slot of this.#slots) if ("flow" in slot) this.#flows.end(slot.flow)
    for (const answerer of this.#answerers) answerer.close()
  }
}

const nobody = (address: string): string => `nobody answers UDP probes at ${address}: no node of the lab has it; try ICMP`

const begin = (flows: Flows, spec: ProbeSpec, answerer: Answerer | { readonly error: string } | undefined): Slot => {
  if (answerer !== undefined && "error" in answerer) return answerer
  const { address, from, payload, spacingMs, timeoutMs } = spec
  try {
    const flow = flows.add({ netnsPath: from.netnsPath, address, port: answerer?.port ?? 0, spacingMs, timeoutMs, payload })
    return { spec, flow, told: 0 }
  } catch (error) {
    return { error: `cannot send probes from ${from.name} to ${address}: ${(error as Error).message}` }
  }
}
