/** What the streams of this process can show: colours, width, and writes that survive a closed pipe. */

import type { WriteStream } from "node:tty"

/** Text decorations; each returns its argument unchanged where colours are not wanted. */
export interface Style {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
  readonly cyan: (text: string) => string
}

const paint =
  (open: number, close: number) =>
  (text: string): string =>
    text === "" ? "" : `\u001b[${open}m${text}\u001b[${close}m`

export const colours: Style = {
  bold: paint(1, 22),
  dim: paint(2, 22),
  red: paint(31, 39),
  green: paint(32, 39),
  yellow: paint(33, 39),
  cyan: paint(36, 39)
}

const same = (text: string): string => text
export const plain: Style = { bold: same, dim: same, red: same, green: same, yellow: same, cyan: same }

/** Colours for terminals unless NO_COLOR is set (https://no-color.org: any value but the empty one) or TERM is dumb. */
export const styleOf = (stream: Partial<WriteStream>): Style => {
  const { FORCE_COLOR, NO_COLOR, TERM } = process.env
  if (NO_COLOR !== undefined && NO_COLOR !== "") return plain
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== "" && FORCE_COLOR !== "0") return colours
  return stream.isTTY === true && TERM !== "dumb" ? colours : plain
}

/** Columns of the terminal behind a stream; unlimited in a pipe or a file, where nothing must be cut or folded. */
export const widthOf = (stream: Partial<WriteStream>): number =>
  stream.isTTY === true ? Math.max(40, stream.columns ?? 80) : Number.POSITIVE_INFINITY

/** Writes one or more lines of result. */
export const print = (text: string): void => {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`)
}

/** Writes progress, advice or an error. */
export const printError = (text: string): void => {
  process.stderr.write(text.endsWith("\n") ? text : `${text}\n`)
}

/** Columns that a text takes on a terminal, decorations not counted. Names in weft are ASCII. */
export const visibleLength = (text: string): number => Array.from(text.replace(/\u001b\[[0-9;]*m/g, "")).length

/** Takes control characters out of what others wrote, so that a name or a message cannot drive the terminal. */
export const printable = (text: string): string => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "�")

/** Waits until everything written to stdout and stderr has left the process. */
export const flush = async (): Promise<void> => {
  await Promise.all(
    [process.stdout, process.stderr].map(
      (stream) => new Promise<void>((resolve) => (stream.writable ? stream.write("", () => resolve()) : resolve()))
    )
  )
}
