/**
 * Tables that never wrap badly: columns are as wide as their content, and where that exceeds the terminal the columns
 * that may fold do so inside their own cell, at spaces, commas or slashes, or inside a word when nothing else is left.
 */

import type { Style } from "../terminal.ts"
import { visibleLength } from "../terminal.ts"

export interface Column {
  readonly title: string
  readonly align?: "left" | "right"
  /** May become narrower than its content. */
  readonly folds?: boolean
}

/** A cell: one line, or several stacked ones. Decorations are allowed in lines that need no folding. */
export type Cell = string | ReadonlyArray<string>

const gap = 2
const narrowest = 10

/**
 * @param options.width columns of the terminal; infinite folds nothing
 * @returns lines without trailing spaces; the heading first
 */
export const table = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<Cell>>,
  options: { readonly width: number; readonly style: Style; readonly indent?: number }
): ReadonlyArray<string> => {
  const indent = options.indent ?? 0
  const widths = fit(columns, naturalWidths(columns, rows), options.width - indent)
  const line = (cells: ReadonlyArray<string>): string =>
    (
      " ".repeat(indent) + cells.map((cell, index) => pad(cell, widths[index] ?? 0, columns[index]?.align)).join(" ".repeat(gap))
    ).trimEnd()
  const heading = line(columns.map(({ title }) => title))
  return [options.style.dim(heading), ...rows.flatMap((row) => foldRow(row, widths).map(line))]
}

/** Columns that the table takes when nothing folds. */
export const naturalWidth = (columns: ReadonlyArray<Column>, rows: ReadonlyArray<ReadonlyArray<Cell>>): number =>
  naturalWidths(columns, rows).reduce((sum, width) => sum + width + gap, -gap)

const linesOf = (cell: Cell | undefined): ReadonlyArray<string> =>
  cell === undefined ? [""] : typeof cell === "string" ? [cell] : cell

const naturalWidths = (columns: ReadonlyArray<Column>, rows: ReadonlyArray<ReadonlyArray<Cell>>): Array<number> =>
  columns.map(({ title }, index) =>
    rows.reduce((width, row) => Math.max(width, ...linesOf(row[index]).map(visibleLength)), title.length)
  )

/** Takes what is too much from the widest column that folds, again and again. */
const fit = (columns: ReadonlyArray<Column>, natural: Array<number>, width: number): ReadonlyArray<number> => {
  const widths = [...natural]
  let excess = widths.reduce((sum, each) => sum + each + gap, -gap) - width
  while (excess > 0) {
    let widest = -1
    for (const [index, column] of columns.entries()) {
      if (column.folds === true && widths[index]! > narrowest && (widest === -1 || widths[index]! > widths[widest]!))
        widest = index
    }
    if (widest === -1) break
    widths[widest]! -= 1
    excess -= 1
  }
  return widths
}

const foldRow = (row: ReadonlyArray<Cell>, widths: ReadonlyArray<number>): ReadonlyArray<ReadonlyArray<string>> => {
  const cells = widths.map((width, index) => linesOf(row[index]).flatMap((text) => fold(text, width)))
  const height = Math.max(1, ...cells.map((lines) => lines.length))
  return Array.from({ length: height }, (_, at) => cells.map((lines) => lines[at] ?? ""))
}

/** Cuts a text into lines of at most `width` columns, where it reads best. */
export const fold = (text: string, width: number): ReadonlyArray<string> => {
  if (visibleLength(text) <= width) return [text]
  const lines: Array<string> = []
  let rest = text
  while (rest.length > width) {
    const head = rest.slice(0, width + 1)
    const space = head.lastIndexOf(" ")
    const mark = Math.max(head.lastIndexOf(",", width - 1), head.lastIndexOf("/", width - 1))
    const cut = space > 0 ? space : mark > 0 ? mark + 1 : width
    lines.push(rest.slice(0, cut).trimEnd())
    rest = rest.slice(cut).trimStart()
  }
  return rest === "" ? lines : [...lines, rest]
}

const pad = (text: string, width: number, align: "left" | "right" | undefined): string => {
  const spaces = " ".repeat(Math.max(0, width - visibleLength(text)))
  return align === "right" ? spaces + text : text + spaces
}
