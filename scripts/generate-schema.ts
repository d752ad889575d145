/**
 * Writes `topologies/weft.schema.json`, which editors use to complete and check topology files.
 * Run it after changing `daemon/topology/schema.ts`; a test fails while the file is stale.
 */
import { writeFileSync } from "node:fs"
import { jsonSchema } from "../daemon/topology/schema.ts"

const target = new URL("../topologies/weft.schema.json", import.meta.url)
writeFileSync(target, `${JSON.stringify(jsonSchema(), null, 2)}\n`)
