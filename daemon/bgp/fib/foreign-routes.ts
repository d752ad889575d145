/**
 * Routes that others made, as far as they matter to BGP: static ones (weft's own and those of the administrator), from router
 * advertisements and DHCP. They can be redistributed, and they lead to next hops.
 *
 * Not kept: what other routing daemons made. Two of them in one namespace do not learn from each other through the kernel.
 *
 * When notifications were lost, all is read again, in slices, while more notifications come (`begin`, `dumped`, `swept`). What was read
 * may be older than a notification that came before it, so a route of which was notified since the begin is left as notified. What
 * neither was read nor notified is gone. Where that cannot be told, because more was lost meanwhile, nothing is removed, and `swept`
 * asks for another round.
 */
import { format, parsePrefix } from "../../wire/ip.ts"
import type { Writer } from "../../wire/netlink.ts"
import { masked } from "../../wire/prefix.ts"
import type { NexthopObject } from "../../wire/rtnetlink/nexthop-object.ts"
import { dumpEntries, type Entry, unicastType } from "../../wire/rtnetlink/route-entry.ts"
import type { ForeignRoute } from "./api.ts"

/** rtm_protocol: weft's static routes, `ip route` without a protocol, `proto static`. */
const staticProtocols = [94, 3, 4]
/** Router advertisements, DHCP. */
const otherProtocols = [9, 16]
const blackholeType = 6

export const isForeign = ({ protocol, type }: Pick<Entry, "protocol" | "type">): boolean =>
  (type === unicastType || type === blackholeType) && (staticProtocols.includes(protocol) || otherProtocols.includes(protocol))

/** Whether the body of a message is about a foreign route: told without decoding it. */
export const isAboutForeign = (body: Uint8Array): boolean => isForeign({ protocol: body[5]!, type: body[7]! })

/** Dumps of all routes: passing over a million here can be done in slices, in the kernel it cannot. */
export const allDumps: ReadonlyArray<(out: Writer) => void> =
  [2, 10].map((family) => (out) => dumpEntries(out, { family, table: 0, protocol: 0 }))

/** Dumps of foreign routes only: the kernel passes over the million that may be there. */
export const foreignDumps: ReadonlyArray<(out: Writer) => void> =
  [...staticProtocols, ...otherProtocols].map((protocol) => (out) => dumpEntries(out, { family: 0, table: 0, protocol }))

/** Prefixes that changed, by table. */
export type Touched = Map<number, Set<string>>

/** A route that is kept: there may be a million. `round`: in which reading it was seen last, or since which it was notified. */
interface Kept extends Pick<Entry, "prefix" | "table" | "metric" | "type" | "protocol" | "nexthop" | "ways"> {
  round: number
}

interface Table {
  /** Entries of a prefix, lowest metric first. */
  readonly entries: Map<string, Kept[]>
  /** How many prefixes have this length, by length; IPv6 at 64 and above + 33. */
  readonly lengths: { readonly ipv4: Map<number, number>; readonly ipv6: Map<number, number> }
}

export const touch = (touched: Touched, table: number, prefix: string): void => {
  const prefixes = touched.get(table)
  if (prefixes === undefined) touched.set(table, new Set([prefix]))
  else prefixes.add(prefix)
}

type Key = Pick<Entry, "metric" | "protocol">

const isSame = (a: Key, b: Key): boolean => a.metric === b.metric && a.protocol === b.protocol
const keyOf = ({ metric, prefix, protocol, table }: Entry): string => `${table} ${prefix} ${metric} ${protocol}`
const waysKey = (ways: Entry["ways"]): string => ways.map(({ gateway, index, weight }) => `${gateway} ${index} ${weight}`).join()

/** Lists of ways that are kept for the next route with the same one. */
const sharedWays = 256
/** Prefixes between two looks at the clock. */
const stride = 256
export class ForeignRoutes {
  readonly #isUsable: (ifindex: number) => boolean
  readonly #tables = new Map<number, Table>()
  readonly #objects = new Map<number, NexthopObject>()
  readonly #ways = new Map<string, Entry["ways"]>()
  #round = 0
  /** While all is read again: what notifications have removed since. */
  #removed: Set<string> | undefined
  #isSpoiled = false
  #sweeping: Generator<undefined, void> | undefined

  /** `isUsable`: whether an interface takes packets now. */
  constructor(isUsable: (ifindex: number) => boolean) {
    this.#isUsable = isUsable
  }

  /** Takes in a notification. */
  note(entry: Entry, isNew: boolean, touched: Touched): void {
    if (isNew) return this.#keep(entry, touched)
    this.#removed?.add(keyOf(entry))
    const table = this.#table(entry.table)
    const before = table.entries.get(entry.prefix)
    if (before !== undefined) this.#put(table, entry.prefix, before.filter((one) => !isSame(one, entry)))
    touch(touched, entry.table, entry.prefix)
  }

  /** Everything will be read again, from now on. */
  begin(): void {
    this.#round++
    this.#removed = new Set()
    this.#isSpoiled = false
    this.#sweeping = undefined
  }

  /** Notifications were lost, or routes left without one: what is being read does not say what is gone. */
  spoil(): void {
    this.#isSpoiled = true
  }

  /** Takes in what was read. */
  dumped(entry: Entry, touched: Touched): void {
    if (this.#removed?.has(keyOf(entry)) === true) return
    const before = this.#tables.get(entry.table)?.entries.get(entry.prefix)?.find((one) => isSame(one, entry))
    if (before?.round === this.#round) return
    const isKnown = before?.type === entry.type && before.nexthop === entry.nexthop && waysKey(before.ways) === waysKey(entry.ways)
    if (isKnown) before.round = this.#round
    else this.#keep(entry, touched)
  }

  /**
   * All was read: removes what was not seen again, until `end` (`performance.now()`). `more`: call again, with the same `touched`;
   * `again`: all must be read once more.
   */
  swept(end: number, touched: Touched): "done" | "more" | "again" {
    this.#sweeping ??= this.#isSpoiled ? undefined : this.#sweep(touched)
    while (!this.#isSpoiled && this.#sweeping?.next().done === false) if (performance.now() >= end) return "more"
    this.#sweeping = undefined
    this.#removed = undefined
    return this.#isSpoiled ? "again" : "done"
  }

  /** All nexthop objects that there are. */
  replaceObjects(objects: ReadonlyArray<NexthopObject>, touched: Touched): void {
    const now = new Map(objects.map((object) => [object.id, object]))
    const gone = new Set([...this.#objects.keys()].filter((id) => !now.has(id)))
    if (gone.size > 0) this.#drop(gone, touched)
    const changed = new Set<number>()
    for (const object of objects) {
      if (JSON.stringify(this.#objects.get(object.id)) === JSON.stringify(object)) continue
      this.#objects.set(object.id, object)
      changed.add(object.id)
    }
    if (changed.size > 0) this.#touchUsers(({ nexthop }) => nexthop !== 0, touched)
  }

  /** A nexthop object came (or changed), or went: without one, its routes are gone. */
  object(object: NexthopObject, isNew: boolean, touched: Touched): void {
    if (isNew) this.#objects.set(object.id, object)
    else this.#drop(new Set([object.id]), touched)
    this.#touchUsers((entry) => entry.nexthop === object.id, touched)
  }

  /**
   * What the kernel does without telling. `isLost`: the interface has no carrier (any more): nexthop objects on it are gone.
   * `isDown`: it is down or has no IPv4 any more, and IPv4 routes through it are gone.
   */
  lose(index: number, { isDown, isLost }: { readonly isDown: boolean; readonly isLost: boolean }, touched: Touched): void {
    if (isLost || isDown) {
      const dead = new Set<number>()
      for (const object of this.#objects.values()) if (isLost && object.index === index && object.members === undefined) dead.add(object.id)
      if (dead.size > 0) this.#drop(dead, touched)
    }
    if (isDown) {
      this.#remove(
        ({ prefix, nexthop, ways }) =>
          !prefix.includes(":") && nexthop === 0 && ways.length > 0 && ways.every((way) => way.index === index),
        touched
      )
    }
    this.#touchUsers(({ ways, nexthop }) => nexthop !== 0 || ways.some((way) => way.index === index), touched)
  }

  best(table: number, prefix: string): ForeignRoute | undefined {
    for (const entry of this.#tables.get(table)?.entries.get(prefix) ?? []) {
      const route = this.#resolve(entry)
      if (route !== undefined) return route
    }
    return undefined
  }

  *all(table: number, source: "static" | "other"): Generator<ForeignRoute> {
    for (const prefix of this.#tables.get(table)?.entries.keys() ?? []) {
      const route = this.best(table, prefix)
      if (route?.source === source) yield route
    }
  }

  longest(table: number, address: Uint8Array): { readonly route: ForeignRoute; readonly length: number } | undefined {
    const found = this.#tables.get(table)
    if (found === undefined) return undefined
    const lengths = found.lengths[address.length === 4 ? "ipv4" : "ipv6"]
    for (const length of [...lengths.keys()].sort((a, b) => b - a)) {
      const route = this.best(table, `${format(masked(address, length))}/${length}`)
      if (route !== undefined) return { route, length }
    }
    return undefined
  }

  #keep({ metric, nexthop, prefix, protocol, table: number, type, ways }: Entry, touched: Touched): void {
    const table = this.#table(number)
    const kept = { prefix, table: number, metric, type, protocol, nexthop, ways: this.#shared(ways), round: this.#round }
    const others = (table.entries.get(prefix) ?? []).filter((one) => !isSame(one, kept))
    this.#put(table, prefix, others.length === 0 ? [kept] : [...others, kept].sort((a, b) => a.metric - b.metric))
    touch(touched, number, prefix)
  }

  /** Many routes lead the same way. */
  #shared(ways: Entry["ways"]): Entry["ways"] {
    const key = waysKey(ways)
    const known = this.#ways.get(key)
    if (known !== undefined) return known
    if (this.#ways.size >= sharedWays) this.#ways.clear()
    this.#ways.set(key, ways)
    return ways
  }

  *#sweep(touched: Touched): Generator<undefined, void> {
    let looked = 0
    for (const [number, table] of this.#tables) {
      for (const [prefix, entries] of table.entries) {
        if (++looked % stride === 0) yield
        if (entries.every(({ round }) => round === this.#round)) continue
        this.#put(table, prefix, entries.filter(({ round }) => round === this.#round))
        touch(touched, number, prefix)
      }
    }
  }

  #table(number: number): Table {
    let table = this.#tables.get(number)
    if (table === undefined) {
      table = { entries: new Map(), lengths: { ipv4: new Map(), ipv6: new Map() } }
      this.#tables.set(number, table)
    }
    return table
  }

  #put(table: Table, prefix: string, entries: Kept[]): void {
    const had = table.entries.has(prefix)
    if (entries.length > 0) table.entries.set(prefix, entries)
    else table.entries.delete(prefix)
    const has = entries.length > 0
    if (had === has) return
    const lengths = table.lengths[prefix.includes(":") ? "ipv6" : "ipv4"]
    const length = parsePrefix(prefix)!.length
    const count = (lengths.get(length) ?? 0) + (has ? 1 : -1)
    if (count > 0) lengths.set(length, count)
    else lengths.delete(length)
  }

  #remove(isDead: (entry: Kept) => boolean, touched: Touched): void {
    this.#isSpoiled = true
    for (const [number, table] of this.#tables) {
      for (const [prefix, entries] of table.entries) {
        if (!entries.some(isDead)) continue
        this.#put(table, prefix, entries.filter((entry) => !isDead(entry)))
        touch(touched, number, prefix)
      }
    }
  }

  #touchUsers(isUser: (entry: Kept) => boolean, touched: Touched): void {
    for (const [number, table] of this.#tables) {
      for (const [prefix, entries] of table.entries) if (entries.some(isUser)) touch(touched, number, prefix)
    }
  }

  /** These objects are gone: from groups, too, and groups without members go with them, and routes with either. */
  #drop(dead: Set<number>, touched: Touched): void {
    for (const object of this.#objects.values()) {
      if (object.members === undefined || !object.members.some(({ id }) => dead.has(id))) continue
      const members = object.members.filter(({ id }) => !dead.has(id))
      if (members.length === 0) dead.add(object.id)
      else this.#objects.set(object.id, { ...object, members })
    }
    for (const id of dead) this.#objects.delete(id)
    this.#remove(({ nexthop }) => dead.has(nexthop), touched)
  }

  /** The route with the ways that can be used now; undefined: there are none, and it does not discard either. */
  #resolve(entry: Kept): ForeignRoute | undefined {
    const ways = (entry.nexthop === 0 ? entry.ways : this.#waysOf(entry.nexthop))
      .filter(({ index }) => this.#isUsable(index))
      .map(({ gateway, index, weight }) => ({ ...(gateway === undefined ? {} : { gateway }), ifindex: index, weight }))
    if (ways.length === 0 && entry.type === unicastType) return undefined
    const source = staticProtocols.includes(entry.protocol) ? "static" : "other"
    return { prefix: entry.prefix, source, table: entry.table, metric: entry.metric, ways }
  }

  #waysOf(id: number, weight = 1): Entry["ways"] {
    const object = this.#objects.get(id)
    if (object === undefined || object.isBlackhole) return []
    if (object.members !== undefined) return object.members.flatMap((member) => this.#waysOf(member.id, member.weight))
    const { gateway, index } = object
    return [{ ...(gateway === undefined ? {} : { gateway }), index, weight }]
  }
}
