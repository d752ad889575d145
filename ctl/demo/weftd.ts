/** One weftd that the demo starts: its process, its log, its end. */

import { spawn } from "node:child_process"
import { once } from "node:events"
import { closeSync, existsSync, openSync, readFileSync } from "node:fs"
import { setTimeout as wait } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { connect } from "../client.ts"
import type { Client } from "../client.ts"
import { Exit, Failure } from "../command.ts"

export interface Weftd {
  readonly pid: number
  readonly address: string
  readonly logFile: string
  /** Resolves when it answers; rejects with the end of its log when it never will. */
  readonly answering: () => Promise<Client>
  /** Ends it with SIGTERM and waits until it is gone. */
  readonly stop: () => Promise<void>
  /** Lets it live on after this process. */
  readonly leave: () => void
  readonly isAlive: () => boolean
  /** The end of its log, for an error message. */
  readonly tail: () => string
}

export interface Options {
  readonly instance: string
  /** `unix:PATH` */
  readonly address: string
  readonly stateDirectory: string
  readonly logFile: string
  /** More of its command line. */
  readonly words?: ReadonlyArray<string>
  /** Path of the network namespace in which it runs; absent: this process's own. */
  readonly netns?: string
}

const startPatienceMs = 180_000
const stopPatienceMs = 60_000
const pollMs = 40

export const startWeftd = ({ address, instance, logFile, netns, stateDirectory, words = [] }: Options): Weftd => {
  const log = openSync(logFile, "a", 0o600)
  const program = fileURLToPath(new URL("../../bin/weftd", import.meta.url))
  // nsenter(1) stays in this mount namespace, which `ip netns exec` does not: nodes must be seen by all.
  const enter = netns === undefined ? [] : ["nsenter", `--net=${netns}`, "--"]
  const own = ["--instance", instance, "--socket", address.slice("unix:".length), "--state", stateDirectory]
  const [command, ...rest] = [...enter, program, ...own, ...words]
  // Detached: Ctrl-C is for the demo, which then removes the lab through the daemon before it ends it.
  const child = spawn(command!, rest, { detached: true, stdio: ["ignore", log, log] })
  closeSync(log)
  let spawnError: Error | undefined
  child.once("error", (error) => (spawnError = error))
  const isAlive = (): boolean => child.pid !== undefined && child.exitCode === null && child.signalCode === null
  return {
    pid: child.pid ?? 0,
    address,
    logFile,
    isAlive,
    tail: () => tailOf(logFile),
    leave: () => child.unref(),
    answering: async () => {
      const deadline = performance.now() + startPatienceMs
      for (;;) {
        if (spawnError !== undefined) throw new Failure(Exit.failed, `Cannot start ${command}: ${spawnError.message}`)
        if (!isAlive()) {
          const how = child.signalCode ?? `exit ${child.exitCode}`
          throw new Failure(Exit.failed, `weftd (instance ${instance}) ended at once (${how})`, tailOf(logFile))
        }
        const client = await healthy(address)
        if (client !== undefined) return client
        if (performance.now() > deadline)
          throw new Failure(Exit.failed, `weftd did not answer within ${startPatienceMs / 1000} s`, tailOf(logFile))
        await wait(pollMs)
      }
    },
    stop: async () => {
      if (!isAlive()) return
      const gone = once(child, "exit")
      child.kill("SIGTERM")
      const late = await Promise.race([gone.then(() => false), wait(stopPatienceMs, true, { ref: false })])
      if (late)
        throw new Failure(
          Exit.failed,
          `The demo's daemon (pid ${child.pid}) did not end within ${stopPatienceMs / 1000} s of SIGTERM`,
          `Its log: ${logFile}`
        )
    }
  }
}

/** A client whose daemon has answered a call. */
const healthy = async (address: string): Promise<Client | undefined> => {
  const client = await connect(address).catch(() => undefined)
  const answers = await client?.list().then(
    () => true,
    () => false
  )
  if (answers === true) return client
  client?.close()
  return undefined
}

const tailOf = (logFile: string): string => {
  if (!existsSync(logFile)) return "It left no log."
  const lines = readFileSync(logFile, "utf8").trimEnd().split("\n").slice(-15)
  return ["The end of its log:", ...lines].join("\n")
}
