/** `Nodes.Bfd`: the BFD sessions of a node, those of static routes and of BGP alike; of another host's node, asked there. */
import { type NodeDependencies, type NodeRequest, unaryOf } from "./bgp.ts"

/** What there is to tell of a session, as `datapath/bfd-api.ts` has it. */
interface Session {
  readonly ids: ReadonlyArray<string>
  readonly timers: object
  readonly peer: string
}

export interface BfdDependencies extends NodeDependencies {
  readonly states: (lab: string, node: string) => Promise<ReadonlyArray<Session>>
}

const byPeer = (a: Session, b: Session): number => a.peer.localeCompare(b.peer, "en", { numeric: true })

export const makeBfd = (dependencies: BfdDependencies) => ({
  bfd: unaryOf(dependencies, "Bfd", async (_request: NodeRequest, { lab, node }) => {
    const states = (await dependencies.states(lab, node)).toSorted(byPeer)
    return { lab, node, sessions: states.map(({ ids, timers, ...rest }) => ({ ...rest, configured: timers, owners: ids.length })) }
  })
})
