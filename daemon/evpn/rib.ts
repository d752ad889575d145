/**
 * EVPN routes by where they came from, and which of them is best: what BGP decides before anything is said of MAC addresses.
 *
 *      peer --announce, withdraw--> paths by NLRI --decide--> best path by NLRI --take()--> who advertises and who forwards
 *
 * A route is known by its NLRI key (`wire/bgp/evpn.ts`), which has the route distinguisher: two hosts that announce one MAC
 * address announce two routes, and both are best. Which of the two is right is decided by `stations.ts`. Several paths of
 * one route come from several reflectors, or by way of another AS; they are compared as RFC 4271 9.1.2.2 does, without the cost to
 * the next hop: the underlay's routes are the machine's.
 *
 * Pure: no clock, no sockets. Some ten thousand routes, so plain maps do.
 */
import * as Evpn from "../wire/bgp/evpn.ts"
import { type Community, decodeCommunity, targetVni } from "../wire/bgp/evpn-attributes.ts"
import type { PathAttributes } from "../wire/bgp/path-attributes.ts"

/** Who told us: the name of a session, or ourselves. */
export const self = "self"

/** What one peer says of one route. */
export interface Path {
  readonly peer: string
  readonly isExternal: boolean
  /** Of the peer, 32 bits; what ORIGINATOR_ID replaces. */
  readonly peerId: number
  readonly route: Evpn.Route
  /** The VTEP: canonical text. */
  readonly nextHop: string
  readonly attributes: PathAttributes
  /** Decoded from the attributes. */
  readonly communities: ReadonlyArray<Community>
}

export interface Change {
  readonly key: string
  /** Undefined: there was none, or there is none any more. */
  readonly before: Path | undefined
  readonly after: Path | undefined
}

/** Makes a path of what an UPDATE says. */
export const pathOf = (init: Omit<Path, "communities">): Path => ({
  ...init,
  communities: init.attributes.extendedCommunities.map(decodeCommunity)
})

/** The VNIs for which the path's targets say that it is. */
export const vnisOf = ({ communities }: Path): ReadonlyArray<number> => [...new Set(communities.flatMap((one) => targetVni(one) ?? []))]

/** RFC 7432 7.7: absent is 0, not sticky. */
export const mobilityOf = ({ communities }: Path): { readonly sequence: number; readonly sticky: boolean } =>
  communities.find((one) => one.kind === "mac-mobility") ?? { sequence: 0, sticky: false }

/** AS_SET counts once, segments of confederations do not (RFC 4271 9.1.2.2 a, RFC 5065 5.3). */
const pathLength = ({ attributes }: Path): number =>
  attributes.asPath.reduce((length, { asns, type }) => length + (type === 2 ? asns.length : type === 1 ? 1 : 0), 0)

const neighborAs = ({ attributes }: Path): number => attributes.asPath[0]?.asns[0] ?? 0

const defaultLocalPref = 100

/** Negative: `a` is better (RFC 4271 9.1.2.2, RFC 4456 9). */
export const comparePaths = (a: Path, b: Path): number =>
  Number(b.peer === self) - Number(a.peer === self) ||
  (b.attributes.localPref ?? defaultLocalPref) - (a.attributes.localPref ?? defaultLocalPref) ||
  pathLength(a) - pathLength(b) ||
  a.attributes.origin - b.attributes.origin ||
  (neighborAs(a) === neighborAs(b) ? (a.attributes.med ?? 0) - (b.attributes.med ?? 0) : 0) ||
  Number(b.isExternal) - Number(a.isExternal) ||
  (a.attributes.originatorId ?? a.peerId) - (b.attributes.originatorId ?? b.peerId) ||
  a.attributes.clusterList.length - b.attributes.clusterList.length ||
  (a.peer < b.peer ? -1 : 1)

interface Entry {
  readonly paths: Map<string, Path>
  best: Path | undefined
}

export class Rib {
  readonly #entries = new Map<string, Entry>()
  readonly #byPeer = new Map<string, Set<string>>()
  /** What was best before the changes that have not been taken, by key. */
  readonly #before = new Map<string, Path | undefined>()

  get size(): number {
    return this.#entries.size
  }

  /** How many routes this peer has announced. */
  countOf(peer: string): number {
    return this.#byPeer.get(peer)?.size ?? 0
  }

  best(key: string): Path | undefined {
    return this.#entries.get(key)?.best
  }

  *bests(): Generator<readonly [key: string, path: Path]> {
    for (const [key, { best }] of this.#entries) if (best !== undefined) yield [key, best]
  }

  announce(path: Path): void {
    const key = Evpn.keyOf(path.route)
    let entry = this.#entries.get(key)
    if (entry === undefined) this.#entries.set(key, (entry = { paths: new Map(), best: undefined }))
    let keys = this.#byPeer.get(path.peer)
    if (keys === undefined) this.#byPeer.set(path.peer, (keys = new Set()))
    keys.add(key)
    entry.paths.set(path.peer, path)
    this.#decide(key, entry)
  }

  withdraw(peer: string, key: string): void {
    const entry = this.#entries.get(key)
    if (entry?.paths.delete(peer) !== true) return
    this.#byPeer.get(peer)!.delete(key)
    this.#decide(key, entry)
    if (entry.paths.size === 0) this.#entries.delete(key)
  }

  /** Forgets all that this peer has announced. `keep`: but not these keys. */
  dropPeer(peer: string, keep: ReadonlySet<string> = new Set()): void {
    for (const key of [...(this.#byPeer.get(peer) ?? [])]) if (!keep.has(key)) this.withdraw(peer, key)
    if (this.#byPeer.get(peer)?.size === 0) this.#byPeer.delete(peer)
  }

  /** What has become best, or is not any more, since the last call; each route once. */
  take(): ReadonlyArray<Change> {
    const changes = Array.from(this.#before, ([key, before]) => ({ key, before, after: this.best(key) }))
    this.#before.clear()
    return changes.filter(({ after, before }) => after !== before)
  }

  #decide(key: string, entry: Entry): void {
    const before = entry.best
    entry.best = [...entry.paths.values()].toSorted(comparePaths)[0]
    if (entry.best !== before && !this.#before.has(key)) this.#before.set(key, before)
  }
}
