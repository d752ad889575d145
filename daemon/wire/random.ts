/**
 * Chance that can be repeated: sfc32 (Chris Doty-Humphrey's Small Fast Counting generator, PractRand), seeded by
 * splitmix32. A link has one stream for each parameter and direction, an entry of a scenario has one of its own, so that
 * what one draws never shifts another. It is no codec; it is here because the packet path and pure layers both draw.
 */

export class Random {
  private readonly state = new Int32Array(4)
  /** [the number drawn last, as `unit` returns it] */
  readonly drawn = new Float64Array(1)

  /** Streams of the same seed with different names are independent. */
  constructor(seed: number, stream: string) {
    // FNV-1a of the name, mixed into the seed by splitmix32 below.
    let mix = seed | 0
    for (let i = 0; i < stream.length; i++) mix = Math.imul(mix ^ stream.charCodeAt(i), 0x01000193)
    mix ^= Math.floor(seed / 0x1_0000_0000) | 0
    for (let i = 0; i < 3; i++) {
      mix = (mix + 0x9e3779b9) | 0
      let word = Math.imul(mix ^ (mix >>> 16), 0x21f0aaad)
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97)
      this.state[i] = word ^ (word >>> 15)
    }
    this.state[3] = 1
    for (let i = 0; i < 15; i++) this.draw()
  }

  /** As `unit`, for the packet path: the number is in `drawn`, and never on V8's heap. */
  draw(): void {
    const state = this.state
    const sum = (state[0]! + state[1]! + state[3]!) | 0
    state[3] = state[3]! + 1
    state[0] = state[1]! ^ (state[1]! >>> 9)
    state[1] = state[2]! + (state[2]! << 3)
    state[2] = ((state[2]! << 21) | (state[2]! >>> 11)) + sum
    this.drawn[0] = (sum >>> 0) * (1 / 0x1_0000_0000)
  }

  /** 32 random bits, as an unsigned integer. */
  next(): number {
    return this.unit() * 0x1_0000_0000
  }

  /** From 0 up to but not including 1, in steps of 2^-32. */
  unit(): number {
    this.draw()
    return this.drawn[0]!
  }

  /** From above 0 up to and including 1: for what takes a logarithm or divides. */
  positiveUnit(): number {
    return this.unit() + 1 / 0x1_0000_0000
  }
}
