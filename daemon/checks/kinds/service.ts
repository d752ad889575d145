/** `http` and `dns`: what a server in the lab answers. */
import { Schema } from "effect"
import { integer, oneOrMore, optional } from "../../topology/schema-parts.ts"
import { explain } from "../explain.ts"
import { kind, type Kind } from "../kind.ts"
import { Flag, listed, msOf, NodeName, placeOf, PortNumber, referencesOf, Target, Time, UrlPath, Word } from "../parts.ts"

const Http = Schema.Struct({
  from: NodeName,
  to: Target,
  port: optional(PortNumber),
  path: optional(UrlPath),
  host: optional(Word),
  method: optional(Schema.Literals(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])),
  status: optional(integer(100, 599, "The status that is expected; 200 unless given")),
  contains: optional(Word),
  ipv6: optional(Flag),
  timeout: optional(Time)
}).annotate({ expected: "a map such as {from: pc, to: web, status: 200}" })

const Dns = Schema.Struct({
  from: NodeName,
  server: Target,
  name: Word,
  type: optional(Schema.Literals(["A", "AAAA", "CNAME", "MX", "NS", "PTR", "TXT"])),
  answer: optional(oneOrMore(Word, "an answer such as 10.0.0.1")),
  rcode: optional(Schema.Literals(["NOERROR", "NXDOMAIN", "REFUSED", "SERVFAIL"])),
  ipv6: optional(Flag),
  timeout: optional(Time)
}).annotate({ expected: "a map such as {from: pc, server: ns, name: www.example.com, answer: 10.0.0.1}" })

const urlOf = ({ path = "/", port = 80, to }: typeof Http.Type): string => `http://${to}${port === 80 ? "" : `:${port}`}${path}`
const httpTitle = (spec: typeof Http.Type): string => {
  const body = spec.contains === undefined ? "" : ` with "${spec.contains}" in the body`
  return `${spec.from} gets ${spec.status ?? 200} from ${urlOf(spec)}${body}`
}

export const http: Kind<typeof Http.Type> = kind({
  schema: Http,
  references: ({ from, to }) => [...referencesOf(["from"], from, "node"), ...referencesOf(["to"], to, "target")],
  title: httpTitle,
  stage: "free",
  run: async (spec, lab) => {
    const { from, host, method = "GET", path = "/", port = 80, status = 200, timeout, to } = spec
    const { address } = placeOf(to, lab, spec.ipv6 === true)
    const expected = httpTitle(spec)
    const answer = await lab.ask(from, "http", { address, port, host: host ?? to, path, method, timeoutMs: msOf(timeout, 3000) })
    if (!answer.ok) return { passed: false, expected, seen: answer.reason, where: await explain(lab, from, address) }
    const hasText = spec.contains === undefined || answer.body.includes(spec.contains)
    const seen = `status ${answer.status}${hasText ? "" : ` and a body that begins ${JSON.stringify(answer.body.slice(0, 80))}`}`
    return { passed: answer.status === status && hasText, expected, seen }
  }
})

const wanted = ({ answer }: typeof Dns.Type): ReadonlyArray<string> =>
  (answer === undefined ? [] : typeof answer === "string" ? [answer] : answer)
const dnsTitle = (spec: typeof Dns.Type): string => {
  const what = spec.rcode !== undefined && spec.rcode !== "NOERROR" ? spec.rcode
    : listed(wanted(spec).length === 0 ? ["an answer"] : wanted(spec))
  return `${spec.from} asks ${spec.server} for ${spec.name} ${spec.type ?? "A"} and gets ${what}`
}

export const dns: Kind<typeof Dns.Type> = kind({
  schema: Dns,
  references: ({ from, server }) => [...referencesOf(["from"], from, "node"), ...referencesOf(["server"], server, "target")],
  title: dnsTitle,
  stage: "free",
  run: async (spec, lab) => {
    const { address } = placeOf(spec.server, lab, spec.ipv6 === true)
    const expected = dnsTitle(spec)
    const question = { address, name: spec.name, type: spec.type ?? "A", timeoutMs: msOf(spec.timeout, 2000) }
    const answer = await lab.ask(spec.from, "dns", question)
    if (!answer.ok) return { passed: false, expected, seen: answer.reason, where: await explain(lab, spec.from, address) }
    const { answers, rcode } = answer
    const normal = (text: string): string => text.toLowerCase().replace(/\.$/, "")
    const has = new Set(answers.map(normal))
    const isRight = rcode === (spec.rcode ?? "NOERROR") && wanted(spec).every((one) => has.has(normal(one)))
      && (spec.rcode !== undefined || answers.length > 0)
    return { passed: isRight, expected, seen: rcode === "NOERROR" ? `the answer ${listed(answers)}` : rcode }
  }
})
