/**
 * One run of a rehearsal, followed to its end, whichever it is: `done`, Ctrl-C, or a daemon that is gone. All that was heard is in
 * the recorder then. A daemon that comes back within some seconds is asked to clear away what the run has left.
 */

import { setTimeout as sleep } from "node:timers/promises"
import { type Client, connect } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { LiveView } from "../render/rehearsal-live.ts"
import type { RehearsalDone, RehearsalEvent, RehearsalPlanned, RehearsalStart } from "./messages.ts"
import type { Recorder } from "./recorder.ts"

export interface RunOutcome {
  readonly planned: RehearsalPlanned | undefined
  readonly done: RehearsalDone | undefined
  /** Why there is no `done`, for people. */
  readonly reason: string
}

export interface Following {
  readonly recorder: Recorder
  readonly live: LiveView
  /** Once: an orderly end; a second time the process ends (`commands/rehearse.ts`). */
  readonly stop: AbortSignal
  /** Asks whoever is there to go on; resolves when they say so. */
  readonly paused: (text: string) => Promise<void>
}

const tickMs = 100
/** What a daemon that was told to stop may take for healing and destroying, before it is left alone with it. */
const endingMs = 120_000
/** For how long a daemon that is gone is asked for. */
const comebackMs = 60_000
const knockMs = 500

export const followRun = async (client: Client, start: RehearsalStart, following: Following): Promise<RunOutcome> => {
  const { live, paused, recorder, stop } = following
  const call = client.rehearse(start)
  let patience: NodeJS.Timeout | undefined
  const stopping = (): void => {
    live.say("stopping: faults are healed, and what was deployed is destroyed. Once more ends weft at once; the daemon goes on")
    call.stop()
    patience = setTimeout(call.cancel, endingMs)
  }
  stop.addEventListener("abort", stopping)
  const ticking = setInterval(() => live.tick(), tickMs)
  let planned: RehearsalPlanned | undefined
  let done: RehearsalDone | undefined
  let failure: Failure | undefined
  if (stop.aborted) stopping()
  try {
    for await (const event of call) {
      recorder.feed(event)
      live.feed(event)
      if (event.event === "planned") planned = event.planned
      else if (event.event === "done") done = event.done
      else if (event.event === "pause") void paused(textOf(event)).then(call.proceed)
    }
  } catch (error) {
    failure = error instanceof Failure ? error : new Failure(Exit.failed, (error as Error).message)
  } finally {
    clearInterval(ticking)
    clearTimeout(patience)
    stop.removeEventListener("abort", stopping)
  }
  // Nothing was begun: why not, is for the command to say.
  if (planned === undefined && failure !== undefined) throw failure
  const isGone = failure?.exitCode === Exit.unreachable
  const reason = failure === undefined ? "the daemon ended the call" : isGone ? "the daemon went away" : failure.message
  if (done !== undefined || planned === undefined) return { planned, done, reason }
  live.say(`${reason}: asking for it, to clear away what is left`)
  return { planned, done, reason: `${reason}; ${await clearAway(client.address, planned, start)}` }
}

const textOf = (event: RehearsalEvent): string => (event.event === "pause" ? event.pause.text : "")

/** What the run may have left, when the daemon is back. Resolves with what came of it, for people. Never rejects. */
const clearAway = async (address: string, { deploys, lab, name }: RehearsalPlanned, { keep }: RehearsalStart): Promise<string> => {
  const client = await comeback(address)
  if (client === undefined) {
    const destroyed = deploys && !keep ? `, and remove lab "${lab}" with: weft destroy ${lab}` : ""
    return `it did not come back within ${comebackMs / 1000} s: it heals the faults when it does${destroyed}`
  }
  try {
    const isThere = (await client.list()).some((one) => one.name === lab)
    if (!isThere) return `it is back, and lab "${lab}" is not there`
    if (deploys && !keep) {
      await patiently(async () => {
        for await (const progress of client.destroy(lab)) if (progress.event === "failed") throw new Error(progress.failed.message)
      })
      return `it is back, and lab "${lab}" is destroyed`
    }
    const ids = (await client.faults(lab)).filter(({ by }) => by === `rehearsal ${name}`).map(({ id }) => id)
    if (ids.length > 0) await patiently(() => client.heal({ lab, ids, all: false }))
    return `it is back, and no fault of this rehearsal is left in lab "${lab}"`
  } catch (error) {
    return `it is back, but lab "${lab}" could not be cleared: ${(error as Error).message}`
  } finally {
    client.close()
  }
}

/** A daemon that has just started mends its labs first: who changes one of them meanwhile is told that it is busy. */
const patiently = async (change: () => Promise<unknown>): Promise<void> => {
  const deadline = performance.now() + comebackMs
  for (;;) {
    try {
      await change()
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
      await sleep(knockMs)
    }
  }
}

const comeback = async (address: string): Promise<Client | undefined> => {
  const deadline = performance.now() + comebackMs
  while (performance.now() < deadline) {
    try {
      return await connect(address)
    } catch {
      await sleep(knockMs)
    }
  }
  return undefined
}
