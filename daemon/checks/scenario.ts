/** Scenarios with the checks in them: what `faults/scenario-parse.ts` reads, and suites' own words for what it checks. */
import { fileIn, withoutFiles } from "../faults/files.ts"
import type { Scenario, ScenarioResult, TimedFault } from "../faults/scenario.ts"
import { parseScenario } from "../faults/scenario-parse.ts"
import type { Plan } from "../plan/resource.ts"
import type { Source } from "../topology/source.ts"
import { nodesOf } from "./nodes.ts"
import { type Check, readCheck } from "./suite.ts"

export interface ScenarioOptions {
  /** Of the lab, without faults; absent: names are not looked up. */
  readonly plan?: Plan
  /** In place of the file's own. */
  readonly seed?: number
  /** Recordings that faults name, and why they could not be read, by name. */
  readonly files?: ReadonlyMap<string, Uint8Array>
  readonly unread?: ReadonlyMap<string, string>
  /** Labs that there are; absent: the one that the file names is not looked up. */
  readonly deployed?: ReadonlyArray<string>
}

/** Reads a scenario and takes its chances. Never throws. */
export const readScenario = (source: Source, options: ScenarioOptions = {}): ScenarioResult<Check> => {
  const { files = new Map<string, Uint8Array>(), plan, unread = new Map<string, string>() } = options
  const nodes = plan === undefined ? undefined : nodesOf(plan)
  const fileOf = fileIn(files, unread)
  let index = 0
  return parseScenario(source, {
    ...options,
    fileOf,
    readCheck: (value, path, reporter) => readCheck(value, { path, index: index++, nodes, plan, fileOf, reporter })
  })
}

const faultOf = ({ forMs = 0, kind, spec, title }: TimedFault) => ({ kind, title, spec: JSON.stringify(withoutFiles(kind, spec)), forMs })

/** What happens, one row for each moment: plain data, the same for a daemon's answer and for who has none. */
export const stepsOf = ({ moments }: Scenario<Check>): ReadonlyArray<ScenarioStep> =>
  moments.map((moment) => {
    const { atMs, line, name, what } = moment
    const step = { atMs, what, name, line, faults: [], heals: [], check: "" }
    switch (moment.what) {
      case "inject":
        return { ...step, faults: moment.faults.map(faultOf) }
      case "heal":
        return { ...step, heals: moment.names === "all" ? ["all"] : moment.names }
      case "check":
        return { ...step, check: moment.check.name }
      default:
        return moment satisfies never
    }
  })

export interface ScenarioStep {
  readonly atMs: number
  readonly what: "inject" | "heal" | "check"
  readonly name: string
  readonly line: number
  /** `forMs` 0: until it is healed. */
  readonly faults: ReadonlyArray<{ readonly kind: string; readonly title: string; readonly spec: string; readonly forMs: number }>
  readonly heals: ReadonlyArray<string>
  readonly check: string
}
