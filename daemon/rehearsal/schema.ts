/**
 * The shape of a rehearsal (`*.rehearsal.yaml`), version 1: what editors complete and what every value is checked against.
 * Each flow and each step is decoded on its own, so that one that is wrong does not hide what is wrong with the others.
 */
import { Schema } from "effect"
import { Flag, NodeName, Nodes, PortNumber, Rate, Targets, UrlPath, Word } from "../checks/parts.ts"
import { protocols } from "../probes/protocols.ts"
import { dayMs, duration, durationOrZero, minuteMs } from "../topology/duration.ts"
import { Command, integer, oneOrMore, optional, text } from "../topology/schema-parts.ts"
import { parseShare } from "../topology/units.ts"

const example = "a time such as 500ms, 30s or 5m"

export const Span = duration({ example, leastMs: 1, mostMs: dayMs })
const SpanOrNone = durationOrZero({ example: `${example}, or 0`, mostMs: dayMs })

const Spacing = duration({
  description: "a time such as 1ms, from one probe to the next", example: "a time such as 1ms or 500us", leastMs: 0.1, mostMs: minuteMs
})

/** Settling and warming up: a time, or how they are bounded. */
const Settle = Schema.Union([SpanOrNone, Schema.Struct({ "at-most": Span })])
  .annotate({ identifier: "Settle", expected: `${example}, 0, or a map with at-most`,
    description: "How long flows are watched after the action: exactly so long, or until they are calm, but at most so long" })
const WarmUp = Schema.Union([SpanOrNone, Schema.Struct({ for: optional(SpanOrNone), "at-most": optional(Span) })])
  .annotate({ expected: `${example}, 0, or a map with for and at-most`,
    description: "How long every flow must have been answered before the first step; 1s, within 60s, unless given" })

const limitTime = (description: string) => Schema.Union([
  Schema.Literals(["none"]),
  durationOrZero({ description, example: "a time such as 500ms or 2m, 0 or none", mostMs: dayMs })
]).annotate({ expected: "a time such as 500ms or 2m, 0 or none", description })
const LossText = text({
  description: "a share such as 0.1%",
  problem: (value) => (parseShare(value) === undefined ? "expected a share such as 0.1%, a number of probes such as 5, or none" : undefined)
})
const Loss = Schema.Union([Schema.Literals(["none"]), LossText, integer(0, 1_000_000_000, "How many probes")])
  .annotate({ expected: "a share such as 0.1%, a number of probes, or none", description: "Probes of a step that are lost" })

const limits = {
  "max-outage": optional(limitTime("The longest outage of a flow in a step")),
  "max-downtime": optional(limitTime("All outages of a flow in a step together")),
  "max-loss": optional(Loss),
  "max-latency": optional(limitTime("The slowest answer of a flow in a step"))
}
const Limits = Schema.Struct(limits).annotate({ expected: "a map with max-outage, max-downtime, max-loss or max-latency" })
const None = Schema.Literals(["none"])
export const FlowBudget = Schema.Union([None, Limits])
  .annotate({ identifier: "FlowBudget", expected: "a map such as {max-outage: 500ms}, or none" })
export const StepBudget = Schema.Union([
  None,
  Schema.Struct({ ...limits, flows: optional(Schema.Record(Schema.String, FlowBudget).annotate({ expected: "a map of flows by name" })) })
]).annotate({
  identifier: "StepBudget",
  expected: "a map such as {max-outage: 500ms}, or none",
  description: "For all flows, in this step; it goes before theirs"
})

export type LimitsSpec = typeof Limits.Type
export type FlowBudget = typeof FlowBudget.Type
export type StepBudget = typeof StepBudget.Type

const options = {
  name: optional(Word.annotate({ description: "What it is called in reports; otherwise its ends and its protocol" })),
  protocol: optional(Schema.Literals(protocols).annotate({ description: "udp unless given" })),
  spacing: optional(Spacing),
  timeout: optional(Span.annotate({ description: "A probe without an answer for so long is lost" })),
  payload: optional(integer(24, 1400, "Octets of a probe behind its header")),
  ipv6: optional(Flag),
  port: optional(PortNumber),
  path: optional(UrlPath.annotate({ description: "http: what to get" })),
  host: optional(Word.annotate({ description: "http: the header" })),
  expect: optional(Word.annotate({ description: "http: statuses such as 2xx,404; dns: an answer" })),
  query: optional(Word.annotate({ description: "dns: the name to ask for" })),
  type: optional(Word.annotate({ description: "dns: A unless given" })),
  "answered-by": optional(NodeName.annotate({ description: "The node where probes are answered, where NAT is between" })),
  rate: optional(Rate.annotate({ description: "throughput: no more than that" })),
  budget: optional(FlowBudget),
  "from-step": optional(Word.annotate({ description: "The step with which it begins; otherwise as soon as its nodes are there" })),
  "until-step": optional(Word.annotate({ description: "The step before which it ends" }))
}
export const FlowSpec = Schema.Struct({ from: Nodes, to: Targets, ...options }).annotate({ expected: "a map with from and to" })
export const PairsSpec = Schema.Struct({ "all-pairs": Nodes, ...options }).annotate({ expected: "a map with all-pairs" })
export type FlowOptions = Omit<typeof FlowSpec.Type, "from" | "to">

const modifiers = {
  name: optional(Word.annotate({ description: "What it is called in reports; otherwise it says what it does" })),
  budget: optional(StepBudget),
  settle: optional(Settle),
  "continue-on-failure": optional(Flag.annotate({ description: "true: when it fails, that is told, and the rehearsal goes on" }))
}
export const modifierNames: ReadonlyArray<string> = Object.keys(modifiers)

const Pattern = text({
  description: "What it must write: a regular expression",
  problem: (value) => {
    try {
      new RegExp(value)
      return value.trim() === "" ? "the text is empty" : undefined
    } catch (error) {
      return (error as Error).message
    }
  }
})
const Exec = Schema.Struct({
  node: NodeName,
  command: Command,
  timeout: optional(Span.annotate({ description: "It has failed after this; 60s unless given" })),
  code: optional(integer(0, 255, "The exit code that it must have; 0 unless given")),
  output: optional(Pattern)
}).annotate({ expected: "a map with node and command" })
const Labels = oneOrMore(Word, "a label")
const CheckFile = Schema.Struct({ file: Word, only: optional(Labels) }).annotate({ expected: "a map with file" })
const ScenarioFile = Schema.Struct({
  file: Word,
  seed: optional(integer(0, Number.MAX_SAFE_INTEGER, "In place of the file's own")),
  speed: optional(Schema.Finite.check(Schema.makeFilter((value: number) => value > 0 && value <= 100, { expected: "a number up to 100" }))
    .annotate({ expected: "a number up to 100", description: "2: in half the time" }))
}).annotate({ expected: "a map with file" })

const step = <F extends Schema.Struct.Fields>(fields: F) => Schema.Struct({ ...modifiers, ...fields })
const FileName = (what: string) =>
  Word.annotate({ expected: `the file of ${what}`, description: `The file of ${what}, from this file's folder` })

/** By the key that says what a step does. */
export const stepSchemas = {
  deploy: step({ deploy: FileName("a topology") }),
  inject: step({ inject: Schema.Unknown }),
  heal: step({ heal: oneOrMore(Word, "the name of a step that injects, or all") }),
  exec: step({ exec: Exec }),
  wait: step({ wait: Span }),
  check: step({ check: Schema.Unknown }),
  scenario: step({ scenario: Schema.Union([FileName("a scenario"), ScenarioFile])
    .annotate({ expected: "the file of a scenario, or a map with file" }) }),
  pause: step({ pause: Word.annotate({ description: "What whoever runs it is to do, or to look at" }) }),
  "probe-only": step({ "probe-only": Span.annotate({ description: "Flows alone for so long; each must be answered at the end" }) })
} as const

export type Does = keyof typeof stepSchemas
export const doing = Object.keys(stepSchemas) as ReadonlyArray<Does>
export { CheckFile, Exec, Settle, WarmUp }

const List = (what: string) => Schema.Array(Schema.Unknown).annotate({ expected: `a list of ${what}` })

export const Outline = Schema.Struct({
  name: optional(Word.annotate({ description: "What the rehearsal is called; otherwise the file's name" })),
  topology: optional(FileName("a topology").annotate({ description: "What it starts with: deployed at first, destroyed at the end" })),
  lab: optional(Word.annotate({ description: "A lab that may run already: then that is used as it is, and stays" })),
  "warm-up": optional(WarmUp),
  flows: List("flows"),
  budgets: optional(FlowBudget.annotate({ description: "For every flow in every step, where neither says otherwise" })),
  settle: optional(Settle),
  steps: List("steps"),
  "roll-back": optional(List("steps").annotate({ description: "Done when a budget breaks or a step fails" }))
}).annotate({ expected: "a map with flows and steps" })

/** The JSON Schema of a rehearsal, for editors (draft 2020-12). */
export const jsonSchema = (): unknown => {
  const Steps = Schema.Array(Schema.Union(Object.values(stepSchemas)).annotate({ identifier: "Step" }))
  const file = Schema.Struct({
    ...Outline.fields, flows: Schema.Array(Schema.Union([FlowSpec, PairsSpec])), steps: Steps, "roll-back": optional(Steps)
  })
  const { definitions, schema } = Schema.toJsonSchemaDocument(file, { onExcessProperty: "error" })
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "weft rehearsal",
    ...schema,
    ...(Object.keys(definitions).length === 0 ? {} : { $defs: definitions })
  }
}
