/**
 * Who reaches whom: for every ordered pair of nodes an ICMP echo and a TCP connection, with real packets from node to node.
 *
 *     source node                                    destination node
 *     raw ICMP socket   ---- echo request ---->      its kernel answers
 *     TCP socket        ---- connect, token --->     listener on a free port: "the token came from 203.0.113.2"
 *
 * The sockets are made inside the nodes and used from the daemon, so nothing runs in the nodes. `seenAs` against `source`
 * shows NAT. Pairs are probed in parallel up to a bound, and every result is given out as soon as it is known.
 *
 * A destination may be on another host; then `options.listen` has its daemon open the listener and tell which tokens came
 * from where.
 *
 * Limits: a filter that lets in only named ports refuses the listener's free port; that is what it is for.
 */
import { randomBytes } from "node:crypto"
import { whenSilentFor } from "../../timing/silence.ts"
import { ping } from "../linux/icmp.ts"
import { connect, type Listener, tokenLength } from "../linux/tcp.ts"
import { listenHere } from "./listeners.ts"

export interface ReachNode {
  readonly name: string
  /** `/run/netns/weft.<lab>.<node>` */
  readonly netnsPath: string
  /** Where others reach it, without prefix lengths; the first of the asked family is tried. */
  readonly addresses: ReadonlyArray<string>
  /** The other host that has it; absent: this one. */
  readonly host?: string
}

/** A listener in each node, in their order, or why there is none. Never rejects. */
export type Listen = (nodes: ReadonlyArray<ReachNode>, family: ReachOptions["family"]) => Promise<ReadonlyArray<Listener | string>>

export interface ReachOptions {
  /** Per attempt. */
  readonly timeoutMs: number
  readonly family: "ipv4" | "ipv6"
  /** Pairs at a time; each holds up to four descriptors. */
  readonly parallel?: number
  /** Where destinations are on other hosts, too. */
  readonly listen?: Listen
  /** Ends the probing: what is under way is finished, nothing new is started. */
  readonly signal?: AbortSignal
}

export interface ReachResult {
  readonly from: string
  readonly to: string
  /** The destination address that was tried; empty when it has none of the family. */
  readonly address: string
  readonly icmp: boolean
  /** Milliseconds; 0 without a reply. */
  readonly icmpRttMs: number
  readonly tcp: boolean
  /** The source address that the destination saw. */
  readonly seenAs: string
  /** The source address that the client used. */
  readonly source: string
  /** Empty, or why not: `timed out`; when the two differ, `icmp: timed out, tcp: connection refused`. */
  readonly error: string
}

interface Destination {
  readonly node: ReachNode
  readonly address: string | undefined
  /** Or why there is none. */
  readonly listener: Listener | string
}

/**
 * Probes all ordered pairs of `from` and `to` (a node is not probed to itself), in no particular order.
 * Never fails for a pair: what went wrong is in its result.
 */
export async function* reach(
  from: ReadonlyArray<ReachNode>,
  to: ReadonlyArray<ReachNode>,
  options: ReachOptions
): AsyncGenerator<ReachResult, void, undefined> {
  const destinations = await openDestinations(to, options)
  const running = new Set<Promise<ReachResult>>()
  const parallel = options.parallel ?? 64
  try {
    for (const [source, destination] of pairs(from, destinations)) {
      if (options.signal?.aborted === true) break
      const probe = probePair(source, destination, options)
      running.add(probe)
      if (running.size >= parallel) yield await takeFirst(running)
    }
    while (running.size > 0) yield await takeFirst(running)
  } finally {
    await Promise.all(running)
    await Promise.all(destinations.map(({ listener }) => (typeof listener === "string" ? undefined : listener.close())))
  }
}

/** Neighbours in this order share neither source nor destination, so that no node is asked by all others at once. */
function* pairs(from: ReadonlyArray<ReachNode>, to: ReadonlyArray<Destination>): Generator<readonly [ReachNode, Destination]> {
  for (let shift = 0; shift < to.length; shift++) {
    for (let i = 0; i < from.length; i++) {
      const source = from[i]!
      const destination = to[(i + shift) % to.length]!
      if (source.name !== destination.node.name) yield [source, destination]
    }
  }
}

const takeFirst = async (running: Set<Promise<ReachResult>>): Promise<ReachResult> => {
  const [first, result] = await Promise.race([...running].map((probe) => probe.then((value) => [probe, value] as const)))
  running.delete(first)
  return result
}

/** The address at which others reach a node; undefined: it has none of the family. */
export const addressOf = (node: ReachNode, family: ReachOptions["family"]): string | undefined =>
  node.addresses.find((text) => text.includes(":") === (family === "ipv6"))

const openDestinations = async (
  nodes: ReadonlyArray<ReachNode>,
  { family, listen = listenHere }: ReachOptions
): Promise<ReadonlyArray<Destination>> => {
  const addressed = nodes.filter((node) => addressOf(node, family) !== undefined)
  const opened = await listen(addressed, family)
  const listeners = new Map(addressed.map((node, place) => [node, opened[place]!]))
  return nodes.map((node) => ({
    node,
    address: addressOf(node, family),
    listener: listeners.get(node) ?? "no address to listen on"
  }))
}

const familyName = { ipv4: "IPv4", ipv6: "IPv6" } as const

const probePair = async (source: ReachNode, destination: Destination, { timeoutMs, family }: ReachOptions): Promise<ReachResult> => {
  const { address, listener, node } = destination
  const pair = { from: source.name, to: node.name }
  if (address === undefined) {
    const nothing = { address: "", icmp: false, icmpRttMs: 0, tcp: false, seenAs: "", source: "" }
    return { ...pair, ...nothing, error: `${node.name} has no ${familyName[family]} address` }
  }
  const [echo, tcp] = await Promise.all([
    ping(source.netnsPath, address, timeoutMs),
    typeof listener === "string" ? { ok: false as const, reason: listener } : probeTcp(source, address, listener, timeoutMs)
  ])
  return {
    ...pair,
    address,
    icmp: echo.ok,
    icmpRttMs: echo.ok ? echo.rttMs : 0,
    tcp: tcp.ok,
    seenAs: tcp.ok ? tcp.seenAs : "",
    source: tcp.ok ? tcp.source : "",
    error: reasonOf(echo.ok ? undefined : echo.reason, tcp.ok ? undefined : tcp.reason)
  }
}

const reasonOf = (icmp: string | undefined, tcp: string | undefined): string => {
  if (icmp === tcp) return icmp ?? ""
  return [icmp === undefined ? [] : [`icmp: ${icmp}`], tcp === undefined ? [] : [`tcp: ${tcp}`]].flat().join(", ")
}

type TcpProbe = { readonly ok: true; readonly source: string; readonly seenAs: string } | { readonly ok: false; readonly reason: string }

const probeTcp = async (source: ReachNode, address: string, listener: Listener, timeoutMs: number): Promise<TcpProbe> => {
  const token = randomBytes(tokenLength)
  const seen = listener.seen(token)
  const connection = await connect(source.netnsPath, address, listener.port, token, timeoutMs)
  if (!connection.ok) {
    listener.forget(token)
    return connection
  }
  let stopWaiting: (() => void) | undefined
  const late = new Promise<undefined>((resolve) => {
    stopWaiting = whenSilentFor(timeoutMs, () => resolve(undefined))
  })
  const seenAs = await Promise.race([seen, late])
  stopWaiting?.()
  listener.forget(token)
  connection.close()
  // A connection whose data never arrives ended at something else than the destination, or lost its path.
  return seenAs === undefined ? { ok: false, reason: "connected, but no data arrived" } : { ok: true, source: connection.source, seenAs }
}
