/** Listeners in nodes of this host, for connections that carry a token. */
import { type Listener, listen } from "../linux/tcp.ts"

type Family = "ipv4" | "ipv6"

export interface ListeningNode {
  readonly name: string
  readonly netnsPath: string
}

/** One in each node, in their order, or why there is none. `told`: of every token that arrives, and from which address. */
export const listenHere = (
  nodes: ReadonlyArray<ListeningNode>,
  family: Family,
  told?: (token: Uint8Array, address: string) => void
): Promise<ReadonlyArray<Listener | string>> =>
  Promise.all(
    nodes.map(({ name, netnsPath }) =>
      listen(netnsPath, family, told).catch((error: Error) => `cannot listen in ${name}: ${error.message}`)
    )
  )
