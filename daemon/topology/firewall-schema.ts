/** The shape of `firewall:` in a topology file. */
import { Schema } from "effect"
import { hooks, parseRuleLine, parseRuleWords } from "./firewall-words.ts"
import { nameProblem } from "./names.ts"
import { integer, oneOrMore, optional, text } from "./schema-parts.ts"

const Who = Schema.String.annotate({ expected: "an address, a prefix, a node, a group, a network or self" })
const Policy = Schema.Literals(["accept", "drop", "reject", "allow", "deny"])

const words = (action: string) =>
  oneOrMore(
    text({
      description: "a service such as tcp/443, with from, to, in and out behind it",
      problem: (value) => {
        const parsed = parseRuleWords(value)
        return parsed.ok ? undefined : parsed.message
      }
    }),
    "a service such as tcp/443, or tcp/443 from office to web",
    `What to ${action}: SERVICE [from WHO] [to WHO] [in IFNAME] [out IFNAME] [at HOOK]`
  )

const Rule = Schema.Union([
  text({
    description: "a rule such as allow tcp/443 from office to web",
    problem: (value) => {
      const parsed = parseRuleLine(value)
      return parsed.ok ? undefined : parsed.message
    }
  }),
  Schema.Struct({
    allow: optional(words("let pass")),
    deny: optional(words("drop")),
    reject: optional(words("refuse")),
    name: optional(text({ description: "a name of the rule", problem: nameProblem })),
    from: optional(oneOrMore(Who, "an address, a prefix, a node, a group, a network or self")),
    to: optional(oneOrMore(Who, "an address, a prefix, a node, a group, a network or self")),
    in: optional(oneOrMore(Schema.String, "an interface that the packet comes in by")),
    out: optional(oneOrMore(Schema.String, "an interface that the packet leaves by")),
    at: optional(oneOrMore(Schema.Literals(hooks), '"input", "forward" or "output"'))
  }).check(Schema.makeFilter((rule) =>
    [rule.allow, rule.deny, rule.reject].filter((action) => action !== undefined).length === 1
      ? undefined
      : "a rule has exactly one of allow, deny and reject"
  ))
]).annotate({ identifier: "FirewallRule", expected: "a rule such as {allow: tcp/443 from office to web}" })

export const Firewall = Schema.Struct({
  input: optional(Policy.annotate({ description: "What becomes of packets to the node itself that no rule matches" })),
  forward: optional(Policy.annotate({ description: "What becomes of packets on their way through that no rule matches" })),
  output: optional(Policy.annotate({ description: "What becomes of packets from the node itself that no rule matches" })),
  stateful: optional(Schema.Boolean.annotate({ description: "Answers to what was let through pass; true unless given" })),
  connections: optional(integer(0, 16_777_216, "How many connections the table holds; new ones above it are dropped")),
  rules: optional(Schema.Array(Rule).annotate({ expected: "a list of rules", description: "In order: the first that matches decides" }))
}).annotate({ identifier: "Firewall", expected: "a map with input, forward, output and rules" })

export type RawFirewall = typeof Firewall.Type
export type RawFirewallRule = typeof Rule.Type
