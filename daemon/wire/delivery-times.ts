/**
 * The times of a recording's delivery opportunities as a short text: a trace of a mobile network has hundreds of
 * thousands of them, and plans are kept and sent as JSON.
 *
 *     text  = *( gap [ repeat ] )
 *     gap   = one digit of base 36 | "(" decimal ")"    milliseconds since the one before, of the first one since 0
 *     repeat = "*" decimal ";"                          the gap comes so many times more
 *
 * `[1, 1, 3, 50]` is `102(47)`. Values are copies.
 */

/** 2^22 opportunities; a recording of 8 MiB has no more. */
export const mostDeliveries = 4_194_304
export const longestMs = 1e9

const shortestRun = 5

/** `timesMs`: whole, not negative, each at least as large as the one before. */
export const encode = (timesMs: ArrayLike<number>): string => {
  const parts: string[] = []
  let before = 0
  for (let at = 0; at < timesMs.length; ) {
    const gap = timesMs[at]! - before
    let end = at + 1
    while (end < timesMs.length && timesMs[end]! - timesMs[end - 1]! === gap) end++
    const text = gap < 36 ? gap.toString(36) : `(${gap})`
    parts.push(end - at < shortestRun ? text.repeat(end - at) : `${text}*${end - at - 1};`)
    before = timesMs[end - 1]!
    at = end
  }
  return parts.join("")
}

/** The times; undefined when the text is none of ours. Not more than `mostDeliveries`, not later than `longestMs`. */
export const decode = (text: string): Uint32Array | undefined => {
  const times: number[] = []
  const tokens = /(?:([0-9a-z])|\((\d{1,10})\))(?:\*(\d{1,7});)?/gy
  let at = 0
  while (tokens.lastIndex < text.length) {
    const match = tokens.exec(text)
    if (match === null) return undefined
    const gap = match[1] === undefined ? Number(match[2]) : parseInt(match[1], 36)
    const count = 1 + Number(match[3] ?? 0)
    if (times.length + count > mostDeliveries || at + gap * count > longestMs) return undefined
    for (let i = 0; i < count; i++) times.push((at += gap))
  }
  return Uint32Array.from(times)
}
