/**
 * A topology file -> `Topology`, or everything that is wrong with it.
 *
 *     source.ts    YAML text -> plain values and positions, bounded
 *     schema.ts    the shape of each part; explain.ts turns its issues into diagnostics
 *     settings.ts  defaults and groups merged into nodes
 *     wiring.ts    ports attached to networks and links
 *     model.ts     what comes out
 *
 * Pure: no clock, no I/O. Total: any bytes in, a value out; nothing throws. A wrong part (one node, one link) is reported
 * and left out, and the rest is still examined, so one run shows as many independent errors as can be told apart.
 */
import { type Diagnostic, inOrder, type Path, quote, Reporter } from "./diagnostic.ts"
import { decoder } from "./explain.ts"
import type { Located, Node, Topology } from "./model.ts"
import { nameProblem, nameSuggestion } from "./names.ts"
import * as Schema from "./schema.ts"
import { inheritance, located } from "./settings.ts"
import { readSource, type Source } from "./source.ts"
import { checkReferences, wire } from "./wiring.ts"

export interface TopologySource extends Source {
  /** Deploy under this name instead of the one in the file. */
  readonly lab?: string
  /** Recordings that it names, by these names. */
  readonly files?: ReadonlyMap<string, Uint8Array>
  /** Those that could not be read, with the reason. */
  readonly unread?: ReadonlyMap<string, string>
}

export type ParseResult =
  | { readonly ok: true; readonly topology: Topology; readonly warnings: ReadonlyArray<Diagnostic> }
  | { readonly ok: false; readonly diagnostics: ReadonlyArray<Diagnostic> }

/** Parses and checks a topology on its own terms; addresses and routes are the compiler's. Never throws. */
export const parseTopology = (source: TopologySource): ParseResult => {
  const { topology, diagnostics } = examine(source)
  return topology === undefined || diagnostics.some((d) => d.severity === "error")
    ? { ok: false, diagnostics }
    : { ok: true, topology, warnings: diagnostics }
}

export interface Examined {
  /** Present when the wiring is known, even if some nodes are wrong and left out. */
  readonly topology?: Topology
  readonly diagnostics: ReadonlyArray<Diagnostic>
}

const decodeOutline = decoder(Schema.Outline)
const decodeGroup = decoder(Schema.Group)
const decodeNode = decoder(Schema.Node)
const decodeNetwork = decoder(Schema.Network)
const decodeLink = decoder(Schema.Link)

/** Like `parseTopology`, but keeps what could be read of a wrong topology so that the compiler can look for more errors. */
export const examine = (source: TopologySource): Examined => {
  const read = readSource(source)
  if (!read.ok) return { diagnostics: read.diagnostics }
  const reporter = new Reporter(source.filename, read.locate)
  const outline = decodeOutline(read.value, [], reporter)
  const raw = asRecord(read.value)
  if (raw === undefined) return { diagnostics: reporter.diagnostics }
  // A wrong lab name says nothing about the rest; any other slip at the top may hide a whole collection.
  const complete = outline !== undefined || onlyAbout("name", reporter.diagnostics)

  const lab = checkLab(source.lab, outline?.name, reporter)
  const groups = decodeAll(raw["groups"], ["groups"], decodeGroup, reporter)
  const nodes = decodeAll(raw["nodes"], ["nodes"], decodeNode, reporter)
  const networks = decodeAll(raw["networks"], ["networks"], decodeNetwork, reporter)
  const links = asArray(raw["links"]).map((value, index) => ({ link: decodeLink(value, ["links", index], reporter), index }))

  const { merge } = inheritance({ defaults: outline?.defaults ?? {}, groups, lenient: !complete, reporter })
  const merged = new Map<string, NonNullable<ReturnType<typeof merge>>>()
  for (const [name, node] of nodes) {
    const settings = node === undefined ? undefined : merge(name, node)
    if (settings !== undefined) merged.set(name, settings)
  }
  if (asRecord(raw["nodes"]) === undefined) return { diagnostics: inOrder(reporter.diagnostics) }

  const before = reporter.errors
  for (const [name, network] of networks) {
    if (network === undefined) checkReferences(member(raw["networks"], name, "ports"), ["networks", name, "ports"], nodes, reporter)
  }
  for (const { link, index } of links) {
    if (link === undefined) checkReferences(member(raw["links"], index, "endpoints"), ["links", index, "endpoints"], nodes, reporter)
  }
  const lenient = !complete || [...networks.values()].includes(undefined) || links.some(({ link }) => link === undefined)
  const wiring = wire({
    nodes,
    networks: present(networks),
    links: links.flatMap(({ link, index }) => (link === undefined ? [] : { link, index })),
    lenient,
    reporter
  })
  const diagnostics = inOrder(reporter.diagnostics)
  if (lenient || reporter.errors > before) return { diagnostics }

  const resolved = new Map<string, Node>()
  for (const [name, settings] of merged) {
    const path = ["nodes", name]
    const loopback = located(nodes.get(name)!.loopback, [...path, "loopback"])
    const anycast = located(nodes.get(name)!.anycast, [...path, "anycast"])
    const bfd = nodes.get(name)!.bfd
    const bfdPeers = bfd === undefined ? {} : { bfdPeers: located(bfd.peers, [...path, "bfd", "peers"]) }
    const ports = wiring.portsOf.get(name) ?? []
    const host = settings.host ?? ports[0]?.segment.host
    resolved.set(name, { ...settings, ...(host === undefined ? {} : { host }), name, loopback, anycast, ...bfdPeers, ports, path })
  }
  const options = outline?.["geneve-options"]
  const topology: Topology = {
    filename: source.filename,
    lab,
    overlap: outline?.overlap === "allow",
    transport: {
      ...atTop("encapsulation", outline?.encapsulation),
      ...atTop("port", outline?.port),
      ...atTop("datapath", outline?.datapath),
      ...(options === undefined ? {} : { geneveOptions: { value: options, path: ["geneve-options"] } })
    },
    nodes: resolved,
    segments: wiring.segments,
    files: source.files ?? new Map(),
    unread: source.unread ?? new Map(),
    locate: read.locate
  }
  return { topology, diagnostics }
}

const atTop = <K extends string, T>(key: K, value: T | undefined): { readonly [_ in K]?: Located<T> } =>
  value === undefined ? {} : ({ [key]: { value, path: [key] } } as unknown as { [_ in K]: Located<T> })

/** Namespaces are called `weft.LAB.NODE`, and the daemon's own is `weft.fabric`. */
const reservedLab = "fabric"

const checkLab = (override: string | undefined, name: string | undefined, reporter: Reporter): string => {
  const problem = override === undefined ? undefined : nameProblem(override)
  if (problem !== undefined) {
    reporter.error([], `the lab name ${quote(override!)}: ${problem}`, { suggestion: nameSuggestion(override!) })
  }
  const lab = override ?? name ?? ""
  if (lab === reservedLab) reporter.error(["name"], `a lab cannot be called "${reservedLab}": weft uses that name itself`)
  return lab
}

/** Decodes each member of a map of named parts and checks their names; a wrong member is kept as `undefined`. */
const decodeAll = <T>(
  value: unknown,
  path: Path,
  decode: (value: unknown, path: Path, reporter: Reporter) => T | undefined,
  reporter: Reporter
): Map<string, T | undefined> => {
  const members = new Map<string, T | undefined>()
  const record = asRecord(value) ?? {}
  for (const name in record) {
    const problem = nameProblem(name)
    if (problem !== undefined) {
      reporter.error([...path, name], problem, { suggestion: nameSuggestion(name), at: "key" })
    }
    members.set(name, problem === undefined ? decode(record[name], [...path, name], reporter) : undefined)
  }
  return members
}

const asRecord = (value: unknown): Readonly<Record<string, unknown>> | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined

const member = (collection: unknown, key: string | number, field: string): unknown =>
  asRecord((collection as Readonly<Record<string | number, unknown>>)[key])?.[field]

const asArray = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])

const present = <T>(members: ReadonlyMap<string, T | undefined>): ReadonlyMap<string, T> =>
  new Map([...members].filter((entry): entry is [string, T] => entry[1] !== undefined))

const onlyAbout = (path: string, diagnostics: ReadonlyArray<Diagnostic>): boolean =>
  diagnostics.every((d) => d.path === path)
