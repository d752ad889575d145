import { existsSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import t, { type Test } from "tap"
import { fit } from "../../daemon/linux/host-limits.ts"
import { addon } from "../../daemon/native/index.ts"

const backlog = "/proc/sys/net/core/netdev_max_backlog"
const initial = new Map([[backlog, "1000"], ...[1, 2, 3].map((i) => [`/proc/sys/net/ipv4/neigh/default/gc_thresh${i}`, "1024"] as const)])

/** Sysctls of a machine that is not this one, and the run directories of two instances. */
const machine = (t: Test) => {
  const values = new Map(initial)
  const { readFiles, writeFiles } = addon
  t.teardown(() => Object.assign(addon, { readFiles, writeFiles }))
  addon.readFiles = (_, paths) => paths.map((path) => values.get(path))
  addon.writeFiles = (_, paths, contents) => {
    paths.forEach((path, i) => values.set(path, contents[i]!))
    return []
  }
  const directory = t.testdir({ a: {}, b: {} })
  return { values, a: join(directory, "a"), b: join(directory, "b") }
}

t.test("fit raises limits, and puts them back when nobody needs them", async (t) => {
  const { values, a } = machine(t)
  t.match(fit([1000], a), ["net.ipv4.neigh.default.gc_thresh3: 1024 -> 4194304", "net.core.netdev_max_backlog: 1000 -> 4000"])
  t.equal(values.get(backlog), "4000")
  t.strictSame(fit([1000], a), [])
  fit([], a)
  t.strictSame(values, initial)
  t.strictSame(readdirSync(a), [])
})

t.test("fit knows what other instances need, and what was there before them", async (t) => {
  const { values, a, b } = machine(t)
  fit([1000], a)
  fit([2000], b)
  t.equal(values.get(backlog), "8000")
  fit([], a)
  t.equal(values.get(backlog), "8000", "the other one needs it")
  fit([500], a)
  t.equal(values.get(backlog), "8000")
  fit([], b)
  t.equal(values.get(backlog), "2000", "the needs of who is left")
  fit([], a)
  t.strictSame(values, initial, "and not what the other had raised")
})

t.test("fit survives a claim that is not to be read", async (t) => {
  const { values, a, b } = machine(t)
  writeFileSync(join(b, "limits.json"), '{"before":{"net.co')
  fit([1000], a)
  t.equal(values.get(backlog), "4000")
  fit([], a)
  t.strictSame(values, initial)
  t.notOk(existsSync(join(a, "limits.json")))
})
