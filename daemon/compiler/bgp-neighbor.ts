/**
 * One end of a session -> what the speaker there is told of its neighbour.
 *
 * Settings come in layers, the nearest wins: the node's `bgp` (with defaults and groups), the link's or network's, the port's,
 * then entries of `neighbors` that mean this session: by `external` or `internal`, by node, by port or address. What must be
 * the same at both ends (password, BFD, TTL security, hops) may be given at one; given at both, it must agree.
 */
import type { BgpFamilySpec, BgpNeighborSpec, BgpRemote, BgpTimers, Family } from "../plan/bgp.ts"
import { layerOf } from "../topology/bgp.ts"
import { parseSeconds, type RawNeighbor, type RawSession } from "../topology/bgp-schema.ts"
import { parseAs } from "../topology/bgp-schema-parts.ts"
import { type Path, quote, type Reporter } from "../topology/diagnostic.ts"
import * as Ip from "../topology/ip.ts"
import type { Located, SessionLayer } from "../topology/model.ts"
import { parseTime } from "../topology/units.ts"
import type { Addressing } from "./addressing.ts"
import { bfdTimers } from "./bfd.ts"
import type { Policies } from "./bgp-policy.ts"
import { type End, type LoneSession, nameOf, peersOf, type Session, type Speaker } from "./bgp-sessions.ts"

/** One end as it is compiled: the other end in the lab, or what is known of a neighbour beyond. */
export interface Side {
  readonly end: End
  readonly other: End | undefined
  readonly lone?: LoneSession
  readonly families: ReadonlyArray<Family>
  readonly remote: BgpRemote
  readonly name: string
  /** The other end is our client. */
  readonly reflectsFor: boolean
  readonly layers: ReadonlyArray<SessionLayer>
}

export interface NeighborContext {
  readonly addressing: Addressing
  readonly reporter: Reporter
  /** VRF of each interface that is in one. */
  readonly vrfOf: (speaker: Speaker, ifname: string) => string | undefined
}

type Key = keyof RawSession

const nearest = <K extends Key>(layers: ReadonlyArray<SessionLayer>, key: K): Located<NonNullable<RawSession[K]>> | undefined => {
  const layer = layers.findLast(({ raw }) => raw[key] !== undefined)
  return layer === undefined ? undefined : { value: layer.raw[key]!, path: [...layer.path, key] }
}

/** Both sides of a session of the lab. */
export const sidesOf = ({ ends: [a, b], families, client }: Session): readonly [Side, Side] => [
  side(a, b, families, client === 1),
  side(b, a, families, client === 0)
]

const side = (end: End, other: End, families: ReadonlyArray<Family>, reflectsFor: boolean): Side => {
  const remote: BgpRemote = other.address === undefined
    ? { kind: "interface", ifname: end.port!.ifname }
    : Ip.isLinkLocal(other.address)
    ? { kind: "address", address: Ip.formatAddress(other.address), ifname: end.port!.ifname }
    : { kind: "address", address: Ip.formatAddress(other.address) }
  const sides = { end, other, families, remote, name: nameOf(end, other), reflectsFor }
  return { ...sides, layers: layersOf(end, entriesOf(end, other, remote)) }
}

export const loneSide = (lone: LoneSession): Side => {
  const { end, remote, families, neighbor } = lone
  const name = remote.kind === "address" ? remote.address : remote.kind === "interface" ? remote.ifname : remote.prefix
  const as = neighbor.value.as
  const isInternal = as === "internal" || (as !== undefined && as !== "external" && parseAs(as) === end.bgp.as.value)
  const general = end.bgp.neighbors.filter(({ value }) => peersOf(value).includes(isInternal ? "internal" : "external"))
  const layers = layersOf(end, [...general.map(asLayer), asLayer(neighbor)])
  return { end, other: undefined, lone, families, remote, name, reflectsFor: false, layers }
}

const asLayer = ({ value, path }: Located<RawNeighbor>): SessionLayer => ({ raw: value, path })

const layersOf = ({ bgp, port }: End, entries: ReadonlyArray<SessionLayer>): ReadonlyArray<SessionLayer> => {
  const near = port === undefined ? [] : [...(port.segment.bgp === undefined ? [] : [port.segment.bgp]), ...(port.bgp ?? [])]
  return [...bgp.sessions, ...near.flatMap((item) => layerOf(item) ?? []), ...entries]
}

/** Entries of `neighbors` that mean this session, the most general first. */
const entriesOf = (end: End, other: End, remote: BgpRemote): ReadonlyArray<SessionLayer> => {
  const kind = end.bgp.as.value === other.bgp.as.value ? "internal" : "external"
  const rankOf = ({ value }: Located<RawNeighbor>): number => {
    const peers = peersOf(value)
    const address = remote.kind === "address" ? remote.address : undefined
    const isAddress = (peer: string): boolean => {
      const parsed = Ip.parseAddress(peer)
      return parsed !== undefined && Ip.formatAddress(parsed) === address
    }
    if (peers.some((peer) => isAddress(peer) || (other.port !== undefined && peer === `${other.node.name}:${other.port.ifname}`))) return 3
    if (peers.length === 0 && value.interface !== undefined && value.interface === end.port?.ifname) return 3
    return peers.includes(other.node.name) ? 2 : peers.includes(kind) ? 1 : 0
  }
  return end.bgp.neighbors
    .map((entry) => ({ entry, rank: rankOf(entry) }))
    .filter(({ rank }) => rank > 0)
    .sort((a, b) => a.rank - b.rank)
    .map(({ entry }) => asLayer(entry))
}

const asOf = ({ end, layers }: Side): BgpNeighborSpec["localAs"] => {
  const local = nearest(layers, "local-as")?.value
  if (local === undefined) return undefined
  const { as, prepend = true } = typeof local === "object" ? local : { as: local }
  const asn = parseAs(as)!
  return asn === end.bgp.as.value ? undefined : { asn, prepend: prepend !== false, ...(prepend === "out" ? { onlyOut: true } : {}) }
}

/** The setting of this side, or of the other where this one says nothing. */
const shared = <K extends Key>(mine: Side, theirs: Side | undefined, key: K) =>
  nearest(mine.layers, key) ?? (theirs === undefined ? undefined : nearest(theirs.layers, key))

/** `theirs` is the other side of a session of the lab. */
export const compileNeighbor = (mine: Side, theirs: Side | undefined, policies: Policies, context: NeighborContext): BgpNeighborSpec => {
  const { end, layers, families, name, remote } = mine
  const remoteAs = remoteAsOf(mine, theirs, context.reporter)
  const localAs = asOf(mine)
  const isExternal = remoteAs === "external" || (remoteAs !== "internal" && remoteAs !== (localAs?.asn ?? end.bgp.as.value))
  const given = nearest(layers, "families")?.value
  const spoken = given === undefined ? families : typeof given === "string" ? [given] : given
  const description = mine.other?.node.name ?? mine.lone?.neighbor.value.description
  const hops = hopsOf(mine, theirs, isExternal, context)
  const password = passwordOf(mine, theirs, context.reporter)
  const bfd = bfdOf(mine, theirs, isExternal, hops)
  const updateSource = updateSourceOf(mine, context)
  const shutdown = nearest(layers, "shutdown")?.value ?? false
  const privateAs = nearest(layers, "remove-private-as")?.value ?? false
  const flag = (key: "passive" | "as-override"): boolean => nearest(layers, key)?.value ?? false
  const allowed = nearest(layers, "allow-as-in")?.value ?? 0
  return {
    name,
    remote,
    ...(description === undefined ? {} : { description }),
    ...(isExpected(mine, theirs) ? { expected: true } : {}),
    ...(theirs?.end.bgp.updateDelayS !== undefined && !theirs.end.bgp.external ? { isDelayed: true } : {}),
    remoteAs,
    ...(localAs === undefined ? {} : { localAs }),
    vrf: vrfOf(mine, context),
    families: spoken.map((family) => familyOf(family, layers, policies)),
    timers: timersOf(layers, context.reporter),
    passive: flag("passive"),
    shutdown: shutdown !== false,
    ...(typeof shutdown === "string" ? { shutdownMessage: shutdown } : {}),
    ...(updateSource === undefined ? {} : { updateSource }),
    ...hops,
    ...(password === undefined ? {} : { password }),
    routeReflectorClient: mine.reflectsFor,
    gracefulRestart: gracefulRestartOf(layers),
    allowAsIn: allowed === true ? 3 : typeof allowed === "number" ? allowed : 0,
    ...(allowed === "origin" ? { allowOwnOrigin: true } : {}),
    ...(isExternal && nearest(layers, "enforce-first-as")?.value === true ? { enforceFirstAs: true } : {}),
    ...(isExternal && refusesOwnAs(theirs) ? { refusesOwnAs: true } : {}),
    removePrivateAs: privateAs !== false,
    ...(privateAs === "replace" ? { replacePrivateAs: true } : {}),
    asOverride: flag("as-override"),
    sendCommunities: nearest(layers, "send-communities")?.value ?? true,
    ...(bfd === undefined ? {} : { bfd })
  }
}

const isExpected = (mine: Side, theirs: Side | undefined): boolean => {
  if (theirs === undefined || mine.end.bgp.external || theirs.end.bgp.external) return false
  const isOff = ({ layers }: Side): boolean => (nearest(layers, "shutdown")?.value ?? false) !== false
  const isPassive = ({ layers }: Side): boolean => nearest(layers, "passive")?.value === true
  return !isOff(mine) && !isOff(theirs) && !(isPassive(mine) && isPassive(theirs))
}

/** Of the neighbour: it has one AS towards us, and no route with that in its path is any good there. */
const refusesOwnAs = (theirs: Side | undefined): boolean => {
  if (theirs === undefined || theirs.end.bgp.external || asOf(theirs) !== undefined) return false
  const allowed = nearest(theirs.layers, "allow-as-in")?.value
  return allowed === undefined || allowed === false || allowed === 0
}

const remoteAsOf = (mine: Side, theirs: Side | undefined, reporter: Reporter): BgpNeighborSpec["remoteAs"] => {
  const { end, layers, lone } = mine
  if (theirs === undefined) {
    const as = lone!.neighbor.value.as ?? "external"
    return as === "external" || as === "internal" ? as : parseAs(as)!
  }
  const actual = asOf(theirs)?.asn ?? theirs.end.bgp.as.value
  for (const { raw, path } of layers) {
    const as = (raw as RawNeighbor).as
    // The node's own `as` stands beside its settings of sessions.
    if (as === undefined || end.bgp.sessions.some((layer) => layer.raw === raw)) continue
    const isInternal = actual === end.bgp.as.value
    if (as === "external" ? !isInternal : as === "internal" ? isInternal : parseAs(as) === actual) continue
    const { line } = reporter.locate(theirs.end.bgp.as.path)
    reporter.error([...path, "as"], `${theirs.end.node.name} is in AS ${actual} (line ${line}), not ${as}: leave "as" out, it is known`)
  }
  return actual
}

const vrfOf = ({ end, layers }: Side, { reporter, vrfOf: lookUp }: NeighborContext): string => {
  const ofPort = end.port === undefined ? undefined : lookUp(end, end.port.ifname)
  const entry = layers.findLast(({ raw }) => (raw as RawNeighbor).vrf !== undefined)
  if (entry === undefined) return ofPort ?? "default"
  const given = (entry.raw as RawNeighbor).vrf!
  const path = [...entry.path, "vrf"]
  if (given !== "default" && !end.bgp.vrfs.has(given)) {
    reporter.error(path, `${end.node.name} has no VRF ${quote(given)}`, { meant: { word: given, among: end.bgp.vrfs.keys() } })
  } else if (end.port !== undefined && (ofPort ?? "default") !== given) {
    reporter.error(path, `${end.port.ifname} leads to the neighbour and is in the VRF ${ofPort ?? "default"}, not in ${given}`)
  }
  return given
}

const familyOf = (family: Family, layers: ReadonlyArray<SessionLayer>, policies: Policies): BgpFamilySpec => {
  const policy = (key: "import" | "export"): string | undefined => {
    const given = nearest(layers, key)
    if (given === undefined) return undefined
    const name = typeof given.value === "string" ? given.value : given.value[family]
    if (name !== undefined) policies.use(name, typeof given.value === "string" ? given.path : [...given.path, family], [family])
    return name
  }
  const [importPolicy, exportPolicy] = [policy("import"), policy("export")]
  const most = nearest(layers, "max-prefix")?.value
  const paths = nearest(layers, "add-path")?.value
  const nextHopSelf = nearest(layers, "next-hop-self")?.value
  return {
    family,
    ...(importPolicy === undefined ? {} : { importPolicy }),
    ...(exportPolicy === undefined ? {} : { exportPolicy }),
    ...(most === undefined ? {} : { maxPrefix: maxPrefix(most) }),
    ...defaultOf(family, layers, policies),
    ...(nextHopSelf === true ? { nextHopSelf: true } : {}),
    ...(paths === undefined || paths === false
      ? {}
      : { addPath: paths === true ? { receive: true, send: 8 } : { receive: paths.receive ?? true, send: paths.send ?? 0 } })
  }
}

const defaultOf = (
  family: Family,
  layers: ReadonlyArray<SessionLayer>,
  policies: Policies
): Pick<BgpFamilySpec, "defaultOriginate" | "defaultPolicy" | "defaultWhen"> => {
  const given = nearest(layers, "default-originate")
  if (given === undefined || given.value === false) return {}
  if (given.value === true) return { defaultOriginate: true }
  const { policy, when } = given.value
  if (policy !== undefined) policies.use(policy, [...given.path, "policy"], [family])
  const prefixes = when === undefined ? undefined : (typeof when === "string" ? [when] : when).map((text) => Ip.parsePrefix(text)!)
  return {
    defaultOriginate: true,
    ...(policy === undefined ? {} : { defaultPolicy: policy }),
    ...(prefixes === undefined ? {} : { defaultWhen: prefixes.filter((one) => one.family === family).map(Ip.formatPrefix) })
  }
}

const maxPrefix = (raw: NonNullable<RawSession["max-prefix"]>): NonNullable<BgpFamilySpec["maxPrefix"]> => {
  if (typeof raw === "number") return { count: raw, action: "reset" }
  return {
    count: raw.count,
    action: raw.action ?? "reset",
    ...(raw.threshold === undefined ? {} : { thresholdPercent: raw.threshold }),
    ...(raw.restart === undefined ? {} : { restartS: parseSeconds(raw.restart)! })
  }
}

/** Of timers each is taken by itself: a neighbour may change the hold time and keep the rest. */
const timersOf = (layers: ReadonlyArray<SessionLayer>, reporter: Reporter): BgpTimers => {
  type Timer = keyof NonNullable<RawSession["timers"]>
  const timer = (key: Timer): Located<string | number> | undefined => {
    const layer = layers.findLast(({ raw }) => raw.timers?.[key] !== undefined)
    return layer === undefined ? undefined : { value: layer.raw.timers![key]!, path: [...layer.path, "timers", key] }
  }
  const secondsOf = (key: Timer): number | undefined => {
    const found = timer(key)
    return found === undefined ? undefined : parseSeconds(found.value)
  }
  const holdTimeS = secondsOf("hold") ?? Math.max(90, (secondsOf("keepalive") ?? 0) * 3)
  const given = secondsOf("keepalive")
  const keepaliveS = holdTimeS === 0 ? 0 : given ?? Math.max(1, Math.floor(holdTimeS / 3))
  if (given !== undefined && holdTimeS > 0 && given >= holdTimeS) {
    reporter.error(timer("keepalive")!.path, `a keepalive every ${given} s comes too late for the hold time of ${holdTimeS} s`)
  } else if (given !== undefined && holdTimeS > 0 && given * 3 > holdTimeS) {
    const message = `one lost keepalive ends the session: every ${given} s is more than a third of the hold time of ${holdTimeS} s`
    reporter.warning(timer("keepalive")!.path, message)
  }
  const interval = timer("advertisement-interval")
  const minimumHoldS = secondsOf("minimum-hold")
  if (minimumHoldS !== undefined && holdTimeS < minimumHoldS) {
    const message = `sessions would have a hold time of ${holdTimeS} s at most: with a minimum of ${minimumHoldS} s none comes up`
    reporter.error(timer("minimum-hold")!.path, message)
  }
  return {
    holdTimeS,
    ...(minimumHoldS === undefined ? {} : { minimumHoldS }),
    keepaliveS,
    connectRetryS: secondsOf("connect-retry") ?? 5,
    mraiMs: interval === undefined ? 0 : parseTime(interval.value)!
  }
}

const gracefulRestartOf = (layers: ReadonlyArray<SessionLayer>): BgpNeighborSpec["gracefulRestart"] => {
  const given = nearest(layers, "graceful-restart")?.value ?? true
  const times = typeof given === "object" ? given : {}
  return {
    enabled: given !== false,
    restartTimeS: parseSeconds(times["restart-time"] ?? 120)!,
    longLivedStaleS: parseSeconds(times["long-lived"] ?? 0)!,
    notification: times.notification ?? false
  }
}

const isLoopback = ({ end, other }: Side): boolean => other !== undefined && (end.port === undefined || other.port === undefined)

const hopsOf = (mine: Side, theirs: Side | undefined, isExternal: boolean, { reporter }: NeighborContext) => {
  const multihop = shared(mine, theirs, "multihop")
  const security = shared(mine, theirs, "ttl-security")
  const hops = security === undefined || security.value === false ? undefined : security.value === true ? 1 : security.value
  const wanted = multihop === undefined ? (isLoopback(mine) && isExternal && hops === undefined ? 255 : 1) : multihop.value
  const ttl = wanted === true ? 255 : wanted === false ? 1 : wanted
  if (hops !== undefined && ttl > 1) {
    reporter.error(security!.path, `TTL security says how many hops away ${mine.name} may be: write ttl-security: ${hops} without multihop`)
    return { multihop: 1, ttlSecurity: hops }
  }
  const { remote, end } = mine
  const isFar = remote.kind === "address" && mine.lone !== undefined && end.port === undefined
  if (isFar && isExternal && ttl === 1 && hops === undefined) {
    const message = `${end.node.name} has no port in a subnet with ${remote.address}: for a neighbour further away write multihop: true`
    reporter.error(mine.lone!.neighbor.path, message)
  }
  return { multihop: ttl, ...(hops === undefined ? {} : { ttlSecurity: hops }) }
}

const passwordOf = (mine: Side, theirs: Side | undefined, reporter: Reporter): string | undefined => {
  const here = nearest(mine.layers, "password")
  const there = theirs === undefined ? undefined : nearest(theirs.layers, "password")
  if (here !== undefined && there !== undefined && here.value !== there.value) {
    const { line } = reporter.locate(there.path)
    const names = `${mine.end.node.name} and ${theirs!.end.node.name}`
    reporter.error(here.path, `${names} have different passwords for their session: see line ${line}`)
  }
  return (here ?? there)?.value
}

const bfdOf = (
  mine: Side,
  theirs: Side | undefined,
  isExternal: boolean,
  hops: { readonly multihop: number; readonly ttlSecurity?: number }
): BgpNeighborSpec["bfd"] | undefined => {
  const given = shared(mine, theirs, "bfd")?.value
  if (given === undefined || given === false) return undefined
  const isFar = isLoopback(mine) || (mine.lone !== undefined && mine.remote.kind === "address" && mine.end.port === undefined) ||
    (isExternal && (hops.multihop > 1 || (hops.ttlSecurity ?? 1) > 1))
  const multihop = (given === true ? undefined : given.multihop) ?? isFar
  return { ...bfdTimers(given), multihop }
}

/** An address of ours: as given, of the interface given, or of the loopback where the session goes from there. */
const updateSourceOf = (mine: Side, { addressing, reporter }: NeighborContext): string | undefined => {
  const { end, remote } = mine
  const given = nearest(mine.layers, "update-source")
  const loopback = end.port === undefined && end.address !== undefined ? Ip.formatAddress(end.address) : undefined
  if (given === undefined || remote.kind === "interface") return loopback
  const family = remote.kind === "address" ? Ip.parseAddress(remote.address)?.family : Ip.parsePrefix(remote.prefix)?.family
  const own = ownAddresses(end, addressing)
  const address = Ip.parseAddress(given.value)
  if (address !== undefined) {
    const text = Ip.formatAddress(address)
    if (address.family !== family) return loopback
    if (!own.some((candidate) => candidate.text === text)) reporter.error(given.path, `${end.node.name} has no address ${text}`)
    return text
  }
  const found = own.filter(({ ifname }) => ifname === given.value)
  if (found.length === 0) refuseSource(end, given, reporter)
  return found.find((candidate) => candidate.family === family)?.text ?? loopback
}

const refuseSource = ({ node }: End, { value, path }: { readonly value: string; readonly path: Path }, reporter: Reporter): void => {
  const names = ["lo", ...node.ports.map(({ ifname }) => ifname)]
  reporter.error(path, `${quote(value)} is no address of ${node.name}, and no interface with one`, { meant: { word: value, among: names } })
}

const ownAddresses = ({ node }: End, addressing: Addressing) => [
  ...addressing.ofLoopback(node.name).map(({ address }) => ({ ifname: "lo", family: address.family, text: Ip.formatAddress(address) })),
  ...node.ports.flatMap((port) =>
    addressing.ofPort(port).map(({ address }) => ({ ifname: port.ifname, family: address.family, text: Ip.formatAddress(address) }))
  )
]
