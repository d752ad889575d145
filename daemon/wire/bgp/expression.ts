/**
 * Regular expressions over an AS path or a community in text, as routers have them: `^65000_`, `_65001$`, `^$`,
 * `^(65000|65001)(_.*)?$`; of communities `^65000:1[0-9]$`, `^rt:`.
 *
 * The text of a path is as routers print it: numbers with a space between, `{1,2}` an AS_SET, `(1 2)` a confederation's
 * sequence, `[1,2]` its set. The text of a community is that of `communities.ts`: one of them, not all of a route. The language is
 * that of POSIX extended expressions with `_` for "begin, end, or what separates numbers"; no back references, so that every
 * expression is a finite automaton: the time for a text is proportional to its length, whatever the expression. (JavaScript's own
 * engine backtracks: a neighbour's long path could hold the thread for hours.)
 *
 *     text --parse--> program (Thompson's NFA) --test--> states of a DFA, made when first met
 *
 * Unsupported: back references, classes by name such as [[:digit:]].
 */

/** One step of the program. `next` and `other` are indexes into it. */
type Step =
  | { readonly op: "set"; readonly set: Uint8Array; next: number }
  | { readonly op: "split"; next: number; other: number }
  | { readonly op: "begin" | "end"; next: number }
  | { readonly op: "match" }

/** What an expression is about: which characters can be in the text at all, so that others are a mistake. */
interface Subject {
  readonly name: string
  readonly characters: RegExp
}

const asPath: Subject = { name: "an AS path", characters: /^[0-9 ,{}()[\].:-]$/ }
/** Well-known ones have names; a hexadecimal one is `0x...`, an `L` marks four octets. */
const community: Subject = { name: "a community", characters: /^[0-9a-zL:.-]$/ }

export interface Expression {
  readonly source: string
  /** Is the expression found anywhere in the text? */
  readonly test: (text: string) => boolean
}

export type Parsed = { readonly ok: true; readonly value: Expression } | { readonly ok: false; readonly message: string }

/** Characters beyond do not appear in paths and communities. */
const alphabet = 128
const mostSteps = 2000
const mostStates = 500
const longestSource = 1000
const deepest = 64

type Node =
  | { readonly kind: "set"; readonly set: Uint8Array }
  | { readonly kind: "begin" | "end" | "empty" }
  | { readonly kind: "all" | "any"; readonly parts: ReadonlyArray<Node> }
  | { readonly kind: "repeat"; readonly what: Node; readonly least: number; readonly most: number }

class Malformed extends Error {}

const setOf = (...characters: ReadonlyArray<string>): Uint8Array => {
  const set = new Uint8Array(alphabet)
  for (const character of characters) set[character.charCodeAt(0)] = 1
  return set
}

const anything = new Uint8Array(alphabet).fill(1)
/** What `_` means: begin, end, or one character between numbers (as FRR's bgp_regex.c has it). */
const underscore: Node = {
  kind: "any",
  parts: [{ kind: "begin" }, { kind: "end" }, { kind: "set", set: setOf(" ", ",", "{", "}", "(", ")") }]
}

/** Recursive descent: alternatives, sequences, repetitions, atoms. */
class Reader {
  private at = 0
  private depth = 0
  private readonly text: string
  private readonly subject: Subject

  constructor(text: string, subject: Subject) {
    this.text = text
    this.subject = subject
  }

  whole(): Node {
    const node = this.alternatives()
    if (this.at < this.text.length) throw new Malformed(`")" at ${this.at + 1} closes nothing`)
    return node
  }

  private alternatives(): Node {
    if (++this.depth > deepest) throw new Malformed(`is nested more than ${deepest} deep`)
    const parts = [this.sequence()]
    while (this.text[this.at] === "|") {
      this.at++
      parts.push(this.sequence())
    }
    this.depth--
    return parts.length === 1 ? parts[0]! : { kind: "any", parts }
  }

  private sequence(): Node {
    const parts: Array<Node> = []
    while (this.at < this.text.length && this.text[this.at] !== "|" && this.text[this.at] !== ")") parts.push(this.repeated())
    return parts.length === 0 ? { kind: "empty" } : parts.length === 1 ? parts[0]! : { kind: "all", parts }
  }

  private repeated(): Node {
    let node = this.atom()
    for (let bounds = this.bounds(); bounds !== undefined; bounds = this.bounds()) {
      const [least, most] = bounds
      node = { kind: "repeat", what: node, least, most }
    }
    return node
  }

  private bounds(): readonly [least: number, most: number] | undefined {
    const character = this.text[this.at]
    const simple = { "*": [0, Infinity], "+": [1, Infinity], "?": [0, 1] } as const
    if (character === "*" || character === "+" || character === "?") {
      this.at++
      return simple[character]
    }
    const match = /^\{(\d{1,3})(,(\d{1,3})?)?\}/.exec(this.text.slice(this.at, this.at + 12))
    if (match === null) return undefined
    this.at += match[0].length
    const least = Number(match[1])
    const most = match[2] === undefined ? least : match[3] === undefined ? Infinity : Number(match[3])
    if (most < least) throw new Malformed(`${match[0]} has its bounds in the wrong order`)
    return [least, most]
  }

  private atom(): Node {
    const begin = this.at
    const character = this.text[this.at++]!
    switch (character) {
      case "(": {
        const node = this.alternatives()
        if (this.text[this.at++] !== ")") throw new Malformed(`"(" at ${begin + 1} is not closed`)
        return node
      }
      case "[":
        return { kind: "set", set: this.characterClass(begin) }
      case ".":
        return { kind: "set", set: anything }
      case "^":
        return { kind: "begin" }
      case "$":
        return { kind: "end" }
      case "_":
        return underscore
      case "*":
      case "+":
      case "?":
        throw new Malformed(`"${character}" at ${begin + 1} has nothing to repeat`)
      case "\\": {
        const escaped = this.text[this.at++]
        if (escaped === undefined) throw new Malformed("a backslash has nothing after it")
        if (/[A-Za-z0-9]/.test(escaped)) throw new Malformed(`"\\${escaped}" at ${begin + 1} is not known: a class is written [0-9]`)
        return this.literal(escaped, begin)
      }
      default:
        return this.literal(character, begin)
    }
  }

  private literal(character: string, begin: number): Node {
    if (!this.subject.characters.test(character)) {
      throw new Malformed(`${JSON.stringify(character)} at ${begin + 1} is never part of ${this.subject.name}`)
    }
    return { kind: "set", set: setOf(character) }
  }

  private characterClass(begin: number): Uint8Array {
    const negated = this.text[this.at] === "^"
    if (negated) this.at++
    const set = new Uint8Array(alphabet)
    for (let first = true; first || this.text[this.at] !== "]"; first = false) {
      const low = this.text.charCodeAt(this.at++)
      if (!(low < alphabet)) throw new Malformed(`"[" at ${begin + 1} is not closed`)
      const isRange = this.text[this.at] === "-" && this.text[this.at + 1] !== "]" && this.at + 1 < this.text.length
      const high = isRange ? this.text.charCodeAt(this.at + 1) : low
      if (isRange) this.at += 2
      if (high < low) throw new Malformed(`the range ${String.fromCharCode(low)}-${String.fromCharCode(high)} is the wrong way round`)
      for (let code = low; code <= high && code < alphabet; code++) set[code] = 1
    }
    this.at++
    return negated ? set.map((bit) => 1 - bit) : set
  }
}

/** Nothing to write, however often it is repeated. */
const isEmpty = (node: Node): boolean =>
  node.kind === "empty" || (node.kind === "repeat" && (node.most === 0 || isEmpty(node.what))) ||
  ((node.kind === "all" || node.kind === "any") && node.parts.every(isEmpty))

/** Writes `node` such that it goes on at `next`; the index at which it begins. */
const emit = (program: Array<Step>, node: Node, next: number): number => {
  const put = (step: Step): number => {
    if (program.length >= mostSteps) throw new Malformed("is too long once its repetitions are written out")
    return program.push(step) - 1
  }
  if (isEmpty(node)) return next
  switch (node.kind) {
    case "set":
      return put({ op: "set", set: node.set, next })
    case "begin":
    case "end":
      return put({ op: node.kind, next })
    case "empty":
      return next
    case "all":
      return node.parts.reduceRight((after, part) => emit(program, part, after), next)
    case "any":
      return node.parts.map((part) => emit(program, part, next)).reduceRight((other, begin) => put({ op: "split", next: begin, other }))
    case "repeat": {
      let after = next
      if (node.most === Infinity) {
        const loop = { op: "split" as const, next: 0, other: next }
        after = put(loop)
        loop.next = emit(program, node.what, after)
      } else {
        for (let times = node.least; times < node.most; times++) {
          after = put({ op: "split", next: emit(program, node.what, after), other: next })
        }
      }
      for (let times = 0; times < node.least; times++) after = emit(program, node.what, after)
      return after
    }
  }
}

/** One state of the DFA: where in the program one can be. */
interface State {
  readonly steps: ReadonlyArray<number>
  /** The match is there already, or would be if the text ended here. */
  readonly matched: boolean
  readonly matchedAtEnd: boolean
  readonly next: Array<State | undefined>
}

class Automaton {
  private readonly states = new Map<string, State>()
  private readonly program: ReadonlyArray<Step>
  private readonly entry: number
  private begin: State

  constructor(program: ReadonlyArray<Step>, entry: number) {
    this.program = program
    this.entry = entry
    this.begin = this.state([entry], true)
  }

  test(text: string): boolean {
    let state = this.begin
    for (let i = 0; i < text.length && !state.matched; i++) {
      const code = text.charCodeAt(i)
      if (code >= alphabet) return false
      state = state.next[code] ?? this.step(state, code)
    }
    return state.matched || state.matchedAtEnd
  }

  private step(from: State, code: number): State {
    const reached = from.steps.flatMap((index) => {
      const step = this.program[index]!
      return step.op === "set" && step.set[code] === 1 ? [step.next] : []
    })
    if (this.states.size >= mostStates) {
      this.states.clear()
      this.begin = this.state([this.entry], true)
    }
    // The expression may begin at every character.
    const state = this.state([...reached, this.entry], false)
    from.next[code] = state
    return state
  }

  private state(from: ReadonlyArray<number>, atBegin: boolean): State {
    const steps = this.reach(from, atBegin, false)
    const key = `${atBegin ? "^" : ""}${steps.join(" ")}`
    const known = this.states.get(key)
    if (known !== undefined) return known
    const has = (indexes: ReadonlyArray<number>): boolean => indexes.some((index) => this.program[index]!.op === "match")
    const state: State = { steps, matched: has(steps), matchedAtEnd: has(this.reach(from, atBegin, true)), next: [] }
    this.states.set(key, state)
    return state
  }

  /** What can be reached without a character. */
  private reach(from: ReadonlyArray<number>, atBegin: boolean, atEnd: boolean): ReadonlyArray<number> {
    const seen = new Set<number>()
    const waiting = [...from]
    for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
      if (seen.has(index)) continue
      seen.add(index)
      const step = this.program[index]!
      if (step.op === "split") waiting.push(step.next, step.other)
      else if ((step.op === "begin" && atBegin) || (step.op === "end" && atEnd)) waiting.push(step.next)
    }
    return [...seen].sort((a, b) => a - b)
  }
}

/** Reads an expression over AS paths; the message says what is wrong with it. */
export const parse = (source: string): Parsed => read(source, asPath)

/** Reads an expression over the text of one community. */
export const parseForCommunity = (source: string): Parsed => read(source, community)

/** `/EXPRESSION/` where a pattern may stand, too -> the expression; undefined: it is something else. */
export const expressionIn = (text: string): string | undefined =>
  text.length >= 2 && text.startsWith("/") && text.endsWith("/") ? text.slice(1, -1) : undefined

const read = (source: string, subject: Subject): Parsed => {
  if (source.length > longestSource) return { ok: false, message: `has ${source.length} characters, at most ${longestSource} are read` }
  try {
    const program: Array<Step> = [{ op: "match" }]
    const automaton = new Automaton(program, emit(program, new Reader(source, subject).whole(), 0))
    return { ok: true, value: { source, test: (text) => automaton.test(text) } }
  } catch (error) {
    if (error instanceof Malformed) return { ok: false, message: error.message }
    throw error
  }
}
