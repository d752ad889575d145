/**
 * BFD (Bidirectional Forwarding Detection) as RFC 5880 has it, without clock, socket or randomness: packets and times come in,
 * packets and times go out. `state.ts` is the state machine, this file one session around it, `demultiplex.ts` finds the
 * session of a packet. What runs them is `datapath/bfd-runner.ts`, in the engine's thread.
 *
 * Asynchronous mode, both roles, poll sequences (6.5), slow start (6.8.3), jitter (6.8.7). Times are ns, intervals us.
 * A received packet and a sent one allocate nothing: times are in `times`, for whoever runs the session to read.
 *
 * Unsupported: echo (Required Min Echo RX Interval is 0: none is to be sent to us, 6.8.9), asking for demand mode (that of a peer
 * is respected), authentication.
 * Deviations: a poll sequence is started in state Up only (6.8.3 asks for one whenever an interval changes): before, every
 * packet bears the intervals, and they count at once.
 */
import * as Bfd from "../wire/bfd.ts"
import { diagnosticName, Event, transition } from "./state.ts"

export interface Timers {
  readonly minTxUs: number
  readonly minRxUs: number
  /** 1..255 */
  readonly multiplier: number
}

/** Indexes of `Session.times`; Infinity where there is nothing to wait for. */
export const Time = { transmit: 0, detection: 1, changed: 2, sent: 3 } as const

/** 6.8.3: while a session is not up, it sends no faster than this. */
export const slowUs = 1_000_000
/** 6.8.1: of a peer that has not spoken. */
const unknownRemoteMinRxUs = 1

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

export class Session {
  readonly localDiscriminator: number
  remoteDiscriminator = 0
  state: number = Bfd.State.down
  remoteState: number = Bfd.State.down
  diagnostic: number = Bfd.Diagnostic.none
  remoteDiagnostic: number = Bfd.Diagnostic.none
  remoteMultiplier = 0
  remoteMinTxUs = 0
  remoteMinRxUs = unknownRemoteMinRxUs
  /** When to transmit, when the peer is lost, when the state last changed, when the last periodic packet was sent. */
  readonly times = new Float64Array([Infinity, Infinity, 0, 0])
  isPolling = false
  upCount = 0
  downCount = 0
  /** Why the session last went down, in words. */
  lastDownReason: string | undefined

  private timers: Timers
  /** 6.1: an active system speaks first. */
  private isPassive: boolean
  private readonly random: () => number
  /** What our packets say, and what counts until the peer has confirmed it (6.8.3). */
  private desiredMinTxUs: number
  private activeMinTxUs: number
  private requiredMinRxUs: number
  private activeMinRxUs: number
  /** Intervals changed again during a poll sequence: another one follows. */
  private isPollOwed = false
  private isRemoteDemand = false
  private readonly packet: Mutable<Bfd.Packet>

  /** Its first field is the time, set by whoever runs the session: a number that is handed over would need memory. */
  private readonly clock: Float64Array

  /** `random`: 0 to below 1. The first packet goes within 50 ms. */
  constructor(options: {
    readonly discriminator: number
    readonly timers: Timers
    readonly isPassive: boolean
    readonly random: () => number
    readonly clock: Float64Array
  }) {
    this.clock = options.clock
    const nowNs = this.clock[0]!
    this.localDiscriminator = options.discriminator
    this.timers = options.timers
    this.isPassive = options.isPassive
    this.random = options.random
    this.desiredMinTxUs = this.activeMinTxUs = Math.max(slowUs, options.timers.minTxUs)
    this.requiredMinRxUs = this.activeMinRxUs = options.timers.minRxUs
    this.times[Time.changed] = this.times[Time.sent] = nowNs
    // Sessions that are made together should not speak together for ever; jitter does the rest.
    this.times[Time.transmit] = options.isPassive ? Infinity : nowNs + options.random() * 50_000_000
    this.packet = {
      diagnostic: 0,
      state: 0,
      poll: false,
      final: false,
      controlPlaneIndependent: true,
      demand: false,
      detectMult: 1,
      myDiscriminator: options.discriminator,
      yourDiscriminator: 0,
      desiredMinTxInterval: 0,
      requiredMinRxInterval: 0,
      requiredMinEchoRxInterval: 0
    }
  }

  /** 6.8.7: how often we send before jitter; 0: not periodically. */
  get transmitUs(): number {
    return this.isQuiet() ? 0 : Math.max(this.activeMinTxUs, this.remoteMinRxUs)
  }

  /** 6.8.4; 0 while the peer has not spoken. */
  get detectionUs(): number {
    return this.remoteMultiplier * Math.max(this.activeMinRxUs, this.remoteMinTxUs)
  }

  /** Up or on the way to it, and with intervals below those of slow start. */
  get isFast(): boolean {
    return this.state >= Bfd.State.init && Math.min(this.timers.minTxUs, this.timers.minRxUs) < slowUs
  }

  /** New times; the peer hears of them at once, and of a longer transmit interval before it counts. */
  configure(timers: Timers, isPassive: boolean): void {
    this.timers = timers
    this.isPassive = isPassive
    this.renegotiate()
    this.times[Time.transmit] = this.isQuiet() ? Infinity : this.clock[0]!
    this.rearm()
  }

  /** Takes the session down, or lets it come up again (6.8.16). Returns whether the state changed. */
  setAdminDown(isDown: boolean): boolean {
    return this.move(isDown ? Event.disable : Event.enable)
  }

  /**
   * A packet for this session that `Bfd.check` found right: 6.8.6 from there on. Returns whether the state changed;
   * `times` are new. The caller answers a poll at once, by `writeFinal`.
   */
  receive(b: Uint8Array, at: number): boolean {
    const flags = Bfd.flags(b, at)
    this.remoteDiscriminator = Bfd.myDiscriminator(b, at)
    this.remoteState = Bfd.state(b, at)
    this.remoteDiagnostic = Bfd.diagnostic(b, at)
    this.isRemoteDemand = (flags & Bfd.Flag.demand) !== 0
    const before = this.remoteMinRxUs
    this.remoteMinRxUs = Bfd.requiredMinRxInterval(b, at)
    this.remoteMinTxUs = Bfd.desiredMinTxInterval(b, at)
    this.remoteMultiplier = Bfd.detectMult(b, at)
    if ((flags & Bfd.Flag.final) !== 0) this.endPoll()
    if (this.state === Bfd.State.adminDown) return false
    const isChanged = this.move(this.remoteState)
    // A peer that can hear more often than we thought hears us that soon (6.8.7), and a passive system speaks now.
    if (this.isQuiet()) this.times[Time.transmit] = Infinity
    else if (!isChanged && (this.remoteMinRxUs !== before || this.times[Time.transmit] === Infinity)) this.schedule()
    this.rearm()
    return isChanged
  }

  /** Nothing was heard for the detection time: 6.8.4, 6.8.1. Returns whether the state changed. */
  expire(): boolean {
    this.times[Time.detection] = Infinity
    // What was known of the peer is so no more; the next packet finds the session by addresses.
    this.remoteDiscriminator = 0
    this.remoteMinRxUs = unknownRemoteMinRxUs
    this.remoteMinTxUs = this.remoteMultiplier = 0
    this.isRemoteDemand = false
    this.remoteState = Bfd.State.down
    const isChanged = this.move(Event.detectionTimeExpired)
    if (this.isQuiet()) this.times[Time.transmit] = Infinity
    return isChanged
  }

  /** Writes the packet that is due into 24 octets, and sets when the next one is. */
  writePeriodic(target: Uint8Array): void {
    this.write(target, this.isPolling, false)
    this.times[Time.sent] = this.clock[0]!
    this.schedule()
  }

  /** Writes the answer to a poll; the periodic packets go on as they did (6.8.7). */
  writeFinal(target: Uint8Array): void {
    this.write(target, false, true)
  }

  private write(target: Uint8Array, poll: boolean, final: boolean): void {
    const { packet } = this
    packet.diagnostic = this.diagnostic
    packet.state = this.state
    packet.poll = poll
    packet.final = final
    packet.detectMult = this.timers.multiplier
    packet.yourDiscriminator = this.remoteDiscriminator
    packet.desiredMinTxInterval = this.desiredMinTxUs
    packet.requiredMinRxInterval = this.requiredMinRxUs
    Bfd.encodeInto(packet, target, 0)
  }

  /** 6.8.7: no periodic packets, because we wait to be spoken to, the peer wants none, or it is in demand mode. */
  private isQuiet(): boolean {
    if (this.isPassive && this.remoteDiscriminator === 0) return true
    if (this.remoteMinRxUs === 0) return true
    return this.isRemoteDemand && this.state === Bfd.State.up && this.remoteState === Bfd.State.up && !this.isPolling
  }

  /** Sets when to transmit next: an interval after the last packet, less a random part, so that senders do not fall into step. */
  private schedule(): void {
    if (this.isQuiet()) {
      this.times[Time.transmit] = Infinity
      return
    }
    const intervalNs = Math.max(this.activeMinTxUs, this.remoteMinRxUs) * 1000
    // 6.8.7: 75 to 100 %; with a multiplier of 1, one packet may not come as late as that: 75 to 90 %.
    const spread = this.timers.multiplier === 1 ? 0.15 : 0.25
    this.times[Time.transmit] = this.times[Time.sent]! + intervalNs * (0.75 + spread * this.random())
  }

  private rearm(): void {
    const us = this.remoteMultiplier * Math.max(this.activeMinRxUs, this.remoteMinTxUs)
    this.times[Time.detection] = this.remoteDiscriminator === 0 || us === 0 ? Infinity : this.clock[0]! + us * 1000
  }

  private move(event: number): boolean {
    const before = this.state
    const { to, diagnostic } = transition(before, event)
    if (to === before) return false
    if (diagnostic !== undefined) this.diagnostic = diagnostic
    this.state = to
    this.times[Time.changed] = this.clock[0]!
    if (to === Bfd.State.up) this.upCount++
    if (before === Bfd.State.up) {
      this.downCount++
      this.lastDownReason = this.reason()
    }
    this.renegotiate()
    // 6.8.7: what differs from the last packet should be said now.
    this.times[Time.transmit] = this.isQuiet() ? Infinity : this.clock[0]!
    return true
  }

  /** Why the session is in the state that it just went to. */
  reason(): string {
    if (this.state === Bfd.State.up || this.state === Bfd.State.init) return "ok"
    const own = diagnosticName(this.diagnostic)
    if (this.diagnostic !== Bfd.Diagnostic.neighborSignaledDown) return own
    if (this.remoteState === Bfd.State.adminDown) return `${own}: administratively down`
    return this.remoteDiagnostic === Bfd.Diagnostic.none ? own : `${own}: ${diagnosticName(this.remoteDiagnostic)}`
  }

  /** 6.8.3: what our packets say follows state and configuration; what counts waits for the peer where it must. */
  private renegotiate(): void {
    const isUp = this.state === Bfd.State.up
    const minTxUs = isUp ? this.timers.minTxUs : Math.max(slowUs, this.timers.minTxUs)
    const { minRxUs } = this.timers
    const isChanged = minTxUs !== this.desiredMinTxUs || minRxUs !== this.requiredMinRxUs
    this.desiredMinTxUs = minTxUs
    this.requiredMinRxUs = minRxUs
    if (!isUp) {
      this.isPolling = this.isPollOwed = false
      this.activeMinTxUs = minTxUs
      this.activeMinRxUs = minRxUs
      return
    }
    if (!isChanged) return
    if (this.isPolling) this.isPollOwed = true
    this.isPolling = true
    if (minTxUs < this.activeMinTxUs) this.activeMinTxUs = minTxUs
    if (minRxUs > this.activeMinRxUs) this.activeMinRxUs = minRxUs
  }

  private endPoll(): void {
    if (!this.isPolling) return
    if (this.isPollOwed) {
      this.isPollOwed = false
      return
    }
    this.isPolling = false
    this.activeMinTxUs = this.desiredMinTxUs
    this.activeMinRxUs = this.requiredMinRxUs
  }
}
