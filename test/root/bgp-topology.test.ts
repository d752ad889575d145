/** What `bgp:` of a topology comes to: VRFs that leak only where targets say, policies that decide, fabrics without addresses. */
import t, { type Test } from "tap"
import { needsRoot, until } from "./harness.ts"
import { run, sh, Weftd } from "./daemon-harness.ts"

/** Every node but pe announces its loopback, 10.255.0.N. */
const vrfs = `
name: vrfs
defaults: { bgp: { redistribute: connected, timers: { hold: 9s } } }
nodes:
  pe:
    kind: router
    bgp:
      as: 65400
      redistribute: []
      vrfs:
        red: { interfaces: [red1, red2], targets: "65400:1", import-targets: "65400:9" }
        blue: { interfaces: blue, targets: "65400:2", import-targets: "65400:9" }
        shared: { interfaces: dc, export-targets: "65400:9", import-targets: ["65400:1", "65400:2"], table: 200 }
  red1: { kind: router, loopback: 10.255.0.1, bgp: { as: 65401 } }
  red2: { kind: router, loopback: 10.255.0.2, bgp: { as: 65402 } }
  blue: { kind: router, loopback: 10.255.0.3, bgp: { as: 65403 } }
  dc: { kind: router, loopback: 10.255.0.4, bgp: { as: 65404 } }
  other: { kind: router, loopback: 10.255.0.5, bgp: { as: 65405 }, routes: [{ to: 10.0.0.0/8, via: pe }] }
links:
  - { endpoints: ["pe:red1", red1], cidr: 10.1.0.0/30 }
  - { endpoints: ["pe:red2", red2], cidr: 10.2.0.0/30 }
  - { endpoints: ["pe:blue", blue], cidr: 10.3.0.0/30 }
  - { endpoints: ["pe:dc", dc], cidr: 10.4.0.0/30 }
  - { endpoints: ["pe:other", other], cidr: 10.5.0.0/30 }
`

const loopbacks = { red1: 1, red2: 2, blue: 3, dc: 4, other: 5 } as const
type Site = keyof typeof loopbacks

/** Who reaches whom by the loopbacks, and nobody else does. */
const reachable: ReadonlyArray<readonly [Site, Site]> = [["red1", "red2"], ["red1", "dc"], ["red2", "dc"], ["blue", "dc"]]

const policies = `
name: policies
nodes:
  border:
    kind: router
    bgp:
      as: 64496
      networks: 203.0.113.0/24
      neighbors:
        - { peer: isp1, import: { ipv4: preferred }, export: mine }
        - { peer: isp2, import: others, export: backup }
      prefix-lists: { bogons: 10.0.0.0/8 le 32 }
      policies:
        preferred: [{ deny: { prefix-list: bogons } }, { permit: { as-path: "^64500_64510$" }, set: { local-preference: 50 } },
          { permit: any, set: { local-preference: 200, add-community: "64496:1" } }]
        others: [{ deny: { community: "64501:*" } }, permit]
        mine: { permit: { as-path: ^$ } }
        backup: { permit: { as-path: ^$ }, set: { prepend: { as: 64496, times: 3 }, med: 50 } }
  isp1:
    kind: router
    bgp: { as: 64500, networks: [0.0.0.0/0, 10.9.0.0/16], local-as: 64500 }
  isp2:
    kind: router
    bgp:
      as: 64501
      networks: [0.0.0.0/0, { prefix: 192.0.2.0/24, policy: tagged }, 198.18.0.0/15]
      policies: { tagged: { permit: any, set: { community: "64501:7" } } }
  origin: { kind: router, bgp: { as: 64510, networks: 198.18.0.0/15 } }
links:
  - { endpoints: ["border:isp1", isp1], cidr: 198.51.100.0/31, bgp: { password: secret } }
  - { endpoints: ["border:isp2", isp2], cidr: 198.51.100.2/31, bgp: unnumbered }
  - { endpoints: [isp1, origin] , bgp: unnumbered }
`

const unnumbered = `
name: wires
defaults: { bgp: { unnumbered: true, redistribute: connected, bfd: { interval: 100ms } } }
nodes:
  a: { kind: router, loopback: 10.255.0.1, bgp: { as: 65001 } }
  b: { kind: router, loopback: 10.255.0.2, bgp: { as: 65002 } }
links: [{ endpoints: ["a:b", "b:a"] }]
`

const route = (lab: string, node: string, prefix: string): string => sh("ip", "-n", `weft.${lab}.${node}`, "route", "show", prefix)

const pings = async (lab: string, from: Site, to: Site): Promise<boolean> => {
  const [source, target] = [from, to].map((site) => `10.255.0.${loopbacks[site]}`)
  return (await run(["ip", "netns", "exec", `weft.${lab}.${from}`, "ping", "-c1", "-W1", "-I", source!, target!])).code === 0
}

const sites = Object.keys(loopbacks) as ReadonlyArray<Site>

const isolates = async (t: Test, lab: string): Promise<void> => {
  await until("red1 knows dc", async () => route(lab, "red1", "10.255.0.4").includes("proto"))
  for (const from of sites) {
    for (const to of sites.filter((site) => site !== from)) {
      const should = reachable.some(([a, b]) => (a === from && b === to) || (a === to && b === from))
      t.equal(await pings(lab, from, to), should, `${from} ${should ? "reaches" : "does not reach"} ${to}`)
    }
  }
  // The main table of pe has the subnets of all its interfaces, and gives them to nobody who comes in elsewhere.
  const intoVrf = await run(["ip", "netns", "exec", `weft.${lab}.other`, "ping", "-c1", "-W1", "10.1.0.2"])
  t.match(intoVrf.stdout, /Destination Host Unreachable|Destination Net Unreachable/, "into a VRF's subnet from outside")
}

t.test("bgp of a topology", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("bgptopo")
  t.teardown(() => weftd.close())

  await t.test("VRFs reach each other where targets say so, and nowhere else", async (t) => {
    const lab = weftd.name("vrfs")
    await weftd.make(vrfs.replace("name: vrfs", `name: ${lab}`))
    await isolates(t, lab)
    const again = await weftd.weft(["inspect", lab, "-o", "json"])
    t.same((JSON.parse(again.stdout) as { drift: unknown }).drift, [], "nothing differs from the topology")
    await weftd.destroy(lab)
  })

  await t.test("policies decide what is taken, how it is preferred and what is told", async (t) => {
    const lab = weftd.name("policies")
    await weftd.make(policies.replace("name: policies", `name: ${lab}`))
    await until("all routes are there", async () => route(lab, "border", "198.18.0.0/15").includes("proto"))
    t.match(route(lab, "border", "default"), /via 198\.51\.100\.1 dev isp1/, "the higher local preference wins")
    t.match(route(lab, "border", "198.18.0.0/15"), /dev isp2/, "the longer path of lower preference does not")
    t.equal(route(lab, "border", "10.9.0.0/16"), "", "a prefix list denies it")
    t.equal(route(lab, "border", "192.0.2.0/24"), "", "its community denies it")
    const paths = await weftd.weft(["bgp", `${lab}/border`, "rib", "0.0.0.0/0"])
    t.match(paths.code === 0 ? paths.stdout : "", /64496:1/, paths.stderr)
    const told = await weftd.weft(["bgp", `${lab}/isp2`, "rib", "203.0.113.0/24"])
    t.match(told.stdout, /64496 64496 64496 64496[^]*metric 50/, told.stderr)
    await weftd.destroy(lab)
  })

  await t.test("an unnumbered session comes back, with its BFD, over a port that was made anew", async (t) => {
    const lab = weftd.name("wires")
    const text = unnumbered.replace("name: wires", `name: ${lab}`)
    await weftd.make(text)
    t.match(route(lab, "a", "10.255.0.2"), /via inet6 fe80::/, "IPv4 by an IPv6 next hop")
    const isWatched = async (): Promise<boolean> => / up +b\s/.test((await weftd.weft(["bgp", `${lab}/a`])).stdout)
    await until("BFD is up", isWatched)
    sh("ip", "-n", `weft.${lab}.a`, "link", "delete", "dev", "b")
    await until("the route is gone", async () => route(lab, "a", "10.255.0.2") === "")
    await weftd.make(text)
    await until("the route is back", async () => route(lab, "a", "10.255.0.2") !== "")
    await until("BFD is up again", isWatched)
    await weftd.destroy(lab)
  })
})
