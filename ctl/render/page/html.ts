/**
 * HTML as text, with what users wrote always escaped. What is produced is well-formed XML as well, so that a strict parser can
 * check it.
 */

import { createHash } from "node:crypto"

/** Markup that is right as it is. */
export class Html {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

export type Content = Html | string | number | undefined | ReadonlyArray<Content>

/** Characters that neither HTML nor XML allows, and those that turn text around, become U+FFFD. */
const legal = (text: string): string =>
  text.toWellFormed().replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g, "\ufffd")

export const escaped = (text: string): string => legal(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

const written = (content: Content): string => {
  if (content === undefined) return ""
  if (content instanceof Html) return content.text
  return typeof content === "object" ? content.map(written).join("") : escaped(String(content))
}

/** A template whose values are escaped unless they are `Html`; lists are joined. */
export const html = (strings: TemplateStringsArray, ...values: ReadonlyArray<Content>): Html =>
  new Html(strings.reduce((text, part, index) => `${text}${written(values[index - 1])}${part}`))

/** For `Content-Security-Policy`: what exactly a style or script element holds. */
export const hashOf = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

export interface HeadCell {
  readonly title: string
  /** Figures stand at the right. */
  readonly isFigure?: boolean
}

/** A table that scrolls sideways in its own box. `rows`: the first cell of each names the row. */
export const tableOf = (caption: string, head: ReadonlyArray<HeadCell>, rows: ReadonlyArray<Row>): Html => html`
<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table><caption>${caption}</caption>
<thead><tr>${head.map(({ isFigure, title }) => html`<th scope="col"${isFigure === true ? new Html(' class="n"')
  : ""}>${title}</th>`)}</tr></thead>
<tbody>${rows.map((row) => rowOf(row, head))}</tbody></table></div>`

export interface Row {
  readonly cells: ReadonlyArray<Content>
  /** Of the row; for filters: `data-flow`. */
  readonly flow?: string
  readonly tone?: "bad" | "warn" | undefined
}

const rowOf = ({ cells, flow, tone }: Row, head: ReadonlyArray<HeadCell>): Html => {
  const [first, ...others] = cells
  const tag = flow === undefined ? "" : html` data-flow="${flow}"`
  const figure = (index: number): Content => (head[index]?.isFigure === true ? new Html(' class="n"') : "")
  return html`<tr${tag}${tone === undefined ? "" : html` class="${tone}"`}><th scope="row"${figure(0)}>${first}</th>${
    others.map((cell, index) => html`<td${figure(index + 1)}>${cell}</td>`)}</tr>
`
}

/** `552`, `9.4`, `0.04`: milliseconds as exact as one can use them, without the unit. */
export const figure = (ms: number): string => (ms >= 100 ? ms.toFixed(0) : ms >= 1 || ms === 0 ? ms.toFixed(1).replace(/\.0$/, "")
  : ms.toFixed(2))

/** `8.49 s`, since the start. */
export const moment = (ms: number): string => `${(ms / 1000).toFixed(2)} s`
