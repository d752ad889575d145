import { constants } from "node:os"
import t, { type Test } from "tap"
import { watch } from "../../daemon/linux/link-watch.ts"
import { addon } from "../../daemon/native/index.ts"
import { descriptorCount, ipBatch, needsRoot, until, World } from "./harness.ts"

interface Heard {
  readonly changed: string[]
  readonly removed: number[]
  readonly failed: string[]
}

/** Watches a namespace of its own; `onChanged` runs in the listener. */
const start = (t: Test, name: string, onChanged: () => void = () => undefined) => {
  const world = new World(`watch-${name}`)
  const namespace = world.namespace("n")
  const before = descriptorCount()
  const heard: Heard = { changed: [], removed: [], failed: [] }
  const stop = watch(namespace.fd, {
    changed: (links) => {
      heard.changed.push(...links.map((link) => link.name))
      onChanged()
    },
    removed: (index) => heard.removed.push(index),
    failed: (error) => heard.failed.push((error as Error).message)
  })
  t.teardown(() => {
    stop()
    if (descriptorCount() !== before) throw new Error("a descriptor is left")
    world.close()
  })
  return { heard, ip: (...lines: ReadonlyArray<string>) => ipBatch(namespace, lines) }
}

t.test("watch survives a listener that throws, and tells it everything again", { skip: needsRoot }, async (t) => {
  let broken = true
  const { heard, ip } = start(t, "throws", () => {
    if (broken) throw new Error("no memory for this")
  })
  ip("link add name a index 10 type veth", "link add name b index 11 type veth")
  await until("the failure is told", () => heard.failed.length > 0)
  ip("link del dev a")
  broken = false
  heard.changed.length = 0
  await until("everything is told", () => heard.changed.includes("b"))
  t.strictSame(heard.failed, ["no memory for this"], "once")
  t.ok(heard.removed.includes(10), "and what went meanwhile")
  ip("link add name c type veth")
  await until("the watch goes on", () => heard.changed.includes("c"))
})

t.test("watch takes only ENOBUFS for lost messages", { skip: needsRoot }, async (t) => {
  const { heard, ip } = start(t, "errno")
  const { receive } = addon
  t.teardown(() => (addon.receive = receive))
  const answers = [-constants.errno.EBADF]
  let calls = 0
  addon.receive = (descriptor, target) => {
    calls++
    return answers.shift() ?? receive(descriptor, target)
  }
  ip("link add name a index 10 type veth")
  await until("the failure is told", () => heard.failed.length > 0)
  t.strictSame(heard.failed, ['Cannot watch "interfaces": EBADF'])
  t.equal(calls, 1, "it does not ask again at once")
  await until("all is told", () => heard.changed.includes("a"))

  answers.push(-constants.errno.EINTR, -constants.errno.ENOBUFS)
  ip("link del dev a", "link add name d type veth")
  await until("what is there is read", () => heard.changed.includes("d"))
  await until("what went is told", () => heard.removed.includes(10))
  t.equal(heard.failed.length, 1)
})
