/** `source`: from which address the other side sees a connection come: with NAT or without. */
import { Schema } from "effect"
import { optional } from "../../topology/schema-parts.ts"
import { explain } from "../explain.ts"
import { kind, type Kind } from "../kind.ts"
import { named } from "../lab.ts"
import { Flag, msOf, NodeName, placeOf, PortNumber, randomToken, referencesOf, Target, Time } from "../parts.ts"

const Source = Schema.Struct({
  from: NodeName,
  to: Target,
  "seen-as": Target.annotate({ description: "own: the client's own address, not translated; else a node, NODE:PORT or an address" }),
  tcp: optional(PortNumber),
  at: optional(NodeName.annotate({ description: "The node that serves the port, where it is another than `to`: behind a port forward" })),
  ipv6: optional(Flag),
  timeout: optional(Time)
}).annotate({ expected: "a map such as {from: pc, to: www, seen-as: \"fw:wan\"}" })

const title = ({ from, to, "seen-as": as }: typeof Source.Type): string => `${to} sees ${from} as ${as === "own" ? "its own address" : as}`

export const source: Kind<typeof Source.Type> = kind({
  schema: Source,
  references: ({ at, from, "seen-as": as, to }) => [
    ...referencesOf(["from"], from, "node"),
    ...referencesOf(["to"], to, "target"),
    ...referencesOf(["at"], at, "node"),
    ...(as === "own" ? [] : referencesOf(["seen-as"], as, "target"))
  ],
  title,
  stage: "free",
  run: async (spec, lab) => {
    const ipv6 = spec.ipv6 === true
    const to = placeOf(spec.to, lab, ipv6)
    const server = spec.at ?? to.node
    const expected = title(spec)
    if (server === undefined) return { passed: false, expected, seen: `${spec.to} is no node of the lab: nobody there can say` }
    const { id, own, port } = await lab.ask(server, "open", { protocol: "tcp", port: spec.tcp ?? 0, ipv6 })
    if (!own) return { passed: false, expected, seen: `port ${port} of ${server} is taken, so nobody can say: name another port in tcp` }
    try {
      const [token, timeoutMs] = [randomToken(), msOf(spec.timeout, 1000)]
      const connected = await lab.ask(spec.from, "tcp", { address: to.address, port, token, timeoutMs })
      if (!connected.ok) return { passed: false, expected, seen: connected.reason, where: await explain(lab, spec.from, to.address) }
      const seen = await lab.ask(server, "seen", { id, token, timeoutMs })
      if (seen === null) return { passed: false, expected, seen: `${spec.from} is connected, but to somebody else than ${server}` }
      const wanted = spec["seen-as"] === "own" ? connected.source : placeOf(spec["seen-as"], lab, ipv6).address
      const name = seen.address === connected.source ? `its own address ${seen.address}` : named(lab, seen.address)
      return { passed: seen.address === wanted,
        expected: `${expected}${spec["seen-as"] === wanted ? "" : ` (${wanted})`}`, seen: `it is seen as ${name}` }
    } finally {
      await lab.ask(server, "shut", { id }).catch(() => null)
    }
  }
})
