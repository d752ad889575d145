/**
 * What is added to a packet's delay.
 *
 *     uniform   -ms .. +ms
 *     normal    mean 0, standard deviation ms (Box and Muller 1958)
 *     pareto    ms * (U^(-1/3) - 1): never negative, mean ms / 2, with a long tail (Lomax, shape 3), cut off at 10 s
 */
import type { Jitter } from "./profile.ts"
import { Random } from "./random.ts"

const nsPerMs = 1e6
const longestNs = 10_000 * nsPerMs

export class JitterModel {
  private readonly random: Random
  private readonly spare = new Float64Array(1)
  private readonly drawn = new Float64Array(1)
  private hasSpare = false

  constructor(seed: number, direction: string) {
    this.random = new Random(seed, `${direction} jitter`)
  }

  /** Nanoseconds; may be negative. */
  sample(jitter: Jitter): number {
    this.draw(jitter)
    return this.drawn[0]!
  }

  private draw(jitter: Jitter): void {
    const { drawn } = this
    const scale = jitter.ms * nsPerMs
    switch (jitter.distribution) {
      case "uniform":
        drawn[0] = scale * (2 * this.random.unit() - 1)
        return
      case "normal":
        drawn[0] = scale * this.normal()
        return
      case "pareto":
        drawn[0] = Math.min(longestNs, scale * (1 / Math.cbrt(this.random.positiveUnit()) - 1))
        return
    }
  }

  private normal(): number {
    if (this.hasSpare) {
      this.hasSpare = false
      return this.spare[0]!
    }
    const radius = Math.sqrt(-2 * Math.log(this.random.positiveUnit()))
    const angle = 2 * Math.PI * this.random.unit()
    this.spare[0] = radius * Math.sin(angle)
    this.hasSpare = true
    return radius * Math.cos(angle)
  }
}
