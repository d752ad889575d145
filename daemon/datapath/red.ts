/**
 * RED (Floyd and Jacobson 1993) in its gentle form: the longer the queue has been on average, the likelier an arriving
 * packet is dropped. The thresholds follow from the queue's limit: none dropped below an eighth of it, one in ten at three
 * eighths, all at six eighths.
 */
import { Random } from "../wire/random.ts"

const weight = 0.002
const lowest = 1 / 8
const highest = 3 / 8
const likeliest = 0.1
const typicalOctets = 1000

export class Red {
  private readonly random: Random
  private average = 0
  private readonly idleSinceNs = new Float64Array(1)
  private isIdle = false
  private sinceDrop = -1

  constructor(seed: number, direction: string) {
    this.random = new Random(seed, `${direction} red`)
  }

  /** Whether a packet that arrives at `nowNs[0]` is dropped. `backlog`, `limit`: octets. */
  drops(nowNs: Float64Array, backlog: number, limit: number, rateBps: number): boolean {
    if (this.isIdle) {
      const missed = ((nowNs[0]! - this.idleSinceNs[0]!) * rateBps) / (typicalOctets * 8e9)
      this.average *= (1 - weight) ** Math.max(0, missed)
      this.isIdle = false
    }
    this.average += weight * (backlog - this.average)
    const fill = this.average / limit
    if (fill < lowest) {
      this.sinceDrop = -1
      return false
    }
    const slope = likeliest / (highest - lowest)
    const base = fill < highest ? slope * (fill - lowest) : likeliest + ((fill - highest) / highest) * (1 - likeliest)
    this.sinceDrop++
    const spread = base * this.sinceDrop
    const probability = base >= 1 || spread >= 1 ? 1 : base / (1 - spread)
    this.random.draw()
    if (this.random.drawn[0]! >= probability) return false
    this.sinceDrop = 0
    return true
  }

  /** Nothing waits any more from `nowNs[0]` on. */
  idle(nowNs: Float64Array): void {
    this.isIdle = true
    this.idleSinceNs[0] = nowNs[0]!
  }
}
