/**
 * What is in a speaker's namespace, always current: interfaces with their carrier, addresses, routes of others and the nexthop
 * objects behind them. One netlink socket is told of every change; what this speaker does itself is left out by the kernel.
 *
 * Three things happen in the kernel without a word and are done here likewise (`ForeignRoutes.lose`): when an interface loses its
 * carrier, nexthop objects on it go and IPv4 routes with them; when it is set down or loses its last IPv4 address, IPv4 routes
 * through it go (net/ipv4/nexthop.c: nexthop_flush_dev, net/ipv4/fib_frontend.c: fib_disable_ip).
 *
 * All that takes long is done in slices, so that sessions of the thread are served meanwhile: taking in a flood of notifications,
 * telling listeners of many prefixes, and reading everything again when the kernel had more to say than it could keep for us. Links,
 * addresses and nexthop objects are read again at once then, routes a little later (`foreign-routes.ts`), and the later the more often
 * it happens: whoever writes routes faster than they are taken in is waited for.
 */
import { constants } from "node:os"
import { getSystemErrorName } from "node:util"
import { addon, type Poll } from "../../native/index.ts"
import { messages, Writer, type Message } from "../../wire/netlink.ts"
import { masked } from "../../wire/prefix.ts"
import { format, parsePrefix } from "../../wire/ip.ts"
import * as Address from "../../wire/rtnetlink/address.ts"
import * as Link from "../../wire/rtnetlink/link.ts"
import * as Nexthop from "../../wire/rtnetlink/nexthop-object.ts"
import * as Route from "../../wire/rtnetlink/route-entry.ts"
import type { ForeignRoute, LinkState, MonitorApi, MonitorListener, Scope } from "./api.ts"
import { allDumps, foreignDumps, ForeignRoutes, isAboutForeign, isForeign, touch } from "./foreign-routes.ts"
import { protocol } from "./protocol.ts"
import { SlicedDump } from "./route-socket.ts"

const RTM_NEWADDR = 20
const RTM_DELADDR = 21
/** Multicast groups, by number minus one: link, IPv4 address and route, IPv6 address and route, nexthop. */
const groups = [1, 5, 7, 9, 11, 32].reduce((mask, group) => mask + 2 ** (group - 1), 0)
const receiveOctets = 4 * 1024 * 1024
const bufferOctets = 64 * 1024
const readable = 1
const scopeHost = 254
const scopeLink = 253
const { EAGAIN, EINTR, ENOBUFS } = constants.errno

/** Where the changes of this speaker come from, so that it is not told of them. */
export interface MonitorOptions {
  readonly netns: number
  readonly ownPorts: readonly [number, number]
  readonly report: (text: string) => void
}

/** What only the FIB hears: the speaker's own objects, touched by others. */
export interface OwnListener {
  /** Somebody removed one of our routes (`isNew` false), or made one where one of ours may be. */
  readonly route: (entry: Route.Entry, isNew: boolean) => void
  /** Somebody touched our nexthop objects, or we may have missed that. */
  readonly objects: () => void
  /** Notifications were lost. */
  readonly overflow: () => void
}

/** For how long one call takes in, reads or tells, ms. */
const sliceMs = 2
/** Prefixes that listeners are told of at a time. */
const toldAtOnce = 512
/** From lost notifications to reading all routes again: at first, and doubled while more get lost, up to. */
const rereadMs = 50
const longestRereadMs = 2000

/** What was received last, by any monitor of the thread: it is read before the next one receives. */
const buffer = new Uint8Array(bufferOctets)

/** An address with the network that it is in. */
interface Held extends Address.Address {
  readonly network: Uint8Array
  readonly length: number
}

const heldOf = (address: Address.Address): Held => {
  const { address: octets, length } = parsePrefix(address.address)!
  return { ...address, network: masked(octets, length), length }
}

export class Monitor implements MonitorApi {
  readonly #options: MonitorOptions
  readonly #descriptor: number
  readonly #listeners = new Set<MonitorListener>()
  readonly #links = new Map<number, LinkState>()
  readonly #addresses = new Map<number, Held[]>()
  readonly #foreign = new ForeignRoutes((index) => this.#links.get(index)?.isUsable === true)
  #scopes: ReadonlyArray<Scope> = []
  #own: OwnListener | undefined
  #poll: Poll | undefined
  #overflows = 0
  /** Notifications were lost, and what waits is older than what will be read. */
  #isLost = false
  #reading: SlicedDump | undefined
  #rereadTimer: NodeJS.Timeout | undefined
  #rereadMs = rereadMs
  /** Prefixes of which listeners are still to be told, by table. */
  readonly #untold = new Map<number, Set<string>>()
  #isTurnDue = false
  #isClosed = false
  #isPaused = false

  /** Reads everything at once. Throws NativeError. */
  constructor(options: MonitorOptions) {
    this.#options = options
    this.#descriptor = addon.routeSocketOpen(options.netns, groups, receiveOctets)
    addon.routeSocketFilter(this.#descriptor, options.ownPorts[0], protocol, options.ownPorts[1])
    try {
      this.#readAll()
      this.#start()
    } catch (error) {
      this.close()
      throw error
    }
  }

  listen(listener: MonitorListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** For the FIB alone. */
  listenToOwn(listener: OwnListener | undefined): void {
    this.#own = listener
  }

  setScopes(scopes: ReadonlyArray<Scope>): void {
    this.#scopes = scopes
  }

  link(index: number): LinkState | undefined {
    return this.#links.get(index)
  }

  linkByName(name: string): LinkState | undefined {
    for (const link of this.#links.values()) if (link.name === name) return link
    return undefined
  }

  links(): Iterable<LinkState> {
    return this.#links.values()
  }

  addresses(index: number): ReadonlyArray<string> {
    return (this.#addresses.get(index) ?? []).map(({ address }) => address)
  }

  isLocal(address: string): boolean {
    const prefix = `${address}/`
    for (const list of this.#addresses.values()) if (list.some((one) => one.address.startsWith(prefix))) return true
    return false
  }

  /** How often notifications were lost and everything was read again. */
  get overflows(): number {
    return this.#overflows
  }

  belongs(scope: Scope, ifname: string): boolean {
    if (scope.ifnames.length > 0) return scope.ifnames.includes(ifname)
    return !this.#scopes.some(({ ifnames }) => ifnames.includes(ifname))
  }

  route(table: number, prefix: string): ForeignRoute | undefined {
    return this.#foreign.best(table, prefix)
  }

  /** Networks that usable interfaces of a scope have addresses in. */
  *connected(scope: Scope): Generator<{ readonly network: Uint8Array; readonly length: number; readonly ifindex: number }> {
    for (const [index, list] of this.#addresses) {
      const link = this.#links.get(index)
      if (link === undefined || !link.isUsable || !this.belongs(scope, link.name)) continue
      for (const { length, network, scope: reach } of list) {
        if (reach !== scopeHost && reach !== scopeLink) yield { network, length, ifindex: index }
      }
    }
  }

  *redistributable(scope: Scope, source: "connected" | "static"): Generator<ForeignRoute> {
    if (source === "static") {
      yield* this.#foreign.all(scope.table, "static")
      return
    }
    for (const { network, length, ifindex } of this.connected(scope)) {
      yield { prefix: `${format(network)}/${length}`, source, table: scope.table, metric: 0, ways: [{ ifindex, weight: 1 }] }
    }
  }

  /** The best foreign route to an address in a table, with its length; no default route of `other` is left out. */
  longestForeign(table: number, address: Uint8Array): { readonly route: ForeignRoute; readonly length: number } | undefined {
    return this.#foreign.longest(table, address)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#rereadTimer)
    this.#reading?.close()
    this.#reading = undefined
    this.#stop()
    addon.close(this.#descriptor)
    this.#listeners.clear()
    this.#own = undefined
  }

  /** While paused what happens is not heard: it waits in the kernel, which says when that was too much. */
  setPaused(isPaused: boolean): void {
    if (this.#isPaused === isPaused) return
    this.#isPaused = isPaused
    if (isPaused) return this.#stop()
    if (!this.#isClosed) this.#start()
  }

  #start(): void {
    if (this.#isPaused) return
    this.#poll = addon.pollStart(this.#descriptor, readable, (events) => {
      // libuv gives up a descriptor with an error, and a full receive buffer is one (ENOBUFS): take it up again.
      if (events < 0) {
        this.#stop()
        this.#start()
      }
      this.drain()
    })
    addon.pollUnref(this.#poll)
  }

  #stop(): void {
    if (this.#poll !== undefined) addon.pollStop(this.#poll)
    this.#poll = undefined
  }

  /**
   * Takes in what has happened, for a slice: what is left makes the descriptor ready again. Listeners hear of links and addresses at once,
   * of routes afterwards.
   */
  drain(): void {
    const end = performance.now() + sliceMs
    const changes = { isObjects: false }
    do {
      const received = addon.receive(this.#descriptor, buffer)
      if (received === -EINTR) continue
      if (received === -EAGAIN) {
        // The kernel says once that something was lost, and not again before all is read (net/netlink/af_netlink.c: netlink_overrun,
        // netlink_rcv_wake). So everything is read again only then; what was still waiting is older than that.
        if (this.#isLost) this.#overflow()
        break
      }
      if (received > 0) {
        if (!this.#isLost) for (const message of messages(buffer.subarray(0, received))) this.#note(message, changes)
      } else if (received === -ENOBUFS) {
        this.#isLost = true
        this.#foreign.spoil()
      } else {
        this.#options.report(`cannot watch routes: ${received < 0 ? getSystemErrorName(received) : "the socket was closed"}`)
        this.#stop()
        break
      }
    } while (performance.now() < end)
    if (changes.isObjects) this.#own?.objects()
    // The descriptor may not become ready again by itself.
    if (this.#isLost) this.#arrange()
    this.#tell()
  }

  /** Tells listeners of routes, for a slice. True: there are more. */
  #tell(): boolean {
    const end = performance.now() + sliceMs
    for (const [table, prefixes] of this.#untold) {
      while (prefixes.size > 0) {
        const some = prefixes.size <= toldAtOnce ? new Set(prefixes) : first(prefixes, toldAtOnce)
        if (some.size === prefixes.size) prefixes.clear()
        else for (const prefix of some) prefixes.delete(prefix)
        for (const listener of this.#listeners) listener.routes?.(table, some)
        if (prefixes.size > 0 && performance.now() >= end) return this.#arrange()
      }
      this.#untold.delete(table)
    }
    return false
  }

  /** Has what is left done in the next turn of the loop. */
  #arrange(): true {
    if (!this.#isTurnDue) setImmediate(this.#turn)
    this.#isTurnDue = true
    return true
  }

  readonly #turn = (): void => {
    this.#isTurnDue = false
    if (this.#isClosed) return
    if (this.#isLost) this.drain()
    const hasMore = this.#tell()
    if (this.#reading !== undefined && (hasMore || this.#readOn())) this.#arrange()
  }

  #note({ type, body }: Message, changes: { isObjects: boolean }): void {
    if (type === Link.newLink || type === Link.delLink) this.#noteLink(type === Link.newLink, body)
    else if (type === RTM_NEWADDR || type === RTM_DELADDR) this.#noteAddress(type === RTM_NEWADDR, Address.decode(body))
    else if (type === Route.newRoute || type === Route.delRoute) this.#noteRoute(type === Route.newRoute, body)
    else if (type === Nexthop.newNexthop || type === Nexthop.delNexthop) {
      const object = Nexthop.decode(body)
      if (object.protocol === protocol) changes.isObjects = true
      this.#foreign.object(object, type === Nexthop.newNexthop, this.#untold)
    }
  }

  #noteLink(isNew: boolean, body: Uint8Array): void {
    // A bridge tells of its ports with another family.
    if (body[0] !== 0) return
    const { index, name, mac, up, carrier } = Link.decode(body)
    const before = this.#links.get(index)
    const link = isNew ? { index, name, mac, isUsable: up && carrier } : undefined
    const held = this.#addresses.get(index) ?? []
    if (link === undefined) {
      this.#links.delete(index)
      this.#addresses.delete(index)
    } else this.#links.set(index, link)
    if (before?.isUsable === link?.isUsable && before?.name === link?.name && before?.mac === link?.mac) return
    for (const one of [before, link]) if (one !== undefined) this.#touchConnected(one.name, held)
    if (before?.isUsable !== link?.isUsable) {
      this.#foreign.lose(index, { isDown: !isNew || !up, isLost: link?.isUsable !== true }, this.#untold)
    }
    for (const listener of this.#listeners) listener.link?.(index, link)
  }

  #noteAddress(isNew: boolean, address: Address.Address): void {
    const list = (this.#addresses.get(address.index) ?? []).filter((one) => one.address !== address.address)
    const held = heldOf(address)
    if (isNew) list.push(held)
    this.#addresses.set(address.index, list)
    this.#touchConnected(this.#links.get(address.index)?.name ?? "", [held])
    const isV6 = address.address.includes(":")
    if (!isNew && !isV6 && list.every((one) => one.address.includes(":"))) {
      this.#foreign.lose(address.index, { isDown: true, isLost: false }, this.#untold)
    }
    for (const listener of this.#listeners) listener.addresses?.(address.index)
  }

  /** Listeners are to look again at the networks of these addresses, in the tables that the interface belongs to. */
  #touchConnected(ifname: string, addresses: Iterable<Held>): void {
    const tables = this.#scopes.filter((scope) => this.belongs(scope, ifname)).map(({ table }) => table)
    for (const { length, network, scope } of addresses) {
      if (scope === scopeHost || scope === scopeLink) continue
      for (const table of tables) touch(this.#untold, table, `${format(network)}/${length}`)
    }
  }

  #noteRoute(isNew: boolean, body: Uint8Array): void {
    const entry = Route.decode(body)
    if (entry === undefined) return
    this.#own?.route(entry, isNew)
    if (isForeign(entry)) this.#foreign.note(entry, isNew, this.#untold)
  }

  /** Reads links, addresses and nexthop objects at once, and routes soon. */
  #overflow(): void {
    this.#isLost = false
    this.#overflows++
    const before = new Map(this.#links)
    const touchAll = (): void => {
      for (const [index, { name }] of this.#links) this.#touchConnected(name, this.#addresses.get(index) ?? [])
    }
    touchAll()
    this.#readGround()
    touchAll()
    for (const index of new Set([...before.keys(), ...this.#links.keys()])) {
      for (const listener of this.#listeners) {
        listener.link?.(index, this.#links.get(index))
        listener.addresses?.(index)
      }
    }
    this.#own?.overflow()
    this.#rereadSoon()
  }

  #rereadSoon(): void {
    if (this.#reading !== undefined || this.#rereadTimer !== undefined) return
    this.#rereadTimer = setTimeout(() => this.#reread(), this.#rereadMs).unref()
    this.#rereadMs = Math.min(this.#rereadMs * 2, longestRereadMs)
  }

  #reread(): void {
    this.#rereadTimer = undefined
    try {
      this.#reading = new SlicedDump(this.#options.netns, allDumps)
    } catch (error) {
      this.#options.report(`cannot read routes: ${(error as Error).message}`)
      return this.#rereadSoon()
    }
    this.#foreign.begin()
    this.#arrange()
  }

  /** Reads routes, for a slice; true: there are more. */
  #readOn(): boolean {
    const hasMore = this.#reading!.run(sliceMs, ({ body, type }) => {
      const entry = type === Route.newRoute && isAboutForeign(body) ? Route.decode(body) : undefined
      if (entry !== undefined) this.#foreign.dumped(entry, this.#untold)
    })
    if (hasMore) return true
    // The kernel says so when its tables changed so much that it may have left something out.
    if (this.#reading!.isInterrupted) this.#foreign.spoil()
    const state = this.#foreign.swept(performance.now() + sliceMs, this.#untold)
    if (state === "more") return true
    this.#reading!.close()
    this.#reading = undefined
    if (state === "again") this.#rereadSoon()
    else this.#rereadMs = rereadMs
    return this.#untold.size > 0
  }

  /** All at once, before anything is there to be kept waiting. */
  #readAll(): void {
    this.#readGround()
    const out = new Writer(512)
    for (const dump of foreignDumps) dump(out)
    for (const { type, body } of messages(addon.netlinkDump(this.#options.netns, out.finish()))) {
      const entry = type === Route.newRoute ? Route.decode(body) : undefined
      if (entry !== undefined && isForeign(entry)) this.#foreign.note(entry, true, this.#untold)
    }
    // Nobody listens yet.
    this.#untold.clear()
  }

  #readGround(): void {
    const out = new Writer(512)
    Link.dumpLinks(out)
    Address.dumpAddresses(out)
    Nexthop.dumpObjects(out)
    const objects: Nexthop.NexthopObject[] = []
    this.#links.clear()
    this.#addresses.clear()
    for (const { type, body } of messages(addon.netlinkDump(this.#options.netns, out.finish()))) {
      if (type === Link.newLink) {
        const { index, name, mac, up, carrier } = Link.decode(body)
        this.#links.set(index, { index, name, mac, isUsable: up && carrier })
      } else if (type === RTM_NEWADDR) {
        const address = heldOf(Address.decode(body))
        this.#addresses.set(address.index, [...(this.#addresses.get(address.index) ?? []), address])
      } else if (type === Nexthop.newNexthop) objects.push(Nexthop.decode(body))
    }
    this.#foreign.replaceObjects(objects, this.#untold)
  }
}

const first = (prefixes: ReadonlySet<string>, count: number): Set<string> => {
  const some = new Set<string>()
  for (const prefix of prefixes) if (some.add(prefix).size === count) break
  return some
}
