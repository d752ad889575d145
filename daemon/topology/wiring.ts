/**
 * Which port of which node is attached to which segment.
 *
 * A reference is NODE or NODE:PORT. A port without a name gets the lowest free `ethN` of its node: explicit names are
 * taken first, then networks are served in document order, then links.
 */
import { type Path, quote, type Reporter } from "./diagnostic.ts"
import type { Located, Port, Segment } from "./model.ts"
import { ifnameProblem } from "./names.ts"
import { ageingSeconds, type Link, type Network, type Node as RawNode, type PortReference, type PortSettings } from "./schema.ts"
import { located, readGateway, textValues } from "./settings.ts"

export interface WiringOptions {
  /** Every node's name; `undefined` for one that could not be decoded. */
  readonly nodes: ReadonlyMap<string, RawNode | undefined>
  readonly networks: ReadonlyMap<string, Network>
  readonly links: ReadonlyArray<{ readonly link: Link; readonly index: number }>
  /** Do not complain about ports that are attached to nothing: some segments could not be read. */
  readonly lenient: boolean
  readonly reporter: Reporter
}

export interface Wiring {
  readonly segments: ReadonlyArray<Segment>
  /** Ports of each node in the order of attachment. */
  readonly portsOf: ReadonlyMap<string, ReadonlyArray<Port>>
}

/** One end of a segment before it has a name. */
interface Attachment {
  readonly node: string
  ifname: string | undefined
  readonly settings: PortSettings
  readonly path: Path
}

const defaultAgeingS = 300

export const wire = (options: WiringOptions): Wiring => {
  const { reporter } = options
  const drafts = [...networkDrafts(options), ...linkDrafts(options)]
  const taken = takeExplicitNames(drafts, reporter)
  nameTheRest(drafts, taken)

  const portsOf = new Map<string, Array<Port>>()
  const segments: Array<Segment> = []
  const names = new Map<string, Path>()
  for (const draft of drafts) {
    const ports: Array<Port> = []
    const name = draft.name ?? draft.ends.map((end) => `${end.node}:${end.ifname}`).join("--")
    const segment: Segment = { ...draft.segment, name, ports }
    const earlier = names.get(name)
    if (earlier !== undefined) {
      const where = reporter.locate(earlier).line
      reporter.error([...draft.segment.path, "name"], `the name ${quote(name)} is already used by the segment at line ${where}`)
    }
    names.set(name, draft.segment.path)
    for (const end of draft.ends) {
      const port = makePort(end, segment, options)
      ports.push(port)
      const list = portsOf.get(end.node)
      if (list === undefined) portsOf.set(end.node, [port])
      else list.push(port)
    }
    segments.push(segment)
  }
  if (!options.lenient) refuseUnattached(options, portsOf)
  return { segments, portsOf }
}

interface Draft {
  readonly name: string | undefined
  readonly segment: Omit<Segment, "name" | "ports">
  readonly ends: ReadonlyArray<Attachment>
}

const networkDrafts = ({ networks, nodes, reporter }: WiringOptions): ReadonlyArray<Draft> =>
  Array.from(networks, ([name, network]) => {
    const path = ["networks", name]
    const ends = attachments(network.ports, [...path, "ports"], nodes, reporter)
    const gateway = readGateway(network.gateway, [...path, "gateway"], reporter)
    const segment = {
      kind: "network" as const,
      ...shared(network, path),
      ageingS: network.ageing === undefined ? defaultAgeingS : ageingSeconds(network.ageing)!,
      ...(gateway === undefined ? {} : { gateway: gateway.value }),
      ...(network.host === undefined ? {} : { host: { value: network.host, path: [...path, "host"] } })
    }
    refuseRepeats(ends, reporter)
    return { name, segment, ends }
  })

const linkDrafts = ({ links, nodes, reporter }: WiringOptions): ReadonlyArray<Draft> =>
  links.flatMap(({ link, index }) => {
    const path = ["links", index]
    const ends = attachments(link.endpoints, [...path, "endpoints"], nodes, reporter)
    const [a, b] = ends
    if (a === undefined || b === undefined) return []
    if (a.node === b.node) {
      reporter.error(path, `the link connects ${quote(a.node)} with itself: a link joins two nodes`)
      return []
    }
    const segment = { kind: "p2p" as const, ...shared(link, path), ageingS: defaultAgeingS, profile: { value: link, path } }
    return { name: link.name, segment, ends }
  })

const shared = (segment: Network | Link, path: Path) => ({
  cidrs: located(segment.cidr, [...path, "cidr"]),
  labels: textValues(segment.labels),
  path,
  ...(segment.mtu === undefined ? {} : { mtu: { value: segment.mtu, path: [...path, "mtu"] } }),
  ...(segment.bgp === undefined ? {} : { bgp: { value: segment.bgp, path: [...path, "bgp"] } }),
  ...(segment.datapath === undefined ? {} : { datapath: { value: segment.datapath, path: [...path, "datapath"] } })
})

/** Reads references; those that are wrong are reported and left out. */
const attachments = (
  references: ReadonlyArray<PortReference>,
  path: Path,
  nodes: WiringOptions["nodes"],
  reporter: Reporter
): ReadonlyArray<Attachment> =>
  references.flatMap((reference, index) => {
    const at = typeof reference === "string" ? [...path, index] : [...path, index, "port"]
    const text = typeof reference === "string" ? reference : reference.port
    const found = resolveReference(text, at, nodes, reporter)
    if (found === undefined) return []
    const settings = typeof reference === "string" ? {} : reference
    return { ...found, settings, path: typeof reference === "string" ? at : [...path, index] }
  })

const resolveReference = (text: string, path: Path, nodes: WiringOptions["nodes"], reporter: Reporter) => {
  const colon = text.indexOf(":")
  const node = colon < 0 ? text : text.slice(0, colon)
  const ifname = colon < 0 ? undefined : text.slice(colon + 1)
  const problem = ifname === undefined ? undefined : ifnameProblem(ifname)
  if (!nodes.has(node)) reporter.error(path, `there is no node ${quote(node)}`, { meant: { word: node, among: nodes.keys() } })
  else if (problem !== undefined) reporter.error(path, `${quote(text)}: ${problem}`)
  else return { node, ifname }
  return undefined
}

/** Looks for unknown nodes in the port list of a segment that is wrong in another way, and is not wired. */
export const checkReferences = (list: unknown, path: Path, nodes: WiringOptions["nodes"], reporter: Reporter): void => {
  for (const [index, item] of (Array.isArray(list) ? list : []).entries()) {
    const text: unknown = typeof item === "object" && item !== null && "port" in item ? item.port : item
    if (typeof text !== "string" || text.trim() === "") continue
    const where = text === item ? [...path, index] : [...path, index, "port"]
    resolveReference(text, where, nodes, reporter)
  }
}

/** `ports: [pc, pc]` is a slip; two named ports of one node on one network are not. */
const refuseRepeats = (ends: ReadonlyArray<Attachment>, reporter: Reporter): void => {
  const unnamed = new Set<string>()
  for (const end of ends) {
    if (end.ifname !== undefined) continue
    if (unnamed.has(end.node)) {
      reporter.error(end.path, `${quote(end.node)} is on this network already: name the ports to attach it twice`)
    }
    unnamed.add(end.node)
  }
}

const takeExplicitNames = (drafts: ReadonlyArray<Draft>, reporter: Reporter): ReadonlyMap<string, Map<string, Path>> => {
  const taken = new Map<string, Map<string, Path>>()
  for (const { ends } of drafts) {
    for (const end of ends) {
      const names = taken.get(end.node) ?? new Map<string, Path>()
      taken.set(end.node, names)
      if (end.ifname === undefined) continue
      const earlier = names.get(end.ifname)
      if (earlier === undefined) names.set(end.ifname, end.path)
      else {
        const { line } = reporter.locate(earlier)
        reporter.error(end.path, `the port ${quote(`${end.node}:${end.ifname}`)} is already connected at line ${line}`)
      }
    }
  }
  return taken
}

const nameTheRest = (drafts: ReadonlyArray<Draft>, taken: ReadonlyMap<string, ReadonlyMap<string, Path>>): void => {
  const next = new Map<string, number>()
  for (const { ends } of drafts) {
    for (const end of ends) {
      if (end.ifname !== undefined) continue
      let number = next.get(end.node) ?? 0
      while (taken.get(end.node)!.has(`eth${number}`)) number++
      end.ifname = `eth${number}`
      next.set(end.node, number + 1)
    }
  }
}

/** The settings of a node's interfaces: a list under `ports` is something else, ports that a container publishes. */
const interfacesOf = (node: RawNode | undefined): Readonly<Record<string, PortSettings>> | undefined => {
  const ports = node?.ports
  return ports === undefined || Array.isArray(ports) ? undefined : (ports as Readonly<Record<string, PortSettings>>)
}

const makePort = (end: Attachment, segment: Segment, { nodes, reporter }: WiringOptions): Port => {
  const ifname = end.ifname!
  const ports = interfacesOf(nodes.get(end.node))
  const own = ports !== undefined && Object.hasOwn(ports, ifname) ? ports[ifname] : undefined
  const ownPath = ["nodes", end.node, "ports", ifname]
  const one = <T>(key: "mac" | "mtu", here: T | undefined, there: T | undefined): Located<T> | undefined => {
    if (here !== undefined && there !== undefined && here !== there) {
      const { line } = reporter.locate([...ownPath, key])
      reporter.error([...end.path, key], `the ${key} of this port is already given at line ${line}`)
    }
    if (here !== undefined) return { value: here, path: [...end.path, key] }
    return there === undefined ? undefined : { value: there, path: [...ownPath, key] }
  }
  const mac = one("mac", end.settings.mac?.toLowerCase(), own?.mac?.toLowerCase())
  const mtu = one("mtu", end.settings.mtu, own?.mtu)
  const given = end.settings.addresses !== undefined || own?.addresses !== undefined
  const addresses = [
    ...located(end.settings.addresses, [...end.path, "addresses"]),
    ...located(own?.addresses, [...ownPath, "addresses"])
  ]
  const bgp = [
    ...(end.settings.bgp === undefined ? [] : [{ value: end.settings.bgp, path: [...end.path, "bgp"] }]),
    ...(own?.bgp === undefined ? [] : [{ value: own.bgp, path: [...ownPath, "bgp"] }])
  ]
  return {
    node: end.node,
    ifname,
    segment,
    path: end.path,
    ...(bgp.length === 0 ? {} : { bgp }),
    ...(mac === undefined ? {} : { mac }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(given ? { addresses } : {})
  }
}

const refuseUnattached = ({ nodes, reporter }: WiringOptions, portsOf: Wiring["portsOf"]): void => {
  for (const [name, node] of nodes) {
    for (const ifname in interfacesOf(node)) {
      const path = ["nodes", name, "ports", ifname]
      const attached = (portsOf.get(name) ?? []).map((port) => port.ifname)
      const problem = ifnameProblem(ifname)
      if (problem !== undefined) reporter.error(path, problem, { at: "key" })
      else if (!attached.includes(ifname)) {
        const message = `the port is on no network or link${attached.length === 0 ? "" : `: ${quote(name)} has ${attached.join(", ")}`}`
        reporter.error(path, message, { meant: { word: ifname, among: attached }, at: "key" })
      }
    }
  }
}
