/**
 * The sessions by which a host exchanges EVPN routes: BGP with AFI 25, SAFI 70, of `bgp/session/`, in weftd's own namespace and
 * bound to the underlay address.
 *
 *      Session --update()--> decode --> Rib ... changes --advertise()--> Adj-RIB-Out of each peer --flush--> Session.send
 *
 * Who is told what (RFC 4271 9.2, RFC 8365 5.1.2: the next hop is the VTEP and nobody changes it):
 *
 *      ours                      everybody
 *      from another AS           everybody but who told us
 *      from our own AS           other ASes; a full mesh or reflectors do the rest
 *
 * It reflects nothing (RFC 4456): for that there are reflectors. When a session ends its routes go at once: the fabric floods
 * and learns as it does without EVPN, so there is nothing to keep stale (no RFC 4724).
 */
import { NeighborSession } from "../bgp/session/session.ts"
import { Transport } from "../bgp/session/transport.ts"
import type { LocalSpeaker, Session, SessionCallbacks, SessionStatus } from "../bgp/session/api.ts"
import type { BgpNeighborSpec } from "../plan/bgp.ts"
import { encodeAttributes } from "../wire/bgp/attributes.ts"
import type { SessionContext } from "../wire/bgp/context.ts"
import * as Evpn from "../wire/bgp/evpn.ts"
import { Attribute, ErrorCode, Family, UpdateError } from "../wire/bgp/iana.ts"
import { maxMessageLength } from "../wire/bgp/header.ts"
import type { Open } from "../wire/bgp/open.ts"
import { type PathAttributes, Severity } from "../wire/bgp/path-attributes.ts"
import { decodeAttributes, NlriSource, scanUpdate, UpdateScan } from "../wire/bgp/update.ts"
import { encodeEndOfRib, UpdateWriter } from "../wire/bgp/update-writer.ts"
import * as Ip from "../wire/ip.ts"
import { isRefused } from "./core.ts"
import type { Identity } from "./network.ts"
import { type Change, type Path, pathOf, type Rib, self } from "./rib.ts"
import { compareAddresses } from "./stations.ts"

/** A session to have. */
export interface Peer {
  /** Canonical text. */
  readonly address: string
  readonly asn: number
  /** What it is to people: a host's name, `reflector`, `peer`. */
  readonly role: string
}

export interface PeerView extends Peer {
  readonly status: SessionStatus
  /** Routes that it has announced. */
  readonly received: number
  readonly advertised: number
}

export interface SpeakerParts {
  readonly identity: Identity
  readonly port: number
  /** Of the underlay; -1: weftd's own. */
  readonly netns: number
  readonly host: string
  readonly rib: Rib
  /** Routes have come or gone. */
  readonly changed: () => void
  readonly tell: (kind: "up" | "down" | "trouble", peer: Peer | undefined, text: string) => void
}

/** What stands for a peer while it has a session. */
interface Neighbor {
  readonly peer: Peer
  readonly session: Session
  context: SessionContext | undefined
  peerId: number
  /** What was sent, by key of the route. */
  readonly out: Map<string, Path>
  /** What may have to be sent. */
  readonly pending: Set<string>
}

const timers = { holdTimeS: 30, keepaliveS: 10, connectRetryS: 5, mraiMs: 0 } as const

const specOf = ({ identity }: SpeakerParts, { address, asn, role }: Peer): BgpNeighborSpec => ({
  name: address,
  remote: { kind: "address", address },
  description: role,
  remoteAs: asn,
  vrf: "default",
  families: [],
  timers,
  passive: false,
  shutdown: false,
  updateSource: identity.vtep,
  // The underlay may have routers between hosts.
  multihop: 255,
  routeReflectorClient: false,
  gracefulRestart: { enabled: false, restartTimeS: 0, longLivedStaleS: 0, notification: false },
  allowAsIn: 0,
  removePrivateAs: false,
  asOverride: false,
  sendCommunities: true
})

export class Speaker {
  readonly #parts: SpeakerParts
  readonly #transport: Transport
  readonly #neighbors = new Map<string, Neighbor>()
  readonly #scan = new UpdateScan()
  /** NLRI of types that nobody here knows, discarded. */
  unknown = 0
  #flushing: NodeJS.Immediate | undefined

  constructor(parts: SpeakerParts) {
    this.#parts = parts
    const { identity, netns, port, tell } = parts
    this.#transport = new Transport(netns, { port, address: identity.vtep, warn: (text) => tell("trouble", undefined, text) })
  }

  /** Has sessions with these and no others. */
  setPeers(peers: ReadonlyArray<Peer>): void {
    const wanted = new Map(peers.map((peer) => [peer.address, peer]))
    for (const [address, { peer, session }] of [...this.#neighbors]) {
      if (wanted.get(address)?.asn === peer.asn) continue
      this.#neighbors.delete(address)
      session.close()
      this.#drop(address)
    }
    for (const [address, peer] of wanted) if (!this.#neighbors.has(address)) this.#add(peer)
  }

  /** These routes are others, or none, or the best, now. */
  advertise(changes: ReadonlyArray<Change>): void {
    if (changes.length === 0) return
    for (const { pending } of this.#neighbors.values()) for (const { key } of changes) pending.add(key)
    this.#flushing ??= setImmediate(() => {
      this.#flushing = undefined
      for (const neighbor of this.#neighbors.values()) this.#flush(neighbor)
    })
  }

  /** By name: hosts become known in any order. */
  views(): ReadonlyArray<PeerView> {
    const views = Array.from(this.#neighbors.values(), ({ out, peer, session }) => ({
      ...peer,
      status: session.status(),
      received: this.#parts.rib.countOf(peer.address),
      advertised: out.size
    }))
    return views.toSorted((a, b) => (a.role < b.role ? -1 : Number(a.role > b.role)) || compareAddresses(a.address, b.address))
  }

  close(): void {
    if (this.#flushing !== undefined) clearImmediate(this.#flushing)
    for (const { session } of this.#neighbors.values()) session.close()
    this.#neighbors.clear()
    this.#transport.close()
  }

  #add(peer: Peer): void {
    const { host, identity } = this.#parts
    const speaker: LocalSpeaker = { asn: identity.asn, routerId: identity.routerId, hostname: host, restarting: false }
    const neighbor = specOf(this.#parts, peer)
    const callbacks = this.#callbacks(peer.address)
    const session = new NeighborSession({
      transport: this.#transport, port: this.#parts.port, speaker, neighbor, callbacks, moreFamilies: [Family.evpn]
    })
    this.#neighbors.set(peer.address, { peer, session, context: undefined, peerId: 0, out: new Map(), pending: new Set() })
    session.start()
  }

  #callbacks(address: string): SessionCallbacks {
    return {
      established: (_, context, open) => this.#established(address, context, open),
      update: (_, bytes, at, end) => this.#received(address, bytes, at, end),
      routeRefresh: (_, family, subtype) => {
        if (family === Family.evpn && subtype === 0) this.#resend(address)
      },
      down: (_, reason) => this.#down(address, reason.text),
      stale: () => {},
      stateChanged: () => {},
      room: () => {
        const neighbor = this.#neighbors.get(address)
        if (neighbor !== undefined) this.#flush(neighbor)
      }
    }
  }

  #established(address: string, context: SessionContext, open: Open): void {
    const neighbor = this.#neighbors.get(address)
    if (neighbor === undefined) return
    neighbor.context = context
    neighbor.peerId = open.bgpIdentifier
    neighbor.out.clear()
    neighbor.pending.clear()
    this.#parts.tell("up", neighbor.peer, "")
    this.#resend(address)
    if (context.families.has(Family.evpn)) neighbor.session.send(encodeEndOfRib(Family.evpn))
  }

  #resend(address: string): void {
    const neighbor = this.#neighbors.get(address)
    if (neighbor === undefined) return
    neighbor.out.clear()
    for (const [key] of this.#parts.rib.bests()) neighbor.pending.add(key)
    this.#flush(neighbor)
  }

  #down(address: string, text: string): void {
    const neighbor = this.#neighbors.get(address)
    if (neighbor === undefined) return
    const wasUp = neighbor.context !== undefined
    neighbor.context = undefined
    neighbor.out.clear()
    neighbor.pending.clear()
    if (wasUp) this.#parts.tell("down", neighbor.peer, text)
    this.#drop(address)
  }

  #drop(address: string): void {
    this.#parts.rib.dropPeer(address)
    this.#parts.changed()
  }

  #received(address: string, bytes: Uint8Array, at: number, end: number): void {
    const neighbor = this.#neighbors.get(address)
    const { context } = neighbor ?? {}
    if (neighbor === undefined || context === undefined) return
    const { session } = neighbor
    const scan = this.#scan
    const error = scanUpdate(bytes, at, end, context, scan)
    if (error !== undefined) return session.fail(error.code, error.subcode, error.data)
    if (scan.endOfRib !== 0) return session.endOfRib(scan.endOfRib)
    const reach = scan.mpReachFamily === Family.evpn ? Evpn.decodeAll(bytes, scan.mpReachAt, scan.mpReachEnd) : undefined
    const unreach = scan.mpUnreachFamily === Family.evpn ? Evpn.decodeAll(bytes, scan.mpUnreachAt, scan.mpUnreachEnd) : undefined
    // RFC 7606 5.3: NLRI that cannot be read cannot be withdrawn either.
    if (reach?.error !== undefined || unreach?.error !== undefined) {
      return session.fail(ErrorCode.updateMessage, UpdateError.optionalAttributeError)
    }
    this.unknown += (reach?.unknown ?? 0) + (unreach?.unknown ?? 0)
    for (const route of unreach?.routes ?? []) this.#parts.rib.withdraw(address, Evpn.keyOf(route))
    if (scan.hasAttributes) {
      const { attributes, faults, severity } = decodeAttributes(bytes, scan, NlriSource.mpReach, context)
      const reset = severity === Severity.reset ? faults[0]!.error : undefined
      if (reset !== undefined) return session.fail(reset.code, reset.subcode, reset.data)
      const isWithdrawn = severity === Severity.withdraw || attributes.nextHop === undefined
      for (const route of reach?.routes ?? []) this.#learn(neighbor, route, attributes, isWithdrawn)
    }
    this.#parts.changed()
  }

  #learn({ context, peer, peerId }: Neighbor, route: Evpn.Route, attributes: PathAttributes, isWithdrawn: boolean): void {
    const { identity, rib } = this.#parts
    const isExternal = context!.isExternal
    const nextHop = attributes.nextHop ?? ""
    const path = pathOf({ peer: peer.address, isExternal, peerId, route, nextHop, attributes })
    if (isWithdrawn || nextHop === identity.vtep || isRefused(identity, path)) rib.withdraw(peer.address, Evpn.keyOf(route))
    else rib.announce(path)
  }

  /** Whether the peer is to have this path. */
  #isFor({ peer }: Neighbor, path: Path): boolean {
    if (path.peer === peer.address) return false
    return path.peer === self || path.isExternal || peer.asn !== this.#parts.identity.asn
  }

  /** Sends what is pending, until the session has no room. */
  #flush(neighbor: Neighbor): void {
    const { context, out, pending, session } = neighbor
    if (context === undefined || !context.families.has(Family.evpn)) return pending.clear()
    const withdrawn: Evpn.Route[] = []
    const groups = new Map<string, { readonly attributes: PathAttributes; readonly nextHop: string; readonly routes: Evpn.Route[] }>()
    for (const key of pending) {
      if (!session.hasRoom()) break
      pending.delete(key)
      const best = this.#parts.rib.best(key)
      const before = out.get(key)
      if (best !== undefined && this.#isFor(neighbor, best)) {
        if (best === before) continue
        out.set(key, best)
        const group = `${best.nextHop} ${stable(best.attributes)}`
        const found = groups.get(group)
        if (found !== undefined) found.routes.push(best.route)
        else groups.set(group, { attributes: best.attributes, nextHop: best.nextHop, routes: [best.route] })
      } else if (before !== undefined) {
        out.delete(key)
        withdrawn.push(before.route)
      }
    }
    const announced = Array.from(groups.values(), ({ attributes, nextHop, routes }) => {
      const sent = outgoing(attributes, context.isExternal, this.#parts.identity.asn)
      return { attributes: sent, nextHop, routes }
    })
    for (const { attributes, routes } of announced) {
      if (fits(context, attributes)) continue
      // RFC 8654 4: whoever cannot be sent a route is not left with an older one.
      for (const route of routes) out.delete(Evpn.keyOf(route))
      withdrawn.push(...routes)
    }
    if (withdrawn.length > 0) for (const message of messages(context, withdrawn)) session.send(message)
    for (const group of announced) {
      if (!fits(context, group.attributes)) continue
      for (const message of messages(context, group.routes, group)) session.send(message)
    }
  }
}

/** Equal for equal attributes. */
const stable = (attributes: PathAttributes): string =>
  JSON.stringify(attributes, (_, value: unknown) => (typeof value === "bigint" ? `${value}n` : value))

const sequence = 2

/** RFC 4271 5.1.2, 5.1.5; RFC 4456 8: what is the AS's own stays in it. */
const outgoing = (attributes: PathAttributes, isExternal: boolean, asn: number): PathAttributes => {
  if (!isExternal) return { ...attributes, localPref: attributes.localPref ?? 100 }
  const { localPref: _, med: __, originatorId: ___, ...rest } = attributes
  const [first, ...others] = attributes.asPath
  const isJoined = first !== undefined && first.type === sequence && first.asns.length < 255
  const asPath = isJoined
    ? [{ type: sequence, asns: [asn, ...first.asns] }, ...others]
    : [{ type: sequence, asns: [asn] }, ...attributes.asPath]
  return { ...rest, asPath, clusterList: [] }
}

/** Of an UPDATE besides its attributes: header and lengths, MP_REACH_NLRI with two next hops and the longest route. */
const octetsBesides = 160

/** Whether a message for this peer has room for the attributes; they may have come in a longer one than it takes (RFC 8654 4). */
export const fits = (context: SessionContext, attributes: PathAttributes): boolean =>
  encodeAttributes(attributes, context, false).length + octetsBesides <= maxMessageLength(context)

/** UPDATEs that announce the routes, or withdraw them. */
export function* messages(
  context: SessionContext,
  routes: ReadonlyArray<Evpn.Route>,
  announced?: { readonly attributes: PathAttributes; readonly nextHop: string }
): Generator<Uint8Array> {
  const writer = new UpdateWriter(context)
  const buffer = new Uint8Array(maxMessageLength(context))
  const block = announced === undefined ? undefined : encodeAttributes(announced.attributes, context, false)
  const nextHop = announced === undefined ? undefined : Ip.parse(announced.nextHop)
  let isOpen = false
  for (const route of routes) {
    const nlri = Evpn.encodeAll([route])
    if (isOpen && writer.addNlri(0, nlri)) continue
    if (isOpen) yield buffer.slice(0, writer.finish())
    isOpen = block === undefined ? writer.beginWithdraw(buffer, 0, Family.evpn) : writer.beginReach(buffer, 0, Family.evpn, block, nextHop)
    if (!isOpen || !writer.addNlri(0, nlri)) throw new Error(`attribute ${Attribute.extendedCommunities} leaves no room for a route`)
  }
  if (isOpen) yield buffer.slice(0, writer.finish())
}
