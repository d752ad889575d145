/**
 * Who is sent what: export groups and their members, walks over the table for new ones, and the packers in turn.
 *
 * A group is made when the first neighbour of its kind comes up, filled in slices from the Loc-RIB, and taken apart when the last one
 * goes. A member walks over what its group has and goes on by changes. End-of-RIB is sent when walk, group and queue are through.
 */
import { Family } from "../../wire/bgp/iana.ts"
import * as RouteRefresh from "../../wire/bgp/route-refresh.ts"
import { ExportGroup, Member } from "./adj-rib-out.ts"
import type { AttributeTable } from "./attribute-table.ts"
import { firstPeer } from "./decision.ts"
import { DefaultRoutes } from "./default-routes.ts"
import type { ExportSource, ExportTarget } from "./export-rewrite.ts"
import type { FamilyTable } from "./family-table.ts"
import { Packer } from "./packer.ts"
import type { Peer } from "./peer.ts"
import { type FamilyIndex, type RibOptions, type RibPolicy, Source } from "./types.ts"

interface Exporter {
  readonly options: RibOptions
  readonly sets: AttributeTable
  readonly tables: readonly [FamilyTable, FamilyTable]
  readonly peers: ReadonlyArray<Peer | undefined>
  isSuppressed(table: FamilyTable, prefix: number): boolean
  routerIdOf(peer: number): number
  start(steps: Generator<undefined, void>): void
}

interface Sender {
  readonly member: Member
  readonly packer: Packer
  isBlocked: boolean
}

const wireFamilies = [Family.ipv4Unicast, Family.ipv6Unicast] as const
const familyIndexes: ReadonlyArray<FamilyIndex> = [0, 1]
const stride = 64
/** Path identifier of an originated default route, beyond all rows of a pool. */
const defaultPathId = 0xffff_fffe

const local: ExportSource = { isLocal: true, isExternal: false, isClient: false, routerId: 0 }

export class ExportSide {
  readonly #rib: Exporter
  readonly #groups: readonly [Map<string, ExportGroup>, Map<string, ExportGroup>] = [new Map(), new Map()]
  readonly #senders: Sender[] = []
  readonly #policyNumbers = new WeakMap<RibPolicy, number>()
  #policies = 0
  #turn = 0
  #timer: NodeJS.Timeout | undefined
  readonly defaults: DefaultRoutes

  constructor(rib: Exporter) {
    this.#rib = rib
    this.defaults = new DefaultRoutes(rib)
  }

  get isIdle(): boolean {
    return this.#senders.every(({ member, packer }) => packer.isIdle && member.walked < 0 && member.group.filled < 0 && !member.endOfRibDue)
  }

  sourceOf(index: number): ExportSource {
    const peer = this.#rib.peers[index]
    if (index < firstPeer || peer === undefined) return local
    const { isExternal, routeReflectorClient } = peer.config
    return { isLocal: false, isExternal, isClient: routeReflectorClient, routerId: this.#rib.routerIdOf(index) }
  }

  // ---- members ---------------------------------------------------------------------------------------------------------

  attach(peer: Peer): void {
    for (const family of familyIndexes) {
      const session = peer.session!
      const config = peer.config.families[family]
      if (config === undefined || !session.context.families.has(wireFamilies[family])) continue
      const hasAddPath = session.context.addPathSend(wireFamilies[family])
      const places = hasAddPath && config.addPathSend > 1 ? config.addPathSend : 0
      this.defaults.add(family, config)
      const group = this.#groupOf(peer, family, places)
      const member = new Member({ peer: peer.index, family, session, group, places })
      group.add(member)
      const { sets } = this.#rib
      const { prefixes } = this.#rib.tables[family]
      const rank = (of: Member, prefix: number, ids: Uint32Array, exported: Uint32Array): number => this.#rank(of, prefix, ids, exported)
      const packer = new Packer({ member, prefixes, sets, rank, mraiMs: peer.config.mraiMs })
      this.#senders.push({ member, packer, isBlocked: false })
    }
  }

  detach(peer: Peer): void {
    for (const sender of this.#senders.filter(({ member }) => member.peer === peer.index)) {
      sender.packer.close()
      this.#senders.splice(this.#senders.indexOf(sender), 1)
      this.#leave(sender.member)
    }
  }

  /** The configuration changed: another group perhaps, and everything is looked at again. */
  reattach(peer: Peer): void {
    for (const { member } of this.#senders.filter(({ member }) => member.peer === peer.index)) {
      const before = member.group
      const config = peer.config.families[member.family]
      if (config !== undefined) this.defaults.add(member.family, config)
      member.group = this.#groupOf(peer, member.family, member.places)
      if (member.group !== before) {
        member.group.add(member)
        this.#leave(member, before)
      }
      member.walked = 0
    }
  }

  resend(peer: Peer, family: FamilyIndex): void {
    for (const { member, packer } of this.#senders) {
      if (member.peer !== peer.index || member.family !== family) continue
      member.walked = 0
      packer.forgetSent()
      if (member.session.enhancedRefresh === true) member.beginDue = member.endDue = true
    }
  }

  drained(peer: number): void {
    for (const sender of this.#senders) if (sender.member.peer === peer) sender.isBlocked = false
  }

  #leave(member: Member, group = member.group): void {
    group.members.splice(group.members.indexOf(member), 1)
    if (group.members.length > 0) return
    this.#groups[member.family].delete(group.key)
    this.#rib.start(group.closing())
  }

  #groupOf(peer: Peer, family: FamilyIndex, places: number): ExportGroup {
    const { config } = peer
    const session = peer.session!
    const of = config.families[family]!
    const { asn, clusterId, gracefulShutdown } = this.#rib.options
    // RFC 4271 5.1.3: with third-party next hops neighbours are alike only on one link.
    const link = config.isExternal && session.isOnLink !== undefined ? `${session.ifname} ${session.nextHopSelf.join()}` : ""
    const refusedAs = this.#refusedAs(peer)
    // The neighbour's AS matters only where paths are changed for it.
    const remoteAs = config.removePrivateAs || config.asOverride ? config.remoteAs : ""
    const key = [
      config.isExternal, remoteAs, config.localAs, config.localAsPrepend, config.routeReflectorClient, config.removePrivateAs,
      config.replacePrivateAs === true, config.asOverride, config.sendCommunities, of.nextHopSelf, of.defaultOriginate,
      this.#policyNumber(of.defaultPolicy), of.defaultWhen?.join(), this.#policyNumber(of.exportPolicy),
      session.longLived === true, refusedAs, clusterId, gracefulShutdown, link, places === 0 ? "" : `${peer.index} ${places}`
    ].join("|")
    const known = this.#groups[family].get(key)
    if (known !== undefined) return known
    const target: ExportTarget = {
      config, asn, clusterId, gracefulShutdown, nextHopSelf: of.nextHopSelf, longLived: session.longLived === true, refusedAs,
      isOnLink: session.isOnLink === undefined ? undefined : (address) => session.isOnLink!(address)
    }
    const { sets, tables } = this.#rib
    const table = { family, prefixes: tables[family].prefixes, sets, sourceOf: (index: number) => this.sourceOf(index) }
    const group = new ExportGroup(key, { policy: of.exportPolicy, table, target })
    if (places > 0) group.filled = -1
    this.#groups[family].set(key, group)
    return group
  }

  /**
   * The AS of a neighbour that takes no route with it in the path, if all such neighbours are in that one AS (a leaf's spines): half of
   * what a leaf would tell them comes back. Otherwise 0: neighbours would be in groups of their own, which costs more than it spares.
   */
  #refusedAs({ config }: Peer): number {
    if (config.refusesOwnAs !== true || !config.isExternal) return 0
    const isAlone = this.#rib.peers.every((other) => other?.config.refusesOwnAs !== true || other.config.remoteAs === config.remoteAs)
    return isAlone ? config.remoteAs : 0
  }

  #policyNumber(policy: RibPolicy | undefined): number {
    if (policy === undefined) return 0
    const known = this.#policyNumbers.get(policy)
    if (known !== undefined) return known
    this.#policyNumbers.set(policy, ++this.#policies)
    return this.#policies
  }

  // ---- changes ---------------------------------------------------------------------------------------------------------

  bestChanged(table: FamilyTable, prefix: number): void {
    for (const group of this.#groups[table.family].values()) {
      if (!isRanked(group)) this.#export(group, table, prefix)
    }
    if (this.defaults.dependsOn(table, prefix)) this.#defaultChanged(table)
  }

  #defaultChanged(table: FamilyTable): void {
    const prefix = this.defaults.of(table.family)
    for (const group of this.#groups[table.family].values()) {
      if (!isRanked(group)) this.#export(group, table, prefix)
    }
    this.pathsChanged(table, prefix)
  }

  /** Any path of the prefix changed: neighbours with add-path look at all. */
  pathsChanged(table: FamilyTable, prefix: number): void {
    for (const group of this.#groups[table.family].values()) {
      if (isRanked(group)) for (const member of group.members) member.pending.add(prefix)
    }
  }

  #export(group: ExportGroup, table: FamilyTable, prefix: number): void {
    const originated = this.defaults.setFor(group, table, prefix)
    if (originated !== 0) return group.put(prefix, originated, Source.default)
    const best = table.best[prefix]!
    const from = best < 0 ? 0 : table.pool.peer[best]!
    const isNobodys = best < 0 || group.isOnly(from) || this.#rib.isSuppressed(table, prefix)
    group.update(prefix, isNobodys ? 0 : table.bestSet[prefix]!, isNobodys ? 0 : from)
  }

  #rank(member: Member, prefix: number, ids: Uint32Array, exported: Uint32Array): number {
    const table = this.#rib.tables[member.family]
    const { group } = member
    const originated = this.defaults.setFor(group, table, prefix)
    if (originated !== 0) {
      ids[0] = defaultPathId
      exported[0] = originated
      return 1
    }
    if (this.#rib.isSuppressed(table, prefix)) return 0
    const candidates = table.candidates(prefix)
    table.decision.current = table.best[prefix]!
    table.decision.rank(table.ranked, candidates, candidates)
    let count = 0
    for (let i = 0; i < candidates && count < ids.length; i++) {
      const path = table.ranked[i]!
      const from = table.pool.peer[path]!
      const set = from === member.peer ? 0 : group.exportSet(table.pool.chosen[path]!, from, prefix)
      if (set === 0) continue
      ids[count] = path + 1
      exported[count++] = set
    }
    return count
  }

  forget(set: number): void {
    for (const groups of this.#groups) for (const group of groups.values()) group.forget(set)
  }

  /** Whether somebody is to be told of the prefix, or has it. */
  isUsing(table: FamilyTable, prefix: number): boolean {
    for (const group of this.#groups[table.family].values()) {
      if (prefix < group.out.length && group.out[prefix] !== 0) return true
      for (const member of group.members) if (member.isUsing(prefix)) return true
    }
    return false
  }

  advertisedCount(peer: number, family: FamilyIndex): number {
    return this.memberOf(peer, family)?.advertisedCount ?? 0
  }

  memberOf(peer: number, family: FamilyIndex): Member | undefined {
    return this.#senders.find(({ member }) => member.peer === peer && member.family === family)?.member
  }

  // ---- work ------------------------------------------------------------------------------------------------------------

  /** Walks and packs until `deadline`; true: there is more to do. `isSettled`: all decisions are made. */
  run(deadline: number, isSettled: boolean): boolean {
    for (const family of familyIndexes) {
      for (const group of this.#groups[family].values()) if (group.filled >= 0 && !this.#fill(group, family, deadline)) return true
    }
    let hasMore = false
    for (let i = 0; i < this.#senders.length; i++) {
      // Each run begins with another neighbour, so that the last one is not always the one for whom there is no time.
      const sender = this.#senders[(this.#turn + i) % this.#senders.length]!
      if (sender.isBlocked) continue
      if (this.#send(sender, deadline, isSettled)) hasMore = true
      if (performance.now() >= deadline) {
        this.#turn = (this.#turn + i + 1) % this.#senders.length
        return hasMore || i + 1 < this.#senders.length
      }
    }
    return hasMore
  }

  /** False: the time is over. */
  #fill(group: ExportGroup, family: FamilyIndex, deadline: number): boolean {
    const table = this.#rib.tables[family]
    while (group.filled < table.prefixes.limit) {
      const prefix = group.filled++
      const isDefault = prefix === this.defaults.of(family)
      if (table.prefixes.has(prefix) && (table.best[prefix]! >= 0 || isDefault)) this.#export(group, table, prefix)
      if ((group.filled & (stride - 1)) === 0 && performance.now() >= deadline) return false
    }
    group.filled = -1
    return true
  }

  /** True: there is more to do for this neighbour. */
  #send(sender: Sender, deadline: number, isSettled: boolean): boolean {
    const { member, packer } = sender
    if (member.beginDue) {
      if (!packer.sendWhole(this.#mark(member, RouteRefresh.Subtype.beginning))) return this.#block(sender)
      member.beginDue = false
    }
    if (member.walked >= 0 && !this.#walk(member, deadline)) return true
    const state = packer.run(deadline)
    if (state === "more") return true
    if (state === "blocked") return this.#block(sender)
    if (state === "paced") return this.#wake(member.notBefore)
    if (member.endDue) {
      if (!packer.sendWhole(this.#mark(member, RouteRefresh.Subtype.end))) return this.#block(sender)
      member.endDue = false
    }
    if (member.endOfRibDue && isSettled && member.group.filled < 0) {
      if (!packer.sendEndOfRib()) return this.#block(sender)
      member.endOfRibDue = false
    }
    return false
  }

  #mark(member: Member, subtype: number): Uint8Array {
    return RouteRefresh.encode({ family: wireFamilies[member.family], subtype })
  }

  #block(sender: Sender): false {
    sender.isBlocked = true
    return false
  }

  /** One timer for all that wait for their advertisement interval. */
  #wake(at: number): false {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#rib.options.events.wanted()
    }, Math.max(1, at - performance.now()))
    this.#timer.unref()
    return false
  }

  /** Puts into the queue what the group has, and what the neighbour has. False: the time is over. */
  #walk(member: Member, deadline: number): boolean {
    const { prefixes } = this.#rib.tables[member.family]
    while (member.walked < prefixes.limit) {
      const prefix = member.walked++
      const isThere = member.places > 0 ? prefixes.has(prefix) : member.desired(prefix) !== 0
      if (isThere || member.advertised.has(prefix)) member.pending.add(prefix)
      if ((member.walked & 1023) === 0 && performance.now() >= deadline) return false
    }
    member.walked = -1
    return true
  }
}

const isRanked = (group: ExportGroup): boolean => group.members[0] !== undefined && group.members[0].places > 0
