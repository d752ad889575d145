/** What only a look at single values shows of compiled BGP; whole plans are in golden/bgp.txt, errors in test/topology/bad. */
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import type { BgpSpec } from "../../daemon/plan/bgp.ts"
import { render } from "../../daemon/topology/diagnostic.ts"

const compiled = (content: string): { readonly specs: ReadonlyMap<string, BgpSpec>; readonly warnings: ReadonlyArray<string> } => {
  const result = load({ filename: "f", content: `name: lab\n${content}` })
  if (!result.ok) throw new Error(result.diagnostics.map(render).join("\n"))
  const specs = result.plan.resources.flatMap((resource) => (resource.kind === "bgp" ? [[resource.spec.node, resource.spec] as const] : []))
  return { specs: new Map(specs), warnings: result.warnings.map(render) }
}

const neighborsOf = (content: string, node: string): ReadonlyArray<string> =>
  compiled(content).specs.get(node)!.neighbors.map(({ name, vrf }) => `${vrf} ${name}`)

t.test("as alone is enough", async (t) => {
  const { specs, warnings } = compiled(`
nodes: { a: { kind: router, bgp: { as: 1 } }, b: { kind: router, bgp: { as: 2 } }, c: { kind: router } }
links: [{ endpoints: [a, b], cidr: 10.0.0.0/31 }, { endpoints: [a, c], cidr: 10.0.0.2/31 }]`)
  t.same(warnings, [])
  t.same([...specs.keys()], ["a", "b"])
  const neighbor = { name: "10.0.0.1", remoteAs: 2, description: "b", expected: true }
  t.match(specs.get("a"), { asn: 1, routerId: "10.0.0.0", neighbors: [neighbor] })
  t.equal(specs.get("a")!.neighbors.length, 1)
})

t.test("what routers have further words for", async (t) => {
  const { specs } = compiled(`
nodes:
  a:
    kind: router
    bgp:
      as: 1
      missing-med-is-worst: true
      compare-router-id: true
      aggregates: { prefix: 10.0.0.0/8, policy: p }
      neighbors:
        - peer: b
          local-as: { as: 9, prepend: out }
          remove-private-as: replace
          shutdown: maintenance
          default-originate: { policy: p, when: [10.1.0.0/16, "2001:db8::/32"] }
          import: p
      policies:
        p: { permit: any, set: { local-preference: "+5", prepend: { last-as: 2 }, exclude-as: [7, "0.8"], replace-as: all } }
  b: { kind: router, bgp: { as: 2, import: q, policies: { q: { permit: any, set: { replace-as: { from: 7, to: 8 } } } } } }
links: [{ endpoints: [a, b], cidr: 10.0.0.0/31 }]`)
  const a = specs.get("a")!
  t.match(a, { missingMedIsWorst: true, compareRouterId: true, vrfs: [{ aggregates: [{ prefix: "10.0.0.0/8", policy: "p" }] }] })
  t.match(a.neighbors[0], {
    localAs: { asn: 9, prepend: true, onlyOut: true },
    removePrivateAs: true,
    replacePrivateAs: true,
    shutdown: true,
    shutdownMessage: "maintenance",
    families: [{ defaultOriginate: true, defaultPolicy: "p", defaultWhen: ["10.1.0.0/16"] }]
  })
  t.notOk("expected" in a.neighbors[0]!, "it is shut down")
  const set = { localPref: "+5", prependLast: 2, excludeAs: [7, 8], replaceAs: { from: "all", to: 1 } }
  t.same(a.policies["p"], [{ action: "permit", match: {}, set }])
  t.same(specs.get("b")!.policies["q"]![0]!.set, { replaceAs: { from: [7], to: 8 } })
})

t.test("what sessions refuse, how communities are judged, and who waits for whom", async (t) => {
  const { specs } = compiled(`
defaults: { bgp: { update-delay: 30s } }
nodes:
  a:
    kind: router
    bgp:
      as: 1
      ignore-as-path: true
      neighbors:
        - peer: b
          allow-as-in: origin
          enforce-first-as: true
          timers: { minimum-hold: 10s }
          max-prefix: { count: 100, action: discard, threshold: 80 }
          import: p
        - { peer: c, as: 3 }
      policies:
        p:
          - deny: { any-community: ["1:1", "/^2:/"] }
          - deny: { exact-community: none }
          - permit: { exact-community: ["1:2", "1:2:*"] }
            set: { remove-community: "/^1:/" }
  b: { kind: router, bgp: { as: 2 } }
  c: { kind: router, bgp: { as: 3, external: true } }
links: [{ endpoints: [a, b], cidr: 10.0.0.0/31 }, { endpoints: [a, c], cidr: 10.0.0.2/31 }]`)
  const a = specs.get("a")!
  t.match(a, { ignoreAsPath: true, updateDelayS: 30 })
  const maxPrefix = { count: 100, action: "discard", thresholdPercent: 80 }
  const timers = { holdTimeS: 90, minimumHoldS: 10 }
  const refusals = { allowAsIn: 0, allowOwnOrigin: true, enforceFirstAs: true, timers, families: [{ maxPrefix }] }
  t.match(a.neighbors.find(({ description }) => description === "b"), { ...refusals, isDelayed: true })
  t.notOk("isDelayed" in a.neighbors.find(({ description }) => description === "c")!, "whatever runs there, it is waited for")
  t.same(a.policies["p"], [
    { action: "deny", match: { anyCommunity: ["1:1", "/^2:/"] }, set: {} },
    { action: "deny", match: { exactCommunities: [] }, set: {} },
    { action: "permit", match: { exactCommunities: ["1:2", "1:2:*"] }, set: { removeCommunities: ["/^1:/"] } }
  ])
})

t.test("values of sessions and policies that cannot be", async (t) => {
  const errors = (keys: string): string => {
    const result = load({ filename: "f", content: `name: lab
nodes: { a: { kind: router, bgp: { as: 1, import: p, ${keys} } }, b: { kind: router, bgp: { as: 2 } } }
links: [{ endpoints: [a, b], cidr: 10.0.0.0/31 }]` })
    return result.ok ? "none" : result.diagnostics.map(render).join("\n")
  }
  const policy = (match: string): string => errors(`policies: { p: { permit: ${match} } }`)
  t.match(policy('{ community: "/^(65000:1$/" }'), /"\(" at 2 is not closed/)
  t.match(policy('{ any-community: "/65000 1/" }'), /is never part of a community/)
  t.match(policy('{ exact-community: "/^65000:/" }'), /expected a community/, "an expression means no exact set")
  t.match(errors("policies: { p: permit }, timers: { hold: 9s, minimum-hold: 10s }"), /with a minimum of 10 s none comes up/)
})

t.test("VRFs may have neighbours with one address", async (t) => {
  const text = `
overlap: allow
nodes:
  pe: { kind: router, bgp: { as: 1, vrfs: { red: { interfaces: r }, blue: { interfaces: b } } } }
  r: { kind: router, bgp: { as: 2 } }
  b: { kind: router, bgp: { as: 3 } }
links: [{ endpoints: ["pe:r", r], cidr: 10.0.0.0/31 }, { endpoints: ["pe:b", b], cidr: 10.0.0.0/31 }]`
  t.same(neighborsOf(text, "pe"), ["red 10.0.0.1", "blue 10.0.0.1%blue"])
})

t.test("two links between two speakers are two sessions, and a mesh of one AS needs none of them", async (t) => {
  const text = (bgp: string) => `
defaults: { bgp: { as: 1${bgp} } }
nodes: { a: { kind: router, loopback: 10.9.0.1 }, b: { kind: router, loopback: 10.9.0.2 } }
links: [{ endpoints: [a, b], cidr: 10.0.0.0/31 }, { endpoints: [a, b], cidr: 10.0.0.2/31 }]`
  t.same(neighborsOf(text(""), "a"), ["default 10.0.0.1", "default 10.0.0.3"])
  t.same(neighborsOf(text(", ibgp: mesh"), "a"), ["default 10.9.0.2"])
  t.same(neighborsOf(text(", ibgp: none"), "a"), [])
  t.same(neighborsOf(text(", unnumbered: true"), "a"), ["default eth0", "default eth1"])
  t.same(neighborsOf(text(", derive: false, neighbors: [{ peer: 10.0.0.3 }]").replace("peer: 10.0.0.3", "peer: external"), "a"), [])
})

t.test("a container's side is left to it, its neighbours' side is written", async (t) => {
  const text = `
nodes: { a: { kind: router, bgp: { as: 1 } }, frr: { kind: container, image: frr, role: router, bgp: { as: 2, password: shared } } }
links: [{ endpoints: [a, frr], cidr: 10.0.0.0/31 }]`
  const { specs } = compiled(text)
  t.same([...specs.keys()], ["a"])
  t.match(specs.get("a")!.neighbors, [{ name: "10.0.0.1", remoteAs: 2, password: "shared", description: "frr" }])
  t.notOk("expected" in specs.get("a")!.neighbors[0]!, "weft does not know whether it comes")
})

t.test("who has no neighbour is told so, and only policies in use are carried", async (t) => {
  const { specs, warnings } = compiled(`
nodes:
  a: { kind: router, loopback: 10.0.0.1, bgp: { as: 1, policies: { x: permit, y: permit }, networks: { prefix: 10.0.0.0/8, policy: y } } }`)
  t.match(warnings, [/a has no BGP neighbour/])
  t.same(Object.keys(specs.get("a")!.policies), ["y"])
})

t.test("none ends what is inherited", async (t) => {
  const { specs } = compiled(`
defaults: { bgp: { as: 1 } }
nodes: { a: { kind: router }, b: { kind: router }, c: { kind: router, bgp: none } }
networks: { lan: { cidr: 10.0.0.0/24, ports: [a, b, c] } }`)
  t.same([...specs.keys()], ["a", "b"])
})

t.test("timers are inherited one by one", async (t) => {
  const { specs } = compiled(`
defaults: { bgp: { timers: { hold: 30s, connect-retry: 1s } } }
nodes:
  a: { kind: router, bgp: { as: 1, timers: { hold: 9 }, neighbors: [{ peer: b, timers: { advertisement-interval: 1s } }] } }
  b: { kind: router, bgp: { as: 2, timers: { hold: 0 } } }
links: [{ endpoints: [a, b], cidr: 10.0.0.0/31 }]`)
  t.same(specs.get("a")!.neighbors[0]!.timers, { holdTimeS: 9, keepaliveS: 3, connectRetryS: 1, mraiMs: 1000 })
  t.same(specs.get("b")!.neighbors[0]!.timers, { holdTimeS: 0, keepaliveS: 0, connectRetryS: 1, mraiMs: 0 })
})

t.test("a thousand speakers compile in linear time", async (t) => {
  const nodes = Array.from({ length: 1000 }, (_, i) => `  n${i}: { kind: router, bgp: { as: ${100_000 + i} } }`).join("\n")
  const links = Array.from({ length: 1000 }, (_, i) => `  - { endpoints: [n${i}, n${(i + 1) % 1000}], bgp: unnumbered }`).join("\n")
  const begin = process.cpuUsage()
  const { specs } = compiled(`nodes:\n${nodes}\nlinks:\n${links}`)
  const { user, system } = process.cpuUsage(begin)
  t.equal(specs.size, 1000)
  t.ok([...specs.values()].every(({ neighbors }) => neighbors.length === 2))
  t.ok((user + system) / 1000 < 5000, `took ${((user + system) / 1000).toFixed()} ms`)
})
