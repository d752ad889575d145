/**
 * The timers of one connection's state machine. Each has an epoch that grows whenever the timer is started or stopped; what fired in an
 * earlier epoch is not an expiry any more. A KEEPALIVE that has been read and an expiry that was due meanwhile cannot be confused.
 *
 * The hold timer starts again with every message, a million times in a row: only its deadline changes then. The timer of the event loop
 * is left alone, and looks at the deadline when it fires.
 */
import type { TimerName } from "./fsm.ts"

/** The event loop's clock; tests have their own. Times are ms. */
export interface Clock {
  now(): number
  /** Wall clock, for what people read. */
  date(): number
  setTimeout(callback: () => void, delayMs: number): unknown
  clearTimeout(handle: unknown): void
  /** From 0 to 1, for jitter. */
  random(): number
}

export const systemClock: Clock = {
  now: () => performance.now(),
  date: () => Date.now(),
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
  clearTimeout: (handle) => clearTimeout(handle as NodeJS.Timeout),
  random: () => Math.random()
}

interface Timer {
  epoch: number
  /** Infinity: stopped. */
  deadline: number
  handle: unknown
  /** When the event loop's timer fires. */
  firesAt: number
}

/** RFC 4271, 10: these last 75 to 100 % of their time. */
const isJittered: Readonly<Record<TimerName, boolean>> = {
  connectRetry: true,
  keepalive: true,
  idleHold: true,
  hold: false,
  sendHold: false
}

export class Timers {
  readonly #timers = new Map<TimerName, Timer>()
  readonly #clock: Clock
  readonly #fired: (timer: TimerName, epoch: number) => void

  /** `fired`: the deadline of this epoch is over; who acts upon it asks `isCurrent` first. */
  constructor(clock: Clock, fired: (timer: TimerName, epoch: number) => void) {
    this.#clock = clock
    this.#fired = fired
  }

  start(name: TimerName, seconds: number): void {
    const timer = this.#timer(name)
    const share = isJittered[name] ? 0.75 + this.#clock.random() / 4 : 1
    timer.epoch++
    timer.deadline = this.#clock.now() + seconds * 1000 * share
    if (timer.handle !== undefined && timer.firesAt <= timer.deadline) return
    this.#arm(name, timer)
  }

  stop(name: TimerName): void {
    const timer = this.#timers.get(name)
    if (timer === undefined) return
    timer.epoch++
    timer.deadline = Infinity
    this.#disarm(timer)
  }

  stopAll(): void {
    for (const name of this.#timers.keys()) this.stop(name)
  }

  /** Whether the timer has neither been started nor stopped since. */
  isCurrent(name: TimerName, epoch: number): boolean {
    return this.#timers.get(name)?.epoch === epoch
  }

  #timer(name: TimerName): Timer {
    let timer = this.#timers.get(name)
    if (timer === undefined) this.#timers.set(name, (timer = { epoch: 0, deadline: Infinity, handle: undefined, firesAt: Infinity }))
    return timer
  }

  #arm(name: TimerName, timer: Timer): void {
    this.#disarm(timer)
    timer.firesAt = timer.deadline
    timer.handle = this.#clock.setTimeout(() => this.#look(name, timer), Math.max(0, timer.deadline - this.#clock.now()))
  }

  #disarm(timer: Timer): void {
    if (timer.handle !== undefined) this.#clock.clearTimeout(timer.handle)
    timer.handle = undefined
    timer.firesAt = Infinity
  }

  #look(name: TimerName, timer: Timer): void {
    timer.handle = undefined
    timer.firesAt = Infinity
    // Half a millisecond: the event loop's timers count whole ones.
    if (this.#clock.now() + 0.5 < timer.deadline) this.#arm(name, timer)
    else this.#fired(name, timer.epoch)
  }
}
