/**
 * The routes that a namespace has now, whoever made them, with their nexthop groups resolved: what `weft routes` shows.
 *
 * Read in slices and handed over in pages, so that a table of a million neither stops the thread nor fills the memory.
 */
import { addon } from "../../native/index.ts"
import { familyOf, parse, parsePrefix } from "../../wire/ip.ts"
import { messages, Writer, type Message } from "../../wire/netlink.ts"
import { covers, networkOf } from "../../wire/prefix.ts"
import * as Link from "../../wire/rtnetlink/link.ts"
import * as Nexthop from "../../wire/rtnetlink/nexthop-object.ts"
import { decode, dumpEntries, type Entry, newRoute, type Way } from "../../wire/rtnetlink/route-entry.ts"
import { protocol as ours } from "./protocol.ts"
import { SlicedDump } from "./route-socket.ts"

const AF_INET = 2
const AF_INET6 = 10
const localTable = 255
const sliceMs = 3
const kernelProtocol = 2
const scopeLink = 253
/** What groups of ours give a backup and a winner (groups.ts). */
const winnerWeight = 255

/** rtm_protocol by number: what it is called, and its letter in a table. Others have their number and `K`. */
const protocols = new Map<number, readonly [name: string, code: string]>([
  [2, ["kernel", "K"]], [3, ["boot", "K"]], [4, ["static", "S"]], [9, ["ra", "K"]], [12, ["bird", "K"]], [16, ["dhcp", "K"]],
  [11, ["zebra", "K"]], [94, ["static", "S"]], [ours, ["bgp", "B"]], [186, ["bgp", "B"]], [187, ["isis", "I"]], [188, ["ospf", "O"]],
  [189, ["rip", "R"]]
])
/** rtm_type by number. */
const types = ["", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"]

export interface RoutesQuery {
  /** Undefined: both, IPv4 first. */
  readonly family?: "ipv4" | "ipv6"
  /** 0: all but the kernel's own table of local addresses. */
  readonly table: number
  /** A prefix: this one alone. An address: the longest match in each table. */
  readonly prefix?: string
  /** Name: `bgp`, `static`, `connected`, ... */
  readonly protocol?: string
  /** Routes of a page. */
  readonly pageRoutes: number
}

export interface RouteWayView {
  /** Empty: the destination is on the link. */
  readonly gateway: string
  readonly ifname: string
  readonly weight: number
  /** Takes over when the others are lost. */
  readonly backup: boolean
  readonly down: boolean
}

export interface RouteView {
  readonly prefix: string
  readonly family: "ipv4" | "ipv6"
  readonly table: number
  readonly metric: number
  /** `connected`, `static`, `bgp`, `kernel`, ... */
  readonly protocol: string
  /** C connected, S static, B BGP, K kernel and others, ... */
  readonly code: string
  /** `unicast`, `blackhole`, ... */
  readonly type: string
  /** The one of this prefix and table that packets take. */
  readonly selected: boolean
  /** Nexthop object of the kernel, or 0. */
  readonly nexthopId: number
  readonly ways: ReadonlyArray<RouteWayView>
  /** Source address that the node itself prefers; often empty. */
  readonly source: string
}

interface Context {
  readonly names: ReadonlyMap<number, string>
  readonly objects: ReadonlyMap<number, Nexthop.NexthopObject>
}

/** What an argument of `prefix` asks for; undefined: it is neither a prefix nor an address. */
export const wantedOf = (text: string): { readonly prefix: string } | { readonly address: Uint8Array } | undefined => {
  if (text.includes("/")) return parsePrefix(text) === undefined ? undefined : { prefix: networkOf(text) }
  const address = parse(text)
  return address === undefined ? undefined : { address }
}

/** Pages of the routes of a namespace. Throws NativeError when it cannot be read. */
export async function* readRoutes(netns: number, query: RoutesQuery): AsyncGenerator<ReadonlyArray<RouteView>> {
  const context = readContext(netns)
  const wanted = query.prefix === undefined ? undefined : wantedOf(query.prefix)
  const family = query.prefix === undefined ? query.family : familyOf(query.prefix)
  const families = [...(family === "ipv6" ? [] : [AF_INET]), ...(family === "ipv4" ? [] : [AF_INET6])]
  const request = (number: number) => (out: Writer): void => dumpEntries(out, { family: number, table: query.table, protocol: 0 })
  const dump = new SlicedDump(netns, families.map(request))
  let page: RouteView[] = []
  let before = ""
  const longest = new Map<string, RouteView[]>()
  const take = ({ type, body }: Message): void => {
    const entry = type === newRoute ? decode(body) : undefined
    if (entry === undefined || (query.table === 0 && entry.table === localTable)) return
    // Of one prefix, the kernel keeps and tells the lowest metric first.
    const key = `${entry.table} ${entry.prefix}`
    const view = toView(entry, key !== before, context)
    before = key
    if (query.protocol !== undefined && view.protocol !== query.protocol) return
    if (wanted === undefined || ("prefix" in wanted && wanted.prefix === view.prefix)) page.push(view)
    else if ("address" in wanted) keepLongest(longest, view, wanted.address)
  }
  try {
    for (let hasMore = true; hasMore; ) {
      hasMore = dump.run(sliceMs, take)
      while (page.length >= query.pageRoutes) {
        yield page.slice(0, query.pageRoutes)
        page = page.slice(query.pageRoutes)
      }
      await new Promise((then) => setImmediate(then))
    }
    page.push(...[...longest.values()].flat())
    if (page.length > 0) yield page
  } finally {
    dump.close()
  }
}

/** `readRoutes` of the namespace at a path, which is held open meanwhile. */
export async function* readRoutesAt(path: string, query: RoutesQuery): AsyncGenerator<ReadonlyArray<RouteView>> {
  const netns = addon.netnsOpen(path)
  try {
    yield* readRoutes(netns, query)
  } finally {
    addon.close(netns)
  }
}

const keepLongest = (longest: Map<string, RouteView[]>, view: RouteView, address: Uint8Array): void => {
  const { address: network, length } = parsePrefix(view.prefix)!
  if (!covers(network, length, address)) return
  const key = `${view.table}`
  const best = longest.get(key)
  const bestLength = best === undefined ? -1 : parsePrefix(best[0]!.prefix)!.length
  if (length > bestLength) longest.set(key, [view])
  else if (length === bestLength) best!.push(view)
}

const readContext = (netns: number): Context => {
  const out = new Writer(256)
  Link.dumpLinks(out)
  Nexthop.dumpObjects(out)
  const names = new Map<number, string>()
  const objects = new Map<number, Nexthop.NexthopObject>()
  for (const { type, body } of messages(addon.netlinkDump(netns, out.finish()))) {
    if (type === Link.newLink) {
      const { index, name } = Link.decode(body)
      names.set(index, name)
    } else if (type === Nexthop.newNexthop) {
      const object = Nexthop.decode(body)
      objects.set(object.id, object)
    }
  }
  return { names, objects }
}

const toView = (entry: Entry, selected: boolean, context: Context): RouteView => {
  const { metric, nexthop, preferredSource = "", prefix, protocol, table, type } = entry
  const ways = nexthop === 0 ? entry.ways.map((way) => wayView(way, false, context)) : waysOf(nexthop, context)
  const isConnected = protocol === kernelProtocol && type === 1 && ways.every(({ gateway }) => gateway === "")
  const [name, code] = isConnected || (protocol === kernelProtocol && entry.scope === scopeLink)
    ? ["connected", "C"]
    : type === 2 ? ["local", "L"] : protocols.get(protocol) ?? [String(protocol), "K"]
  return {
    prefix,
    family: familyOf(prefix),
    table,
    metric,
    protocol: name,
    code,
    type: types[type] ?? String(type),
    selected,
    nexthopId: nexthop,
    ways,
    source: preferredSource
  }
}

const wayView = ({ gateway = "", index, isDown = false, weight }: Way, backup: boolean, { names }: Context): RouteWayView => ({
  gateway,
  ifname: names.get(index) ?? String(index),
  weight,
  backup,
  down: isDown
})

const waysOf = (id: number, context: Context): RouteWayView[] => {
  const object = context.objects.get(id)
  if (object === undefined) return []
  if (object.members === undefined) return object.isBlackhole ? [] : [wayView({ ...object, weight: 1 }, false, context)]
  const isPair = object.protocol === ours && object.resilient !== undefined && object.members.some(({ weight }) => weight === winnerWeight)
  return object.members.flatMap(({ id: member, weight }) => {
    const way = context.objects.get(member)
    return way === undefined ? [] : [wayView({ ...way, weight }, isPair && weight === 1, context)]
  })
}
