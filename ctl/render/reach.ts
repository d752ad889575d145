/** Who reaches whom, as a square that fits the terminal: `✓✓` = ping and TCP, then the round-trip time in ms. */

import type { ReachResult } from "../messages.ts"
import type { Style } from "../terminal.ts"
import { visibleLength } from "../terminal.ts"

export interface Host {
  readonly name: string
  readonly site: string
}

/**
 * @param options.expected whether a pair should reach each other; the others are shown as wrong
 */
export const matrixLines = (
  hosts: ReadonlyArray<Host>,
  results: ReadonlyArray<ReachResult>,
  options: { readonly width: number; readonly style: Style; readonly expected: (from: string, to: string) => boolean }
): ReadonlyArray<string> => {
  const { expected, style, width } = options
  const byPair = new Map(results.map((result) => [`${result.from} ${result.to}`, result]))
  const label = (index: number, numbered: boolean): string =>
    (numbered ? `${String(index + 1).padStart(2)} ` : "")
    + `${hosts[index]!.site.padEnd(longest(hosts.map(({ site }) => site)))}  ${hosts[index]!.name}`
  const choices = [
    { times: true, numbered: false },
    { times: true, numbered: true },
    { times: false, numbered: false },
    { times: false, numbered: true }
  ]
  const sizes = choices.map((choice) => {
    const cell = Math.max(choice.times ? 7 : 2, choice.numbered ? 2 : longest(hosts.map(({ name }) => name)))
    const left = longest(hosts.map((_, index) => label(index, choice.numbered)))
    return { ...choice, cell, left, total: left + hosts.length * (cell + 1) }
  })
  const { cell, left, numbered, times } = sizes.find(({ total }) => total <= width) ?? sizes.at(-1)!
  const pad = (text: string): string => " ".repeat(1 + Math.max(0, cell - visibleLength(text))) + text

  const heading = `${"FROM \\ TO".padEnd(left)}${hosts.map(({ name }, index) => pad(numbered ? String(index + 1) : name)).join("")}`
  const rows = hosts.map((from, index) => {
    const cells = hosts.map((to) => {
      if (from === to) return pad(style.dim("·"))
      const result = byPair.get(`${from.name} ${to.name}`)
      if (result === undefined) return pad(style.red("??"))
      return pad(cellOf(result, { times, style, expected: expected(from.name, to.name) }))
    })
    return label(index, numbered).padEnd(left) + cells.join("")
  })
  return [style.dim(heading), ...rows]
}

const cellOf = (result: ReachResult, { expected, style, times }: { times: boolean; style: Style; expected: boolean }): string => {
  const sign = (reached: boolean): string => {
    const text = reached ? "✓" : "✗"
    return reached !== expected ? style.red(text) : expected ? style.green(text) : style.dim(text)
  }
  const time = times && result.icmp ? ` ${result.icmpRttMs.toFixed(2).slice(0, 4)}` : ""
  return sign(result.icmp) + sign(result.tcp) + style.dim(time)
}

const longest = (words: ReadonlyArray<string>): number => Math.max(0, ...words.map((word) => word.length))
