/** The process of `resident.ts`: for each order the environment, the folder and the streams of a new process, then `weft`'s own code. */

import { run } from "../../ctl/run.ts"
import type { Order } from "./resident.ts"

const capture = (stream: NodeJS.WriteStream): (() => string) => {
  const write = stream.write
  const chunks: Array<Buffer> = []
  stream.write = ((chunk: string | Uint8Array, ...more: ReadonlyArray<unknown>): boolean => {
    chunks.push(Buffer.from(chunk))
    const done = more.at(-1)
    if (typeof done === "function") process.nextTick(done)
    return true
  }) as typeof write
  return () => {
    stream.write = write
    return Buffer.concat(chunks).toString("utf8")
  }
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const

process.on("message", async ({ cwd, environment, words }: Order) => {
  process.chdir(cwd)
  for (const name of Object.keys(process.env)) delete process.env[name]
  Object.assign(process.env, environment)
  const [stdout, stderr] = [capture(process.stdout), capture(process.stderr)]
  const code = await run(words)
  const result = { code, stdout: stdout(), stderr: stderr() }
  // A command that has ended listens no more.
  for (const signal of signals) process.removeAllListeners(signal)
  process.send?.(result)
})
