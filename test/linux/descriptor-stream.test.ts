import { closeSync, readSync, writeSync } from "node:fs"
import { once } from "node:events"
import t from "tap"
import { DescriptorReadable, DescriptorWritable } from "../../daemon/linux/descriptor-stream.ts"
import { addon } from "../../daemon/native/index.ts"

const textOf = async (stream: DescriptorReadable): Promise<string> => {
  let text = ""
  for await (const chunk of stream) text += (chunk as Buffer).toString("utf8")
  return text
}

t.test("DescriptorReadable gives all octets and ends with the last writer", async (t) => {
  const [ours, theirs] = addon.pipeOpen(true)
  const text = textOf(new DescriptorReadable(ours))
  writeSync(theirs, "hello ")
  writeSync(theirs, "world")
  closeSync(theirs)
  t.equal(await text, "hello world")
})

t.test("DescriptorReadable.endWhenIdle ends although a writer is left, and loses nothing that was written", async (t) => {
  const [ours, theirs] = addon.pipeOpen(true)
  writeSync(theirs, "x".repeat(60_000))
  const stream = new DescriptorReadable(ours)
  stream.endWhenIdle(20)
  t.equal((await textOf(stream)).length, 60_000)
  closeSync(theirs)
})

t.test("DescriptorReadable does not read ahead of its reader", async (t) => {
  // Our writing end does not block; the reader waits for readiness before each read, so its end may.
  const [writing, reading] = addon.pipeOpen(false)
  const stream = new DescriptorReadable(reading)
  const probe = new DescriptorWritable(writing)
  stream.pause()
  stream.read(0)
  let taken = 0
  probe.write(Buffer.alloc(1 << 20), () => (taken = 1 << 20))
  await once(stream, "readable")
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  t.equal(taken, 0, "the writer waits")
  t.ok(stream.readableLength <= 2 * 65536, `${stream.readableLength} octets are held`)
  probe.destroy()
  stream.destroy()
})

t.test("DescriptorWritable writes everything, in order, at the reader's pace", async (t) => {
  const [ours, theirs] = addon.pipeOpen(false)
  const stream = new DescriptorWritable(ours)
  const numbers = Array.from({ length: 40_000 }, (_, i) => `${i}\n`).join("")
  stream.end(numbers)
  let text = ""
  const buffer = Buffer.alloc(4096)
  // The writer needs turns of the event loop to go on.
  for (;;) {
    await new Promise((resolve) => setImmediate(resolve))
    if (text.length === numbers.length) break
    text += buffer.toString("latin1", 0, readSync(theirs, buffer))
  }
  t.equal(text, numbers)
  if (!stream.closed) await once(stream, "close")
  t.equal(readSync(theirs, buffer), 0, "then it is closed")
  closeSync(theirs)
})

t.test("DescriptorWritable drops what nobody will read", async (t) => {
  const [ours, theirs] = addon.pipeOpen(false)
  closeSync(theirs)
  const stream = new DescriptorWritable(ours)
  stream.write("a")
  stream.end("b")
  await once(stream, "close")
  t.equal(stream.errored, null)
})

t.test("DescriptorWritable writes its end mark, chosen by the last octet, and stays open", async (t) => {
  const [ours, theirs] = addon.pipeOpen(false)
  const stream = new DescriptorWritable(ours, (last) => Buffer.from(last === 0x61 ? "!" : "?"))
  stream.end("bla")
  await once(stream, "finish")
  const buffer = Buffer.alloc(16)
  t.equal(buffer.toString("latin1", 0, readSync(theirs, buffer)), "bla!")
  t.notOk(stream.destroyed)
  stream.destroy()
  t.equal(readSync(theirs, buffer), 0)
  closeSync(theirs)
})
