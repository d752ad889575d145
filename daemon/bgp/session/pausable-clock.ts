/**
 * A clock that can stand still, and all timers with it: that of a speaker which is paused. What was due in ten seconds is due
 * ten seconds after it goes on.
 */
import { type Clock, systemClock } from "./timers.ts"

interface Timer {
  readonly callback: () => void
  /** By this clock. */
  readonly dueMs: number
  handle: unknown
}

export class PausableClock implements Clock {
  readonly #timers = new Set<Timer>()
  /** How long it has stood still in all. */
  #lostMs = 0
  #pausedAt: number | undefined

  now(): number {
    return (this.#pausedAt ?? systemClock.now()) - this.#lostMs
  }

  /** The wall's clock does not stand still. */
  date(): number {
    return systemClock.date()
  }

  random(): number {
    return systemClock.random()
  }

  setTimeout(callback: () => void, delayMs: number): unknown {
    const timer: Timer = { callback, dueMs: this.now() + delayMs, handle: undefined }
    this.#timers.add(timer)
    if (this.#pausedAt === undefined) this.#arm(timer)
    return timer
  }

  clearTimeout(handle: unknown): void {
    const timer = handle as Timer | undefined
    if (timer === undefined || !this.#timers.delete(timer)) return
    systemClock.clearTimeout(timer.handle)
  }

  pause(): void {
    if (this.#pausedAt !== undefined) return
    this.#pausedAt = systemClock.now()
    for (const { handle } of this.#timers) systemClock.clearTimeout(handle)
  }

  resume(): void {
    if (this.#pausedAt === undefined) return
    this.#lostMs += systemClock.now() - this.#pausedAt
    this.#pausedAt = undefined
    for (const timer of this.#timers) this.#arm(timer)
  }

  #arm(timer: Timer): void {
    const delayMs = Math.max(0, timer.dueMs - this.now())
    timer.handle = systemClock.setTimeout(() => {
      this.#timers.delete(timer)
      timer.callback()
    }, delayMs)
  }
}
