/**
 * Kernel nexthop groups: one for each pair (winners | backup) that routes use, whatever their number (BGP PIC).
 *
 * A next hop has one nexthop object in the kernel for each of its ways; a group has those of its winners and, where there is one,
 * those of its backup. Groups with a backup are resilient ones of 64 buckets in which winners weigh 255 and backups 1: too little
 * for a single bucket (net/ipv4/nexthop.c: nh_res_group_rebalance), so that the backup gets nothing while a winner is there.
 *
 * - A link loses its carrier: the kernel drops the nexthop objects on it, and gives their buckets to what is left in each group, the
 *   backup if need be, before anybody here hears of it.
 * - A next hop is down (BFD): its nexthop objects are removed, and the same happens. One request, whatever the number of routes and
 *   groups.
 * - What is back, or found on another way, is put in by replacing groups; nobody waits for that.
 *
 * A group that has lost its last member is gone, and the kernel has removed its routes. `Installation` is one life of a group in the
 * kernel: routes know in which they were written, so those that are lost need not be looked for. `onRevived` says that a group lives
 * again and its routes must be written again.
 *
 * Not done: weights of more than 8 bits; more than two ways of backups at a time.
 */
import { addon } from "../../native/index.ts"
import { messages, Writer } from "../../wire/netlink.ts"
import * as Nexthop from "../../wire/rtnetlink/nexthop-object.ts"
import { RouteKind } from "./api.ts"
import type { NextHops, Way } from "./next-hops.ts"
import { protocol } from "./protocol.ts"
import type { Refusal, RouteSocket } from "./route-socket.ts"

/** Ids of ours have this in front: static routes' are below 2^31, those of other daemons small numbers. */
const firstId = 0x95000000
const lastId = 0x95ffffff
const buckets = 64
const winnerWeight = 255
const backupWeight = 1
const maxBackups = 2
/** What `resilient` hashing waits before it moves a flow, s. */
const idleS = 120
/** From so many routes on, the kernel is kept from telling everybody of each route of a group that is replaced. */
const quietFrom = 500
const quietPath = "/proc/sys/net/ipv4/nexthop_compat_mode"
const newNexthop = 104

export interface Group {
  readonly handle: number
  readonly key: string
  readonly kind: RouteKind
  readonly winners: ReadonlyArray<number>
  readonly weights: ReadonlyArray<number>
  readonly backup: ReadonlyArray<number>
  /** Routes that want it. */
  wanted: number
  /** Its present life in the kernel, or -1. */
  installation: number
  /** What is in the kernel. */
  members: ReadonlyArray<Nexthop.Member>
}

/** One life of a group in the kernel. */
export interface Installation {
  /** Kernel's id; 0: routes that discard need none. */
  readonly id: number
  isAlive: boolean
  /** Routes written with it. */
  routes: number
  /** -1: adopted, nobody has asked for such a group yet. */
  group: number
  readonly resilient: Nexthop.Resilient | undefined
}

interface Single {
  readonly id: number
  readonly way: Way
}

/** What a predecessor left, before it is known whose it is. */
interface Adopted {
  readonly groups: Map<number, { readonly members: ReadonlyArray<Nexthop.Member>; readonly installation: number }>
  readonly singles: Map<number, { readonly gateway: string; readonly ifindex: number; isClaimed: boolean }>
}

export interface GroupsOptions {
  readonly netns: number
  readonly socket: RouteSocket
  readonly nextHops: NextHops
  readonly hashing: "plain" | "resilient"
  readonly onRevived: (group: number) => void
  readonly report: (text: string) => void
}

const isSameWay = (a: Way, b: Way): boolean => a.gateway === b.gateway && a.ifindex === b.ifindex

export class Groups {
  readonly #options: GroupsOptions
  readonly #groups: (Group | undefined)[] = []
  readonly #freeGroups: number[] = []
  readonly #byKey = new Map<string, number>()
  readonly #installations: (Installation | undefined)[] = []
  readonly #freeInstallations: number[] = []
  /** Groups that have a next hop as winner or backup. */
  readonly #users = new Map<number, Set<Group>>()
  readonly #singles = new Map<number, Single[]>()
  readonly #idle = new Set<number>()
  readonly #failed = new Set<number>()
  readonly #adopted: Adopted = { groups: new Map(), singles: new Map() }
  readonly #takenIds = new Set<number>()
  readonly discard: Installation = { id: 0, isAlive: true, routes: 0, group: -1, resilient: undefined }
  #nextId = firstId
  #count = 0

  constructor(options: GroupsOptions) {
    this.#options = options
    // Number 0: all routes that discard.
    this.#installations.push(this.discard)
  }

  get count(): number {
    return this.#count
  }

  group(handle: number): Group {
    return this.#groups[handle]!
  }

  installation(number: number): Installation {
    return this.#installations[number]!
  }

  /** The installation in which a route of the group is to be written; -1: there is none now. */
  current(group: Group): number {
    return group.kind === RouteKind.discard ? 0 : group.installation
  }

  /** The handle of the group of these next hops; made when there is none. */
  find(kind: RouteKind, winners: ReadonlyArray<number>, backup: ReadonlyArray<number>, weights: ReadonlyArray<number>): number {
    const key = kind === RouteKind.discard ? "discard" : `${kind} ${winners.join()}|${backup.join()}|${weights.join()}`
    const known = this.#byKey.get(key)
    if (known !== undefined) return known
    const handle = this.#freeGroups.pop() ?? this.#groups.length
    const [none, isDiscard] = [[], kind === RouteKind.discard]
    const lists = isDiscard
      ? { winners: none, backup: none, weights: none }
      : { winners: [...winners], backup: [...backup], weights: [...weights] }
    const group: Group = { handle, key, kind, ...lists, wanted: 0, installation: -1, members: [] }
    this.#groups[handle] = group
    this.#byKey.set(key, handle)
    this.#count++
    this.#idle.add(handle)
    for (const index of new Set([...group.winners, ...group.backup])) {
      this.#options.nextHops.retain(index)
      const users = this.#users.get(index)
      if (users === undefined) this.#users.set(index, new Set([group]))
      else users.add(group)
    }
    if (kind !== RouteKind.discard) this.#sync([group])
    return handle
  }

  retain(handle: number): void {
    const group = this.#groups[handle]!
    if (group.wanted++ === 0) this.#idle.delete(handle)
  }

  release(handle: number): void {
    const group = this.#groups[handle]!
    if (--group.wanted === 0) this.#idle.add(handle)
  }

  written(installation: number): void {
    this.#installations[installation]!.routes++
  }

  /** A route of this installation is gone or has another. */
  unwritten(number: number): void {
    const installation = this.#installations[number]!
    installation.routes--
    if (installation.routes > 0 || number === 0) return
    if (installation.group >= 0) this.#idle.add(installation.group)
    else this.#forget(number)
  }

  /** The kernel has dropped all nexthop objects of an interface, or is about to be told to. */
  linkLost(ifindex: number): void {
    const lost = new Set<number>()
    for (const [index, singles] of this.#singles) {
      for (const { id, way } of singles) if (way.ifindex === ifindex) lost.add(id)
      this.#singles.set(index, singles.filter(({ id }) => !lost.has(id)))
    }
    for (const [id, single] of this.#adopted.singles) if (single.ifindex === ifindex) lost.add(id)
    // One that was made while the carrier was going may have been spared: removing what is not there does no harm.
    this.#removeSingles(lost)
  }

  /** The ways of next hops changed: what is lost goes at once, then what is new is put in. */
  changed(indexes: ReadonlyArray<number>): void {
    const touched = new Set<Group>()
    const lost = new Set<number>()
    const replaced = new Set<number>()
    for (const index of indexes) {
      const users = this.#users.get(index)
      if (users === undefined) continue
      const ways = this.#options.nextHops.ways(index)
      const singles = this.#singles.get(index) ?? []
      const gone = singles.filter(({ way }) => !ways.some((one) => isSameWay(one, way)))
      // With another way to go, members are changed before the old way is taken out.
      for (const { id } of gone) (ways.length === 0 ? lost : replaced).add(id)
      this.#singles.set(index, singles.filter((single) => !gone.includes(single)))
      for (const group of users) touched.add(group)
    }
    if (lost.size > 0) this.#removeSingles(lost)
    this.#sync([...touched])
    if (replaced.size > 0) this.#removeSingles(replaced)
  }

  /** Removes groups that nobody needs; true: something failed before and is to be tried again later. */
  collect(): boolean {
    if (this.#idle.size > 0) {
      const ids: number[] = []
      for (const handle of this.#idle) {
        const group = this.#groups[handle]
        if (group === undefined || group.wanted > 0 || this.#hasRoutes(group)) continue
        this.#drop(group, ids)
      }
      this.#idle.clear()
      this.#remove(ids)
    }
    return this.#failed.size > 0
  }

  /** Tries again what the kernel has refused. */
  retry(): void {
    const groups = [...this.#failed].flatMap((handle) => this.#groups[handle] ?? [])
    this.#failed.clear()
    this.#sync(groups)
  }

  /** Somebody may have touched our objects: compares them with the kernel's, and puts back what is missing. */
  verify(): void {
    const kernel = this.#read()
    const lost = new Set<number>()
    for (const [index, singles] of this.#singles) {
      for (const { id } of singles) if (!kernel.has(id)) lost.add(id)
      this.#singles.set(index, singles.filter(({ id }) => !lost.has(id)))
    }
    const touched: Group[] = []
    for (const group of this.#groups) {
      if (group === undefined || group.kind === RouteKind.discard) continue
      const installation = group.installation < 0 ? undefined : this.#installations[group.installation]!
      const found = installation === undefined ? undefined : kernel.get(installation.id)
      if (installation !== undefined && found === undefined) this.#died(group)
      else if (found !== undefined) group.members = found.members ?? []
      touched.push(group)
    }
    this.#sync(touched)
  }

  /** Takes note of what a predecessor left; before anything else. */
  adopt(): void {
    for (const object of this.#read().values()) {
      this.#takenIds.add(object.id)
      if (object.members === undefined) {
        const gateway = object.gateway ?? (Nexthop.isV6(object) ? "::" : "0.0.0.0")
        if (!object.isBlackhole) this.#adopted.singles.set(object.id, { gateway, ifindex: object.index, isClaimed: false })
        continue
      }
      const installation = this.#newInstallation({ id: object.id, isAlive: true, routes: 0, group: -1, resilient: object.resilient })
      this.#adopted.groups.set(object.id, { members: object.members, installation })
    }
  }

  /** Nexthop objects of a predecessor are there. */
  get hasAdopted(): boolean {
    return this.#adopted.groups.size > 0 || this.#adopted.singles.size > 0
  }

  /** The installation of an adopted group, by the kernel's id; -1: no such group. */
  adoptedInstallation(id: number): number {
    return this.#adopted.groups.get(id)?.installation ?? -1
  }

  /** Removes what was adopted and nobody has asked for; routes that use it have gone before. */
  sweep(): void {
    const ids: number[] = []
    for (const [id, { installation }] of this.#adopted.groups) {
      const found = this.#installations[installation]
      const isThere = found?.id === id
      if (isThere && (found.group >= 0 || found.routes > 0)) continue
      ids.push(id)
      if (isThere) this.#forget(installation)
    }
    for (const [id, single] of this.#adopted.singles) if (!single.isClaimed) ids.push(id)
    this.#adopted.groups.clear()
    this.#adopted.singles.clear()
    this.#remove(ids)
    for (const id of ids) this.#takenIds.delete(id)
  }

  /** Takes everything out of the kernel; routes of the groups go with them. */
  flush(): void {
    const ids: number[] = []
    for (const group of this.#groups) if (group !== undefined) this.#drop(group, ids)
    this.#remove(ids)
    this.sweep()
  }

  #hasRoutes(group: Group): boolean {
    return group.installation >= 0 && this.#installations[group.installation]!.routes > 0
  }

  /** Forgets a group; the kernel's ids of what goes with it are added to `ids`, the group before its members. */
  #drop(group: Group, ids: number[]): void {
    if (group.installation >= 0) {
      ids.push(this.#installations[group.installation]!.id)
      this.#died(group)
    }
    this.#groups[group.handle] = undefined
    this.#freeGroups.push(group.handle)
    this.#byKey.delete(group.key)
    this.#failed.delete(group.handle)
    this.#count--
    for (const index of new Set([...group.winners, ...group.backup])) {
      const users = this.#users.get(index)!
      users.delete(group)
      if (users.size === 0) {
        this.#users.delete(index)
        for (const { id } of this.#singles.get(index) ?? []) ids.push(id)
        this.#singles.delete(index)
      }
      this.#options.nextHops.release(index)
    }
  }

  #newInstallation(installation: Installation): number {
    const number = this.#freeInstallations.pop() ?? this.#installations.length
    this.#installations[number] = installation
    return number
  }

  #forget(number: number): void {
    this.#installations[number] = undefined
    this.#freeInstallations.push(number)
  }

  /** The group is not in the kernel any more, and neither are its routes. */
  #died(group: Group): void {
    const number = group.installation
    if (number < 0) return
    const installation = this.#installations[number]!
    installation.isAlive = false
    installation.group = -1
    this.#takenIds.delete(installation.id)
    this.#adopted.groups.delete(installation.id)
    group.installation = -1
    group.members = []
    if (installation.routes === 0) this.#forget(number)
  }

  /** Takes nexthop objects out of the kernel, which takes them out of their groups, and notes what that makes of these. */
  #removeSingles(lost: ReadonlySet<number>): void {
    if (lost.size === 0) return
    this.#remove(lost)
    for (const group of this.#groups) {
      if (group === undefined || !group.members.some(({ id }) => lost.has(id))) continue
      group.members = group.members.filter(({ id }) => !lost.has(id))
      if (group.members.length === 0) this.#died(group)
    }
    for (const [id, { members, installation }] of this.#adopted.groups) {
      if (!members.some((member) => lost.has(member.id))) continue
      const left = members.filter((member) => !lost.has(member.id))
      this.#adopted.groups.set(id, { members: left, installation })
      const found = this.#installations[installation]
      if (left.length === 0 && found?.id === id && found.group < 0) found.isAlive = false
    }
    for (const id of lost) {
      this.#takenIds.delete(id)
      this.#adopted.singles.delete(id)
    }
  }

  #remove(ids: Iterable<number>): void {
    const refused = this.#options.socket.request((out) => {
      for (const id of ids) Nexthop.remove(out, id)
    })
    // ENOENT: it is gone already.
    for (const { code, detail } of refused ?? [{ code: "ENOBUFS", detail: "" }]) {
      if (code !== "ENOENT") this.#options.report(`cannot remove a nexthop: ${code} ${detail}`.trimEnd())
    }
  }

  /** Brings groups in the kernel to what their next hops are now. */
  #sync(groups: ReadonlyArray<Group>): void {
    const writes: { group: Group; members: Nexthop.Member[]; id: number; isNew: boolean }[] = []
    const out = new Writer(1024)
    const purposes = new Map<number, { readonly what: string; readonly group?: Group; readonly index?: number; readonly id: number }>()
    for (const group of groups) {
      if (group.kind === RouteKind.discard || this.#groups[group.handle] !== group) continue
      if (this.#claim(group)) continue
      const members = this.#members(group, out, purposes)
      if (members.length === 0 || isSameMembers(members, group.members)) continue
      const isNew = group.installation < 0
      writes.push({ group, members, id: isNew ? this.#allocateId() : this.#installations[group.installation]!.id, isNew })
    }
    let quietRoutes = 0
    for (const { group, members, id, isNew } of writes) {
      const resilient = this.#resilientOf(group)
      const flags = isNew ? Nexthop.IfThere.fail : Nexthop.IfThere.replace
      const kept = isNew ? resilient : this.#installations[group.installation]!.resilient
      purposes.set(Nexthop.addGroup(out, flags, id, protocol, members, kept), { what: "add a nexthop group", group, id })
      if (!isNew) quietRoutes += this.#installations[group.installation]!.routes
      else {
        group.installation = this.#newInstallation({ id, isAlive: true, routes: 0, group: group.handle, resilient })
        this.#takenIds.add(id)
      }
      group.members = members
    }
    if (out.length === 0) return
    const refusals = quietRoutes >= quietFrom ? this.#quietly(out) : this.#options.socket.send(out.finish())
    this.#refused(refusals, purposes)
    for (const { group, isNew } of writes) if (isNew && group.installation >= 0 && group.wanted > 0) this.#options.onRevived(group.handle)
  }

  /** With the kernel kept from telling of each route: it takes a microsecond for each, with all of routing locked. */
  #quietly(out: Writer): ReadonlyArray<Refusal> | undefined {
    const { netns, socket } = this.#options
    const before = addon.readFiles(netns, [quietPath])[0]?.trim()
    if (before === "1") addon.writeFiles(netns, [quietPath], ["0"])
    try {
      return socket.send(out.finish())
    } finally {
      if (before === "1") addon.writeFiles(netns, [quietPath], ["1"])
    }
  }

  #refused(
    refusals: ReadonlyArray<Refusal> | undefined,
    purposes: ReadonlyMap<number, { readonly what: string; readonly group?: Group; readonly index?: number; readonly id: number }>
  ): void {
    const all = refusals ?? [...purposes.keys()].map((sequence) => ({ sequence, code: "ENOBUFS", detail: "" }))
    for (const { sequence, code, detail } of all) {
      const purpose = purposes.get(sequence)
      if (purpose === undefined) continue
      this.#options.report(`cannot ${purpose.what}: ${code} ${detail}`.trimEnd())
      this.#takenIds.delete(purpose.id)
      if (purpose.index !== undefined) {
        this.#singles.set(purpose.index, (this.#singles.get(purpose.index) ?? []).filter(({ id }) => id !== purpose.id))
        for (const group of this.#users.get(purpose.index) ?? []) this.#failed.add(group.handle)
      }
      if (purpose.group !== undefined) {
        this.#failed.add(purpose.group.handle)
        // What is in the kernel is not known any more; a group that could not be made is not there.
        if (purpose.group.installation >= 0 && this.#installations[purpose.group.installation]!.routes === 0) this.#died(purpose.group)
        else purpose.group.members = []
      }
    }
  }

  #resilientOf(group: Group): Nexthop.Resilient | undefined {
    const isResilient = this.#options.hashing === "resilient"
    if (group.backup.length === 0 && !isResilient) return undefined
    return { buckets, idleS: isResilient ? idleS : 0 }
  }

  /** Members of a group as its next hops are now; objects that are missing are asked for in `out`. */
  #members(
    group: Group,
    out: Writer,
    purposes: Map<number, { readonly what: string; readonly index?: number; readonly id: number }>
  ): Nexthop.Member[] {
    const ensure = (index: number): ReadonlyArray<Single> => {
      const singles = this.#singles.get(index) ?? []
      this.#singles.set(index, singles)
      for (const way of this.#options.nextHops.ways(index)) {
        if (singles.some((single) => isSameWay(single.way, way))) continue
        const id = this.#allocateId()
        this.#takenIds.add(id)
        const sequence = Nexthop.addSingle(out, Nexthop.IfThere.fail, id, protocol, way.octets, way.ifindex)
        purposes.set(sequence, { what: `add the nexthop ${way.gateway}`, index, id })
        singles.push({ id, way })
      }
      return singles
    }
    const winners = group.winners.flatMap((index, i) => {
      const singles = ensure(index)
      const total = singles.reduce((sum, { way }) => sum + way.weight, 0)
      return singles.map(({ id, way }) => ({ id, share: ((group.weights[i] ?? 1) * way.weight) / total }))
    })
    const isPair = group.backup.length > 0
    const members = scaled(winners, isPair)
    const backups = group.backup.flatMap((index) => ensure(index).map(({ id }) => ({ id, weight: backupWeight })))
    for (const backup of backups.slice(0, maxBackups)) if (!members.some(({ id }) => id === backup.id)) members.push(backup)
    return members
  }

  /** Takes a group of the predecessor's that has what this one needs. */
  #claim(group: Group): boolean {
    if (this.#adopted.groups.size === 0 || group.installation >= 0) return false
    const wanted = this.#signature(group)
    if (wanted === undefined) return false
    for (const [id, { members, installation }] of this.#adopted.groups) {
      const found = this.#installations[installation]
      if (found === undefined || found.id !== id || !found.isAlive || found.group >= 0) continue
      if ((found.resilient === undefined) !== (this.#resilientOf(group) === undefined) || members.length !== wanted.length) continue
      if (!this.#claimSingles(members, wanted)) continue
      found.group = group.handle
      group.installation = installation
      group.members = members
      return true
    }
    return false
  }

  /** Ways and weights of a group in order, without objects; undefined when it has no way. */
  #signature(group: Group): { readonly index: number; readonly way: Way; readonly weight: number }[] | undefined {
    const winners = group.winners.flatMap((index, i) => {
      const ways = this.#options.nextHops.ways(index)
      const total = ways.reduce((sum, way) => sum + way.weight, 0)
      return ways.map((way) => ({ id: 0, index, way, share: ((group.weights[i] ?? 1) * way.weight) / total }))
    })
    const weights = scaled(winners, group.backup.length > 0)
    const backups = group.backup.flatMap((index) => this.#options.nextHops.ways(index).map((way) => ({ index, way, weight: backupWeight })))
    const all = [...winners.map(({ index, way }, i) => ({ index, way, weight: weights[i]!.weight })), ...backups.slice(0, maxBackups)]
    return all.length === 0 ? undefined : all
  }

  #claimSingles(
    members: ReadonlyArray<Nexthop.Member>,
    wanted: ReadonlyArray<{ readonly index: number; readonly way: Way; readonly weight: number }>
  ): boolean {
    const left = [...members]
    const pairs: { id: number; index: number; way: Way }[] = []
    for (const { index, way, weight } of wanted) {
      const at = left.findIndex(({ id, weight: has }) => {
        const adopted = this.#adopted.singles.get(id)
        if (has !== weight || adopted?.gateway !== way.gateway || adopted.ifindex !== way.ifindex) return false
        const own = (this.#singles.get(index) ?? []).find((single) => isSameWay(single.way, way))
        return own === undefined ? !adopted.isClaimed : own.id === id
      })
      if (at < 0) return false
      pairs.push({ id: left.splice(at, 1)[0]!.id, index, way })
    }
    for (const { id, index, way } of pairs) {
      this.#adopted.singles.get(id)!.isClaimed = true
      const singles = this.#singles.get(index) ?? []
      if (!singles.some((single) => single.id === id)) this.#singles.set(index, [...singles, { id, way }])
    }
    return true
  }

  #allocateId(): number {
    for (;;) {
      const id = this.#nextId
      this.#nextId = id === lastId ? firstId : id + 1
      if (!this.#takenIds.has(id)) return id
    }
  }

  /** Our objects in the kernel, by id. Throws NativeError. */
  #read(): Map<number, Nexthop.NexthopObject> {
    const out = new Writer(64)
    Nexthop.dumpObjects(out)
    const found = new Map<number, Nexthop.NexthopObject>()
    for (const { type, body } of messages(addon.netlinkDump(this.#options.netns, out.finish()))) {
      if (type !== newNexthop) continue
      const object = Nexthop.decode(body)
      if (object.protocol === protocol) found.set(object.id, object)
    }
    return found
  }
}

const isSameMembers = (a: ReadonlyArray<Nexthop.Member>, b: ReadonlyArray<Nexthop.Member>): boolean =>
  a.length === b.length && a.every((member, i) => member.id === b[i]!.id && member.weight === b[i]!.weight)

/** Shares as whole weights; of a group with a backup, the largest weighs as much as it can. */
const scaled = (winners: ReadonlyArray<{ readonly id: number; readonly share: number }>, isPair: boolean): Nexthop.Member[] => {
  const largest = Math.max(...winners.map(({ share }) => share))
  const isEqual = winners.every(({ share }) => Math.abs(share - largest) < 1e-9)
  const top = isPair || !isEqual ? winnerWeight : 1
  return winners.map(({ id, share }) => ({ id, weight: Math.max(1, Math.round((share / largest) * top)) }))
}
