import { MessageChannel } from "node:worker_threads"
import t from "tap"
import { whenSilentFor } from "../../timing/silence.ts"

const block = (ms: number): void => {
  for (const end = performance.now() + ms; performance.now() < end; );
}

t.test("silence is told once its time is over, and not when it is called off", async (t) => {
  const began = performance.now()
  const never = whenSilentFor(10, () => t.fail("it was called off"))
  never()
  await new Promise<void>((resolve) => whenSilentFor(60, resolve))
  t.ok(performance.now() - began >= 55)
  never()
})

t.test("what came while this process could not run is read first", async (t) => {
  const port = new MessageChannel()
  const heard = new Promise<string>((resolve) => {
    const stop = whenSilentFor(50, () => resolve("silence"))
    port.port2.on("message", () => {
      stop()
      resolve("a message")
    })
  })
  port.port1.postMessage("")
  block(200)
  t.equal(await heard, "a message")
  port.port1.close()
})
