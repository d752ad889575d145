/** The daemon that the demo talks to: one that runs already, or its own, started here and stopped at the end. */

import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as wait } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { connect, defaultAddress } from "../client.ts"
import type { Client } from "../client.ts"
import { Exit, Failure } from "../command.ts"

export const instance = "demo"
export const ownAddress = `unix:/run/weft/${instance}/weftd.sock`

export interface DemoDaemon {
  readonly client: Client
  readonly address: string
  /** `started the daemon of the demo`, or which one was found. */
  readonly description: string
  /** Only for a daemon that the demo started. */
  readonly own: OwnDaemon | undefined
}

export interface OwnDaemon {
  readonly pid: number
  /** Holds its state and its log. */
  readonly directory: string
  readonly logFile: string
  /** Ends it with SIGTERM, waits until it is gone and removes its directory. */
  readonly stop: () => Promise<void>
  /** Lets it live on after this process. */
  readonly leave: () => void
}

const startPatienceMs = 60_000
const stopPatienceMs = 20_000
const pollMs = 40

/**
 * Finds or starts a daemon.
 *
 * @param address what the user asked for; a daemon is started only when that is the default address
 * @param onStart called as soon as there is something to stop, before it is known to work
 */
export const useDaemon = async (address: string, onStart: (own: OwnDaemon) => void): Promise<DemoDaemon> => {
  for (const candidate of address === defaultAddress ? [address, ownAddress] : [address]) {
    try {
      return {
        client: await connect(candidate),
        address: candidate,
        description: `Use the weftd at ${candidate}`,
        own: undefined
      }
    } catch (error) {
      const none = error instanceof Failure && error.exitCode === Exit.unreachable
      if (!none || address !== defaultAddress) throw error
    }
  }
  if (process.getuid?.() !== 0) {
    throw new Failure(
      Exit.failed,
      "Cannot start a daemon: it makes network namespaces and loads eBPF programs, which needs root",
      "Type: sudo bin/weft demo"
    )
  }
  const own = start()
  onStart(own)
  const client = await answering(own)
  return { client, address: ownAddress, description: `Start weftd (instance ${instance})`, own }
}

interface Started extends OwnDaemon {
  readonly child: ChildProcess
}

const start = (): Started => {
  const directory = mkdtempSync(join(tmpdir(), "weft-demo-"))
  const logFile = join(directory, "weftd.log")
  const log = openSync(logFile, "a", 0o600)
  const weftd = fileURLToPath(new URL("../../bin/weftd", import.meta.url))
  const words = ["--instance", instance, "--socket", ownAddress.slice("unix:".length), "--state", join(directory, "state")]
  // Detached: Ctrl-C is for the demo, which then removes the lab through the daemon before it ends it.
  const child = spawn(weftd, words, { detached: true, stdio: ["ignore", log, log] })
  closeSync(log)
  return {
    child,
    pid: child.pid ?? 0,
    directory,
    logFile,
    leave: () => child.unref(),
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
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
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

/** Waits until the daemon answers a call, or says why it never will. */
const answering = async ({ child, logFile }: Started): Promise<Client> => {
  let spawnError: Error | undefined
  child.once("error", (error) => (spawnError = error))
  const deadline = performance.now() + startPatienceMs
  for (;;) {
    if (spawnError !== undefined) throw new Failure(Exit.failed, `Cannot start bin/weftd: ${spawnError.message}`)
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Failure(Exit.failed, `weftd ended at once (${child.signalCode ?? `exit ${child.exitCode}`})`, tailOf(logFile))
    }
    const client = await connect(ownAddress).catch(() => undefined)
    if (client !== undefined) {
      const healthy = await client.list().then(
        () => true,
        () => false
      )
      if (healthy) return client
      client.close()
    }
    if (performance.now() > deadline)
      throw new Failure(Exit.failed, `weftd did not answer within ${startPatienceMs / 1000} s`, tailOf(logFile))
    await wait(pollMs)
  }
}

/** The end of a daemon's log, for an error message. */
export const tailOf = (logFile: string): string => {
  if (!existsSync(logFile)) return "It left no log."
  const lines = readFileSync(logFile, "utf8").trimEnd().split("\n").slice(-15)
  return ["The end of its log:", ...lines].join("\n")
}
