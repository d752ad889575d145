/**
 * Labs that a command deploys for itself: for a suite of checks or a scenario that names a topology. The lab is destroyed
 * however the command ends, also by Ctrl-C. One that runs already is not this command's: it is ${used} as it is and left alone.
 */

import type { Client } from "./client.ts"
import { Exit, Failure } from "./command.ts"
import { duration, follow, printFailed } from "./converge.ts"
import type { Topology } from "./messages.ts"
import { printError } from "./terminal.ts"

export const interruptedExit = 130

export interface Interruption {
  readonly signal: AbortSignal
  /** Rejects when the user wants out. */
  readonly abandoned: Promise<never>
}

export class Interrupted extends Failure {
  constructor() {
    super(interruptedExit, "interrupted")
  }
}

/** The first Ctrl-C ends what is under way in an orderly manner, the second one ends this process. */
export const interruption = (): Interruption => {
  const controller = new AbortController()
  const abandoned = new Promise<never>((_, reject) => controller.signal.addEventListener("abort", () => reject(new Interrupted())))
  abandoned.catch(() => undefined)
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(interruptedExit)
      controller.abort()
    })
  }
  return { signal: controller.signal, abandoned }
}

export interface OwnLab {
  readonly lab: string
  readonly topology: Topology
  /** Do not destroy it. */
  readonly keep: boolean
}

export interface InLab {
  readonly run: (ending: Interruption) => Promise<number>
  /** It could not be deployed: what is there to be written all the same. */
  readonly undeployed: (reason: string) => void
  /** For people, when it was interrupted before: `no checks were run`. */
  readonly undone: string
  /** What becomes of a lab that is there: `checked`. */
  readonly used: string
}

/** Deploys, runs, destroys. Returns the exit code. */
export const inItsOwnLab = async (client: Client, own: OwnLab, { run, undeployed, undone, used }: InLab): Promise<number> => {
  const { keep, lab, topology } = own
  if ((await client.list()).some(({ name }) => name === lab)) {
    printError(`Lab "${lab}" is deployed already: it is ${used} as it is, and stays`)
    return run(interruption())
  }
  const ending = interruption()
  try {
    const outcome = await follow(client.deploy(topology, false), { verb: `Deploying ${lab}`, abandoned: ending.abandoned })
    if (outcome.end.kind === "failed") {
      printFailed(outcome, outcome.end.failed, topology)
      undeployed(`the lab could not be deployed: ${outcome.end.failed.message}`)
      return Exit.failed
    }
    printError(`Lab "${lab}" is deployed (${duration(outcome.end.done.durationMs)})`)
    return await run(ending)
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error
    printError(`interrupted: ${undone}`)
    return interruptedExit
  } finally {
    if (keep) printError(`Lab "${lab}" stays. Remove it with: weft destroy ${lab}`)
    else await destroy(client, lab)
  }
}

const busyPauseMs = 300
const mostTries = 200

/** Also of a lab whose deploying was not waited for: then the daemon is asked again until it is done with it. */
const destroy = async (client: Client, lab: string): Promise<void> => {
  for (let tries = 1; ; tries++) {
    try {
      const outcome = await follow(client.destroy(lab), { verb: `Destroying ${lab}`, abandoned: new Promise<never>(() => {}) })
      if (outcome.end.kind === "failed") return printFailed(outcome, outcome.end.failed)
      return printError(`Lab "${lab}" is gone (${duration(outcome.end.done.durationMs)})`)
    } catch (error) {
      const isBusy = error instanceof Failure && /under way|busy|being/.test(error.message)
      if (!isBusy || tries === mostTries) {
        printError(`Lab "${lab}" was not removed: ${(error as Error).message}. Remove it with: weft destroy ${lab}`)
        return
      }
      await new Promise((resolve) => setTimeout(resolve, busyPauseMs))
    }
  }
}
