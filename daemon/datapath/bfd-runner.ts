/**
 * BFD sessions in the engine's thread: what `daemon/bfd` decides, with sockets, a clock and a timer wheel.
 *
 *     a socket is readable  -> receive a batch -> find each packet's session -> Session.receive -> answer a poll
 *     time                  -> Session.writePeriodic -> send;  Session.expire, after another look at the socket
 *     a command of an owner -> add, change, remove
 *     a session changes     -> its owners hear of it
 *
 * **No false alarm.** A thread that did not run while packets came must not take their sessions down. Before a session is
 * declared down its socket is read until it is empty; and for as long as this thread was late since the last packet, the
 * session has more time: its peer may have been held up by the same (it may live in this very thread, as may the link between).
 *
 * While a session is faster than slow start, the thread goes before ordinary ones.
 */
import { randomInt } from "node:crypto"
import { receiveMessageOnPort, type MessagePort } from "node:worker_threads"
import { Session, Time } from "../bfd/session.ts"
import { addon, BfdPacket, EngineResult, type EngineHandle } from "../native/index.ts"
import * as Bfd from "../wire/bfd.ts"
import * as Ip from "../wire/ip.ts"
import type { BfdCommand, BfdOptions, BfdReply } from "./bfd-api.ts"
import { changeOf, checkedPeer, Count, keyOf, openSender, statusOf, timersOf, type Entry, type Owner } from "./bfd-entry.ts"
import { Listeners, type Listener } from "./bfd-sockets.ts"
import { TimerWheel } from "./timer-wheel.ts"

export interface BfdRunnerParts {
  readonly engine: EngineHandle
  /** `EngineMemory.result`; its first field is the clock. */
  readonly result: Float64Array
  readonly setUrgent: (urgent: boolean) => void
}

/** A round that is later than this was held up. */
const lateNs = 1_000_000
/** How many times 32 packets are received from one socket in one go. */
const maxBatches = 64
const removalCopies = 3
const enodev = 19
const enetunreach = 101

export class BfdRunner {
  private readonly parts: BfdRunnerParts
  private readonly clock: Float64Array
  private readonly owners: Owner[] = []
  private readonly entries: Array<Entry | undefined> = []
  private readonly freeIndexes: number[] = []
  private readonly byKey = new Map<string, Entry>()
  private readonly byDiscriminator = new Map<number, Entry>()
  private readonly listeners: Listeners<Entry>
  private readonly wheel: TimerWheel
  private readonly expired = new Int32Array(1024)
  private readonly packets = new Uint8Array(BfdPacket.batch * BfdPacket.octets)
  private readonly fields = new Int32Array(BfdPacket.batch * BfdPacket.fields)
  private readonly outgoing = new Uint8Array(Bfd.headerLength)
  /** Namespaces whose sessions stand still. */
  private readonly paused = new Set<string>()
  /** How many sessions are fast. */
  private fast = 0
  /** For how long this thread was late in all; when it was to wake up. */
  private readonly lateness = new Float64Array([0, Infinity])

  constructor(parts: BfdRunnerParts) {
    this.parts = parts
    this.clock = parts.result
    this.listeners = new Listeners(parts.engine)
    addon.engineClock(parts.engine)
    this.wheel = new TimerWheel(this.clock[EngineResult.clockNs]!)
  }

  /** A new owner of sessions. */
  join({ channel, port, seesAll }: { readonly channel: number; readonly port: MessagePort; readonly seesAll: boolean }): void {
    this.owners.push({ channel, port, seesAll, sessions: new Map() })
  }

  /** An owner is no more, and so are its sessions. */
  leave(channel: number): void {
    const index = this.owners.findIndex((owner) => owner.channel === channel)
    if (index < 0) return
    const [owner] = this.owners.splice(index, 1)
    for (const id of [...owner!.sessions.keys()]) this.remove(owner!, id)
    owner!.port.close()
  }

  /** Does what owners have asked for. */
  obey(): void {
    for (const owner of [...this.owners]) {
      for (;;) {
        const message = receiveMessageOnPort(owner.port) as { readonly message: BfdCommand } | undefined
        if (message === undefined) break
        this.execute(owner, message.message)
      }
    }
  }

  /** When `expire` has something to do. */
  next(): number {
    const next = this.wheel.next()
    this.lateness[1] = next
    return next
  }

  /** A listener, by its key, has packets. */
  receive(key: number): void {
    const listener = this.listeners.get(key)
    if (listener === undefined) return
    for (let batch = 0; batch < maxBatches; batch++) {
      const count = addon.bfdReceive(listener.descriptor, this.packets, this.fields)
      if (count === 0) return
      addon.engineClock(this.parts.engine)
      for (let i = 0; i < count; i++) this.accept(listener, i)
      if (count < BfdPacket.batch) return
    }
  }

  /** Sends what is due, then takes down whose time is over. */
  expire(nowNs: number): void {
    if (this.byKey.size === 0) return
    const { expired, lateness } = this
    if (nowNs - lateness[1]! > lateNs) lateness[0]! += nowNs - lateness[1]!
    addon.engineClock(this.parts.engine)
    const due = this.wheel.expire(nowNs, expired)
    for (let i = 0; i < due; i++) {
      const entry = this.entries[expired[i]! >> 1]
      if (entry !== undefined && (expired[i]! & 1) === 0) this.transmit(entry)
    }
    for (let i = 0; i < due; i++) {
      const entry = this.entries[expired[i]! >> 1]
      if (entry !== undefined && (expired[i]! & 1) === 1) this.detect(entry, nowNs)
    }
  }

  // ---- packets -------------------------------------------------------------------------------------------------------

  /** RFC 5880 6.8.6 up to the session's own part. */
  private accept(listener: Listener<Entry>, i: number): void {
    const { fields, packets } = this
    const at = i * BfdPacket.octets
    const field = i * BfdPacket.fields
    const isWhole = Bfd.check(packets, at, at + Math.min(fields[field]!, BfdPacket.source)) === undefined
    const entry = isWhole ? this.entryOf(listener, at, fields[field + 2]!) : undefined
    if (entry === undefined) {
      listener.counts[0]!++
      return
    }
    if (this.paused.has(entry.options.netns)) return
    if (!this.isAcceptable(entry, at, fields[field + 1]!, fields[field + 2]!)) {
      entry.counts[Count.discarded]!++
      return
    }
    const { session } = entry
    entry.counts[Count.received]!++
    entry.counts[Count.stalledNs] = this.lateness[0]!
    const previous = session.state
    const isChanged = session.receive(packets, at)
    // RFC 5880 6.8.6, last: "If the Poll (P) bit is set, send a BFD Control packet with the Final (F) bit set" at once.
    if ((Bfd.flags(packets, at) & Bfd.Flag.poll) !== 0 && session.state !== Bfd.State.adminDown) {
      session.writeFinal(this.outgoing)
      this.send(entry)
    }
    this.arm(entry)
    if (isChanged) this.tell(entry, previous)
  }

  /** By Your Discriminator alone where there is one, else by addresses (RFC 5880 6.3, RFC 5881 3, RFC 5883 3). */
  private entryOf(listener: Listener<Entry>, at: number, ifindex: number): Entry | undefined {
    const yours = Bfd.yourDiscriminator(this.packets, at)
    if (yours === 0) {
      return listener.paths.find(this.packets, at + BfdPacket.source, at + BfdPacket.destination, listener.addressLength, ifindex)
    }
    const entry = this.byDiscriminator.get(yours)
    return entry?.listener === listener ? entry : undefined
  }

  private isAcceptable(entry: Entry, at: number, ttl: number, ifindex: number): boolean {
    // RFC 5881 5; RFC 5883 says nothing of a TTL.
    if (ttl < entry.minTtl) return false
    if (entry.ifindex !== 0 && entry.ifindex !== ifindex) return false
    // RFC 5880 6.8.6: A is set and no authentication is in use.
    return (Bfd.flags(this.packets, at) & Bfd.Flag.authentication) === 0
  }

  private transmit(entry: Entry): void {
    entry.session.writePeriodic(this.outgoing)
    if (!this.paused.has(entry.options.netns)) this.send(entry)
    this.arm(entry)
  }

  private send(entry: Entry): void {
    const error = addon.bfdSend(entry.descriptor, this.outgoing, entry.address)
    entry.counts[error === 0 ? Count.sent : Count.sendErrors]!++
    // The interface was made anew: the socket is bound to one that is no more. IPv6 has another word for it than IPv4
    // (ip6_route_output finds no route by an interface that does not exist, ip_route_output_key looks for the interface).
    if (error === enodev || (error === enetunreach && entry.ifindex !== 0)) this.reopen(entry)
  }

  private detect(entry: Entry, nowNs: number): void {
    const { session, counts } = entry
    // What stands still finds nothing out; its time is over when it goes on.
    if (this.paused.has(entry.options.netns)) return
    const { times } = session
    if (times[Time.detection]! <= nowNs) this.receive(entry.listener.key)
    if (times[Time.detection]! <= nowNs) {
      const owedNs = this.lateness[0]! - counts[Count.stalledNs]!
      counts[Count.stalledNs] = this.lateness[0]!
      const previous = session.state
      if (owedNs > 0) times[Time.detection] = nowNs + Math.min(owedNs, session.detectionUs * 1000)
      else if (session.expire()) this.tell(entry, previous)
    }
    this.arm(entry)
  }

  /** Sets the entry's timers to what its session waits for. A detection time that moved on is looked at when the old one is over. */
  private arm(entry: Entry): void {
    const { armed, index } = entry
    const { times } = entry.session
    if (armed[Time.transmit] !== times[Time.transmit] || !this.wheel.isSet(2 * index)) {
      armed[Time.transmit] = times[Time.transmit]!
      this.wheel.set(2 * index, times[Time.transmit]!)
    }
    if (times[Time.detection]! < armed[Time.detection]! || !this.wheel.isSet(2 * index + 1)) {
      armed[Time.detection] = times[Time.detection]!
      this.wheel.set(2 * index + 1, times[Time.detection]!)
    }
    if (entry.isFast === entry.session.isFast) return
    entry.isFast = entry.session.isFast
    this.countFast(entry.isFast ? 1 : -1)
  }

  private countFast(change: number): void {
    const before = this.fast > 0
    this.fast += change
    if (this.fast > 0 !== before) this.parts.setUrgent(this.fast > 0)
  }

  private tell(entry: Entry, previous: number): void {
    for (const [i, { id, owner }] of entry.users.entries()) {
      const reply: BfdReply = { kind: "bfd-change", change: changeOf(entry, id, previous, i === 0) }
      for (const one of this.owners) if (one === owner || one.seesAll) one.port.postMessage(reply)
    }
  }

  // ---- commands ------------------------------------------------------------------------------------------------------

  private execute(owner: Owner, command: BfdCommand): void {
    switch (command.kind) {
      case "bfd-add": {
        const { id, options, ticket } = command
        const failure = this.tryAdd(owner, id, options)
        owner.port.postMessage({ kind: "bfd-added", ticket, ...(failure === undefined ? {} : { failure }) } satisfies BfdReply)
        // Of a session that another owner has: how it is.
        const entry = failure === undefined ? owner.sessions.get(id) : undefined
        if (entry === undefined || entry.session.state === Bfd.State.down) return
        return owner.port.postMessage({ kind: "bfd-change", change: changeOf(entry, id, Bfd.State.down, false) } satisfies BfdReply)
      }
      case "bfd-set": {
        const entry = owner.sessions.get(command.id)
        const user = entry?.users.find((one) => one.owner === owner && one.id === command.id)
        if (entry === undefined || user === undefined) return
        user.options = { ...user.options, ...command.timers }
        return this.configure(entry)
      }
      case "bfd-remove":
        return this.remove(owner, command.id)
      case "bfd-states": {
        const entries = owner.seesAll ? this.byKey.values() : new Set(owner.sessions.values())
        addon.engineClock(this.parts.engine)
        const states = Array.from(entries, (entry) => statusOf(entry, this.clock[0]!))
        return owner.port.postMessage({ kind: "bfd-states", ticket: command.ticket, states } satisfies BfdReply)
      }
      case "bfd-pause":
        return this.pause(command.netns, command.isPaused)
      case "bfd-close":
        return this.leave(owner.channel)
    }
    command satisfies never
  }

  /** Why the session cannot be had, or nothing. */
  private tryAdd(owner: Owner, id: string, options: BfdOptions): string | undefined {
    const { peer } = options
    if (owner.sessions.has(id)) return `Cannot add BFD session "${id}": there is one already`
    try {
      const octets = checkedPeer(options)
      const key = keyOf(options)
      const entry = this.byKey.get(key) ?? this.open(key, octets, options)
      entry.users.push({ owner, id, options })
      owner.sessions.set(id, entry)
      this.configure(entry)
      return undefined
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error)
      return `Cannot add BFD session with ${peer}: ${detail}`
    }
  }

  private open(key: string, peer: Uint8Array, options: BfdOptions): Entry {
    const netns = addon.netnsOpen(options.netns)
    try {
      const listener = this.listeners.open(netns, options.netns, options.multihop, peer.length as 4 | 16)
      try {
        const [descriptor, ifindex] = openSender(this.parts.engine, netns, peer, options)
        const index = this.freeIndexes.pop() ?? this.entries.length
        const local = options.local === undefined ? {} : { local: Ip.parse(options.local)! }
        addon.engineClock(this.parts.engine)
        const session = new Session({
          discriminator: this.freeDiscriminator(),
          timers: timersOf([options]),
          isPassive: options.passive === true,
          random: Math.random,
          clock: this.clock
        })
        const minTtl = options.multihop ? options.minTtl ?? 1 : 255
        const address = addon.bfdAddress(peer, options.multihop ? Bfd.multihopPort : Bfd.port, ifindex)
        const counts = new Float64Array(5)
        counts[Count.stalledNs] = this.lateness[0]!
        const armed = new Float64Array([Infinity, Infinity])
        const fixed = { key, index, session, listener, options, users: [], minTtl, peer, ...local, counts, armed }
        const entry: Entry = { ...fixed, ifindex, descriptor, address, isFast: false }
        this.entries[index] = entry
        this.byKey.set(key, entry)
        this.byDiscriminator.set(session.localDiscriminator, entry)
        listener.paths.add(entry)
        return entry
      } finally {
        this.listeners.releaseIfUnused(listener)
      }
    } finally {
      addon.close(netns)
    }
  }

  /** 31 random bits: not to be guessed, and a number that needs no memory. */
  private freeDiscriminator(): number {
    for (;;) {
      const discriminator = randomInt(1, 0x40000000)
      if (!this.byDiscriminator.has(discriminator)) return discriminator
    }
  }

  private configure(entry: Entry): void {
    const { session, users } = entry
    const wishes = users.map(({ options }) => options)
    addon.engineClock(this.parts.engine)
    const previous = session.state
    session.configure(timersOf(wishes), wishes.every(({ passive }) => passive === true))
    const isChanged = session.setAdminDown(wishes.every(({ adminDown }) => adminDown === true))
    this.arm(entry)
    if (isChanged) this.tell(entry, previous)
  }

  private remove(owner: Owner, id: string): void {
    const entry = owner.sessions.get(id)
    if (entry === undefined) return
    owner.sessions.delete(id)
    entry.users.splice(entry.users.findIndex((user) => user.owner === owner && user.id === id), 1)
    if (entry.users.length > 0) return this.configure(entry)
    this.drop(entry)
  }

  /**
   * RFC 5880 6.8.16 wants AdminDown to be told for a detection time; the node, and the way to the peer, may be gone by then.
   * A few copies go at once: who misses them all will find out by its own detection time.
   */
  private drop(entry: Entry): void {
    const { descriptor, index, listener, session } = entry
    if (session.setAdminDown(true) && session.remoteDiscriminator !== 0) {
      for (let i = 0; i < removalCopies; i++) {
        session.writePeriodic(this.outgoing)
        this.send(entry)
      }
    }
    if (entry.isFast) this.countFast(-1)
    this.wheel.clear(2 * index)
    this.wheel.clear(2 * index + 1)
    addon.bfdClose(this.parts.engine, descriptor)
    this.byKey.delete(entry.key)
    this.byDiscriminator.delete(session.localDiscriminator)
    this.entries[index] = undefined
    this.freeIndexes.push(index)
    listener.paths.remove(entry)
    this.listeners.releaseIfUnused(listener)
  }

  private pause(netns: string, isPaused: boolean): void {
    if (isPaused) return void this.paused.add(netns)
    if (!this.paused.delete(netns)) return
    addon.engineClock(this.parts.engine)
    for (const entry of this.byKey.values()) if (entry.options.netns === netns) this.detect(entry, this.clock[0]!)
  }

  private reopen(entry: Entry): void {
    try {
      const netns = addon.netnsOpen(entry.options.netns)
      try {
        const [descriptor, ifindex] = openSender(this.parts.engine, netns, entry.peer, entry.options)
        addon.bfdClose(this.parts.engine, entry.descriptor)
        entry.descriptor = descriptor
        entry.ifindex = ifindex
        entry.address = addon.bfdAddress(entry.peer, entry.options.multihop ? Bfd.multihopPort : Bfd.port, ifindex)
      } finally {
        addon.close(netns)
      }
    } catch {
      // Not there yet: the next packet tries again.
    }
  }
}
