/**
 * A RIB between neighbours that are tables themselves: what a neighbour is sent is decoded and applied, so that a test can ask what it
 * has. Next hops are reachable unless a test says otherwise.
 */
import { encodeAttributes } from "../../../daemon/wire/bgp/attributes.ts"
import { type ContextOptions, makeContext } from "../../../daemon/wire/bgp/context.ts"
import { Family, SegmentType } from "../../../daemon/wire/bgp/iana.ts"
import { forEachPrefix } from "../../../daemon/wire/bgp/nlri.ts"
import type { PathAttributes } from "../../../daemon/wire/bgp/path-attributes.ts"
import { decodeAttributes, NlriSource, scanUpdate, UpdateScan } from "../../../daemon/wire/bgp/update.ts"
import { UpdateWriter } from "../../../daemon/wire/bgp/update-writer.ts"
import * as Ip from "../../../daemon/wire/ip.ts"
import { nextHopOctets } from "../../../daemon/bgp/rib/set-octets.ts"
import { Rib } from "../../../daemon/bgp/rib/rib.ts"
import type { FibSink, NextHops, RibOptions, RibPeer, RibPeerFamily, RibSession } from "../../../daemon/bgp/rib/types.ts"

export const attributes = (given: Partial<Omit<PathAttributes, "asPath">> & { readonly path?: ReadonlyArray<number> }): PathAttributes => {
  const { path, ...others } = given
  return {
    origin: 0, atomicAggregate: false, communities: [], extendedCommunities: [], largeCommunities: [], clusterList: [], unknown: [],
    nextHop: "10.9.9.9",
    asPath: path === undefined || path.length === 0 ? [] : [{ type: SegmentType.asSequence, asns: path }],
    ...others
  }
}

export class TestNextHops implements NextHops {
  readonly #addresses: string[] = []
  readonly #listeners = new Set<(index: number) => void>()
  readonly #lost = new Set<string>()
  readonly #metrics = new Map<string, number>()

  track(address: string): number {
    const known = this.#addresses.indexOf(address)
    return known >= 0 ? known : this.#addresses.push(address) - 1
  }
  release(): void {}
  isReachable(index: number): boolean {
    return !this.#lost.has(this.#addresses[index]!)
  }
  metric(index: number): number {
    return this.#metrics.get(this.#addresses[index]!) ?? 0
  }
  onChange(listener: (index: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
  address(index: number): string {
    return this.#addresses[index]!
  }
  isLost(address: string): boolean {
    return this.#lost.has(address)
  }
  set(address: string, { isReachable = true, metric = 0 }: { readonly isReachable?: boolean; readonly metric?: number }): void {
    if (isReachable) this.#lost.delete(address)
    else this.#lost.add(address)
    this.#metrics.set(address, metric)
    const index = this.#addresses.indexOf(address)
    if (index >= 0) for (const listener of this.#listeners) listener(index)
  }
}

/** What the kernel would have: `winners|backup` by prefix, as addresses. */
export class TestFib implements FibSink {
  readonly routes = new Map<string, string>()
  changes = 0
  hasRoom = true
  readonly #nextHops: TestNextHops
  constructor(nextHops: TestNextHops) {
    this.#nextHops = nextHops
  }
  set(...[, bytes, at, length, winners, backup]: Parameters<FibSink["set"]>): void {
    this.changes++
    const names = (list: ReadonlyArray<number>): string => list.map((index) => this.#nextHops.address(index)).toSorted().join(",")
    this.routes.set(textOf(bytes, at, length), `${names(winners)}|${names(backup)}`)
  }
  unset(...[, bytes, at, length]: Parameters<FibSink["unset"]>): void {
    this.changes++
    this.routes.delete(textOf(bytes, at, length))
  }
  hasSpace(): boolean {
    return this.hasRoom
  }
}

/** Bytes are 16 octets, or a message whose prefix ends early: the family is told by where it is asked for. */
const textOf = (bytes: Uint8Array, at: number, bits: number, isIpv6 = false): string => {
  const octets = new Uint8Array(isIpv6 ? 16 : 4)
  octets.set(bytes.subarray(at, at + ((bits + 7) >> 3)).subarray(0, octets.length))
  return `${Ip.format(octets)}/${bits}`
}

export const anyFamily: RibPeerFamily = { defaultOriginate: false, nextHopSelf: false, addPathSend: 0 }

const wireFamilies = [Family.ipv4Unicast, Family.ipv6Unicast]

export interface PeerOptions extends Partial<RibPeer> {
  readonly context?: Partial<ContextOptions>
  readonly address?: string
  readonly routerId?: number
  readonly session?: Partial<RibSession>
}

/** One neighbour, and what it has been sent. */
export class TestPeer {
  readonly rib: Rib
  readonly index: number
  readonly options: PeerOptions
  /** Attributes by `prefix`, or `prefix#path identifier` with add-path. */
  readonly routes = new Map<string, PathAttributes>()
  readonly sizes: number[] = []
  /** Kinds of messages in order: `reach`, `unreach`, `end`, `refresh 1`. */
  readonly log: string[] = []
  space = Infinity
  readonly #context: ReturnType<typeof makeContext>
  readonly #sent: ReturnType<typeof makeContext>

  constructor(rib: Rib, asn: number, options: PeerOptions) {
    this.rib = rib
    this.options = options
    const isExternal = (options.remoteAs ?? asn) !== asn
    const given: ContextOptions = { asn4: true, isExternal, families: wireFamilies, ...options.context }
    this.#context = makeContext(given)
    // As the neighbour sees it: both directions changed.
    this.#sent = makeContext({ ...given, addPathReceive: given.addPathSend ?? [], addPathSend: given.addPathReceive ?? [] })
    this.index = rib.addPeer(peerConfig(asn, options))
    this.up()
  }

  up(): void {
    this.routes.clear()
    const address = this.options.address ?? "10.0.0.1"
    this.rib.sessionUp(this.index, {
      context: this.#context, remoteAddress: address, remoteRouterId: this.options.routerId ?? 1,
      nextHopSelf: ["192.0.2.1", "2001:db8::1"],
      outbound: { space: () => this.space, send: (bytes) => this.#take(bytes.slice()) },
      ...this.options.session
    })
  }

  down(stale: ReadonlyArray<0 | 1> = []): void {
    this.rib.sessionDown(this.index, stale)
  }

  /** Sends the RIB prefixes with these attributes. */
  announce(prefixes: ReadonlyArray<string>, given: PathAttributes, pathId = 0): void {
    this.#send(prefixes, pathId, given)
  }

  withdraw(prefixes: ReadonlyArray<string>, pathId = 0): void {
    this.#send(prefixes, pathId, undefined)
  }

  /** End-of-RIB of IPv4. */
  endOfRib(): void {
    const message = new Uint8Array(23).fill(0xff, 0, 16)
    message.set([0, 23, 2], 16)
    this.rib.receive(this.index, message, 0, 23)
  }

  #send(prefixes: ReadonlyArray<string>, pathId: number, given: PathAttributes | undefined): void {
    const buffer = new Uint8Array(65535)
    const writer = new UpdateWriter(this.#sent)
    const isIpv6 = prefixes[0]!.includes(":")
    const family = isIpv6 ? Family.ipv6Unicast : Family.ipv4Unicast
    const viaMp = given?.nextHop?.includes(":") === true
    for (let i = 0; i < prefixes.length;) {
      if (given === undefined) writer.beginWithdraw(buffer, 0, family)
      else writer.beginReach(buffer, 0, family, encodeAttributes(given, this.#sent, !viaMp), viaMp ? nextHopOctets(given) : undefined)
      for (let isFull = false; i < prefixes.length && !isFull;) {
        const { address, length } = Ip.parsePrefix(prefixes[i]!)!
        isFull = !writer.addPrefix(pathId, length, address, 0)
        if (!isFull) i++
      }
      const error = this.rib.receive(this.index, buffer, 0, writer.finish())
      if (error !== undefined) throw new Error(`the RIB asks for a reset: ${error.code}/${error.subcode}`)
    }
  }

  #take(bytes: Uint8Array): void {
    this.space -= bytes.length
    this.sizes.push(bytes.length)
    if (bytes[18] === 5) return void this.log.push(`refresh ${bytes[21]}`)
    const scan = new UpdateScan()
    const error = scanUpdate(bytes, 0, bytes.length, this.#sent, scan)
    if (error !== undefined) throw new Error(`an UPDATE that cannot be read: ${error.code}/${error.subcode}`)
    if (scan.endOfRib !== 0) return void this.log.push("end")
    const key = (family: number, pathId: number, bits: number, at: number): string =>
      textOf(bytes, at, bits, family === Family.ipv6Unicast) + (this.#sent.addPathReceive(family) ? `#${pathId}` : "")
    const each = (family: number, at: number, end: number, visit: (key: string) => void): void =>
      forEachPrefix(bytes, at, end, this.#sent.addPathReceive(family), (pathId, bits, octets) => visit(key(family, pathId, bits, octets)))
    const remove = (gone: string): void => {
      this.routes.delete(gone)
    }
    each(Family.ipv4Unicast, scan.withdrawnAt, scan.withdrawnEnd, remove)
    if (scan.mpUnreachFamily !== 0) each(scan.mpUnreachFamily, scan.mpUnreachAt, scan.mpUnreachEnd, remove)
    this.log.push(scan.hasReachable ? "reach" : "unreach")
    if (!scan.hasReachable) return
    const source = scan.mpReachFamily === 0 ? NlriSource.field : NlriSource.mpReach
    const decoded = decodeAttributes(bytes, scan, source, this.#sent)
    if (decoded.severity > 0) throw new Error(`an UPDATE with a fault: ${decoded.faults[0]!.reason}`)
    const put = (one: string): void => {
      this.routes.set(one, decoded.attributes)
    }
    if (source === NlriSource.field) each(Family.ipv4Unicast, scan.nlriAt, scan.nlriEnd, put)
    else each(scan.mpReachFamily, scan.mpReachAt, scan.mpReachEnd, put)
  }
}

export const peerConfig = (asn: number, { address: _a, context: _c, routerId: _r, session: _s, ...given }: PeerOptions): RibPeer => ({
  name: given.name ?? "p", isExternal: (given.remoteAs ?? asn) !== asn, remoteAs: asn, localAs: asn, localAsPrepend: false,
  routeReflectorClient: false, allowAsIn: 0, removePrivateAs: false, asOverride: false, sendCommunities: true, mraiMs: 0,
  families: [anyFamily, anyFamily], ...given
})

export class TestRib {
  readonly asn: number
  readonly nextHops = new TestNextHops()
  readonly fib = new TestFib(this.nextHops)
  readonly rib: Rib

  constructor(given: Partial<RibOptions> = {}) {
    this.asn = given.asn ?? 65000
    this.rib = new Rib({
      asn: this.asn, routerId: 0x0a0000fe, clusterId: 0x0a0000fe, multipath: { ebgp: 1, ibgp: 1, asPathRelax: false },
      alwaysCompareMed: false, gracefulShutdown: false, nextHops: this.nextHops, fib: this.fib, events: { wanted: () => {} }, ...given
    })
  }

  peer(options: PeerOptions): TestPeer {
    return new TestPeer(this.rib, this.asn, options)
  }

  /** Until there is nothing more to do. */
  settle(): void {
    for (let turns = 0; this.rib.run(1000); turns++) if (turns > 1000) throw new Error("the RIB does not come to rest")
  }

  /** `name: reason` of all paths of a prefix, the best first. */
  why(prefix: string): ReadonlyArray<string> {
    this.settle()
    return this.rib.explain(prefix).map(({ peer, reason }) => `${peer}: ${reason}`)
  }
}
