/**
 * Keys and values in etcd, below one prefix (docs/fleet.md lists them for people). All values are JSON, labs gzipped.
 *
 * Others can write to etcd, too: what is read is checked before anybody works with it, and what does not fit is an error
 * that names the key.
 */
import { gunzipSync, gzipSync } from "node:zlib"
import type { FleetLab, HostRecord, PartReport } from "./fleet.ts"

/** Names of labs and hosts have no slash, so each key says one thing. */
export const keysBelow = (prefix: string) => ({
  all: prefix,
  labs: `${prefix}labs/`,
  lab: (name: string) => `${prefix}labs/${plain(name)}`,
  vnis: `${prefix}vnis/`,
  vnisOf: (lab: string) => `${prefix}vnis/${plain(lab)}`,
  reportsOf: (lab: string) => `${prefix}reports/${plain(lab)}/`,
  report: (lab: string, host: string) => `${prefix}reports/${plain(lab)}/${plain(host)}`,
  host: (name: string) => `${prefix}hosts/${plain(name)}`,
  alive: (name: string) => `${prefix}alive/${plain(name)}`,
  underlay: (address: string) => `${prefix}underlay/${plain(address)}`,
  drained: (name: string) => `${prefix}drained/${plain(name)}`,
  /** `labs/web` to its parts, or undefined when it is none of ours. */
  parse: (key: string): { readonly kind: string; readonly name: string; readonly host: string } | undefined => {
    const match = key.startsWith(prefix) ? /^([a-z]+)\/([^/]+)(?:\/([^/]+))?$/.exec(key.slice(prefix.length)) : null
    return match === null ? undefined : { kind: match[1]!, name: match[2]!, host: match[3] ?? "" }
  }
})

export type Keys = ReturnType<typeof keysBelow>

const plain = (name: string): string => {
  if (name === "" || name.includes("/")) throw new Error(`Bad name "${name}": it is empty or has a slash`)
  return name
}

/** The end of the range of all keys that start with `prefix`. */
export const endOf = (prefix: string): string => prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)

/** A value that is not what its key says. */
export class DamagedValue extends Error {
  override readonly name = "DamagedValue"
  constructor(key: string, reason: string) {
    super(`Cannot use the value of key "${key}" in etcd: ${reason}. Remove it with: etcdctl del ${key}`)
  }
}

/** `commit` marks the call that wrote it, so that a call whose answer was lost finds its own work. */
export interface StoredLab {
  readonly commit: string
  readonly lab: FleetLab
}

/** Who holds a name. `token` is another for each start of a daemon. */
export interface Holder {
  readonly token: string
  readonly underlay: string
  readonly instance: string
  /** Name of the host; absent: written by a version that did not say it. */
  readonly host?: string
}

export interface StoredHost extends HostRecord {
  /** RFC 3339 */
  readonly since: string
}

/** What a damaged or hostile value may become when it is unpacked. */
const maxLabOctets = 256 << 20

export const encodeLab = (stored: StoredLab): Buffer => gzipSync(JSON.stringify(stored))
export const encode = (value: Holder | StoredHost | PartReport | ReadonlyArray<number>): Buffer => Buffer.from(JSON.stringify(value))

type Check = (value: unknown) => boolean

const isText: Check = (value) => typeof value === "string"
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0
const isNumber: Check = (value) => typeof value === "number"
const isObject: Check = (value) => typeof value === "object" && value !== null && !Array.isArray(value)
const listOf = (check: Check): Check => (value) => Array.isArray(value) && value.every(check)
const oneOf = (...words: ReadonlyArray<string>): Check => (value) => words.includes(value as string)
const recordOf = (check: Check): Check => (value) => isObject(value) && Object.values(value as object).every(check)
const optional = (check: Check): Check => (value) => value === undefined || check(value)
const shape = (fields: Readonly<Record<string, Check>>): Check => (value) =>
  isObject(value) && Object.entries(fields).every(([name, check]) => check((value as Record<string, unknown>)[name]))

const holderFields = { token: isText, underlay: isText, instance: isText, host: optional(isText) }
const hostFields = {
  name: isText, underlay: isText, endpoint: isText, capacity: isNumber, labels: recordOf(isText),
  instance: isText, version: isText, kernel: isText, since: isText
}
const reportFields = {
  host: isText, generation: isCount, state: oneOf("converging", "ready", "failed", "gone"), done: isCount, total: isCount,
  failures: listOf(shape({ id: isText, error: isText })), at: isText
}
const isResource = shape({ id: isText, kind: isText, spec: isObject })
const planFields = { lab: isText, nodes: listOf(isObject), segments: listOf(isObject), resources: listOf(isResource) }
const labFields = {
  name: isText, filename: isText, wanted: oneOf("present", "absent"), plan: shape(planFields), generation: isCount,
  deployedAt: isText, deployedBy: optional(isText), hosts: listOf(isText), base: optional(shape(planFields)),
  faults: optional(listOf(shape({ id: isText, kind: isText, title: isText, injectedAt: isText, by: isText }))),
  faultCount: optional(isCount), faultsAt: optional(isText)
}

/** The first field that does not fit, or an error of JSON. @throws DamagedValue */
const read = <A>(key: string, octets: Buffer, fields: Readonly<Record<string, Check>>): A => {
  let value: unknown
  try {
    value = JSON.parse(octets.toString("utf8"))
  } catch {
    throw new DamagedValue(key, "it is no JSON")
  }
  return fit<A>(key, value, fields)
}

const fit = <A>(key: string, value: unknown, fields: Readonly<Record<string, Check>>): A => {
  if (!isObject(value)) throw new DamagedValue(key, "it is no object")
  const wrong = Object.entries(fields).find(([name, check]) => !check((value as Record<string, unknown>)[name]))
  if (wrong !== undefined) throw new DamagedValue(key, `its field "${wrong[0]}" is missing or not what it should be`)
  return value as A
}

/** @throws DamagedValue */
export const decodeLab = (key: string, name: string, octets: Buffer): StoredLab => {
  let text: Buffer
  try {
    text = gunzipSync(octets, { maxOutputLength: maxLabOctets })
  } catch (error) {
    throw new DamagedValue(key, `it is not gzipped, or damaged (${(error as Error).message})`)
  }
  const stored = read<StoredLab>(key, text, { commit: isText, lab: isObject })
  const lab = fit<FleetLab>(key, stored.lab, labFields)
  if (lab.name !== name) throw new DamagedValue(key, `it is of lab "${lab.name}"`)
  return stored
}

/** @throws DamagedValue */
export const decodeHolder = (key: string, octets: Buffer): Holder => read<Holder>(key, octets, holderFields)

/** @throws DamagedValue */
export const decodeHost = (key: string, name: string, octets: Buffer): StoredHost => {
  const host = read<StoredHost>(key, octets, hostFields)
  if (host.name !== name) throw new DamagedValue(key, `it is of host "${host.name}"`)
  return host
}

/** @throws DamagedValue */
export const decodeReport = (key: string, host: string, octets: Buffer): PartReport => {
  const report = read<PartReport>(key, octets, reportFields)
  if (report.host !== host) throw new DamagedValue(key, `it is of host "${report.host}"`)
  return report
}

const isVni: Check = (value) => Number.isInteger(value) && (value as number) > 0 && (value as number) <= 0xffffff

/** @throws DamagedValue */
export const decodeVnis = (key: string, octets: Buffer): ReadonlyArray<number> => {
  let value: unknown
  try {
    value = JSON.parse(octets.toString("utf8"))
  } catch {
    throw new DamagedValue(key, "it is no JSON")
  }
  if (!listOf(isVni)(value)) throw new DamagedValue(key, "it is no list of VNIs")
  return value as ReadonlyArray<number>
}
