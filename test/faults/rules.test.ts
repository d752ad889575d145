/** Faults of routes, BGP, NAT, firewalls, ICMP and DNS as changes of plans: what they change, what they refuse, and that they get on. */
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import { applyFaults } from "../../daemon/faults/apply.ts"
import { kindOf } from "../../daemon/faults/kinds.ts"
import { readWords } from "../../daemon/faults/read-words.ts"
import type { Fault } from "../../daemon/plan/fault.ts"
import type { Kind, Plan, SpecByKind } from "../../daemon/plan/resource.ts"
import { rulesLab } from "./rules-lab.ts"

const loaded = load({ filename: "lab", content: JSON.stringify(rulesLab("lab")) })
if (!loaded.ok) throw new Error(loaded.diagnostics.map(({ message }) => message).join("\n"))

const freeze = <T>(value: T): T => {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    Object.values(value).forEach(freeze)
  }
  return value
}
const base: Plan = freeze(loaded.plan)

let count = 0
/** What `weft inject WORDS` would make of it; throws with all that is wrong. Quotes hold words together. */
const fault = (line: string): Fault => {
  const words = Array.from(line.matchAll(/"([^"]*)"|(\S+)/g), ([, quoted, plain]) => quoted ?? plain!)
  const read = readWords({ words, for: "" }, base)
  if (!read.ok) {
    const said = read.diagnostics.map(({ message, suggestion }) => message + (suggestion === undefined ? "" : ` (${suggestion}?)`))
    throw new Error(said.join("; "))
  }
  const title = kindOf(read.fault.kind)!.title(read.fault.spec, base)
  return { ...read.fault, id: `f${++count}`, title, injectedAt: "2026-01-01T00:00:00.000Z", by: "test" }
}

const broken = (...lines: ReadonlyArray<string>): Plan => applyFaults(base, lines.map(fault)).plan

const find = <K extends Kind>(plan: Plan, id: string): SpecByKind[K] | undefined =>
  plan.resources.find((one) => one.id === id)?.spec as SpecByKind[K] | undefined

/** Ids of resources that are gone, new and different. */
const changes = (plan: Plan): ReadonlyArray<string> => {
  const before = new Map(base.resources.map((one) => [one.id, one]))
  const after = new Map(plan.resources.map((one) => [one.id, one]))
  const gone = [...before.keys()].filter((id) => !after.has(id)).map((id) => `- ${id}`)
  const fresh = [...after.keys()].filter((id) => !before.has(id)).map((id) => `+ ${id}`)
  const specOf = (id: string): string => JSON.stringify(before.get(id)?.spec)
  const other = [...after].filter(([id, { spec }]) => before.has(id) && specOf(id) !== JSON.stringify(spec))
  return [...gone, ...fresh, ...other.map(([id]) => `~ ${id}`)]
}

/** Each kind once or more, and the ids that it changes. */
const effects: ReadonlyArray<readonly [line: string, changed: ReadonlyArray<string>, title: string]> = [
  ["blackhole fw 198.51.100.0/24", ["+ route/fw/254/198.51.100.0/24/0"], "fw has a blackhole route to 198.51.100.0/24"],
  ["blackhole fw 10.9.0.0/16 type=prohibit", ["- nexthop", "~ route/fw/254/10.9.0.0/16/0"], "fw has a prohibit route to 10.9.0.0/16"],
  ["blackhole fw default", ["+ route/fw/254/0.0.0.0/0/0", "+ route/fw/254/::/0/1"], "fw has a blackhole route to default"],
  ["route-missing pc default", ["- route/pc/254/0.0.0.0/0/0"], "pc has lost its route to default"],
  ["route-missing fw 10.9.0.0/16", ["- nexthop", "- route/fw/254/10.9.0.0/16/0"], "fw has lost its route to 10.9.0.0/16"],
  ["route-withdraw net 198.51.100.0/24", ["~ bgp/net"], "net withdraws 198.51.100.0/24"],
  ["route-withdraw isp1", ["~ bgp/isp1"], "isp1 withdraws all that it originates"],
  ["route-withdraw group:isp 172.16.0.0/30", ["~ bgp/isp1", "~ bgp/isp2"], "group:isp withdraws 172.16.0.0/30"],
  ["route-hijack peer 198.51.100.0/24", ["~ bgp/peer"], "peer originates 198.51.100.0/24"],
  ["route-hijack peer 198.51.100.0/24 more-specific=true", ["~ bgp/peer"], "peer originates 198.51.100.0/25 and 198.51.100.128/25"],
  ["route-leak fw peer", ["~ bgp/fw"], "fw towards peer leaks every route"],
  ["bgp-med isp1 100 neighbor=fw", ["~ bgp/isp1"], "isp1 towards fw tells every route with MED 100"],
  ["bgp-med fw 100 prefix=192.0.2.0/24", ["~ bgp/fw"], "fw tells 192.0.2.0/24 with MED 100"],
  ["bgp-prepend isp1 3", ["~ bgp/isp1"], "isp1 tells every route with its AS 3 times more"],
  ["bgp-down fw isp1", ["~ bgp/fw", "~ bgp/isp1"], "BGP of fw towards isp1 is shut down"],
  ["bgp-down peer", ["~ bgp/fw", "~ bgp/peer"], "BGP of peer is shut down"],
  ["nat-missing fw", ["~ nat/fw"], "fw has lost its address translation"],
  ["nat-missing fw masquerade:e2", ["~ nat/fw"], "fw has lost its NAT rule masquerade:e2"],
  ["nat-missing fw tcp/8080", ["~ nat/fw"], "fw has lost its NAT rule tcp/8080"],
  ["nat-extra fw e3", ["~ nat/fw"], "fw masquerades what leaves by e3"],
  ["nat-extra isp1 e1", ["+ nat/isp1"], "isp1 masquerades what leaves by e1"],
  ["nat-exhausted fw 4", ["~ nat/fw"], "fw has 4 ports left to masquerade with"],
  ["firewall-missing fw", ["- filter/fw"], "fw has lost its firewall"],
  ["firewall-missing fw no-9999", ["~ filter/fw"], `the firewall of fw has lost "no-9999"`],
  ["firewall-missing fw allow any in office", ["~ filter/fw"], `the firewall of fw has lost "allow any in office"`],
  ["firewall-rule fw deny tcp/443 from office to srv", ["~ filter/fw"], "fw has a firewall rule too many: deny tcp/443 from office to srv"],
  ["firewall-rule group:isp deny any", ["+ filter/isp1", "+ filter/isp2"], "group:isp has a firewall rule too many: deny any"],
  ["icmp-blocked net", ["+ filter/net"], "net swallows ICMP too-big"],
  ["icmp-blocked fw all", ["~ filter/fw"], "fw swallows all ICMP"],
  ["conntrack-full fw", ["~ filter/fw"], "the connection table of fw is full"],
  ["conntrack-full isp1 10", ["+ filter/isp1"], "the connection table of isp1 has room for 10 more"],
  ["dns-failure pc", ["+ filter/pc"], "DNS of pc is silent"],
  ["dns-failure srv reject", ["+ filter/srv"], "DNS of srv is refused"],
  ["dns-failure pc wrong-server", ["~ resolver/pc"], "pc asks 192.0.2.53 for names"],
  ["dns-failure srv wrong-server", ["+ resolver/srv"], "srv asks 192.0.2.53 for names"]
]

for (const [line, expected, title] of effects) {
  t.test(`${line} changes what it is about and nothing else`, async (t) => {
    const one = fault(line)
    t.equal(one.title, title)
    const { lost, plan } = applyFaults(base, [one])
    t.same(lost, [])
    const got = changes(plan).map((change) => (change.includes("nexthop/") ? change.replace(/ .*/, " nexthop") : change))
    t.same(got.toSorted(), expected.toSorted())
  })
}

t.test("resets happen once", async (t) => {
  const { kind, spec } = fault("bgp-reset fw peer how=soft-in")
  t.same(kindOf(kind)!.act!(spec, base), [{ kind: "bgp-reset", node: "fw", neighbor: "172.16.0.10", how: "soft-in" }])
  const all = fault("bgp-reset group:isp")
  t.same(kindOf("bgp-reset")!.act!(all.spec, base), ["isp1", "isp2"].map((node) => ({ kind: "bgp-reset", node, how: "hard" })))
})

t.test("what is changed inside", async (t) => {
  const bgp = (plan: Plan, node: string) => find<"bgp">(plan, `bgp/${node}`)!
  const towards = (plan: Plan, node: string, peer: string) => bgp(plan, node).neighbors.find(({ description }) => description === peer)!

  const withdrawn = bgp(broken("route-withdraw isp1 172.16.0.0/30"), "isp1")
  const { policy } = withdrawn.vrfs[0]!.redistribute[0]!
  t.match(withdrawn.policies[policy!], [{ action: "deny" }, { action: "permit", match: {} }], "redistribution goes on for all else")
  t.same(Object.values(withdrawn.prefixLists), [[{ action: "permit", prefix: "172.16.0.0/30" }]])

  t.equal(towards(broken("route-leak fw peer"), "fw", "peer").families[0]!.exportPolicy, undefined)
  t.equal(towards(broken("route-leak fw peer"), "fw", "isp1").families[0]!.exportPolicy, "own", "others are told what they should be")

  const med = broken("bgp-med fw 100 neighbor=isp1", "bgp-med fw 7 neighbor=isp1 prefix=192.0.2.0/24")
  const spec = bgp(med, "fw")
  const terms = spec.policies[towards(med, "fw", "isp1").families[0]!.exportPolicy!]!
  t.match(terms, [
    { match: { asPath: "^$", prefixLists: [/fault/] }, set: { med: 7, communities: ["65001:1"] } },
    { match: { asPath: "^$" }, set: { med: 100 } }
  ], "of two, the later one counts where both are about a route")
  t.equal(towards(med, "fw", "isp2").families[0]!.exportPolicy, "own")

  const prepended = broken("bgp-prepend isp1 2", "bgp-prepend isp1 1 neighbor=fw")
  const told = (peer: string) => bgp(prepended, "isp1").policies[towards(prepended, "isp1", peer).families[0]!.exportPolicy!]
  t.match(told("fw"), [{ set: { prepend: [65100, 65100, 65100] } }])
  t.match(told("net"), [{ set: { prepend: [65100, 65100] } }])

  const down = broken("bgp-down fw isp1")
  t.match(towards(down, "fw", "isp1"), { shutdown: true, expected: undefined })
  t.match(towards(down, "isp1", "fw"), { shutdown: false, expected: undefined }, "nobody waits for it")
  t.match(towards(down, "isp2", "fw"), { shutdown: false, expected: true })

  const natMissing = find<"nat">(broken("nat-missing fw"), "nat/fw")!
  t.match(natMissing, { masquerade: [], portForward: [], mssClamp: [{ out: "e3" }] }, "clamping is no translation")
  const exhausted = find<"nat">(broken("nat-exhausted fw 4 out=e1", "nat-exhausted fw 2"), "nat/fw")!
  t.same(exhausted.masquerade.map(({ ports }) => ports), ["40000-40001", "40000-40001"])

  const filter = (plan: Plan, node: string) => find<"filter">(plan, `filter/${node}`)!
  const rule = filter(broken("firewall-rule fw deny tcp/443,8443 from office to srv out e1"), "fw").overrides
  t.same(rule, [{
    name: "deny tcp/443,8443 from office to srv out e1",
    hook: "forward",
    action: "drop",
    services: [{ protocol: "tcp", ports: ["443", "8443"] }],
    from: ["10.1.0.0/24"],
    to: ["198.51.100.2/32"],
    out: ["e1"]
  }])
  t.same(filter(broken("icmp-blocked net"), "net").overrides.map(({ hook }) => hook), ["input", "forward", "output"])
  t.match(filter(broken("icmp-blocked net"), "net"), { stateful: false, input: "accept", forward: "accept" }, "nothing else changes")
  t.equal(filter(broken("conntrack-full fw 10", "conntrack-full fw 20"), "fw").connections, 10)
  t.match(filter(broken("icmp-blocked fw", "firewall-missing fw"), "fw"), { forward: "accept", rules: [], overrides: [{}, {}, {}] })
  t.same(filter(broken("dns-failure srv"), "srv").overrides.map(({ hook }) => hook), ["input"], "who answers is a server")
  const unanswered = [{ hook: "input", services: [{ answers: true }, { answers: true }] }]
  t.match(filter(broken("dns-failure pc"), "pc").overrides, unanswered, "all others are clients")
  t.match(filter(broken("dns-failure pc reject"), "pc").overrides, [{ hook: "output", action: "reject" }])
  t.same(find<"resolver">(broken("dns-failure pc wrong-server server=2001:DB8::5"), "resolver/pc")!.servers, ["2001:db8::5"])
  t.same(find<"resolver">(broken("dns-failure pc wrong-server"), "resolver/pc")!.search, ["corp.example"])
})

t.test("what the lab has not is refused, with what was probably meant", async (t) => {
  const refusals: ReadonlyArray<readonly [string, RegExp]> = [
    ["blackhole fv 10.0.0.0/8", /no node "fv" \(fw\?\)/],
    ["blackhole fw 10.0.0.1/8", /host bits are set: the prefix of this length is 10\.0\.0\.0\/8/],
    ["blackhole fw 10.1.0.0/24", /fw is in 10\.1\.0\.0\/24 itself, by office/],
    ["blackhole fw", /"to" is missing/],
    ["route-missing fw 10.9.0.0/24", /no static route to 10\.9\.0\.0\/24: it has 10\.9\.0\.0\/16, 10\.8\.0\.0\/16 \(10\.9\.0\.0\/16\?\)/],
    ["route-missing pc defualt", /expected a prefix such as 10\.0\.0\.0\/24, or default/],
    ["route-withdraw pc 10.0.0.0/8", /"pc" speaks no BGP/],
    ["route-withdraw net 198.51.10.0/24", /net does not originate 198\.51\.10\.0\/24: it originates 198\.51\.100\.0\/24 \(198/],
    ["route-hijack net 198.51.100.0/24", /net originates 198\.51\.100\.0\/24 already/],
    ["route-hijack peer 198.51.100.2/32 more-specific=true", /single address/],
    ["route-leak isp1 fw", /isp1 has no export policy towards "fw": it tells everything already/],
    ["route-leak fw pear", /no BGP neighbour "pear": it has .*\(peer\?\)/],
    ["bgp-med isp1 -1", /whole number from 0 to 4294967295/],
    ["bgp-prepend isp1 0", /whole number from 1 to 50/],
    ["bgp-down fw 172.16.0.77", /no BGP neighbour "172\.16\.0\.77"/],
    ["bgp-reset fw how=sofd", /"sofd": expected "hard" or "soft"/],
    ["nat-missing pc", /"pc" translates no addresses/],
    ["nat-missing fw masquerade:e3", /no such rule as "masquerade:e3": it has masquerade:e1, masquerade:e2.*\(masquerade:e\d\?\)/],
    ["nat-extra fw e7", /fw has no interface "e7" \(e\d\?\)/],
    ["nat-exhausted fw 4 out=e3", /masquerades nothing that leaves by "e3": e1, e2 only/],
    ["firewall-missing pc", /"pc" has no firewall \(fw\?\)|"pc" has no firewall/],
    ["firewall-missing fw no-999", /has no rule "no-999": it has "no-9999", "allow any in office" \(no-9999\?\)/],
    ["firewall-rule fw deny tcp/443 from ofice", /fw: there is no node, group or network "ofice"/],
    ["firewall-rule fw deny tpc/443", /"tpc" is no protocol/],
    ["firewall-rule fw deny any in e9", /there is no port "e9" here/],
    ["icmp-blocked fw too-bog", /"too-bog": expected .* \(too-big\?\)/],
    ["conntrack-full fw many", /expected a whole number/],
    ["dns-failure pc server=10.0.0.1", /a server belongs to wrong-server/],
    ["dns-failure pc wrong-server at=server", /asked by a client/],
    ["dns-failure pc wrong-server server=me", /expected an address/]
  ]
  for (const [line, message] of refusals) {
    t.throws(() => fault(line), { message }, line)
  }
})

t.test("every kind gets on with every other, in any order", async (t) => {
  const others = [
    "node-crash fw", "node-crash pc", "node-crash net", "link-down fw:e1", "node-pause fw", "partition fw isp1", "mtu fw:e1 1000"
  ].flatMap((line) => {
    try {
      return [fault(line)]
    } catch {
      return []
    }
  })
  t.ok(others.length > 3)
  const all = [...effects.map(([line]) => fault(line)), ...others]
  const problems: Array<string> = []
  for (const first of all) {
    for (const second of all) {
      const { lost, plan } = applyFaults(base, [first, second])
      const ids = new Set(plan.resources.map(({ id }) => id))
      if (lost.length > 0) problems.push(`${second.title} after ${first.title}: lost`)
      if (ids.size !== plan.resources.length) problems.push(`${second.title} after ${first.title}: an id twice`)
      const mine = new Set(all.slice(0, effects.length))
      if (!mine.has(first) && !mine.has(second)) continue
      for (const { dependsOn, id } of plan.resources) {
        const gone = dependsOn.find((one) => !ids.has(one) && !one.startsWith("nexthop/") && !one.startsWith("route/"))
        if (gone !== undefined) problems.push(`${second.title} after ${first.title}: ${id} depends on ${gone}, which is not there`)
      }
    }
  }
  t.same(problems, [])
  t.same(applyFaults(base, []).plan, base, "healed, it is what it was")
})
