/** The store of one host: LevelDB in a folder of its own, one JSON value for each lab and one for what is remembered of it. */
import { mkdirSync } from "node:fs"
import { Level } from "level"
import type { LabEntry, Memory, Store } from "./store.ts"

/** Raise it when `LabEntry` changes in a way that an older daemon's entries do not fit. */
const format = "2"
const labKey = (name: string): string => `lab/${name}`
const memoryKey = (name: string): string => `remembered/${name}`

const explain = (directory: string, error: unknown): Error => {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause
  const remedy = cause?.code === "LEVEL_CORRUPTION" ? "; move the folder away to start without any labs" : ""
  const reason = cause?.message ?? (error instanceof Error ? error.message : String(error))
  const why = cause?.code === "LEVEL_LOCKED" ? "another weftd uses it" : `${reason}${remedy}`
  return new Error(`Cannot open the state in "${directory}": ${why}`, { cause: error })
}

/** Opens the store, making it when it is not there. Throws with a reason when it is in use or damaged. */
export const open = async (directory: string): Promise<Store> => {
  const sizes = { writeBufferSize: 1 << 20, cacheSize: 1 << 20 }
  const db = new Level<string, unknown>(directory, { valueEncoding: "json", compression: true, ...sizes })
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    await db.open()
  } catch (error) {
    throw explain(directory, error)
  }
  const found = await db.get("format")
  if (found === undefined) await db.put("format", format)
  else if (found !== format) {
    await db.close()
    throw new Error(`Cannot use the state in "${directory}": it has format ${String(found)}, this weftd knows ${format}`)
  }
  return {
    labs: async () => (await db.values({ gt: "lab/", lt: "lab0" }).all()) as LabEntry[],
    lab: async (name) => (await db.get(labKey(name))) as LabEntry | undefined,
    put: (entry) => db.put(labKey(entry.name), entry, { sync: true }),
    remembered: async (name) => ((await db.get(memoryKey(name))) as Memory | undefined) ?? [],
    // Not synced: it must outlive the daemon, and what it speaks of does not outlive the machine.
    remember: (name, memory) => db.put(memoryKey(name), memory),
    remove: (name) => db.batch([{ type: "del", key: labKey(name) }, { type: "del", key: memoryKey(name) }], { sync: true }),
    close: () => db.close()
  }
}
