/** Waits until the demo's routers have told each other everything. */

import { setTimeout as wait } from "node:timers/promises"
import type { Client } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { BgpNeighbor, BgpSpeaker, InspectResponse, KernelRoute } from "../messages.ts"

const patienceMs = 30_000
const pollMs = 50

export interface Converged {
  /** Each is seen from both ends. */
  readonly sessions: number
  /** Those that BFD watches. */
  readonly watched: number
}

const isUp = ({ bfd, state }: BgpNeighbor): boolean => state === "Established" && bfd !== "down"

const isComplete = ({ families, state }: BgpNeighbor): boolean => state === "Established" && families.every(({ complete }) => complete)

/** Resolves when all sessions of all routers are up. @throws Failure that names those that are not */
export const converge = async (client: Client, { lab, nodes }: InspectResponse): Promise<Converged> => {
  const deadline = performance.now() + patienceMs
  const routers = nodes.filter(({ kind }) => kind === "router").map(({ name }) => `${lab.name}/${name}`)
  for (;;) {
    const speakers = (await Promise.all(routers.map((router) => speakerOf(client, router)))).filter((one) => one !== undefined)
    const neighbors = speakers.flatMap((speaker) => speaker.neighbors)
    if (neighbors.length > 0 && neighbors.every((one) => isUp(one) && isComplete(one))) {
      return { sessions: neighbors.length / 2, watched: neighbors.filter(({ bfd }) => bfd === "up").length / 2 }
    }
    if (performance.now() > deadline) {
      throw new Failure(Exit.failed, `BGP did not come up within ${patienceMs / 1000} s: ${missing(speakers)}`)
    }
    await wait(pollMs)
  }
}

/** Undefined: the router speaks no BGP, or not yet. */
const speakerOf = (client: Client, router: string): Promise<BgpSpeaker | undefined> => client.bgp(router).catch(() => undefined)

const missing = (speakers: ReadonlyArray<BgpSpeaker>): string =>
  speakers
    .flatMap(({ neighbors, node }) => neighbors.filter((one) => !isUp(one) || !isComplete(one)).map((one) => [node, one] as const))
    .map(([node, { bfd, name, state }]) => `${node} and ${name}: ${state}, BFD ${bfd}`)
    .join("; ") || "no router speaks it"

/** The route that a node takes to an address; undefined: none. */
export const routeTo = async (client: Client, node: string, address: string): Promise<KernelRoute | undefined> => {
  const request = { node, table: "", family: "", prefix: address, protocol: "", limit: 0 }
  for await (const { routes } of client.routes(request)) {
    const selected = routes.find((route) => route.selected)
    if (selected !== undefined) return selected
  }
  return undefined
}

/** Names of the interfaces that share the traffic of a route. */
export const waysOf = (route: KernelRoute | undefined): ReadonlyArray<string> =>
  (route?.ways ?? []).filter(({ backup, down }) => !backup && !down).map(({ ifname }) => ifname)
