/** A limit on how long a daemon may be silent; `daemon/linux/silence.ts` is the same for the daemon. */

const parts = 5

/**
 * Calls `silent` when this process has listened for `ms` in vain; returns what calls it off. A timer alone would be
 * unjust: in a process that could not run for a while it comes before the answer that lies in the socket. So the time is
 * counted in parts, of which one that was slept through counts once, and at the end what has come is read first.
 */
export const whenSilentFor = (ms: number, silent: () => void): (() => void) => {
  let left = parts
  let reading: NodeJS.Immediate | undefined
  const next = (): NodeJS.Timeout =>
    setTimeout(() => {
      left -= 1
      if (left > 0) timer = next()
      else reading = setImmediate(silent)
    }, ms / parts)
  let timer = next()
  return () => {
    clearTimeout(timer)
    clearImmediate(reading)
  }
}
