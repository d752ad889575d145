/**
 * Routes that others made, as far as they matter to BGP: static ones (weft's own and those of the administrator), from router
 * advertisements and DHCP. They can be redistributed, and they lead to next hops.
 *
 * Not kept: what other routing daemons made. Two of them in one namespace do not learn from each other through the kernel.
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

export const isForeign = ({ protocol, type }: Entry): boolean =>
  (type === unicastType || type === blackholeType) && (staticProtocols.includes(protocol) || otherProtocols.includes(protocol))

/** Asks for foreign routes only: the kernel passes over the million that may be there. */
export const dumpForeign = (out: Writer): void => {
  for (const protocol of [...staticProtocols, ...otherProtocols]) dumpEntries(out, { family: 0, table: 0, protocol })
}

/** Prefixes that changed, by table. */
export type Touched = Map<number, Set<string>>

interface Table {
  /** Entries of a prefix, lowest metric first. */
  readonly entries: Map<string, Entry[]>
  /** How many prefixes have this length, by length; IPv6 at 64 and above + 33. */
  readonly lengths: { readonly ipv4: Map<number, number>; readonly ipv6: Map<number, number> }
}

const touch = (touched: Touched, table: number, prefix: string): void => {
  const prefixes = touched.get(table)
  if (prefixes === undefined) touched.set(table, new Set([prefix]))
  else prefixes.add(prefix)
}

const isSame = (a: Entry, b: Entry): boolean => a.metric === b.metric && a.protocol === b.protocol

export class ForeignRoutes {
  readonly #isUsable: (ifindex: number) => boolean
  readonly #tables = new Map<number, Table>()
  readonly #objects = new Map<number, NexthopObject>()

  /** `isUsable`: whether an interface takes packets now. */
  constructor(isUsable: (ifindex: number) => boolean) {
    this.#isUsable = isUsable
  }

  clear(touched: Touched): void {
    for (const [table, { entries }] of this.#tables) for (const prefix of entries.keys()) touch(touched, table, prefix)
    this.#tables.clear()
    this.#objects.clear()
  }

  note(entry: Entry, isNew: boolean, touched: Touched): void {
    const table = this.#table(entry.table)
    const before = table.entries.get(entry.prefix) ?? []
    const others = before.filter((one) => !isSame(one, entry))
    const after = isNew ? [...others, entry].sort((a, b) => a.metric - b.metric) : others
    this.#put(table, entry.prefix, after)
    touch(touched, entry.table, entry.prefix)
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

  #table(number: number): Table {
    let table = this.#tables.get(number)
    if (table === undefined) {
      table = { entries: new Map(), lengths: { ipv4: new Map(), ipv6: new Map() } }
      this.#tables.set(number, table)
    }
    return table
  }

  #put(table: Table, prefix: string, entries: Entry[]): void {
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

  #remove(isDead: (entry: Entry) => boolean, touched: Touched): void {
    for (const [number, table] of this.#tables) {
      for (const [prefix, entries] of table.entries) {
        if (!entries.some(isDead)) continue
        this.#put(table, prefix, entries.filter((entry) => !isDead(entry)))
        touch(touched, number, prefix)
      }
    }
  }

  #touchUsers(isUser: (entry: Entry) => boolean, touched: Touched): void {
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
  #resolve(entry: Entry): ForeignRoute | undefined {
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
