/**
 * What a node's `bgp` comes to: the keys of `defaults`, its groups and itself, put together.
 *
 * Of single values the nearest wins; settings of sessions are kept in layers, because links, ports and neighbours add
 * theirs later; policies, prefix lists and VRFs are taken by name, the nearest of each; neighbours, networks, aggregates and
 * redistribution are joined.
 */
import type { RawTerm } from "./bgp-policy-schema.ts"
import { parseSeconds, type RawBgp, type RawBgpOfPort, type RawNeighbor, type RawVrf } from "./bgp-schema.ts"
import { parseAs } from "./bgp-schema-parts.ts"
import type { Path, Reporter } from "./diagnostic.ts"
import { nameProblem, nameSuggestion } from "./names.ts"
import type { Bgp, BgpTable, BgpVrf, Located, NodeKind, SessionLayer } from "./model.ts"

/** `bgp` of one place in the file. */
export interface BgpLayer {
  readonly raw: RawBgp | "none" | undefined
  readonly path: Path
}

type Present = { readonly raw: RawBgp; readonly path: Path }

const located = <T>(value: T | ReadonlyArray<T> | undefined, path: Path): ReadonlyArray<Located<T>> =>
  value === undefined
    ? []
    : Array.isArray(value)
    ? value.map((item: T, index) => ({ value: item, path: [...path, index] }))
    : [{ value: value as T, path }]

const asList = <T>(value: T | ReadonlyArray<T> | undefined): ReadonlyArray<T> =>
  value === undefined ? [] : Array.isArray(value) ? value : [value as T]

/** Settings of sessions that a link, network or port has, as a layer; undefined where there are none. */
export const layerOf = ({ value, path }: Located<RawBgpOfPort>): SessionLayer | undefined =>
  value === "none" ? undefined : value === "unnumbered" ? { raw: { unnumbered: true }, path } : { raw: value, path }

/** Puts the layers together, the most general first; undefined when the node speaks no BGP. */
export const readBgp = (layers: ReadonlyArray<BgpLayer>, kind: NodeKind, reporter: Reporter): Bgp | undefined => {
  // "none" hides whatever is more general.
  const since = layers.findLastIndex(({ raw }) => raw === "none") + 1
  const present = layers.slice(since).filter((layer): layer is Present => layer.raw !== undefined && layer.raw !== "none")
  const own = layers.at(-1)!
  const nearest = <K extends keyof RawBgp>(key: K): Located<NonNullable<RawBgp[K]>> | undefined => {
    const layer = present.findLast(({ raw }) => raw[key] !== undefined)
    return layer === undefined ? undefined : { value: layer.raw[key]!, path: [...layer.path, key] }
  }
  const joined = <K extends keyof RawBgp, T>(key: K, read: (value: RawBgp[K], path: Path) => ReadonlyArray<T>): ReadonlyArray<T> =>
    present.flatMap(({ raw, path }) => read(raw[key], [...path, key]))
  const as = nearest("as")
  if (as === undefined) {
    if (own.raw !== undefined && own.raw !== "none") {
      reporter.error(own.path, "the AS number is missing: write as: 65001", { at: "key" })
    }
    return undefined
  }
  const number = parseAs(as.value)
  if (number === undefined) return undefined
  const routerId = nearest("router-id")
  const clusterId = nearest("cluster-id")
  const multipath = nearest("multipath")?.value ?? {}
  const delay = nearest("update-delay")
  const vrfs = byName(present, "vrfs")
  checkNames(present, reporter)
  return {
    as: { value: number, path: as.path },
    ...(routerId === undefined ? {} : { routerId }),
    ...(clusterId === undefined ? {} : { clusterId }),
    external: nearest("external")?.value ?? kind === "container",
    derive: nearest("derive")?.value ?? true,
    ibgp: nearest("ibgp")?.value ?? "links",
    reflectors: [...located(nearest("route-reflector")?.value, nearest("route-reflector")?.path ?? [])],
    clients: joined("clients", (value, path) => located(value, path)),
    sessions: present,
    neighbors: joined("neighbors", (value, path) => located(value, path).flatMap((item) => readNeighbor(item, reporter))),
    ...tableOf(present),
    vrfs: new Map(Array.from(vrfs, ([name, { value, path }]) => [name, readVrf(value, path)])),
    policies: readPolicies(present, reporter),
    prefixLists: new Map(Array.from(byName(present, "prefix-lists"), ([name, { value, path }]) => [name, { value: asList(value), path }])),
    multipath: typeof multipath === "number"
      ? { ebgp: multipath, ibgp: multipath, asPathRelax: false }
      : { ebgp: multipath.ebgp ?? 16, ibgp: multipath.ibgp ?? 16, asPathRelax: multipath["as-path-relax"] ?? false },
    alwaysCompareMed: nearest("always-compare-med")?.value ?? false,
    missingMedIsWorst: nearest("missing-med-is-worst")?.value ?? false,
    ignoreAsPath: nearest("ignore-as-path")?.value ?? false,
    compareRouterId: nearest("compare-router-id")?.value ?? false,
    gracefulShutdown: nearest("graceful-shutdown")?.value ?? false,
    ...(delay === undefined ? {} : { updateDelayS: parseSeconds(delay.value)! }),
    path: present.at(-1)!.path
  }
}

/** Policies, prefix lists and VRFs are called what nodes and networks may be called. */
const checkNames = (layers: ReadonlyArray<Present>, reporter: Reporter): void => {
  for (const { raw, path } of layers) {
    for (const key of ["policies", "prefix-lists", "vrfs"] as const) {
      for (const name of Object.keys(raw[key] ?? {})) {
        const problem = nameProblem(name)
        if (problem !== undefined) reporter.error([...path, key, name], problem, { suggestion: nameSuggestion(name), at: "key" })
      }
    }
  }
}

/** Members of a map that layers share: of one name the nearest. */
const byName = <K extends "policies" | "prefix-lists" | "vrfs">(layers: ReadonlyArray<Present>, key: K) => {
  type Member = NonNullable<RawBgp[K]>[string]
  const members = new Map<string, Located<Member>>()
  for (const { raw, path } of layers) {
    for (const [name, value] of Object.entries<Member>((raw[key] ?? {}) as Readonly<Record<string, Member>>)) {
      members.set(name, { value, path: [...path, key, name] })
    }
  }
  return members
}

type RawTable = Pick<RawBgp, "networks" | "aggregates" | "redistribute">

const tableOf = (layers: ReadonlyArray<{ readonly raw: RawTable; readonly path: Path }>): BgpTable => ({
  networks: layers.flatMap(({ raw, path }) =>
    located(raw.networks, [...path, "networks"]).map((item) =>
      typeof item.value === "string" ? { value: { prefix: item.value }, path: item.path } : { value: item.value, path: item.path }
    )
  ),
  aggregates: layers.flatMap(({ raw, path }) =>
    located(raw.aggregates, [...path, "aggregates"]).map((item) =>
      typeof item.value === "string" ? { value: { prefix: item.value }, path: item.path } : { value: item.value, path: item.path }
    )
  ),
  redistribute: layers.flatMap(({ raw, path }) =>
    located(raw.redistribute, [...path, "redistribute"]).map((item) =>
      typeof item.value === "string" ? { value: { source: item.value }, path: item.path } : { value: item.value, path: item.path }
    )
  )
})

const readVrf = (raw: RawVrf, path: Path): BgpVrf => ({
  ...tableOf([{ raw, path }]),
  interfaces: located(raw.interfaces, [...path, "interfaces"]),
  ...(raw.table === undefined ? {} : { table: { value: raw.table, path: [...path, "table"] } }),
  importTargets: [...asList(raw.targets), ...asList(raw["import-targets"])],
  exportTargets: [...asList(raw.targets), ...asList(raw["export-targets"])],
  path
})

const readNeighbor = ({ value, path }: Located<RawNeighbor | string>, reporter: Reporter): ReadonlyArray<Located<RawNeighbor>> => {
  if (typeof value === "string") return [{ value: { peer: value }, path }]
  const given = (["peer", "interface", "range"] as const).filter((key) => value[key] !== undefined)
  if (given.length === 0) {
    reporter.error(path, 'whose neighbour is this? Give "peer" (NODE, NODE:PORT or an address), "interface" or "range"')
    return []
  }
  if (value.range !== undefined && given.length > 1) {
    reporter.error([...path, "range"], `a range stands alone: remove ${given[0]}`, { at: "key" })
    return []
  }
  return [{ value, path }]
}

const readPolicies = (layers: ReadonlyArray<Present>, reporter: Reporter): Bgp["policies"] =>
  new Map(Array.from(byName(layers, "policies"), ([name, policy]) => {
    const terms = located(policy.value as RawTerm | ReadonlyArray<RawTerm>, policy.path)
    for (const { value, path } of terms) {
      if (typeof value === "string") continue
      if ((value.permit === undefined) === (value.deny === undefined)) {
        reporter.error(path, 'an entry has either "permit" or "deny", with what must match: any, or {prefix-list: ..., community: ...}')
      } else if (value.deny !== undefined && (value.set !== undefined || value.continue !== undefined)) {
        reporter.error(path, 'an entry that denies changes nothing: it has neither "set" nor "continue"')
      }
    }
    return [name, { value: terms, path: policy.path }]
  }))
