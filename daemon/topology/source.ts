/**
 * YAML text -> plain values, with the position of every key and value.
 *
 * In: the bytes of one file, from anyone. Out: objects without a prototype, arrays, strings, numbers, booleans and nulls,
 * and a `locate` function from path to line and column; or diagnostics. Never throws, and is bounded in time and memory:
 *
 * - size is checked before decoding, depth and token count while the `yaml` package's parser runs (its composer recurses);
 * - aliases share one value instead of copying it, and what they would expand to is counted (the "billion laughs");
 * - duplicate keys are found with a `Map` (the package's own check is quadratic).
 *
 * YAML 1.2 core schema: `no` is a word, not a boolean. No custom tags, no merge keys (`<<`): groups do that job.
 */
import { isUtf8 } from "node:buffer"
import { Composer, isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, Parser } from "yaml"
import type { CST, Document, ParsedNode, YAMLError, YAMLMap, YAMLSeq } from "yaml"
import { type Diagnostic, formatPath, type Locate } from "./diagnostic.ts"

export const limits = {
  /** Octets of a file. */
  size: 4 * 1024 * 1024,
  /** Nesting of maps and lists; the language itself needs 8. */
  depth: 32,
  /** Lexical tokens: about two seconds of work are refused before they start. */
  tokens: 300_000,
  /** Values that aliases may add beyond those written out. */
  aliasExpansion: 10_000,
  /** Errors of syntax that are worth reading. */
  syntaxErrors: 20
} as const

export interface Source {
  readonly filename: string
  readonly content: string | Uint8Array
}

export type Read =
  | { readonly ok: true; readonly value: unknown; readonly locate: Locate }
  | { readonly ok: false; readonly diagnostics: ReadonlyArray<Diagnostic> }

/** What a file is, in the words of its errors. */
export interface FileKind {
  readonly name: string
  /** What it has at least. */
  readonly least: string
  /** What to split when it is too long. */
  readonly whole: string
}

const topologyFile: FileKind = { name: "topology", least: "a name and nodes", whole: "lab" }

/** Offsets of one map's or list's members. */
type Members = Map<string | number, { readonly key: number; readonly value: number }>

/** Reads YAML: a value of which every part has its place, or what is wrong with the syntax. `file`: a topology unless given. */
export const readSource = (source: Source, file = topologyFile): Read => {
  const lines = new LineCounter()
  lines.addNewLine(0)
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  const fail = (offset: number, message: string): Read => {
    const diagnostic = { severity: "error", filename: source.filename, ...at(offset), path: "", message } as const
    return { ok: false, diagnostics: [diagnostic] }
  }

  const text = decodeText(source.content, file)
  if (!text.ok) {
    const { line, message } = text
    return { ok: false, diagnostics: [{ severity: "error", filename: source.filename, line, column: 1, path: "", message }] }
  }
  const parsed = parseYaml(text.value, lines, file)
  if (!parsed.ok) return fail(parsed.offset, parsed.message)
  const { document } = parsed
  const problems = [...document.errors, ...document.warnings]
  if (problems.length > 0) {
    const shown = [...firstOfEachLine(problems, lines)].slice(0, limits.syntaxErrors)
    return {
      ok: false,
      diagnostics: shown.map((e) => ({
        severity: "error",
        filename: source.filename,
        ...at(Math.min(e.pos[0], text.value.length)),
        path: "",
        message: explainSyntax(e)
      }))
    }
  }
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
    return fail(0, `the file is empty: a ${file.name} has at least ${file.least}`)
  }

  const converted = convert(document, at, source.filename)
  return converted.diagnostics.length > 0
    ? { ok: false, diagnostics: converted.diagnostics }
    : { ok: true, value: converted.value, locate: converted.locate }
}

type Text =
  | { readonly ok: true; readonly value: string }
  | { readonly ok: false; readonly line: number; readonly message: string }

const decodeText = (content: string | Uint8Array, { name }: FileKind): Text => {
  const octets = typeof content === "string" ? Buffer.byteLength(content) : content.length
  if (octets > limits.size) {
    return { ok: false, line: 1, message: `the file has ${octets} octets, at most ${limits.size} are read: is it a ${name}?` }
  }
  if (typeof content === "string") return { ok: true, value: content.startsWith("\ufeff") ? content.slice(1) : content }
  try {
    return { ok: true, value: new TextDecoder("utf-8", { fatal: true }).decode(content) }
  } catch {
    return { ok: false, line: firstBrokenLine(content), message: "the file is not UTF-8 text: save it as UTF-8" }
  }
}

/** The line of the first octet that is not UTF-8. A line feed octet is never part of another character. */
const firstBrokenLine = (content: Uint8Array): number => {
  let line = 1
  for (let start = 0; start < content.length; line++) {
    const end = content.indexOf(10, start)
    const octets = content.subarray(start, end < 0 ? content.length : end)
    if (!isUtf8(octets)) return line
    start += octets.length + 1
  }
  return line
}

type ParsedYaml =
  | { readonly ok: true; readonly document: Document.Parsed<ParsedNode> }
  | { readonly ok: false; readonly offset: number; readonly message: string }

const parseYaml = (text: string, lines: LineCounter, { name, whole }: FileKind): ParsedYaml => {
  const parser = new Parser(lines.addNewLine)
  const tokens: Array<CST.Token> = []
  let count = 0
  for (const lexeme of new Lexer().lex(text)) {
    if (++count > limits.tokens) {
      return { ok: false, offset: parser.offset, message: `the file has more than ${limits.tokens} tokens: split the ${whole}` }
    }
    for (const token of parser.next(lexeme)) tokens.push(token)
    // Each level of nesting is a collection; a document and a scalar may lie around and above them.
    if (parser.stack.length > limits.depth + 2) {
      return { ok: false, offset: parser.offset, message: `maps and lists are nested more than ${limits.depth} deep` }
    }
  }
  for (const token of parser.end()) tokens.push(token)
  const composer = new Composer({ uniqueKeys: false, prettyErrors: false })
  let document: Document.Parsed<ParsedNode> | undefined
  for (const next of composer.compose(tokens, true, text.length)) {
    if (document !== undefined) {
      const message = `a second document begins after "---": a file holds one ${name}`
      return { ok: false, offset: next.range[0], message }
    }
    document = next
  }
  return document === undefined ? { ok: false, offset: 0, message: "the file is empty" } : { ok: true, document }
}

/** One slip of the pen often upsets the parser several times on one line. */
const firstOfEachLine = function*(errors: ReadonlyArray<YAMLError>, lines: LineCounter): Generator<YAMLError> {
  const seen = new Set<number>()
  for (const error of errors) {
    const { line } = lines.linePos(error.pos[0])
    if (!seen.has(line)) yield error
    seen.add(line)
  }
}

const explainSyntax = (error: YAMLError): string => {
  switch (error.code) {
    case "TAB_AS_INDENT":
      return "a tab is used for indentation: YAML wants spaces"
    case "TAG_RESOLVE_FAILED":
      return "tags such as !name are not supported: write plain YAML"
    case "BAD_ALIAS":
      return "the alias has no anchor: there is no matching &name before it"
    default:
      return `not valid YAML: ${error.message.split("\n")[0]!.trim()}`
  }
}

interface Position {
  readonly line: number
  readonly column: number
}

/** Walks the parsed document once: values out, positions of all members kept aside. */
const convert = (document: Document.Parsed<ParsedNode>, at: (offset: number) => Position, filename: string) => {
  const diagnostics: Array<Diagnostic> = []
  const members = new WeakMap<object, Members>()
  const anchors = new Map<string, { readonly value: unknown; readonly size: number }>()
  const path: Array<string | number> = []
  let size = 0
  let expansion = 0

  const complain = (offset: number, message: string, key?: string): void => {
    const where = formatPath(key === undefined ? path : [...path, key])
    if (diagnostics.length < limits.syntaxErrors) {
      diagnostics.push({ severity: "error", filename, ...at(offset), path: where, message })
    }
  }

  const fromAlias = (name: string, offset: number): unknown => {
    const anchor = anchors.get(name)
    if (anchor === undefined) {
      complain(offset, `the alias *${name.slice(0, 64)} has no anchor: there is no finished &${name.slice(0, 64)} before it`)
      return undefined
    }
    size += anchor.size
    expansion += anchor.size
    if (expansion - anchor.size <= limits.aliasExpansion && expansion > limits.aliasExpansion) {
      complain(offset, `aliases expand to more than ${limits.aliasExpansion} values: write them out or use groups`)
    }
    return anchor.value
  }

  const keyOf = (node: ParsedNode | null, offset: number): string | undefined => {
    if (node === null || !isScalar(node) || (node.value === null && node.source === "")) {
      complain(node?.range[0] ?? offset, "a key must be a word")
      return undefined
    }
    // `1:` and `true:` are names to their author, spelt as they stand in the file.
    return node.source ?? String(node.value)
  }

  const fromMap = (node: YAMLMap.Parsed): unknown => {
    const value: Record<string, unknown> = Object.create(null)
    const positions: Members = new Map()
    for (const pair of node.items) {
      const key = keyOf(pair.key, node.range[0])
      if (key === undefined) continue
      const keyOffset = pair.key.range[0]
      const earlier = positions.get(key)
      if (earlier !== undefined) {
        complain(keyOffset, `the key is given twice, first at line ${at(earlier.key).line}: remove one`, key)
        continue
      }
      if (key === "__proto__") {
        complain(keyOffset, "this key is not allowed", key)
        continue
      }
      path.push(key)
      positions.set(key, { key: keyOffset, value: pair.value?.range[0] ?? keyOffset })
      value[key] = fromNode(pair.value, keyOffset)
      path.pop()
    }
    members.set(value, positions)
    return value
  }

  const fromSeq = (node: YAMLSeq.Parsed): unknown => {
    const value: Array<unknown> = []
    const positions: Members = new Map()
    for (const [index, item] of node.items.entries()) {
      path.push(index)
      const offset = item?.range?.[0] ?? node.range[0]
      positions.set(index, { key: offset, value: offset })
      value.push(fromNode(item as ParsedNode, offset))
      path.pop()
    }
    members.set(value, positions)
    return value
  }

  const fromNode = (node: ParsedNode | null, offset: number): unknown => {
    const before = size
    size += 1
    if (node === null) return null
    if (isAlias(node)) return fromAlias(node.source, node.range[0])
    const value = isMap(node) ? fromMap(node) : isSeq(node) ? fromSeq(node) : node.value
    if (node.anchor !== undefined) anchors.set(node.anchor, { value, size: size - before })
    return value
  }

  const value = fromNode(document.contents, 0)
  const rootOffset = document.contents?.range[0] ?? 0
  const locate: Locate = (path, part = "value") => {
    let container = value
    let offset = rootOffset
    for (const [index, key] of path.entries()) {
      const entry = typeof container === "object" && container !== null ? members.get(container)?.get(key) : undefined
      if (entry === undefined) break
      offset = index === path.length - 1 && part === "key" ? entry.key : entry.value
      container = (container as Record<string | number, unknown>)[key]
    }
    return at(offset)
  }
  return { value, locate, diagnostics }
}
