/** The flags that make a weftd one of many hosts: words in, settings or an error that says what to type out. */
import { isIP } from "node:net"
import { cpus, hostname, networkInterfaces } from "node:os"
import * as Ip from "../wire/ip.ts"

export const fleetOptions = {
  etcd: { type: "string" },
  host: { type: "string" },
  underlay: { type: "string" },
  capacity: { type: "string" },
  label: { type: "string", multiple: true },
  "etcd-ca": { type: "string" },
  "etcd-cert": { type: "string" },
  "etcd-key": { type: "string" }
} as const

export const fleetUsage = `
Many hosts (docs/fleet.md):
  --etcd URL[,URL...]  share labs with the other hosts of this etcd; new: run one here, for small set-ups
  --host NAME      name of this host (default: what hostname says)
  --underlay ADDR  this host's address towards the others; tunnels go from and to it (default: that of --listen)
  --capacity N     how much of a lab to place here beside others (default: number of CPUs)
  --label K=V      a label of this host; may be repeated
  --etcd-ca FILE, --etcd-cert FILE, --etcd-key FILE
                   for https URLs of etcd (default: the files of --listen)
`

type Flags = Readonly<Record<string, string | boolean | ReadonlyArray<string> | undefined>>

export interface FleetSettings {
  /** URLs of its members. */
  readonly etcd: "new" | ReadonlyArray<string>
  /** Canonical text. */
  readonly underlay: string
  readonly capacity: number
  readonly labels: Readonly<Record<string, string>>
  /** Files; undefined: those of --listen. */
  readonly etcdTls: { readonly ca: string; readonly cert: string; readonly key: string } | undefined
}

const namePattern = /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/

/** The name of this host. Among others it is a name like those of nodes: of the machine's own the first part, in lower case. */
export const hostName = (flags: Flags): string => {
  const given = flags["host"] as string | undefined
  if (given !== undefined) {
    if (!namePattern.test(given)) throw new Error(`Bad host name "${given}": at most 32 small letters, digits and dashes between them`)
    return given
  }
  return flags["etcd"] === undefined ? hostname() : hostname().split(".")[0]!.toLowerCase()
}

/**
 * What the flags ask for; undefined: a weftd of its own.
 *
 * @param listen address of `--listen`, if any
 * @throws Error that says what to type
 */
export const fleetSettings = (flags: Flags, listen: string | undefined): FleetSettings | undefined => {
  const etcd = flags["etcd"] as string | undefined
  if (etcd === undefined) {
    const useless = ["underlay", "capacity", "label", "etcd-ca", "etcd-cert", "etcd-key"].find((name) => flags[name] !== undefined)
    if (useless !== undefined) throw new Error(`--${useless} is for one of many hosts: --etcd URL is missing`)
    return undefined
  }
  const name = hostName(flags)
  if (!namePattern.test(name)) {
    throw new Error(`"${name}" cannot be the name of a host (small letters, digits and dashes): give one with --host NAME`)
  }
  return {
    etcd: etcd === "new" ? "new" : membersOf(etcd),
    underlay: underlayOf(flags["underlay"] as string | undefined, listen),
    capacity: capacityOf(flags["capacity"] as string | undefined),
    labels: labelsOf((flags["label"] as ReadonlyArray<string> | undefined) ?? []),
    etcdTls: tlsOf(flags)
  }
}

const membersOf = (text: string): ReadonlyArray<string> => {
  const urls = text.split(",").filter((url) => url !== "")
  for (const url of urls) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined
    const isPlain = parsed !== undefined && ["/", ""].includes(parsed.pathname) && parsed.search === ""
    if (!isPlain || !["http:", "https:"].includes(parsed.protocol)) {
      throw new Error(`Bad address of etcd "${url}": it needs http://HOST:PORT or https://HOST:PORT, several with commas between, or new`)
    }
  }
  if (urls.length === 0) throw new Error("--etcd needs the URL of a member, several with commas between, or new")
  return urls
}

const isAnyAddress = (address: string): boolean => /^[0:.]+$/.test(address)

const underlayOf = (given: string | undefined, listen: string | undefined): string => {
  const text = given ?? (listen !== undefined && isIP(listen) !== 0 && !isAnyAddress(listen) ? listen : undefined)
  if (text === undefined) throw new Error("--etcd needs --underlay ADDR: this host's address, to which the others send what its nodes get")
  const address = Ip.parse(text)
  if (address === undefined) throw new Error(`Bad underlay address "${text}": an IPv4 or IPv6 address is expected`)
  const canonical = Ip.format(address)
  const own = Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).filter(({ internal }) => !internal))
  const usable = own.map((one) => one.address).filter((one) => !/^fe80:/i.test(one))
  const isOwn = usable.some((one) => Ip.format(Ip.parse(one) ?? address) === canonical && Ip.parse(one) !== undefined)
  if (!isOwn) {
    const there = usable.length === 0 ? "it has none" : `it has ${usable.join(", ")}`
    throw new Error(`The underlay address ${canonical} is none of this machine: ${there}`)
  }
  return canonical
}

const capacityOf = (text: string | undefined): number => {
  if (text === undefined) return cpus().length
  const capacity = Number(text)
  if (Number.isInteger(capacity) && capacity >= 1 && capacity <= 100_000) return capacity
  throw new Error(`Bad capacity "${text}": a whole number from 1 to 100000 is expected`)
}

const labelsOf = (texts: ReadonlyArray<string>): Readonly<Record<string, string>> => {
  const labels: Record<string, string> = {}
  for (const text of texts) {
    const at = text.indexOf("=")
    const [key, value] = [text.slice(0, at), text.slice(at + 1)]
    if (at < 1 || /[\x00-\x20\x7f]/.test(text)) throw new Error(`Bad label "${text}": KEY=VALUE without spaces is expected`)
    if (Object.hasOwn(labels, key)) throw new Error(`The label "${key}" is given twice`)
    labels[key] = value
  }
  return labels
}

const tlsOf = (flags: Flags): FleetSettings["etcdTls"] => {
  const [ca, cert, key] = [flags["etcd-ca"], flags["etcd-cert"], flags["etcd-key"]] as ReadonlyArray<string | undefined>
  if (ca === undefined && cert === undefined && key === undefined) return undefined
  if (ca === undefined || cert === undefined || key === undefined) throw new Error("--etcd-ca, --etcd-cert and --etcd-key belong together")
  return { ca, cert, key }
}
