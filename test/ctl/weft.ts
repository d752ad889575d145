/** Runs the real `weft` in a process of its own, as a user's shell would. */

import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { fileURLToPath } from "node:url"

export const main = fileURLToPath(new URL("../../ctl/main.ts", import.meta.url))

export interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Options {
  readonly address?: string
  readonly cwd?: string
  readonly stdin?: string | Uint8Array
  /** Called with the process as soon as it runs. */
  readonly started?: (child: ChildProcess) => void
}

/** The environment of a `weft` that is asked for a daemon that is not there, if the test has none. */
export const environmentFor = ({ address }: Options): NodeJS.ProcessEnv => {
  const environment: NodeJS.ProcessEnv = { ...process.env, WEFT_DAEMON: address ?? "unix:/nonexistent/weftd.sock" }
  // The test runner's own settings are not for the program under test.
  for (const name of ["NODE_OPTIONS", "FORCE_COLOR", "NO_COLOR"]) delete environment[name]
  return environment
}

/** Runs `weft WORDS` to its end. Without `stdin` its standard input is empty. */
export const weft = (words: ReadonlyArray<string>, options: Options = {}): Promise<Result> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...words], { cwd: options.cwd, env: environmentFor(options) })
    let [stdout, stderr] = ["", ""]
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
    child.stdin.on("error", () => {})
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, stdout, stderr }))
    options.started?.(child)
    if (options.started === undefined || options.stdin !== undefined) child.stdin.end(options.stdin)
  })
