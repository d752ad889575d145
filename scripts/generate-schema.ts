/**
 * Writes `topologies/weft.schema.json` and `topologies/check.schema.json`, which editors use to complete and check files.
 * Run it after changing `daemon/topology/schema.ts` or a kind of check; a test fails while the file is stale.
 */
import { writeFileSync } from "node:fs"
import { jsonSchema as suiteSchema } from "../daemon/checks/suite-schema.ts"
import { jsonSchema } from "../daemon/topology/schema.ts"

const target = new URL("../topologies/weft.schema.json", import.meta.url)
writeFileSync(target, `${JSON.stringify(jsonSchema(), null, 2)}\n`)

const suites = new URL("../topologies/check.schema.json", import.meta.url)
writeFileSync(suites, `${JSON.stringify(suiteSchema(), null, 2)}\n`)
