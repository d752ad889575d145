/**
 * Times in suites, scenarios, rehearsals and faults: one grammar for all of them, `300us`, `1.5ms`, `500ms`, `30s`, `5m`, `1h`, and one
 * set of messages. What a topology says of links and protocols is in `units.ts`.
 */
import { Schema } from "effect"
import { text } from "./schema-parts.ts"
import { parseDuration } from "./units.ts"

interface Bounds {
  /** Behind "expected": `a time such as 500ms or 2s`. */
  readonly example: string
  readonly leastMs: number
  readonly mostMs: number
}

export const dayMs = 86_400_000
export const hourMs = 3_600_000
export const minuteMs = 60_000

/** As short as it can be written: `1h`, `100us`. */
export const durationText = (ms: number): string => {
  const units = [["h", hourMs], ["m", minuteMs], ["s", 1000], ["ms", 1]] as const
  const [unit, size] = units.find(([, each]) => ms >= each && ms % each === 0) ?? ["us", 1e-3]
  return `${Math.round(ms / size)}${unit}`
}

/** What is wrong with a time; undefined: nothing. */
export const durationProblem = (value: string, { example, leastMs, mostMs }: Bounds): string | undefined => {
  const ms = parseDuration(value)
  if (ms === undefined) return `expected ${example}`
  return ms < leastMs ? `at least ${durationText(leastMs)}` : ms > mostMs ? `at most ${durationText(mostMs)}` : undefined
}

interface Described extends Bounds {
  /** For editors; the example, unless given. */
  readonly description?: string
}

/** The schema of such a time. */
export const duration = ({ description, ...bounds }: Described) =>
  text({ description: description ?? bounds.example, problem: (value) => durationProblem(value, bounds) })

/** The same where a bare 0 is one, too, which YAML has as a number. */
export const durationOrZero = (bounds: Omit<Described, "leastMs">) => {
  const { example: expected } = bounds
  const zero = Schema.Finite.check(Schema.makeFilter((value: number) => value === 0, { expected, toJsonSchema: () => ({ const: 0 }) }))
  return Schema.Union([duration({ ...bounds, leastMs: 0 }), zero]).annotate({ expected, description: bounds.description ?? expected })
}
