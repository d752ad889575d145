/**
 * Static routes whose next hops BFD watches: one that is lost leaves its nexthop group, and a route with no other leaves the
 * kernel, so that a less specific one or one of a higher metric takes over. Both come back with the session.
 *
 * The kernel does not know what a route would have besides. What is left out stands here, and `observe` of routes and groups
 * puts it back in (`asWanted...`): so a lost next hop is no difference that a deploy would mend.
 */
import { reasonOf } from "../linux/errors.ts"
import * as Netns from "../linux/netns.ts"
import { Batch, dump } from "../linux/rtnetlink.ts"
import type { NexthopMember, NexthopSpec, ResourceOf, RouteSpec } from "../plan/resource.ts"
import * as Link from "../wire/rtnetlink/link.ts"
import type { BfdSessions } from "./bfd-sessions.ts"
import { removeGroup, removeRoute, writeGroup, writeRoute } from "./route-requests.ts"

/** By id of the resource. */
interface Watched {
  readonly groups: ReadonlyMap<string, NexthopSpec>
  /** Routes by one watched gateway, and those that use a watched group. */
  readonly routes: ReadonlyMap<string, RouteSpec>
  /** Ids of groups and routes, with what is left of them in the kernel. */
  readonly reduced: Map<string, ReadonlyArray<NexthopMember>>
}

/** What is asked of a lab. */
interface Lab {
  readonly name: string
  desiredOf(kind: "nexthop"): Iterable<ResourceOf<"nexthop">>
  desiredOf(kind: "route"): Iterable<ResourceOf<"route">>
}

type Indexes = (ifname: string) => number

const sameHop = (a: NexthopMember, b: NexthopMember): boolean => a.gateway === b.gateway && a.ifname === b.ifname

export class BfdRoutes {
  private readonly sessions: BfdSessions
  private readonly tell: (message: string) => void
  /** By lab, then by node. */
  private readonly watched = new Map<string, Map<string, Watched>>()
  private readonly seen = new WeakSet<Lab>()

  constructor(sessions: BfdSessions, tell: (message: string) => void) {
    this.sessions = sessions
    this.tell = tell
    sessions.onHop(({ lab, node }) => this.apply(lab, node))
  }

  /** Knows the lab's routes as they should be from now on. Called before they are written; once for each `lab` is enough. */
  follow(lab: Lab): void {
    if (this.seen.has(lab)) return
    this.seen.add(lab)
    const before = this.watched.get(lab.name)
    const nodes = new Map<string, { groups: Map<string, NexthopSpec>; routes: Map<string, RouteSpec> }>()
    const of = (node: string) => {
      const found = nodes.get(node) ?? { groups: new Map<string, NexthopSpec>(), routes: new Map<string, RouteSpec>() }
      nodes.set(node, found)
      return found
    }
    const ids = new Set<string>()
    for (const { id, spec } of lab.desiredOf("nexthop")) {
      if (!spec.members.some(({ bfd }) => bfd !== undefined)) continue
      of(spec.node).groups.set(id, spec)
      ids.add(`${spec.node} ${spec.id}`)
    }
    for (const { id, spec } of lab.desiredOf("route")) {
      if (spec.via?.bfd !== undefined || ids.has(`${spec.node} ${spec.nexthop}`)) of(spec.node).routes.set(id, spec)
    }
    const reducedOf = (node: string): Watched["reduced"] => before?.get(node)?.reduced ?? new Map<string, ReadonlyArray<NexthopMember>>()
    this.watched.set(lab.name, new Map(Array.from(nodes, ([node, own]) => [node, { ...own, reduced: reducedOf(node) }])))
  }

  forget(lab: string, node: string): void {
    const nodes = this.watched.get(lab)
    nodes?.delete(node)
    if (nodes?.size === 0) this.watched.delete(lab)
  }

  /** The members of a group that is about to be written which may be used. */
  usable(lab: string, id: string, spec: NexthopSpec): ReadonlyArray<NexthopMember> {
    const members = spec.members.filter((member) => !this.isLost(lab, spec.node, member))
    const reduced = this.watched.get(lab)?.get(spec.node)?.reduced
    if (members.length === spec.members.length) reduced?.delete(id)
    else reduced?.set(id, members)
    return members
  }

  /** Whether a route that is about to be written may be: its gateway, or some member of its group, is not lost. */
  isUsable(lab: string, id: string, spec: RouteSpec): boolean {
    const watched = this.watched.get(lab)?.get(spec.node)
    const group = spec.nexthop === undefined ? undefined : groupOf(watched, spec.nexthop)
    const ways = group?.members ?? (spec.via === undefined ? [] : [{ ...spec.via, weight: 1 }])
    const isUsable = ways.length === 0 || ways.some((way) => !this.isLost(lab, spec.node, way))
    if (isUsable) watched?.reduced.delete(id)
    else watched?.reduced.set(id, [])
    return isUsable
  }

  /** What is observed of a group, with BFD and the members that BFD has taken out. */
  asWantedGroup(lab: string, id: string, spec: NexthopSpec): NexthopSpec {
    const watched = this.watched.get(lab)?.get(spec.node)
    const wanted = watched?.groups.get(id)
    if (wanted === undefined) return spec
    const left = watched?.reduced.get(id)
    const isOut = (member: NexthopMember): boolean => left !== undefined && !left.some((one) => sameHop(one, member))
    const isKnown = (member: NexthopMember): boolean => spec.members.some((one) => sameHop(one, member) && one.weight === member.weight)
    const members = wanted.members.filter((member) => isOut(member) || isKnown(member))
    return { ...spec, members: [...members, ...spec.members.filter((member) => !wanted.members.some((one) => sameHop(one, member)))] }
  }

  /** What is observed of a route, with BFD. */
  asWantedRoute(lab: string, id: string, spec: RouteSpec): RouteSpec {
    const bfd = this.watched.get(lab)?.get(spec.node)?.routes.get(id)?.via
    if (bfd?.bfd === undefined || spec.via === undefined || !sameHop({ ...bfd, weight: 1 }, { ...spec.via, weight: 1 })) return spec
    return { ...spec, via: { ...spec.via, bfd: bfd.bfd } }
  }

  /** Groups and routes that the kernel does not have because of BFD. */
  *absent(lab: string): Generator<readonly [id: string, spec: NexthopSpec | RouteSpec]> {
    for (const { groups, reduced, routes } of this.watched.get(lab)?.values() ?? []) {
      for (const [id, left] of reduced) {
        const spec = left.length > 0 ? undefined : groups.get(id) ?? routes.get(id)
        if (spec !== undefined) yield [id, spec]
      }
    }
  }

  private isLost(lab: string, node: string, { bfd, gateway, ifname }: Pick<NexthopMember, "bfd" | "gateway" | "ifname">): boolean {
    return bfd !== undefined && gateway !== undefined && this.sessions.isLost({ lab, node, gateway, ifname })
  }

  /** Next hops of the node were lost or came back. */
  private apply(lab: string, node: string): void {
    const watched = this.watched.get(lab)?.get(node)
    const name = Netns.nodeName(lab, node)
    if (watched === undefined) return
    try {
      Netns.within(name, (netns) => {
        const links = Array.from(dump(netns.fd, (out) => Link.dumpLinks(out)), ({ body }) => Link.decode(body))
        const indexes = new Map(links.map((link) => [link.name, link.index]))
        const batch = new Batch(netns.fd)
        this.write(lab, watched, batch, (ifname) => indexes.get(ifname) ?? -1)
        for (const { error } of batch.commit()) this.tell(`${node}: ${error.message}`)
      })
    } catch (error) {
      this.tell(`${node}: ${reasonOf(error)}`)
    }
  }

  private write(lab: string, watched: Watched, batch: Batch, index: Indexes): void {
    const returned = new Set<number>()
    for (const [id, spec] of watched.groups) {
      const before = watched.reduced.get(id) ?? spec.members
      const now = this.usable(lab, id, spec)
      if (now.length === before.length && now.every((member, i) => sameHop(member, before[i]!))) continue
      if (now.length === 0) removeGroup(batch, { ...spec, members: before }, 0)
      else writeGroup(batch, { spec: { ...spec, members: now }, before: { ...spec, members: before }, index, tag: 0 })
      // The kernel removes routes with their group, and a group with its last member's interface.
      if (now.length > before.length) returned.add(spec.id)
    }
    for (const [id, spec] of watched.routes) {
      const wasOut = watched.reduced.has(id)
      const isUsable = this.isUsable(lab, id, spec)
      if (isUsable && (wasOut || returned.has(spec.nexthop ?? 0))) writeRoute(batch, { spec, index, tag: 0 })
      else if (!isUsable && !wasOut && spec.nexthop === undefined) removeRoute(batch, spec, 0)
    }
  }
}

const groupOf = (watched: Watched | undefined, id: number): NexthopSpec | undefined => {
  for (const spec of watched?.groups.values() ?? []) if (spec.id === id) return spec
  return undefined
}
