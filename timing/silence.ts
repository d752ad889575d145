/**
 * Limits on how long others may be silent. A timer alone is unjust: when this process could not run for a while, its
 * timers come first, and the answer lies unread in the socket. So the time is counted in parts, of which one that was
 * slept through counts once, and at the end whatever has come is read before anybody is judged.
 */

const parts = 5

/**
 * Calls `silent` when this process has listened for `ms` in vain.
 *
 * @returns calls it off; may be called at any time, also more than once
 */
export const whenSilentFor = (ms: number, silent: () => void): (() => void) => {
  let left = parts
  let reading: NodeJS.Immediate | undefined
  const next = (): NodeJS.Timeout =>
    setTimeout(() => {
      left -= 1
      if (left > 0) timer = next()
      // Immediates come after the sockets' events of this turn of the loop.
      else reading = setImmediate(silent)
    }, ms / parts)
  let timer = next()
  return () => {
    clearTimeout(timer)
    clearImmediate(reading)
  }
}
