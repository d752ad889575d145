/** Which packets are lost: at random, in bursts (Gilbert 1960, Elliott 1963), or as a recording says. */
import type { Loss } from "./profile.ts"
import { Random } from "../wire/random.ts"

export class LossModel {
  private readonly random: Random
  private readonly transitions: Random
  private isBad = false
  private kind: Loss["kind"] | undefined
  /** Of the kind: [loss, loss in the bad state, to the bad state, to the good state]. */
  private readonly chances = new Float64Array(4)

  constructor(seed: number, direction: string) {
    this.random = new Random(seed, `${direction} loss`)
    this.transitions = new Random(seed, `${direction} loss state`)
  }

  /** What holds from now on. The streams, and the state of a bursty channel, go on where they are. */
  configure(loss: Loss | undefined): void {
    if (loss?.kind !== "gilbert-elliott") this.isBad = false
    this.kind = loss?.kind
    if (loss?.kind === "random") this.chances[0] = loss.probability
    if (loss?.kind === "gilbert-elliott") this.chances.set([loss.lossGood, loss.lossBad, loss.p, loss.r])
  }

  /** Whether the next packet is lost. `override`: the probability that a recording has for this moment, or -1. */
  drops(override: number): boolean {
    const { kind, chances, random, transitions } = this
    if (override < 0 && kind === undefined) return false
    random.draw()
    if (override >= 0) return random.drawn[0]! < override
    if (kind === "gilbert-elliott") {
      transitions.draw()
      if (transitions.drawn[0]! < chances[this.isBad ? 3 : 2]!) this.isBad = !this.isBad
    }
    return random.drawn[0]! < chances[this.isBad ? 1 : 0]!
  }
}
