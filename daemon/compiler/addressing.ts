/**
 * Who has which address.
 *
 * Explicit addresses (loopbacks, ports, public addresses of NAT) are claimed first; then every segment hands out the rest
 * of its prefixes in port order, the node named as `gateway` first. The result does not depend on anything but the file.
 */
import type { Path, Reporter } from "../topology/diagnostic.ts"
import * as Ip from "../topology/ip.ts"
import type { Located, Node, Port, Segment, Topology } from "../topology/model.ts"

export interface AssignedAddress {
  readonly address: Ip.Prefix
  /** Where it was written, or the port it was handed to. */
  readonly path: Path
}

export interface Addressing {
  readonly ofPort: (port: Port) => ReadonlyArray<AssignedAddress>
  readonly ofLoopback: (node: string) => ReadonlyArray<AssignedAddress>
  readonly ofAnycast: (node: string) => ReadonlyArray<AssignedAddress>
  /** Does any node of the lab answer for this address? */
  readonly exists: (address: Ip.Address) => boolean
}

interface Owner {
  readonly node: string
  readonly label: string
  readonly path: Path
  /** A port forward names the address; the port that gets it may be the node's own. */
  readonly soft: boolean
  /** Several nodes may have it: anycast. */
  readonly shared?: true
}

/** Every address that is taken, and by whom. */
class Claims {
  private readonly owners = new Map<string, Owner>()
  private readonly everywhere = new Set<string>()
  private readonly overlap: boolean
  private readonly reporter: Reporter

  constructor(overlap: boolean, reporter: Reporter) {
    this.overlap = overlap
    this.reporter = reporter
  }

  /** Takes an address; reports it when another owner has it already. */
  claim(address: Ip.Address, scope: string, owner: Owner): boolean {
    const earlier = this.ownerOf(address, scope)
    const agree = earlier === undefined || (owner.shared === true && earlier.shared === true && owner.node !== earlier.node)
    if (!agree && !((owner.soft || earlier.soft) && earlier.node === owner.node)) {
      const { line } = this.reporter.locate(earlier.path)
      this.reporter.error(owner.path, `${Ip.formatAddress(address)} is already used by ${earlier.label} at line ${line}`)
      return false
    }
    if (earlier === undefined || earlier.soft) this.owners.set(this.key(address, scope), owner)
    this.everywhere.add(addressKey(address))
    return true
  }

  /** Keeps a free address from being handed out, though no port of ours has it. */
  reserve(address: Ip.Address, scope: string, owner: Owner): void {
    this.owners.set(this.key(address, scope), owner)
  }

  ownerOf(address: Ip.Address, scope: string): Owner | undefined {
    return this.owners.get(this.key(address, scope))
  }

  exists(address: Ip.Address): boolean {
    return this.everywhere.has(addressKey(address))
  }

  // With `overlap: allow` an address must be unique in its segment only, and a link-local address always.
  private key(address: Ip.Address, scope: string): string {
    return this.overlap || Ip.isLinkLocal(address) ? `${scope} ${addressKey(address)}` : addressKey(address)
  }
}

/** An address as the key of a map. */
export const addressKey = ({ family, bits }: Ip.Address): string => `${family} ${bits}`

type Prefixes = ReadonlyMap<Segment, ReadonlyArray<Located<Ip.Prefix>>>

/** What the steps of the assignment share. */
interface Assignment {
  readonly topology: Topology
  readonly reporter: Reporter
  readonly claims: Claims
  readonly prefixes: Prefixes
  readonly ofPort: Map<Port, Array<AssignedAddress>>
}

/** Assigns every address of the lab. What is wrong is reported; the result is then good enough to find more errors. */
export const assignAddresses = (topology: Topology, reporter: Reporter): Addressing => {
  const claims = new Claims(topology.overlap, reporter)
  const prefixes = new Map(topology.segments.map((segment) => [segment, parseCidrs(segment)]))
  const ofPort = new Map<Port, Array<AssignedAddress>>()
  const assignment = { topology, reporter, claims, prefixes, ofPort }
  if (!topology.overlap) refuseOverlaps(prefixes, reporter)

  const ofLoopback = new Map(Array.from(topology.nodes.values(), (node) => [node.name, claimLoopback(node, claims)]))
  const ofAnycast = new Map(Array.from(topology.nodes.values(), (node) => [node.name, claimAnycast(node, claims)]))
  for (const segment of topology.segments) claimExplicit(segment, assignment)
  for (const node of topology.nodes.values()) claimPublic(node, assignment)
  for (const [segment, cidrs] of prefixes) for (const cidr of cidrs) handOut(segment, cidr, assignment)

  return {
    ofPort: (port) => ofPort.get(port) ?? [],
    ofLoopback: (node) => ofLoopback.get(node) ?? [],
    ofAnycast: (node) => ofAnycast.get(node) ?? [],
    exists: (address) => claims.exists(address)
  }
}

const claimLoopback = (node: Node, claims: Claims): ReadonlyArray<AssignedAddress> =>
  node.loopback.flatMap(({ value, path }) => {
    const address = Ip.parsePrefix(value) ?? withHostLength(value)
    const owner = { node: node.name, label: `the loopback of ${node.name}`, path, soft: false }
    return address !== undefined && claims.claim(address, node.name, owner) ? [{ address, path }] : []
  })

const claimAnycast = (node: Node, claims: Claims): ReadonlyArray<AssignedAddress> =>
  node.anycast.flatMap(({ value, path }) => {
    const address = Ip.parsePrefix(value) ?? withHostLength(value)
    const owner: Owner = { node: node.name, label: `the anycast address of ${node.name}`, path, soft: false, shared: true }
    // Of overlapping networks each has its own addresses; anycast is one address of the whole lab.
    return address !== undefined && claims.claim(address, "anycast", owner) ? [{ address, path }] : []
  })

const claimExplicit = (segment: Segment, { claims, ofPort, prefixes, reporter }: Assignment): void => {
  for (const port of segment.ports) {
    if (port.addresses === undefined) continue
    ofPort.set(port, port.addresses.flatMap((item) => {
      const address = explicitAddress(item, segment, prefixes.get(segment)!, reporter)
      const owner = { node: port.node, label: label(port), path: item.path, soft: false }
      return address !== undefined && claims.claim(address, scopeOf(segment), owner) ? [{ address, path: item.path }] : []
    }))
  }
}

/** Gives an address of the prefix to each port of the segment that has none of its own in it. */
const handOut = (segment: Segment, cidr: Located<Ip.Prefix>, { claims, ofPort, reporter, topology }: Assignment): void => {
  const scope = scopeOf(segment)
  const { first, last } = Ip.usable(cidr.value)
  const at = (bits: bigint): Ip.Prefix => ({ ...cidr.value, bits })
  const give = (port: Port, address: Ip.Prefix): void => {
    claims.claim(address, scope, { node: port.node, label: label(port), path: port.path, soft: false })
    const list = ofPort.get(port)
    if (list === undefined) ofPort.set(port, [{ address, path: port.path }])
    else list.push({ address, path: port.path })
  }

  const waiting = segment.ports.filter((port) =>
    port.addresses === undefined ||
    (port.addresses.length > 0 && !ofPort.get(port)!.some(({ address }) => Ip.contains(cidr.value, address)))
  )
  const { queue, fixed } = gatewayFirst(segment, waiting, cidr.value, topology)
  // An address held for a port forward of one node is passed over by the others, and not lost for the node itself.
  const free = (bits: bigint, node: string): boolean => {
    const owner = claims.ownerOf(at(bits), scope)
    return owner === undefined || (owner.soft && owner.node === node)
  }
  let rest = queue
  if (fixed !== undefined && free(fixed.address.bits, fixed.port?.node ?? "")) {
    if (fixed.port === undefined) claims.reserve(fixed.address, scope, { node: "", label: "the gateway", path: segment.path, soft: false })
    else give(fixed.port, at(fixed.address.bits))
    rest = queue.filter((port) => port !== fixed.port)
  }
  let next = first
  for (const [index, port] of rest.entries()) {
    let bits = next
    while (bits <= last && !free(bits, port.node)) bits++
    if (bits > last) {
      const usable = last - first + 1n
      const numbers = `${usable} usable address${usable === 1n ? "" : "es"}, and ${rest.length - index} more needed`
      reporter.error(cidr.path, `${Ip.formatPrefix(cidr.value)} is exhausted: ${numbers}`)
      return
    }
    give(port, at(bits))
    while (next <= last && claims.ownerOf(at(next), scope)?.soft === false) next++
  }
}

/** `node:ifname` */
export const label = (port: Port): string => `${port.node}:${port.ifname}`

const scopeOf = (segment: Segment): string => `${segment.kind}/${segment.name}`

const withHostLength = (text: string): Ip.Prefix | undefined => {
  const address = Ip.parseAddress(text)
  return address === undefined ? undefined : { ...address, length: Ip.hostLength(address.family) }
}

const parseCidrs = (segment: Segment): ReadonlyArray<Located<Ip.Prefix>> =>
  segment.cidrs.flatMap(({ value, path }) => {
    const prefix = Ip.parsePrefix(value)
    return prefix === undefined ? [] : [{ value: prefix, path }]
  })

/** Sorted by first address, a prefix overlaps another exactly if it begins before the widest one so far ends. */
const refuseOverlaps = (prefixes: Prefixes, reporter: Reporter): void => {
  const flat = Array.from(prefixes, ([segment, list]) => list.map((prefix) => ({ ...prefix, segment }))).flat()
  const order = flat.map((item, index) => ({ ...item, index })).sort((a, b) =>
    a.value.family === b.value.family
      ? a.value.bits < b.value.bits ? -1 : a.value.bits > b.value.bits ? 1 : a.value.length - b.value.length
      : a.value.family < b.value.family ? -1 : 1
  )
  let widest: typeof order[number] | undefined
  for (const item of order) {
    if (widest !== undefined && widest.value.family === item.value.family && Ip.contains(widest.value, item.value)) {
      const [earlier, later] = widest.index < item.index ? [widest, item] : [item, widest]
      const { line } = reporter.locate(earlier.path)
      reporter.error(later.path, `${Ip.formatPrefix(later.value)} overlaps ${Ip.formatPrefix(earlier.value)} of ` +
        `${earlier.segment.name} at line ${line}: use another prefix, or write "overlap: allow" at the top`)
    } else widest = item
  }
}

const explicitAddress = (
  item: Located<string>,
  segment: Segment,
  prefixes: ReadonlyArray<Located<Ip.Prefix>>,
  reporter: Reporter
): Ip.Prefix | undefined => {
  const bare = Ip.parseAddress(item.value)
  const written = bare ?? Ip.parsePrefix(item.value)!
  const family = prefixes.filter((prefix) => prefix.value.family === written.family)
  const home = family.find((prefix) => Ip.contains(prefix.value, written))
  if (home === undefined && family.length > 0 && !Ip.isLinkLocal(written)) {
    const text = family.map((prefix) => Ip.formatPrefix(prefix.value)).join(" and ")
    reporter.error(item.path, `${item.value} is outside ${text}, the prefix of ${segment.name}`)
    return undefined
  }
  if (bare !== undefined && home === undefined) {
    const example = `${item.value}/${written.family === "ipv4" ? 24 : 64}`
    reporter.error(item.path, `${item.value} needs a prefix length, such as ${example}: ${segment.name} has no cidr to take it from`)
    return undefined
  }
  const length = bare === undefined ? Ip.parsePrefix(item.value)!.length : home!.value.length
  const address: Ip.Prefix = { family: written.family, bits: written.bits, length }
  const { first, last } = Ip.usable(address)
  if (address.bits < first || address.bits > last) {
    const what = address.family === "ipv6" ? "subnet-router anycast" : address.bits < first ? "network" : "broadcast"
    reporter.error(item.path, `${item.value} is the ${what} address of its prefix`)
    return undefined
  }
  return address
}

/** Public addresses of NAT are taken even though no port has them: nobody else may get them. */
const claimPublic = (node: Node, { claims, prefixes }: Assignment): void => {
  const one = (text: string, path: Path, soft: boolean): void => {
    const address = Ip.parseAddress(text)!
    const home = node.ports.find((port) => prefixes.get(port.segment)!.some((prefix) => Ip.contains(prefix.value, address)))
    const scope = home === undefined ? node.name : scopeOf(home.segment)
    claims.claim(address, scope, { node: node.name, label: `NAT of ${node.name}`, path, soft })
  }
  for (const { value, path } of node.nat.oneToOne) one(value.public, [...path, "public"], false)
  for (const { value, path } of node.nat.portForward) {
    if (value.address !== undefined) one(value.address, [...path, "address"], true)
  }
}

/**
 * The gateway of a network gets its first address. A gateway given as an address belongs to the network's only router;
 * with none, or several, it is merely kept free.
 */
const gatewayFirst = (segment: Segment, waiting: ReadonlyArray<Port>, cidr: Ip.Prefix, topology: Topology) => {
  if (segment.gateway === undefined || segment.gateway === "none") return { queue: waiting, fixed: undefined }
  for (const item of segment.gateway) {
    const address = Ip.parseAddress(item.value)
    if (address === undefined) {
      const first = waiting.filter((port) => port.node === item.value)
      return { queue: [...first, ...waiting.filter((port) => port.node !== item.value)], fixed: undefined }
    }
    if (!Ip.contains(cidr, address)) continue
    const routers = segment.ports.filter((port) => topology.nodes.get(port.node)?.role === "router")
    const port = routers.length === 1 && waiting.includes(routers[0]!) ? routers[0] : undefined
    return { queue: waiting, fixed: { address, port } }
  }
  return { queue: waiting, fixed: undefined }
}
