/** Which packets are lost: at random, in bursts (Gilbert 1960, Elliott 1963), or as a recording says. */
import type { Loss } from "./profile.ts"
import { Random } from "./random.ts"

export class LossModel {
  private readonly random: Random
  private readonly transitions: Random
  private isBad = false
  private loss: Loss | undefined

  constructor(seed: number, direction: string) {
    this.random = new Random(seed, `${direction} loss`)
    this.transitions = new Random(seed, `${direction} loss state`)
  }

  /** What holds from now on. The streams, and the state of a bursty channel, go on where they are. */
  configure(loss: Loss | undefined): void {
    if (loss?.kind !== "gilbert-elliott") this.isBad = false
    this.loss = loss
  }

  /** Whether the next packet is lost. `override`: the probability that a recording has for this moment, or -1. */
  drops(override: number): boolean {
    if (override >= 0) return this.random.unit() < override
    const loss = this.loss
    if (loss === undefined) return false
    if (loss.kind === "random") return this.random.unit() < loss.probability
    const isChanging = this.transitions.unit() < (this.isBad ? loss.r : loss.p)
    if (isChanging) this.isBad = !this.isBad
    return this.random.unit() < (this.isBad ? loss.lossBad : loss.lossGood)
  }
}
