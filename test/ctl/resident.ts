/**
 * Runs many commands of `weft`, one after the other, in one process of their own (`resident-process.ts`): the time that a
 * process takes to start, which is that of most commands, is spent once. What streams, signals and the end of a process do
 * is tested with `weft.ts`.
 */

import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Test } from "tap"
import { environmentFor, type Options, type Result, weft } from "./weft.ts"

export interface Order {
  readonly words: ReadonlyArray<string>
  readonly cwd: string
  readonly environment: NodeJS.ProcessEnv
}

/** As `weft`, which it leaves commands to that read from standard input. The process ends with the test. */
export const startResident = (t: Test): typeof weft => {
  const child = fork(fileURLToPath(new URL("resident-process.ts", import.meta.url)), { stdio: ["ignore", "inherit", "inherit", "ipc"] })
  t.teardown(() => child.kill())
  let before: Promise<unknown> = Promise.resolve()
  const inTurn = async (order: Order): Promise<Result> => {
    await before
    const ended = new AbortController()
    const { signal } = ended
    try {
      child.send(order)
      const gone = once(child, "exit", { signal }).then(() => Promise.reject(new Error(`weft ${order.words.join(" ")} ended the process`)))
      return await Promise.race([once(child, "message", { signal }).then(([result]) => result as Result), gone])
    } finally {
      ended.abort()
    }
  }
  return (words, options: Options = {}) => {
    if (options.stdin !== undefined || options.started !== undefined) return weft(words, options)
    const result = inTurn({ words, cwd: options.cwd ?? process.cwd(), environment: environmentFor(options) })
    before = result.catch(() => {})
    return result
  }
}
