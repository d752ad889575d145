/**
 * Rules of a firewall as people write them, `tcp/443 from office to web in lan`, into their parts. Names are not looked up here.
 *
 *     [SERVICE[,SERVICE...]] [from WHO[,WHO...]] [to WHO...] [in IFNAME...] [out IFNAME...] [at HOOK...]
 */
import { closest, quote } from "./diagnostic.ts"

export type Hook = "input" | "forward" | "output"
export const hooks = ["input", "forward", "output"] as const

export interface Service {
  readonly protocol: string
  /** `443`, `8000-8100` */
  readonly ports?: ReadonlyArray<string>
  readonly type?: (typeof icmpTypes)[number]
}

/** What a rule says besides its action. */
export interface RuleWords {
  /** Empty: everything. */
  readonly services: ReadonlyArray<Service>
  /** Prefixes, addresses, names; absent: not said. */
  readonly from?: ReadonlyArray<string>
  readonly to?: ReadonlyArray<string>
  readonly in?: ReadonlyArray<string>
  readonly out?: ReadonlyArray<string>
  readonly at?: ReadonlyArray<Hook>
}

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly message: string }

const icmpTypes = ["echo-request", "echo-reply", "unreachable", "too-big", "time-exceeded", "redirect"] as const
const withPorts = ["tcp", "udp", "sctp"]
const portless = ["icmp", "gre", "esp", "ah", "ipip", "ospf", "vrrp"]

/** Services that everybody calls by name. */
const wellKnown: Readonly<Record<string, ReadonlyArray<string>>> = {
  ping: ["icmp/echo-request"], ssh: ["tcp/22"], smtp: ["tcp/25"], dns: ["udp/53", "tcp/53"], dhcp: ["udp/67-68"], http: ["tcp/80"],
  ntp: ["udp/123"], snmp: ["udp/161"], bgp: ["tcp/179"], ldap: ["tcp/389"], https: ["tcp/443"], ipsec: ["udp/500,4500", "esp"],
  syslog: ["udp/514"], mysql: ["tcp/3306"], rdp: ["tcp/3389"], bfd: ["udp/3784,4784"], postgres: ["tcp/5432"]
}
const known = [...withPorts, ...portless, ...Object.keys(wellKnown), "any"]

const keywords = ["from", "to", "in", "out", "at"] as const
type Keyword = (typeof keywords)[number]
const isKeyword = (word: string | undefined): word is Keyword => (keywords as ReadonlyArray<string | undefined>).includes(word)

const meant = (word: string, among: ReadonlyArray<string>): string => {
  const guess = closest(word, among)
  return guess === undefined ? "" : ` (did you mean ${quote(guess)}?)`
}

const portProblem = (text: string): string | undefined => {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text)
  const [from, to] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])]
  if (match === null || from < 1 || to > 65535) return `${quote(text)} is no port: expected 1 to 65535, or a range such as 8000-8100`
  return from > to ? `the range ${text} goes backwards` : undefined
}

/** `tcp/80,443`, `443/tcp`, `icmp/too-big`, `gre`, `https`. No services at all for `any`. */
export const parseService = (text: string): Parsed<ReadonlyArray<Service>> => {
  const [first = "", second, ...rest] = text.split("/")
  const turned = /^\d[\d,-]*$/.test(first) && second !== undefined
  const [name, detail] = turned ? [second, first] : [first, second]
  const fail = (message: string): Parsed<never> => ({ ok: false, message })
  if (rest.length > 0) return fail(`${quote(text)}: expected a service such as tcp/443, icmp/echo-request or any`)
  if (name === "any" && detail === undefined) return { ok: true, value: [] }
  const alias = Object.hasOwn(wellKnown, name) ? wellKnown[name] : undefined
  if (alias !== undefined) {
    if (detail !== undefined) return fail(`${quote(text)}: ${name} means ${alias.join(" and ")} already`)
    return { ok: true, value: alias.flatMap((one) => (parseService(one) as { readonly value: ReadonlyArray<Service> }).value) }
  }
  if (withPorts.includes(name)) {
    if (detail === undefined) return { ok: true, value: [{ protocol: name }] }
    const ports = detail.split(",")
    const problem = ports.map(portProblem).find((one) => one !== undefined)
    return problem === undefined ? { ok: true, value: [{ protocol: name, ports }] } : fail(problem)
  }
  if (!portless.includes(name)) {
    const list = [...withPorts, ...portless].join(", ")
    return fail(`${quote(name)} is no protocol: expected one of ${list}, a service such as https, or any${meant(name, known)}`)
  }
  if (detail === undefined) return { ok: true, value: [{ protocol: name }] }
  if (name !== "icmp") return fail(`${quote(text)}: ${name} has no ports`)
  const type = icmpTypes.find((one) => one === detail)
  if (type !== undefined) return { ok: true, value: [{ protocol: name, type }] }
  return fail(`${quote(detail)} is no type of ICMP: expected one of ${icmpTypes.join(", ")}${meant(detail, icmpTypes)}`)
}

/** A comma in `tcp/80,443` joins ports; in `https,udp/443` it joins services. */
const splitServices = (text: string): ReadonlyArray<string> => {
  const services: Array<string> = []
  for (const part of text.split(",")) {
    if (/^\d[\d-]*$/.test(part) && services.length > 0) services[services.length - 1] += `,${part}`
    else services.push(part)
  }
  return services
}

export const parseServices = (text: string): Parsed<ReadonlyArray<Service>> => {
  const services: Array<Service> = []
  const parts = splitServices(text)
  for (const part of parts) {
    const parsed = parseService(part)
    if (!parsed.ok) return parsed
    if (parsed.value.length === 0 && parts.length > 1) return { ok: false, message: '"any" stands alone: it is every service' }
    services.push(...parsed.value)
  }
  return { ok: true, value: services }
}

/** `tcp port 443` and `tcp 443`, as other tools write it, are `tcp/443`. */
const leadingService = (words: Array<string>): string => {
  const first = words.shift()!
  if (!withPorts.includes(first)) return first
  if (["port", "ports", "dport"].includes(words[0] ?? "")) words.shift()
  return /^\d[\d,-]*$/.test(words[0] ?? "") ? `${first}/${words.shift()!}` : first
}

/** What stands behind `allow:`, `deny:` and `reject:`. */
export const parseRuleWords = (text: string): Parsed<RuleWords> => {
  const words = text.trim().replace(/\s*,\s*/g, ",").split(/\s+/)
  const fail = (message: string): Parsed<never> => ({ ok: false, message })
  if (words[0] === "") return fail("the rule is empty: expected a service such as tcp/443, or any")
  const services = isKeyword(words[0]) ? { ok: true as const, value: [] } : parseServices(leadingService(words))
  if (!services.ok) return services
  const parts: Partial<Record<Keyword, ReadonlyArray<string>>> = {}
  while (words.length > 0) {
    const keyword = words.shift()!
    if (!isKeyword(keyword)) {
      return fail(`${quote(keyword)} does not belong here: expected ${keywords.join(", ")}${meant(keyword, keywords)}`)
    }
    const value = words.shift()
    if (value === undefined || isKeyword(value)) return fail(`${quote(keyword)} has nothing behind it`)
    if (parts[keyword] !== undefined) return fail(`${quote(keyword)} stands twice: join with a comma, as in ${keyword} a,b`)
    const list = value.split(",")
    if (list.includes("")) return fail(`${quote(value)}: a comma has nothing beside it`)
    parts[keyword] = list
  }
  const wrong = parts.at?.find((one) => !(hooks as ReadonlyArray<string>).includes(one))
  if (wrong !== undefined) return fail(`${quote(wrong)}: expected at input, at forward or at output${meant(wrong, hooks)}`)
  return { ok: true, value: { ...parts, services: services.value } as RuleWords }
}

/** Actions by the words that firewalls have for them. */
export const actions: Readonly<Record<string, "accept" | "drop" | "reject">> = {
  allow: "accept", accept: "accept", permit: "accept", deny: "drop", drop: "drop", block: "drop", reject: "reject"
}

/** A rule in one line: `allow tcp/443 from office to web`. */
export const parseRuleLine = (line: string): Parsed<RuleWords & { readonly action: "accept" | "drop" | "reject" }> => {
  const [verb = "", ...rest] = line.trim().split(/\s+/)
  const action = Object.hasOwn(actions, verb) ? actions[verb] : undefined
  if (action === undefined) {
    return { ok: false, message: `${quote(verb)}: a rule begins with allow, deny or reject${meant(verb, Object.keys(actions))}` }
  }
  const words = parseRuleWords(rest.length === 0 ? "any" : rest.join(" "))
  return words.ok ? { ok: true, value: { ...words.value, action } } : words
}
