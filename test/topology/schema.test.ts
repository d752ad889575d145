import { readFileSync } from "node:fs"
import t from "tap"
import { jsonSchema } from "../../daemon/topology/schema.ts"

t.test("topologies/weft.schema.json is fresh", async (t) => {
  const file = readFileSync(new URL("../../topologies/weft.schema.json", import.meta.url), "utf8")
  t.equal(file, `${JSON.stringify(jsonSchema(), null, 2)}\n`, "if not: node scripts/generate-schema.ts")
})

t.test("jsonSchema refuses unknown keys everywhere", async (t) => {
  const open: Array<string> = []
  const walk = (value: unknown, path: string): void => {
    if (typeof value !== "object" || value === null) return
    const schema = value as Readonly<Record<string, unknown>>
    if (schema["type"] === "object" && !("additionalProperties" in schema)) open.push(path)
    for (const key in schema) walk(schema[key], `${path}/${key}`)
  }
  walk(jsonSchema(), "")
  t.same(open, [])
})
