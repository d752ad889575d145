/** What the schemas of several kinds of checks are built from, and what their words stand for. */
import { Schema } from "effect"
import { randomBytes } from "node:crypto"
import { isIP } from "node:net"
import type { Path } from "../topology/diagnostic.ts"
import { duration, hourMs, minuteMs } from "../topology/duration.ts"
import { integer, optional, text } from "../topology/schema-parts.ts"
import { parseRate, parseShare, parseSpan } from "../topology/units.ts"
import type { Reference } from "./kind.ts"
import type { Lab, LabNode } from "./lab.ts"

export const Word = text({ description: "text", problem: (value) => (value.trim() === "" ? "the text is empty" : undefined) })
export const NodeName = text({ description: "the name of a node", problem: (value) => (value === "" ? "the name is empty" : undefined) })
export const Target = text({
  description: "a node, one of its ports as NODE:PORT, or an address",
  problem: (value) => (value.trim() === "" ? "the text is empty" : undefined)
})
export const Time = duration({ example: "a time such as 500ms, 10s or 2m", leastMs: 1, mostMs: hourMs })
/** A time that is measured, not waited for: fractions of a millisecond count. */
export const Measure = duration({ example: "a time such as 500ms, 1.5ms or 300us", leastMs: 0, mostMs: hourMs })
export const Spacing = duration({
  description: "a time such as 5ms, from one probe to the next", example: "a time such as 1ms or 500us", leastMs: 0.1, mostMs: minuteMs
})
export const Rate = text({
  description: "a rate such as 50mbit",
  problem: (value) => (parseRate(value) === undefined ? "expected a rate such as 50mbit" : undefined)
})
export const Share = text({
  description: "a share such as 1%",
  problem: (value) => (parseShare(value) === undefined ? "expected a share such as 1%" : undefined)
})
export const UrlPath = text({
  description: "a path such as /health",
  problem: (value) => (/^\/[\x21-\x7e]*$/.test(value) ? undefined : "expected a path such as /health, without spaces")
})
export const PortNumber = integer(1, 65535, "A port number")
export const Flag = Schema.Boolean.annotate({ expected: "true or false" })

/** ms of a `Time` that was checked. */
export const msOf = (value: string | undefined, otherwise: number): number => (value === undefined ? otherwise : parseSpan(value)!)

const Plain = Schema.Union([Schema.String, Schema.Finite, Schema.Boolean]).annotate({ expected: "text, a number or a boolean" })

const Choice = Schema.Struct({
  group: optional(Word),
  kind: optional(Schema.Literals(["host", "router", "container"])),
  labels: optional(Schema.Record(Schema.String, Plain).annotate({ expected: "a map of labels such as {site: office}" }))
}).annotate({ expected: "a map with group, kind or labels", description: "Nodes that have all of these" })

const some = Schema.makeFilter((words: ReadonlyArray<string>) => (words.length === 0 ? "the list is empty: nobody is meant" : undefined))

/** Nodes by name, or by what they have in common. */
export const Nodes = Schema.Union([NodeName, Schema.Array(NodeName).check(some), Choice])
  .annotate({ expected: "a node, a list of nodes, or a map with group, kind or labels" })
export const Targets = Schema.Union([Target, Schema.Array(Target).check(some), Choice])
  .annotate({ expected: "a node, NODE:PORT, an address, a list of them, or a map with group, kind or labels" })

export type Nodes = typeof Nodes.Type
type Choice = typeof Choice.Type

const isList = (value: Nodes): value is ReadonlyArray<string> => Array.isArray(value)

/** Where such a value names something of the lab. */
export const referencesOf = (path: Path, value: Nodes | undefined, what: "node" | "target"): ReadonlyArray<Reference> => {
  if (value === undefined) return []
  if (typeof value === "string") return [{ path, text: value, what }]
  if (isList(value)) return value.map((text, index) => ({ path: [...path, index], text, what }))
  const labels =
    Object.entries(value.labels ?? {}).map(([key, of]) =>
      ({ path: [...path, "labels", key], text: `${key}=${of}`, what: "label" as const }))
  return value.group === undefined ? labels : [{ path: [...path, "group"], text: value.group, what: "group" }, ...labels]
}

/**
 * What a value names that is not of its schema, as far as that can be read: so that one thing that is wrong does not hide the next.
 * `references`: as for values that are right; it may throw here.
 */
export const legible = <Spec>(value: unknown, references: (spec: Spec) => ReadonlyArray<Reference>): ReadonlyArray<Reference> => {
  try {
    return references(value as Spec).filter(({ text }) => typeof text === "string" && text.trim() !== "")
  } catch {
    return []
  }
}

const hasAll = (node: LabNode, { group, kind, labels = {} }: Choice): boolean =>
  (group === undefined || node.group === group)
  && (kind === undefined || node.kind === kind)
  && Object.entries(labels).every(([key, value]) => node.labels[key] === String(value))

/** The words that a value stands for: as they are, or the names of the nodes that it chooses; of routers only when it says so. */
export const chosen = (value: Nodes, lab: Pick<Lab, "nodes">): ReadonlyArray<string> => {
  if (typeof value === "string") return [value]
  if (isList(value)) return value
  const takesRouters = value.kind !== undefined
  return [...lab.nodes.values()].filter((node) => hasAll(node, value) && (takesRouters || !node.forwards)).map(({ name }) => name)
}

export interface Place {
  /** As people call it. */
  readonly name: string
  /** Undefined: an address that is nobody's. */
  readonly node?: string
  readonly address: string
}

const isV6 = (address: string): boolean => address.includes(":")

/** Where a target is. @throws Error when it has no address of the family */
export const placeOf = (target: string, lab: Pick<Lab, "nodes">, ipv6: boolean): Place => {
  if (isIP(target) !== 0) {
    const owner = [...lab.nodes.values()].find(({ addresses }) => addresses.some(({ address }) => address === target))
    return { name: owner === undefined ? target : `${owner.name} (${target})`, address: target,
      ...(owner === undefined ? {} : { node: owner.name }) }
  }
  const [name = "", ifname] = target.split(":")
  const node = lab.nodes.get(name)
  if (node === undefined) throw new Error(`the lab has no node "${name}"`)
  const found = node.addresses.find((one) => isV6(one.address) === ipv6 && (ifname === undefined || one.ifname === ifname))
  if (found === undefined) throw new Error(`${target} has no ${ipv6 ? "IPv6" : "IPv4"} address`)
  return { name: target, node: name, address: found.address }
}

/** At most as many at a time, in order of begin; results in order. */
export const each = async <A, B>(items: ReadonlyArray<A>, parallel: number, use: (item: A) => Promise<B>): Promise<ReadonlyArray<B>> => {
  const results: Array<B> = []
  let next = 0
  const work = async (): Promise<void> => {
    while (next < items.length) {
      const place = next++
      results[place] = await use(items[place]!)
    }
  }
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, work))
  return results
}

export const listed = (words: ReadonlyArray<string>): string => (words.length === 0 ? "nothing" : words.join(", "))

/** "pc1", "pc1, pc2", "hosts with site office". */
export const described = (value: Nodes): string => {
  if (typeof value === "string") return value
  if (isList(value)) return value.join(", ")
  const labels = Object.entries(value.labels ?? {}).map(([key, of]) => `${key} ${of}`)
  return [value.group === undefined ? "" : `group ${value.group}`, ...labels, value.kind === undefined ? "" : `kind ${value.kind}`]
    .filter((word) => word !== "").join(" and ")
}


/** 16 octets that nobody else has, in hexadecimal. */
export const randomToken = (): string => randomBytes(16).toString("hex")
