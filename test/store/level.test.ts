import { readFileSync, statSync, truncateSync } from "node:fs"
import { join } from "node:path"
import { Level } from "level"
import t from "tap"
import { cached } from "../../daemon/store/cache.ts"
import * as Store from "../../daemon/store/level.ts"
import type { LabEntry } from "../../daemon/store/store.ts"

const entry = (name: string, state: LabEntry["state"] = "ready"): LabEntry => ({
  name,
  filename: `${name}.weft.yaml`,
  state,
  plan: { lab: name, nodes: [], segments: [], resources: [] },
  former: [],
  deployedAt: "2026-01-01T00:00:00.000Z"
})

t.test("what was put is there after reopening, and what was removed is not", async (t) => {
  const directory = join(t.testdir(), "state")
  const first = await Store.open(directory)
  for (const name of ["a", "a-b", "zz", "gone"]) await first.put(entry(name, "deploying"))
  await first.put(entry("a"))
  await first.remove("gone")
  await first.remove("never")
  await first.close()

  const second = await Store.open(directory)
  t.strictSame((await second.labs()).map(({ name }) => name), ["a", "a-b", "zz"])
  t.strictSame(await second.lab("a"), entry("a"))
  t.equal(await second.lab("gone"), undefined)
  await second.close()
})

t.test("what is remembered of a lab outlives the daemon and goes with the lab", async (t) => {
  const directory = t.testdir()
  const memory = [["exec/pc/0", { kind: "exec", argv: ["true"], inode: 4026531840 }]] as const
  const first = await Store.open(directory)
  await first.put(entry("a"))
  await first.remember("a", memory)
  await first.close()
  const second = await cached(await Store.open(directory))
  t.strictSame(await second.remembered("a"), memory)
  t.strictSame(await second.remembered("never"), [])
  await second.remove("a")
  t.strictSame(await second.remembered("a"), [])
  t.strictSame(await second.labs(), [])
  await second.close()
})

t.test("open says who is in the way", async (t) => {
  const directory = t.testdir()
  const first = await Store.open(directory)
  await t.rejects(Store.open(directory), { message: `Cannot open the state in "${directory}": another weftd uses it` })
  await first.close()
  await (await Store.open(directory)).close()
})

t.test("open explains damage and what to do about it", async (t) => {
  const directory = t.testdir()
  const store = await Store.open(directory)
  await store.put(entry("a"))
  await store.close()
  // What a power cut can leave behind.
  truncateSync(join(directory, "CURRENT"), 3)
  const message = /^Cannot open the state in ".*": .*CURRENT.*; move the folder away to start without any labs$/
  await t.rejects(Store.open(directory), { message })
})

t.test("open explains a folder that cannot be one", async (t) => {
  const directory = t.testdir({ state: "a file" })
  const path = join(directory, "state")
  await t.rejects(Store.open(path), { message: new RegExp(`^Cannot open the state in "${path}": EEXIST`) })
  t.equal(readFileSync(path, "utf8"), "a file", "and leaves it alone")
})

t.test("open refuses the state of another format and does not touch it", async (t) => {
  const directory = t.testdir()
  const db = new Level<string, unknown>(directory, { valueEncoding: "json" })
  await db.put("format", "999")
  await db.put("lab/a", { unheard: "of" })
  await db.close()
  await t.rejects(Store.open(directory), { message: `Cannot use the state in "${directory}": it has format 999, this weftd knows 2` })
  await db.open()
  t.strictSame(await db.get("lab/a"), { unheard: "of" })
  await db.close()
})

t.test("nobody else may read the state", async (t) => {
  const directory = join(t.testdir(), "state")
  await (await Store.open(directory)).close()
  t.equal(statSync(directory).mode & 0o777, 0o700)
})

t.test("cached answers as the store does, from what was there at the start and what was put since", async (t) => {
  const directory = t.testdir()
  const below = await Store.open(directory)
  await below.put(entry("old"))
  const store = await cached(below)
  await store.put(entry("new", "deploying"))
  await store.put(entry("new"))
  await store.put(entry("gone"))
  await store.remove("gone")
  for (const one of [store, below]) {
    t.strictSame((await one.labs()).map(({ name, state }) => [name, state]).sort(), [["new", "ready"], ["old", "ready"]])
    t.strictSame(await one.lab("new"), entry("new"))
    t.equal(await one.lab("gone"), undefined)
  }
  await store.close()
  // A put that fails must not be believed.
  await t.rejects(store.put(entry("late")))
  t.equal(await store.lab("late"), undefined)
})
