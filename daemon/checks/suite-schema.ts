/**
 * The shape of a suite of checks (`*.check.yaml`), version 1: what editors complete and what every value is checked
 * against. Each check is decoded on its own, so that one wrong check does not hide what is wrong with the others.
 */
import { Schema } from "effect"
import { integer, oneOrMore, optional } from "../topology/schema-parts.ts"
import { kindNames, kindOf } from "./kinds.ts"
import { Flag, Time, Word } from "./parts.ts"

const Severity = Schema.Literals(["error", "warning"])
  .annotate({ description: "warning: when it fails, it is told, and the suite passes all the same" })
const Labels = oneOrMore(Word, "a label")

/** What every kind of check takes besides its own key. */
export const modifiers = {
  name: optional(Word.annotate({ description: "What it is called in reports; otherwise it says what it checks" })),
  labels: optional(Labels.annotate({ description: "For weft check --only" })),
  severity: optional(Severity),
  eventually: optional(Time.annotate({ description: "Tried again for so long, until it passes" })),
  always: optional(Time.annotate({ description: "Tried again and again for so long: it must pass each time" })),
  not: optional(Flag.annotate({ description: "true: it must fail" })),
  expect: optional(Schema.Literals(["pass", "fail"]).annotate({ description: "fail is the same as not: true" }))
}

const Defaults = Schema.Struct({ eventually: optional(Time), severity: optional(Severity), labels: optional(Labels) })
  .annotate({ expected: "a map with eventually, severity or labels", description: "For checks that do not say it themselves" })

export const Outline = Schema.Struct({
  name: optional(Word.annotate({ description: "What the suite is called in reports; otherwise the file's name" })),
  topology: optional(Word.annotate({ description: "The topology's file, from this file's folder: deployed, checked, destroyed" })),
  lab: optional(Word.annotate({ description: "The lab to check, where the suite has no topology; without both: the only one" })),
  parallel: optional(integer(1, 256, "How many checks run at once; 32 unless given")),
  defaults: optional(Defaults),
  checks: Schema.Array(Schema.Unknown).annotate({ expected: "a list of checks" })
}).annotate({ expected: "a map with checks" })

export type Outline = typeof Outline.Type

/** A check of one kind. */
const checkOf = (name: (typeof kindNames)[number]) =>
  Schema.Struct({ [name]: kindOf(name).schema, ...modifiers }).annotate({ expected: `a map with ${name}` })

/** By kind. */
export const checkSchemas = new Map(kindNames.map((name) => [name, checkOf(name)]))

/** The JSON Schema of a suite, for editors (draft 2020-12). */
export const jsonSchema = (): unknown => {
  const file = Schema.Struct({ ...Outline.fields, checks: Schema.Array(Schema.Union([...checkSchemas.values()])) })
  const { definitions, schema } = Schema.toJsonSchemaDocument(file, { onExcessProperty: "error" })
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "weft suite of checks",
    ...schema,
    ...(Object.keys(definitions).length === 0 ? {} : { $defs: definitions })
  }
}
