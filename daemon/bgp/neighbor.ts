/**
 * A neighbour that runs: its session joined to the RIB of its table.
 *
 *     session/  --established, UPDATE, refresh, down-->  Neighbor  -->  rib/
 *               <--messages, as long as there is room--            <--
 *     engine    --BFD--> bfd-link.ts -------------------> |  the session ends, the kernel's routes go over to their backups
 *
 * `neighbor-spec.ts` says what of a topology's words the RIB gets, and what of a change needs a new session.
 */
import type { BgpFamilySpec, BgpNeighborSpec } from "../plan/bgp.ts"
import type { Capability } from "../wire/bgp/capabilities.ts"
import type { SessionContext } from "../wire/bgp/context.ts"
import { Family as WireFamily } from "../wire/bgp/iana.ts"
import type { Open } from "../wire/bgp/open.ts"
import * as RouteRefresh from "../wire/bgp/route-refresh.ts"
import { type Attachment, attachmentOf, concerns, isNextDoor } from "./attachment.ts"
import type { BfdLink } from "./bfd-link.ts"
import type { MonitorApi, NextHopsApi } from "./fib/api.ts"
import type { Happening, ResetKind } from "./messages.ts"
import { familyIndexOf, needsNewSession, type PeerSetting, ribPeerOf, same, takesMore, wireFamilies } from "./neighbor-spec.ts"
import type { FamilyIndex, Outbound, RibSession } from "./rib/types.ts"
import { FamilyIndex as Index } from "./rib/types.ts"
import type { DownReason, Session, SessionCallbacks, StateName } from "./session/api.ts"
import { hasRoomForOthers, isInPrefix, type LinkAddresses, linkOf } from "./link-addresses.ts"
import { scopeOf, type Table } from "./table.ts"
import type { Tap } from "./tap.ts"

export interface NeighborParts {
  readonly table: Table
  readonly monitor: MonitorApi
  readonly nextHops: NextHopsApi
  readonly bfd: BfdLink
  /** Ids of BFD sessions and the path of the namespace. */
  readonly bfdId: string
  readonly netnsPath: string
  readonly setting: () => PeerSetting
  /** Who reads along. */
  readonly taps: ReadonlyMap<number, Tap>
  readonly tell: (type: Happening["type"], neighbor: string, message: string) => void
  readonly established: (neighbor: Neighbor) => void
  /** `family`: as on the wire. */
  readonly endOfRib: (neighbor: Neighbor, family: number) => void
}

export class Neighbor implements SessionCallbacks {
  readonly #parts: NeighborParts
  #spec: BgpNeighborSpec
  #session: Session | undefined
  readonly #peer: number
  /** Families whose End-of-RIB has come on this session. */
  readonly #complete = new Set<FamilyIndex>()
  #remoteAs: number | undefined
  #bfdAddress: { readonly address: string; readonly ifname: string | undefined } | undefined
  #isPathDown = false
  /** The link that it is on; undefined: on none, or it need not be on one. */
  #attachment: Attachment | undefined
  #isLost = false
  #lastReset = ""
  readonly #unlisten: () => void

  constructor(spec: BgpNeighborSpec, parts: NeighborParts) {
    this.#parts = parts
    this.#spec = spec
    this.#peer = parts.table.rib.addPeer(ribPeerOf(spec, parts.setting()))
    const look = (index: number): void => this.#followLink(index)
    this.#unlisten = parts.monitor.listen({ link: look, addresses: look })
  }

  /** A session that somebody else starts and ends. */
  adopt(session: Session): void {
    this.#session = session
    this.#followLink()
    this.#watchPath()
  }

  /** Gives it its session and starts it. */
  attach(session: Session): void {
    this.#session = session
    this.#followLink()
    if (this.#spec.shutdown) session.shutdown(this.#spec.shutdownMessage ?? "")
    else session.start()
    this.#watchPath()
  }

  get spec(): BgpNeighborSpec {
    return this.#spec
  }
  get session(): Session | undefined {
    return this.#session
  }
  get table(): Table {
    return this.#parts.table
  }
  /** Number in its table's RIB. */
  get peer(): number {
    return this.#peer
  }
  get lastReset(): string {
    return this.#lastReset
  }
  get isEstablished(): boolean {
    return this.#session?.state === "Established"
  }

  /** Whether everything that the neighbour has, it has told: End-of-RIB of each family that both speak. */
  get isComplete(): boolean {
    const context = this.#session?.context
    if (context === undefined) return false
    const has = (index: FamilyIndex, family: number): boolean => !context.families.has(family) || this.#complete.has(index)
    return has(Index.ipv4, WireFamily.ipv4Unicast) && has(Index.ipv6, WireFamily.ipv6Unicast)
  }

  isFamilyComplete(family: FamilyIndex): boolean {
    return this.#complete.has(family)
  }

  get bfdState(): string {
    return this.#spec.bfd === undefined ? "none" : (this.#parts.bfd.state(this.#parts.bfdId) ?? "down")
  }

  /** The words of the topology have changed. False: it takes a new session, so a new neighbour. */
  change(spec: BgpNeighborSpec): boolean {
    const before = this.#spec
    if (needsNewSession(before, spec)) return false
    this.#spec = spec
    this.applySetting()
    if (this.isEstablished && takesMore(before, spec)) this.#askAgain()
    if (!same(before.timers, spec.timers)) this.#session?.configure?.(spec)
    // Whoever was turned away for a limit may try again under another one at once.
    if (!this.isEstablished && !same(limitsOf(before), limitsOf(spec))) this.#session?.reset("configuration")
    if (before.shutdown !== spec.shutdown) {
      if (spec.shutdown) this.#session?.shutdown(spec.shutdownMessage ?? "")
      else this.#session?.start()
    }
    if (before.shutdown !== spec.shutdown || !same(before.bfd, spec.bfd)) {
      this.#followLink()
      this.#watchPath()
    }
    return true
  }

  /** Policies, or something else of the speaker, changed. */
  applySetting(): void {
    this.table.rib.updatePeer(this.#peer, ribPeerOf(this.#spec, this.#parts.setting(), this.#remoteAs))
  }

  reset(how: ResetKind): void {
    const { rib } = this.table
    if (how === "hard") return this.#session?.reset("administrative")
    if (!this.isEstablished) return
    if (how !== "soft-out") {
      rib.refreshImport(this.#peer)
      this.#askAgain()
    }
    if (how !== "soft-in") rib.refreshExport(this.#peer)
  }

  /** What we have of it was received right; it is asked all the same, for what was malformed or lost by a mistake of either. */
  #askAgain(): void {
    const session = this.#session
    const open = session?.peerOpen
    if (session?.context === undefined || open === undefined || !has(open, "routeRefresh")) return
    for (const family of session.context.families) session.send(RouteRefresh.encode({ family, subtype: RouteRefresh.Subtype.request }))
  }

  /** The RIB has met an End-of-RIB marker of the neighbour's. */
  endOfRib(family: FamilyIndex): void {
    this.#complete.add(family)
    this.#session?.endOfRib(wireFamilies[family])
    this.#parts.endOfRib(this, wireFamilies[family])
  }

  /** More prefixes than the topology allows. */
  maxPrefix(family: FamilyIndex, count: number): void {
    const limit = this.#limitOf(family)
    if (limit === undefined) return
    const what = family === Index.ipv4 ? "IPv4" : "IPv6"
    this.#tell("bgp.limit", limit.action === "discard"
      ? `more than the ${limit.count} ${what} prefixes that are allowed: no more are taken`
      : `${count} ${what} prefixes, more than the ${limit.count} that are allowed`)
    if (limit.action === "reset") this.#session?.reset("maxPrefix", limit.restartS)
  }

  /** More than the share of the limit at which it is to be said. */
  nearMaxPrefix(family: FamilyIndex, count: number): void {
    const limit = this.#limitOf(family)
    if (limit?.thresholdPercent === undefined) return
    const what = family === Index.ipv4 ? "IPv4" : "IPv6"
    this.#tell("bgp.limit", `${count} ${what} prefixes, more than ${limit.thresholdPercent} % of the ${limit.count} that are allowed`)
  }

  #limitOf(family: FamilyIndex): BgpFamilySpec["maxPrefix"] {
    return this.#spec.families.find((one) => one.family === (family === Index.ipv4 ? "ipv4" : "ipv6"))?.maxPrefix
  }

  /** Ends it. `keep`: without a word, so that a peer that can keeps our routes while we restart. */
  close(how: "deconfigured" | "keep"): void {
    this.#unlisten()
    this.#unwatchPath()
    const session = this.#session
    this.#session = undefined
    session?.close(how)
    if (how === "deconfigured") this.table.rib.removePeer(this.#peer)
  }

  // What the session tells.

  established(session: Session, context: SessionContext, open: Open): void {
    this.#complete.clear()
    for (const tap of this.#parts.taps.values()) tap.stateChanged(this.#spec.name, session, true)
    this.#remoteAs = open.asn
    this.applySetting()
    this.table.rib.sessionUp(this.#peer, this.#ribSession(session, context, open))
    this.#tell("bgp.established", `session with ${this.#who(session)} (AS ${open.asn}) is up`)
    // RFC 5882 4.3: the neighbour may have no BFD any more. A path that the session came up on is one, until BFD was up and says otherwise.
    this.#pathUp()
    if (this.#spec.remote.kind !== "address") this.#watchPath()
    this.#parts.established(this)
  }

  update(session: Session, bytes: Uint8Array, at: number, end: number): void {
    if (this.#parts.taps.size > 0 && session.context !== undefined) {
      for (const tap of this.#parts.taps.values()) tap.message(this.#spec.name, session, session.context, bytes.subarray(at, end))
    }
    const error = this.table.rib.receive(this.#peer, bytes, at, end)
    if (error !== undefined) session.fail(error.code, error.subcode, error.data)
  }

  routeRefresh(_session: Session, wireFamily: number, subtype: number): void {
    const family = familyIndexOf(wireFamily)
    if (family !== undefined) this.table.rib.routeRefresh(this.#peer, family, subtype)
  }

  down(session: Session, reason: DownReason): void {
    this.#lastReset = reason.text
    this.#complete.clear()
    if (session !== this.#session) return
    for (const tap of this.#parts.taps.values()) tap.stateChanged(this.#spec.name, session, false)
    const stale = (reason.retain ?? []).flatMap((family) => familyIndexOf(family) ?? [])
    this.table.rib.sessionDown(this.#peer, stale)
    this.#tell("bgp.down", `session with ${this.#who(session)} is down: ${reason.text}`)
  }

  stale(_session: Session, wireFamily: number, what: "flush" | "longLived"): void {
    const family = familyIndexOf(wireFamily)
    if (family === undefined) return
    if (what === "flush") this.table.rib.sweepStale(this.#peer, family)
    else this.table.rib.makeLongLived(this.#peer, family)
  }

  stateChanged(_session: Session, _from: StateName, _to: StateName): void {}

  room(_session: Session): void {
    this.table.rib.drained(this.#peer)
  }

  #who(session: Session): string {
    const { name } = this.#spec
    const address = session.remoteAddress
    const { description } = this.#spec
    const at = address === undefined || address === name ? name : `${address} on ${name}`
    return description === undefined ? at : `${description} at ${at}`
  }

  #tell(type: Happening["type"], message: string): void {
    this.#parts.tell(type, this.#spec.name, message)
  }

  #ribSession(session: Session, context: SessionContext, open: Open): RibSession {
    const local = session.localAddress ?? "0.0.0.0"
    const link = linkOf(this.#parts.monitor, local, session.ifname)
    return {
      context,
      remoteAddress: session.remoteAddress ?? "0.0.0.0",
      remoteRouterId: open.bgpIdentifier,
      nextHopSelf: nextHopsSelf(local, link, context),
      ...(link?.linkLocal === undefined || !this.#isDirect() ? {} : { linkLocal: link.linkLocal }),
      ...(link === undefined ? {} : { ifname: link.ifname }),
      // With nobody else on the link nobody else can be a next hop there, and neighbours on different links can be sent the same.
      ...(link === undefined || !this.#isDirect() || !hasRoomForOthers(link.prefixes)
        ? {}
        : { isOnLink: (address: string) => link.prefixes.some((prefix) => isInPrefix(address, prefix)) }),
      outbound: outboundOf(session),
      isMultihop: !this.#isDirect(),
      longLived: has(open, "longLivedGracefulRestart"),
      enhancedRefresh: has(open, "routeRefresh") && has(open, "enhancedRouteRefresh")
    }
  }

  /** On the same link: one hop away by the topology. */
  #isDirect(): boolean {
    return this.#spec.multihop <= 1 && (this.#spec.ttlSecurity ?? 1) <= 1
  }

  /** A neighbour next door comes and goes with its link (attachment.ts). `index`: the link that changed; absent: look at all. */
  #followLink(index?: number): void {
    const session = this.#session
    if (session === undefined) return
    const before = this.#attachment
    const wasLost = this.#isLost
    const isBound = isNextDoor(this.#spec, this.#spec.localAs?.asn ?? this.#parts.setting().asn)
    if (!isBound && before === undefined && !wasLost) return
    const { monitor } = this.#parts
    const scope = scopeOf(this.table.spec)
    const sought = { address: session.remoteAddress, ifname: session.ifname }
    if (index !== undefined && (wasLost ? !concerns(monitor, scope, sought, index) : before?.ifindex !== index)) return
    const found = isBound ? attachmentOf(monitor, scope, sought) : undefined
    this.#isLost = typeof found === "string"
    this.#attachment = typeof found === "string" ? undefined : found
    session.attached(found ?? {})
    if (this.#isLost !== wasLost || !same(before, this.#attachment)) this.#watchPath()
  }

  #watchPath(): void {
    const { bfd: timers, remote, updateSource } = this.#spec
    if (timers === undefined || this.#spec.shutdown || this.#isLost) return this.#unwatchPath()
    const session = this.#session
    const address = remote.kind === "address" ? remote.address : session?.remoteAddress
    // Of an unnumbered or dynamic neighbour it is known when the session is up for the first time.
    if (address === undefined) return
    const ifname = remote.kind === "address" ? remote.ifname : remote.kind === "interface" ? remote.ifname : session?.ifname
    // RFC 5881 3, 6: one hop is one interface, with its own address.
    const on = timers.multihop ? undefined : this.#attachment
    const local = on === undefined ? (session?.localAddress ?? updateSource) : on.address
    this.#bfdAddress = { address, ifname }
    const { minRxMs, minTxMs, multihop, multiplier } = timers
    this.#parts.bfd.watch(this.#parts.bfdId, {
      options: {
        netns: this.#parts.netnsPath,
        peer: address,
        ...(local === undefined || local.includes("%") ? {} : { local }),
        ...(on === undefined ? {} : { ifname: on.ifname }),
        minTxMs,
        minRxMs,
        multiplier,
        multihop
      },
      verdict: (verdict, reason) => (verdict === "down" ? this.#pathDown(reason) : this.#pathUp()),
      failed: (reason) => this.#tell("bgp.refused", `no BFD with ${address}: ${reason}`)
    })
  }

  #unwatchPath(): void {
    this.#parts.bfd.unwatch(this.#parts.bfdId)
    this.#pathUp()
    this.#bfdAddress = undefined
  }

  /** The kernel's groups first: they change before anything else is thought about. */
  #pathDown(reason: string): void {
    if (this.#bfdAddress === undefined) return
    this.#isPathDown = true
    this.#parts.nextHops.down(this.#bfdAddress.address, this.#bfdAddress.ifname, this.#spec.vrf)
    this.#lastReset = `BFD: ${reason}`
    this.#session?.bfd("down")
  }

  #pathUp(): void {
    if (!this.#isPathDown || this.#bfdAddress === undefined) return
    this.#isPathDown = false
    this.#parts.nextHops.up(this.#bfdAddress.address, this.#bfdAddress.ifname, this.#spec.vrf)
    this.#session?.bfd("up")
  }
}

const limitsOf = ({ families }: BgpNeighborSpec): ReadonlyArray<object> => families.map(({ maxPrefix }) => maxPrefix ?? {})

const has = (open: Open, kind: Capability["kind"]): boolean => open.capabilities.some((one) => one.kind === kind)

/** How much the RIB may write ahead: a full message of the longest kind. */
const spaceWhileRoom = 65_535

const outboundOf = (session: Session): Outbound => ({
  space: () => (session.hasRoom() ? spaceWhileRoom : 0),
  // The RIB writes into the same buffer again; the session keeps what it gets until it is written. Small messages share a pool.
  send: (bytes) => session.send(Buffer.from(bytes))
})

/** Ourselves as next hop: the session's own address, and of the other family what the same interface has. */
const nextHopsSelf = (local: string, link: LinkAddresses | undefined, context: SessionContext): RibSession["nextHopSelf"] => {
  if (!local.includes(":")) return [local, link?.ipv6 ?? link?.linkLocal]
  const ipv6 = local.startsWith("fe80:") ? (link?.ipv6 ?? local) : local
  // RFC 8950: an IPv4 route may go by an IPv6 next hop, so that a link needs no IPv4 address.
  return [context.extendedNextHop(WireFamily.ipv4Unicast) ? local : link?.ipv4, ipv6]
}
