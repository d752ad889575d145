/**
 * What faults do once, on the host that has to do it:
 *
 *     control --perform--> here, or Peers.Act --> actHandler of the other host --> here
 */
import type { Routing } from "../bgp/routing.ts"
import type { Action } from "../faults/kind.ts"
import type { ResolvedNode } from "./exec.ts"
import type { Forwarding } from "./forward.ts"
import { unary } from "./server.ts"
import { toStatus } from "./status.ts"

export interface ActDependencies {
  /** Name of this host. */
  readonly host: string
  readonly resolveNode: (name: string) => ResolvedNode | Promise<ResolvedNode>
  readonly routing: Pick<Routing, "reset">
  /** @throws Error when this daemon must not be killed */
  readonly killAndRestart: (downMs: number) => void
  readonly forwarding: Forwarding | undefined
}

/** @returns what was done, for people. @throws Error */
const performHere = async ({ killAndRestart, routing }: ActDependencies, lab: string, action: Action): Promise<string> => {
  if (action.kind === "daemon-restart") {
    killAndRestart(action.downMs)
    return `weftd of ${action.host} is killed, and started again after ${action.downMs} ms`
  }
  const { how, neighbor = "", node } = action
  const count = await routing.reset({ lab, node }, neighbor, how)
  return `${count} sessions of ${node} reset (${how})`
}

/** The other host that has to do it; undefined: this one. @throws Error when there is no such node */
const hostOf = async ({ host, resolveNode }: ActDependencies, lab: string, action: Action): Promise<string | undefined> => {
  if (action.kind === "daemon-restart") return action.host === "" || action.host === host ? undefined : action.host
  const found = await resolveNode(`${lab}/${action.node}`)
  if ("error" in found) throw new Error(found.error)
  return found.host
}

/** Does it wherever it has to be done. */
export const performer =
  (dependencies: ActDependencies) =>
  async (lab: string, action: Action): Promise<string> => {
    const { forwarding, host } = dependencies
    const other = await hostOf(dependencies, lab, action)
    if (other === undefined) return performHere(dependencies, lab, action)
    if (forwarding === undefined) throw new Error(`host "${other}" cannot be asked by ${host}`)
    const request = { lab, action: JSON.stringify(action) }
    return (await forwarding.peers.unary<{ readonly done: string }>(other, "Peers", "Act", request)).done
  }

/** `Peers.Act` */
export const actHandler = (dependencies: ActDependencies) =>
  unary(toStatus, async ({ action: text, lab }: { readonly lab: string; readonly action: string }) => {
    const action = JSON.parse(text) as Action
    const other = await hostOf(dependencies, lab, action)
    if (other !== undefined) throw new Error(`it is to be done on host "${other}", says host "${dependencies.host}": try again`)
    return { done: await performHere(dependencies, lab, action) }
  })
