/**
 * What is added to a packet's delay.
 *
 *     uniform   -ms .. +ms
 *     normal    mean 0, standard deviation ms (Box and Muller 1958)
 *     pareto    ms * (U^(-1/3) - 1): never negative, mean ms / 2, with a long tail (Lomax, shape 3), cut off at 10 s
 */
import type { Jitter } from "./profile.ts"
import { Random } from "../wire/random.ts"

const nsPerMs = 1e6
const longestNs = 10_000 * nsPerMs

export class JitterModel {
  private readonly random: Random
  private readonly spare = new Float64Array(1)
  /** [what `draw` found] */
  readonly drawn = new Float64Array(1)
  private hasSpare = false

  constructor(seed: number, direction: string) {
    this.random = new Random(seed, `${direction} jitter`)
  }

  /** Nanoseconds; may be negative. */
  sample(jitter: Jitter): number {
    this.draw(jitter)
    return this.drawn[0]!
  }

  /** As `sample`, for the packet path: the number is in `drawn`, and never on V8's heap. */
  draw(jitter: Jitter): void {
    const { drawn } = this
    const scale = jitter.ms * nsPerMs
    switch (jitter.distribution) {
      case "uniform":
        this.random.draw()
        drawn[0] = scale * (2 * this.random.drawn[0]! - 1)
        return
      case "normal":
        this.drawNormal()
        drawn[0] = drawn[0]! * scale
        return
      case "pareto":
        this.random.draw()
        drawn[0] = Math.min(longestNs, scale * (1 / Math.cbrt(this.random.drawn[0]! + 2 ** -32) - 1))
        return
    }
  }

  private drawNormal(): void {
    const { drawn, random } = this
    if (this.hasSpare) {
      this.hasSpare = false
      drawn[0] = this.spare[0]!
      return
    }
    random.draw()
    const radius = Math.sqrt(-2 * Math.log(random.drawn[0]! + 2 ** -32))
    random.draw()
    const angle = 2 * Math.PI * random.drawn[0]!
    this.spare[0] = radius * Math.sin(angle)
    this.hasSpare = true
    drawn[0] = radius * Math.cos(angle)
  }
}
