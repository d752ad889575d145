/** The demo's numbered steps, and what Ctrl-C does to them. */

import { Failure } from "../command.ts"
import { duration } from "../converge.ts"
import { print, printError, styleOf } from "../terminal.ts"

/**
 * Runs one step. `title` says what it was once it is done; with `before` it stands above what the step itself prints.
 * A step that fails gets a line with `name`.
 */
export type Step = <A>(name: string, work: () => Promise<A>, title: (result: A) => string, titled?: "before") => Promise<A>

/** Numbers the steps, times them and prints a line for each. */
export const stepper = (total: number): Step => {
  let number = 0
  return async (name, work, title, titled) => {
    const style = styleOf(process.stdout)
    const head = style.dim(`[${++number}/${total}]`)
    const start = performance.now()
    if (titled === "before") print(`${head} ${title(undefined as never)}`)
    try {
      const result = await work()
      const took = style.dim(duration(performance.now() - start).padStart(8))
      if (titled === undefined) print(`${head} ${title(result).padEnd(63 - String(number).length)} ${took}`)
      else print("")
      return result
    } catch (error) {
      print(`${head} ${style.red("✗")} ${name}`)
      throw error
    }
  }
}

/**
 * Rejects at the first Ctrl-C or SIGTERM, or when nobody reads on (`weft demo | head`); from then on, further ones only ask for
 * patience.
 */
export const interruption = (): Promise<never> => {
  let heard = false
  const promise = new Promise<never>((_, reject) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        if (heard) return printError("Cleaning up, please wait.")
        heard = true
        printError("\nInterrupted, cleaning up.")
        reject(new Failure(130, "Interrupted; everything was cleaned up as far as the lines above say"))
      })
    }
    for (const stream of [process.stdout, process.stderr]) {
      // In place of what main.ts does for every other command, which is to end at once.
      stream.removeAllListeners("error").on("error", () => {
        heard = true
        reject(new Failure(141, "Nobody reads the output any more; everything was cleaned up"))
      })
    }
  })
  promise.catch(() => {})
  return promise
}
