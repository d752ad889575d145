/**
 * Recordings of links: a file beside the topology -> what the engine replays.
 *
 * Two formats, told apart by the first line:
 *
 *     Mahimahi (mm-link(1))     a number in each line: at so many milliseconds one packet of 1500 octets may leave. The
 *                               numbers do not fall; it begins again at the last one.
 *     CSV                       a header with `time` and at least one of rate, delay and loss, then a line for each sample,
 *                               with units as in the topology; an empty field is the link's own value. A last line with
 *                               nothing but a time says when it begins again, otherwise the last sample holds as long as the
 *                               one before it. Empty lines and lines that begin with # do not count.
 *
 * A file is read once, however many links name it; the first thing that is wrong with it is reported at its line.
 */
import { posix } from "node:path"
import type { Trace, TraceSample } from "../plan/link-profile.ts"
import { type Path, quote, type Reporter } from "../topology/diagnostic.ts"
import { rateProblem, shareProblem, timeProblem } from "../topology/link-schema.ts"
import type { Topology } from "../topology/model.ts"
import { parseRate, parseShare, parseTime } from "../topology/units.ts"
import * as DeliveryTimes from "../wire/delivery-times.ts"

/** Octets of one file. */
export const largestTrace = 8 << 20
/** They travel with the plan. */
const mostSamples = 20_000
/** Of all copies in a plan: every direction has its own. */
const mostInPlan = 32 << 20
/** Of a sample in a plan, about. */
const sampleOctets = 60
/** A day. */
const longestMs = 86_400_000

type Parsed =
  | { readonly ok: true; readonly trace: Trace }
  | { readonly ok: false; readonly line: number; readonly column: number; readonly message: string }

const wrong = (line: number, message: string, column = 1): Parsed => ({ ok: false, line, column, message })

/** The recordings that came with a topology, by the names that links use. */
export class Traces {
  private readonly topology: Topology
  private readonly reporter: Reporter
  private readonly parsed = new Map<string, Trace | undefined>()
  private inPlan = 0

  constructor(topology: Topology, reporter: Reporter) {
    this.topology = topology
    this.reporter = reporter
  }

  /** `path`: where the link names it. Undefined, and reported, when it is not there or wrong. */
  get(name: string, path: Path): Trace | undefined {
    const trace = this.parsed.has(name) ? this.parsed.get(name) : this.parse(name, path)
    if (trace === undefined) return undefined
    this.inPlan += trace.kind === "deliveries" ? trace.times.length : trace.samples.length * sampleOctets
    if (this.inPlan <= mostInPlan) return trace
    this.reporter.error(path, `the recordings of all links are more than the ${mostInPlan} octets that a plan takes: use shorter ones`)
    return undefined
  }

  private parse(name: string, path: Path): Trace | undefined {
    const content = this.topology.files.get(name)
    if (content === undefined) {
      const why = this.topology.unread.get(name) ?? "it did not come with the topology"
      this.reporter.error(path, `cannot read ${quote(name)}: ${why}`)
      return undefined
    }
    const parsed = parseTrace(name, content)
    this.parsed.set(name, parsed.ok ? parsed.trace : undefined)
    if (parsed.ok) return parsed.trace
    const filename = posix.join(posix.dirname(this.topology.filename), name)
    this.reporter.errorIn(filename, parsed, parsed.message)
    return undefined
  }
}

/** `name`: for people. Any octets in, a value out. */
export const parseTrace = (name: string, content: Uint8Array): Parsed => {
  if (content.length > largestTrace) return wrong(1, `the recording has ${content.length} octets, at most ${largestTrace} are read`)
  if (content.includes(0)) return wrong(1, "the file is no text: expected a recording of Mahimahi's or CSV")
  // A line of Windows ends with a carriage return, which trimming takes away.
  const lines = Buffer.from(content).toString("utf8").replace(/^\ufeff/, "").split("\n")
  if (lines.at(-1) === "") lines.pop()
  const first = lines.findIndex((line) => !isNothing(line))
  if (first < 0) return wrong(1, "the recording is empty")
  return /^\s*-?\d/.test(lines[first]!) ? parseDeliveries(name, lines) : parseSamples(name, lines, first)
}

const isNothing = (line: string): boolean => line.trim() === "" || line.startsWith("#")

const parseDeliveries = (name: string, lines: ReadonlyArray<string>): Parsed => {
  const times: number[] = []
  let before = 0
  for (const [index, line] of lines.entries()) {
    const text = line.trim()
    if (!/^\d{1,10}$/.test(text)) return wrong(index + 1, `${quote(text)}: expected a whole number of milliseconds`)
    const time = Number(text)
    if (time > DeliveryTimes.longestMs) return wrong(index + 1, `${text}: expected at most ${DeliveryTimes.longestMs} milliseconds`)
    if (time < before) return wrong(index + 1, `${text}: times must not fall, and the line before has ${before}`)
    times.push((before = time))
  }
  if (before === 0) return wrong(lines.length, "the recording takes no time: the last line must be above 0")
  return { ok: true, trace: { kind: "deliveries", name, times: DeliveryTimes.encode(times) } }
}

const columns = ["time", "rate", "delay", "loss"] as const
type Column = (typeof columns)[number]

const parseSamples = (name: string, lines: ReadonlyArray<string>, first: number): Parsed => {
  const header = lines[first]!.split(",").map((field) => field.trim().toLowerCase())
  const strange = header.findIndex((field) => !(columns as ReadonlyArray<string>).includes(field))
  if (strange >= 0) {
    const message = `${quote(header[strange]!)}: expected milliseconds in each line, or a header such as time,rate,delay,loss`
    return wrong(first + 1, message, columnOf(lines[first]!, strange))
  }
  if (new Set(header).size < header.length) return wrong(first + 1, "a column comes twice")
  if (!header.includes("time")) return wrong(first + 1, 'the column "time" is missing')
  if (header.length < 2) return wrong(first + 1, "nothing is recorded: expected at least one of the columns rate, delay and loss")
  const samples: TraceSample[] = []
  let isClosed = false
  for (let index = first + 1; index < lines.length; index++) {
    const line = lines[index]!
    if (isNothing(line)) continue
    if (isClosed) return wrong(index, "only the last line may have nothing but a time")
    const sample = parseSample(line, header as ReadonlyArray<Column>, index + 1)
    if ("ok" in sample) return sample
    const before = samples.at(-1)?.atMs
    if (before === undefined && sample.atMs !== 0) return wrong(index + 1, "the first sample must be at time 0")
    if (before !== undefined && sample.atMs <= before) return wrong(index + 1, "times must rise from line to line")
    if (samples.length > mostSamples) return wrong(index + 1, `the recording has more than ${mostSamples} samples`)
    isClosed = before !== undefined && Object.keys(sample).length === 1
    samples.push(sample)
  }
  const last = samples.at(-1)
  if (last === undefined) return wrong(lines.length, "the recording has no samples")
  const { atMs } = last
  if (isClosed) samples.pop()
  // A single sample holds for ever.
  const periodMs = isClosed ? atMs : samples.length === 1 ? 1000 : 2 * atMs - samples.at(-2)!.atMs
  return { ok: true, trace: { kind: "samples", name, periodMs, samples } }
}

const parseSample = (line: string, header: ReadonlyArray<Column>, number: number): TraceSample | Parsed => {
  const fields = line.split(",").map((field) => field.trim())
  if (fields.length > header.length) return wrong(number, `expected ${header.length} fields, not ${fields.length}`)
  const sample: { -readonly [K in keyof TraceSample]: TraceSample[K] } = { atMs: -1 }
  for (const [index, field] of fields.entries()) {
    if (field === "") continue
    const column = header[index]!
    const problem = problemOf(column, field)
    if (problem !== undefined) return wrong(number, `${column} ${quote(field)}: ${problem}`, columnOf(line, index))
    if (column === "time") sample.atMs = parseTime(field)!
    else if (column === "rate") sample.rateBps = parseRate(field)!
    else if (column === "delay") sample.delayMs = parseTime(field)!
    else sample.loss = parseShare(field)!
  }
  return sample.atMs < 0 ? wrong(number, "the time is missing") : sample
}

const problemOf = (column: Column, field: string): string | undefined => {
  if (column === "rate") return rateProblem(field)
  if (column === "delay") return timeProblem(field)
  if (column === "loss") return shareProblem(field)
  const ms = parseTime(field)
  if (ms === undefined) return "expected a time with its unit such as 100ms or 2.5s"
  return ms > longestMs ? "expected at most 86400s" : undefined
}

/** Of the field, counted from 1. */
const columnOf = (line: string, index: number): number => {
  const before = line.split(",").slice(0, index).join(",").length + (index === 0 ? 0 : 1)
  return before + 1 + line.slice(before).search(/\S|$/)
}
