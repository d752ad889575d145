/**
 * Figures: what every bench reports. One figure is one line, on a terminal as `name=value` words, with --json as an object.
 *
 * A ratio compares with a reference that was measured in the same run, sample by sample: sample i of the case over sample
 * i of the reference, which were taken one right after the other. What is reported is the median of these, so that a
 * machine that is slow for a while does not count.
 */

export interface Figure {
  readonly bench: string
  readonly case: string
  readonly metric: string
  readonly unit: string
  readonly n: number
  readonly min: number
  readonly median: number
  readonly max: number
  /** Median of the ratios to the reference; absent for a reference. */
  readonly ratio?: number
  readonly reference?: string
  /** What the median must be, for figures that have to reach something, and whether it is. */
  readonly bound?: string
  readonly verdict?: "ok" | "missed"
}

/** From `least` to `most`, both included. */
export interface Bound {
  readonly least: number
  readonly most: number
}

export type Emit = (figure: Figure) => void

export interface Subject {
  readonly bench: string
  readonly case: string
  readonly metric: string
  readonly unit: string
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The figure of some samples (at least one), compared with `reference`, which has a sample for each of them. */
export const figure = (
  subject: Subject,
  samples: ReadonlyArray<number>,
  reference?: { readonly case: string; readonly samples: ReadonlyArray<number> }
): Figure => ({
  ...subject,
  n: samples.length,
  min: Math.min(...samples),
  median: median(samples),
  max: Math.max(...samples),
  ...(reference === undefined
    ? {}
    : { ratio: median(samples.map((sample, i) => sample / reference.samples[i]!)), reference: reference.case })
})

/** The figure with a verdict on its median. */
export const judged = (figure: Figure, { least, most }: Bound): Figure => ({
  ...figure,
  bound: least === -Infinity ? `..${most}` : least === most ? `${most}` : `${least}..${most}`,
  verdict: figure.median >= least && figure.median <= most ? "ok" : "missed"
})

/** Four significant digits are more than any of these is worth. */
const digits = (value: number): string => (Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4))))

/** `datapath link tcp Gbit/s n=5 min=40.1 median=41.9 max=42.5 ratio=0.98 reference=veth` */
export const line = (figure: Figure): string => {
  const { bench, bound, metric, unit, n, min, median, max, ratio, reference, verdict } = figure
  const words = [bench, figure.case, metric, unit, `n=${n}`, `min=${digits(min)}`, `median=${digits(median)}`, `max=${digits(max)}`]
  if (ratio !== undefined) words.push(`ratio=${ratio.toFixed(2)}`, `reference=${reference}`)
  if (verdict !== undefined) words.push(`bound=${bound}`, verdict)
  return words.join(" ")
}

export const json = (figure: Figure): string => JSON.stringify(figure)
