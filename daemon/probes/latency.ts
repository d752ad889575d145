/** Latencies as `native/src/probe.cc` counts them: 32 steps for each doubling from 1 us on, so a value is exact to 3 %. */

const stepsPerOctave = 32
export const histogramLength = stepsPerOctave * 24

/** The upper edge of a step, in ms. */
const edgeMs = (step: number): number => 2 ** ((step + 1) / stepsPerOctave) / 1000

/**
 * Percentiles of a histogram, in ms; 0 where nothing was counted.
 *
 * @param shares between 0 and 1
 */
export const percentiles = (histogram: Uint32Array, shares: ReadonlyArray<number>): ReadonlyArray<number> => {
  const total = histogram.reduce((sum, count) => sum + count, 0)
  return shares.map((share) => {
    if (total === 0) return 0
    let left = Math.max(1, Math.ceil(share * total))
    for (const [step, count] of histogram.entries()) {
      left -= count
      if (left <= 0) return edgeMs(step)
    }
    return edgeMs(histogram.length - 1)
  })
}
