/**
 * Writes `topologies/weft.schema.json`, `check.schema.json` and `rehearsal.schema.json`, which editors use to complete and check
 * files. Run it after changing `daemon/topology/schema.ts`, a kind of check or `daemon/rehearsal/schema.ts`; a test fails while a file
 * is stale.
 */
import { writeFileSync } from "node:fs"
import { jsonSchema as suiteSchema } from "../daemon/checks/suite-schema.ts"
import { jsonSchema as rehearsalSchema } from "../daemon/rehearsal/schema.ts"
import { jsonSchema } from "../daemon/topology/schema.ts"

const target = new URL("../topologies/weft.schema.json", import.meta.url)
writeFileSync(target, `${JSON.stringify(jsonSchema(), null, 2)}\n`)

const suites = new URL("../topologies/check.schema.json", import.meta.url)
writeFileSync(suites, `${JSON.stringify(suiteSchema(), null, 2)}\n`)

const rehearsals = new URL("../topologies/rehearsal.schema.json", import.meta.url)
writeFileSync(rehearsals, `${JSON.stringify(rehearsalSchema(), null, 2)}\n`)
