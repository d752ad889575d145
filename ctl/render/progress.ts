/**
 * A long operation on stderr. On a terminal one block is redrawn in place: a bar, the current resource, counts per kind.
 * Elsewhere a line appears at most once a second. Notes and failures are printed at once and stay, but not what failed only
 * because something else did: where a namespace cannot be made, nobody wants to read the same of each address in it.
 */

import type { ChangeDone, HostProgress, Progress } from "../messages.ts"
import type { Style } from "../terminal.ts"
import { printable } from "../terminal.ts"

/** What the operation has come to. Starts as `initial`; `advance` is pure. */
export interface State {
  readonly total: number
  readonly done: number
  readonly failed: number
  readonly current: string
  readonly byKind: ReadonlyMap<string, number>
  /** Of many hosts, what each said last; empty on one. */
  readonly hosts: ReadonlyMap<string, HostProgress>
}

export const initial: State = { total: 0, done: 0, failed: 0, current: "", byKind: new Map(), hosts: new Map() }

export const advance = (state: State, progress: Progress): State => {
  switch (progress.event) {
    case "planned": {
      const { creates, removes, replaces, updates } = progress.planned
      return { ...state, total: creates + updates + replaces + removes }
    }
    case "change": {
      const { change, error } = progress.change
      const byKind =
        error === "" ? new Map(state.byKind).set(change.kind, (state.byKind.get(change.kind) ?? 0) + 1) : state.byKind
      const failed = state.failed + (error === "" ? 0 : 1)
      const done = state.done + (error === "" ? 1 : 0)
      return { ...state, total: Math.max(state.total, done), done, failed, current: change.id, byKind }
    }
    case "host": {
      const hosts = new Map(state.hosts).set(progress.host.host, progress.host)
      const all = [...hosts.values()]
      const done = all.reduce((sum, host) => sum + host.done, 0)
      const total = all.reduce((sum, host) => sum + host.total, 0)
      // A host that does not answer belongs to nobody's figures, but to what is shown.
      return { ...state, total: Math.max(state.total, total, done), done, current: hostsText(all), hosts }
    }
    default:
      return state
  }
}

/** `h1 ready, h2 3/9, h3 lost` */
const hostsText = (hosts: ReadonlyArray<HostProgress>): string =>
  hosts
    .toSorted((a, b) => (a.host < b.host ? -1 : 1))
    .map(({ done, host, state, total }) => `${host} ${state === "converging" ? `${done}/${total}` : state}`)
    .join(", ")

const longestBar = 30

/** The block as lines, none longer than `width`. */
export const block = (
  state: State,
  options: { verb: string; width: number; style: Style; elapsedS: number }
): ReadonlyArray<string> => {
  const { style, width } = options
  // What stands beside the bar takes up to 46 columns and the verb.
  const barWidth = Math.max(4, Math.min(longestBar, width - options.verb.length - 46))
  const filled = state.total === 0 ? 0 : Math.min(barWidth, Math.floor((state.done / state.total) * barWidth))
  const bar = style.green("━".repeat(filled)) + style.dim("─".repeat(barWidth - filled))
  const failed = state.failed === 0 ? "" : style.red(` ${state.failed} failed`)
  const head = `${options.verb} ${bar} ${state.done}/${state.total}${failed} ${style.dim(`${options.elapsedS.toFixed(1)} s`)}`
  const cut = (text: string): string => (text.length > width - 3 ? `${text.slice(0, width - 4)}…` : text)
  const kinds = [...state.byKind].map(([kind, count]) => `${kind} ${count}`).join(" · ")
  return [head, `  ${style.dim(cut(kinds))}`, `  ${cut(printable(state.current))}`]
}

/** `failed: address/pc:eth0/10.0.0.2/24: Cannot add ...: EEXIST` */
export const failureLine = ({ change, error }: ChangeDone, style: Style): string =>
  `${style.red("failed:")} ${change.id === "" ? "" : `${printable(change.id)}: `}${printable(error)}`

export interface Display {
  readonly feed: (progress: Progress) => void
  /** Prints a line that stays, above the block. */
  readonly say: (line: string) => void
  /** Removes the block. */
  readonly end: () => void
}

/** What the display writes to; `process.stderr` outside of tests. */
export interface Target {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly write: (text: string) => unknown
}

const redrawMs = 80
const lineMs = 1000

/**
 * Shows an operation as it goes.
 *
 * @param options.now milliseconds that only go forward
 */
export const display = (target: Target, options: { verb: string; style: Style; now: () => number }): Display => {
  const { now, style, verb } = options
  const start = now()
  const live = target.isTTY === true && process.env["TERM"] !== "dumb"
  let state = initial
  let drawn = 0
  let lastAt = live ? Number.NEGATIVE_INFINITY : start

  const elapsedS = (): number => (now() - start) / 1000
  const erase = (): void => {
    if (drawn > 0) target.write(`\u001b[${drawn}A\u001b[J`)
    drawn = 0
  }
  const draw = (): void => {
    const lines = block(state, { verb, width: Math.max(20, target.columns ?? 80), style, elapsedS: elapsedS() })
    const back = drawn > 0 ? `\u001b[${drawn}A\u001b[J` : ""
    target.write(`${back}${lines.join("\n")}\n`)
    drawn = lines.length
  }
  const say = (line: string): void => {
    erase()
    target.write(`${line}\n`)
    if (live && state.total > 0) draw()
  }

  return {
    say,
    end: erase,
    feed: (progress) => {
      state = advance(state, progress)
      if (progress.event === "note") say(`${style.dim("note:")} ${printable(progress.note.message)}`)
      if (progress.event === "change" && progress.change.error !== "" && !progress.change.blocked) say(failureLine(progress.change, style))
      if (state.total === 0 || progress.event === "done" || progress.event === "failed") return
      if (now() - lastAt < (live ? redrawMs : lineMs)) return
      lastAt = now()
      if (live) draw()
      else target.write(`${verb}: ${state.done}/${state.total} (${printable(state.current)}) ${elapsedS().toFixed(1)} s\n`)
    }
  }
}
