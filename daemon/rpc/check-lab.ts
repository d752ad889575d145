/** The lab as checks see it: nodes of this host are asked here, others by their daemon; faults go to whoever has the lab. */
import type { Answer, Asked, Lab, LabNode, Questions } from "../checks/lab.ts"
import type { FaultControl } from "../reconciler/fault-control.ts"
import { type AskDependencies, methodOf, nodeHere } from "./ask.ts"
import type { Forwarding } from "./forward.ts"

export interface CheckLabDependencies extends AskDependencies {
  readonly forwarding: Forwarding | undefined
  /** Undefined: this daemon cannot inject any. */
  readonly faults: FaultControl | undefined
}

/** Packets that are under way at once, whatever asks for them: each holds a descriptor or two. */
const mostAtOnce = 128
const bounded: ReadonlySet<keyof Questions> = new Set(["ping", "tcp", "udp", "trace", "pmtu"])

/** Lets so many at a time. */
const limiter = (most: number) => {
  let running = 0
  const waiting: Array<() => void> = []
  return async <A>(use: () => Promise<A>): Promise<A> => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve))
    else running++
    try {
      return await use()
    } finally {
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }
}

export interface CheckedLab {
  readonly lab: string
  readonly nodes: ReadonlyMap<string, LabNode>
  /** Who asks, for the log of other hosts: `callerOf(call, host)`. */
  readonly caller: string
}

/** Questions to a lab's nodes, and faults in it. Several may be in use at once; what each injects is its own. */
export const checkLab = (dependencies: CheckLabDependencies, { caller, lab, nodes }: CheckedLab): Lab => {
  const limit = limiter(mostAtOnce)
  const { answers, faults, forwarding, resolveNode } = dependencies
  const ask = async <K extends keyof Questions>(node: string, what: K, question: Asked<K>): Promise<Answer<K>> => {
    const found = await resolveNode(`${lab}/${node}`)
    if ("error" in found) throw new Error(found.error)
    const { host } = found
    if (host === undefined || forwarding === undefined) return answers.answer(await nodeHere(dependencies, lab, node), what, question)
    const { deadlineMs, method } = methodOf(what, question)
    const request = { lab, node, what, question: JSON.stringify(question) }
    const options = { deadlineMs, onBehalfOf: caller }
    const { answer } = await forwarding.peers.unary<{ readonly answer: string }>(host, "Peers", method, request, options)
    return JSON.parse(answer) as Answer<K>
  }
  return {
    nodes,
    ask: (node, what, question) => (bounded.has(what) ? limit(() => ask(node, what, question)) : ask(node, what, question)),
    inject: async (orders, by) => {
      if (faults === undefined) throw new Error("this weftd cannot inject faults")
      const { end, id } = faults.lease()
      try {
        const { failures, faults: injected } = await faults.inject(lab, orders.map((order) => ({ ...order, lease: id, by })))
        const [first] = failures
        if (first !== undefined) throw new Error(`${failures.length} changes failed: ${first.id}: ${first.error}`)
        return { titles: injected.map(({ title }) => title), heal: end }
      } catch (error) {
        await end()
        throw error
      }
    }
  }
}
