/** How long ago something was, in words. */
import { printable } from "../terminal.ts"

/** `5 s ago`, `3 min ago`, `2 h ago`, `4 d ago`; what is no time stays as it is. */
export const agoOf = (time: string, nowMs: number): string => {
  const at = Date.parse(time)
  if (Number.isNaN(at)) return printable(time)
  const seconds = Math.max(0, Math.round((nowMs - at) / 1000))
  if (seconds < 90) return `${seconds} s ago`
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`
  return seconds < 129600 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} d ago`
}
