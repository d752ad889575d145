/** Placement: what holds for every lab, and what each wish gives way to. */
import t from "tap"
import { place, type PlaceableHost, type Placement } from "../../daemon/compiler/place.ts"
import type { Plan } from "../../daemon/plan/resource.ts"
import { render } from "../../daemon/topology/diagnostic.ts"
import { seeded } from "../random.ts"

const bare = { cidrs: [], labels: {} }

type Edges = ReadonlyArray<readonly [number, number]>

type Networks = ReadonlyArray<ReadonlyArray<number>>

const planOf = (size: number, edges: Edges, networks: Networks = [], pins: Record<number, string> = {}): Plan => ({
  lab: "lab",
  nodes: Array.from({ length: size }, (_, i) => ({
    name: `n${i}`,
    kind: "host" as const,
    labels: {},
    ...(pins[i] === undefined ? {} : { host: pins[i], pinned: { line: i + 1, column: 5, path: `nodes.n${i}.host` } })
  })),
  segments: [
    ...edges.map((ends, i) => ({ name: `l${i}`, kind: "p2p" as const, ports: ends.map((n) => `n${n}:l${i}`), ...bare })),
    ...networks.map((ends, i) => ({ name: `w${i}`, kind: "network" as const, ports: ends.map((n) => `n${n}:w${i}`), ...bare }))
  ],
  resources: []
})

const range = (length: number): ReadonlyArray<number> => Array.from({ length }, (_, i) => i)
const chain = (size: number): Plan => planOf(size, range(size - 1).map((i) => [i, i + 1]))
const tree = (size: number, children: number): Plan => planOf(size, range(size - 1).map((i) => [Math.floor(i / children), i + 1]))
const grid = (width: number, height: number): Plan =>
  planOf(width * height, range(width * height).flatMap((i) => [
    ...((i + 1) % width === 0 ? [] : [[i, i + 1] as const]),
    ...(i + width < width * height ? [[i, i + width] as const] : [])
  ]))
const spineLeaf = (spines: number, leaves: number, each: number): Plan =>
  planOf(spines + leaves + leaves * each, range(leaves).flatMap((leaf) => [
    ...range(spines).map((spine) => [spine, spines + leaf] as const),
    ...range(each).map((host) => [spines + leaf, spines + leaves + leaf * each + host] as const)
  ]))
const scattered = (size: number, edges: number): Plan => {
  const { below } = seeded(size)
  return planOf(size, range(edges).map(() => [below(size), below(size)] as const).filter(([a, b]) => a !== b))
}

const hostsOf = (capacities: ReadonlyArray<number>, but: Record<number, Partial<PlaceableHost>> = {}): ReadonlyArray<PlaceableHost> =>
  capacities.map((capacity, i) => ({ name: `h${i}`, capacity, alive: true, drained: false, labels: {}, ...but[i] }))

const nowhere = new Map<string, string>()
const where = (placement: Placement): ReadonlyMap<string, string> => {
  if (!placement.ok) throw new Error(placement.diagnostics.map(render).join("\n"))
  return new Map(placement.plan.nodes.map(({ host, name }) => [name, host!]))
}
const notesOf = (placement: Placement): ReadonlyArray<string> => (placement.ok ? placement.notes : [])
const refusals = (placement: Placement): ReadonlyArray<string> => (placement.ok ? [] : placement.diagnostics.map(render))

const counts = (of: ReadonlyMap<string, string>, hosts: ReadonlyArray<PlaceableHost>): ReadonlyArray<number> =>
  hosts.map(({ name }) => [...of.values()].filter((host) => host === name).length)

/** Links and networks, each by how many hosts it has more than one. */
const cost = (plan: Plan, hostOf: (node: string, index: number) => unknown): number => {
  const index = new Map(plan.nodes.map(({ name }, i) => [name, i]))
  const nodes = (ports: ReadonlyArray<string>) => ports.map((port) => port.slice(0, port.indexOf(":")))
  return plan.segments.reduce((sum, { ports }) => sum + new Set(nodes(ports).map((node) => hostOf(node, index.get(node)!))).size - 1, 0)
}

const shuffled = <T>(items: ReadonlyArray<T>, seed: number): ReadonlyArray<T> => {
  const { below } = seeded(seed)
  return items.map((item) => [below(2 ** 31), item] as const).sort(([a], [b]) => a - b).map(([, item]) => item)
}

const labs: ReadonlyArray<readonly [string, Plan]> = [
  ["a chain of 12", chain(12)],
  ["a chain of 200", chain(200)],
  ["a binary tree", tree(127, 2)],
  ["a flat tree", tree(121, 10)],
  ["a grid", grid(16, 16)],
  ["a small spine and leaf", spineLeaf(2, 4, 2)],
  ["a large spine and leaf", spineLeaf(4, 20, 10)],
  ["a scattered lab", scattered(300, 450)],
  ["one network", planOf(60, [], [range(60)])],
  ["networks with routers between them",
    planOf(44, [[40, 41], [41, 42], [42, 43]], range(4).map((lan) => [40 + lan, ...range(10).map((i) => i * 4 + lan)]))],
  ["nodes without links", planOf(9, [])]
]

for (const [title, plan] of labs) {
  for (const capacities of [[1, 1], [1, 1, 1], [4, 2, 2, 1, 1]]) {
    t.test(`place divides ${title} among capacities ${capacities}`, async (t) => {
      const hosts = hostsOf(capacities)
      const placement = place(plan, hosts, nowhere)
      const of = where(placement)
      const size = plan.nodes.length
      const total = capacities.reduce((a, b) => a + b)
      for (const [i, count] of counts(of, hosts).entries()) {
        const share = (size * capacities[i]!) / total
        t.ok(Math.abs(count - share) <= Math.max(1, share / 10), `h${i} has ${count} of its share ${share.toFixed(1)}`)
      }
      const mine = cost(plan, (node) => of.get(node))
      // With equal capacities, or the comparison would be of unequal things.
      if (new Set(capacities).size === 1) {
        const k = capacities.length
        t.ok(mine <= cost(plan, (_, i) => i % k), "no worse than one after the other")
        t.ok(mine <= cost(plan, (_, i) => Math.floor((i * k) / size)), "no worse than in runs")
      }
      for (const seed of [1, 2, 3]) t.strictSame(where(place(plan, shuffled(hosts, seed), nowhere)), of, "whatever the order of hosts")
      t.strictSame(where(place(plan, hosts, of)), of, "and again, nothing moves")
      if (placement.ok) t.strictSame(where(place(placement.plan, hosts, of)), of, "nor with a plan that was placed")
    })
  }
}

t.test("place finds the best division where it is known", async (t) => {
  const three = hostsOf([1, 1, 1])
  const cut = (plan: Plan, hosts = three): number => {
    const of = where(place(plan, hosts, nowhere))
    return cost(plan, (node) => of.get(node))
  }
  t.equal(cut(chain(12)), 2)
  t.equal(cut(chain(1000)), 2)
  t.equal(cut(tree(127, 2), hostsOf([1, 1])), 1)
  t.ok(cut(grid(16, 16), hostsOf([1, 1])) <= 16)
  const islands = planOf(30, range(3).flatMap((k) => range(9).map((i) => [k + i * 3, k + (i + 1) * 3] as const)))
  t.equal(cut(islands), 0, "pieces that hang together stay together, however they are written")
})

t.test("place leaves everybody where they are when a node comes or goes", async (t) => {
  for (const [title, plan] of labs) {
    const hosts = hostsOf([1, 1, 1])
    const before = where(place(plan, hosts, nowhere))
    const size = plan.nodes.length
    const more = planOf(size + 1, [], [[size - 1, size]])
    const grown = where(place({ ...plan, nodes: more.nodes, segments: [...plan.segments, ...more.segments] }, hosts, before))
    for (const [node, host] of before) if (grown.get(node) !== host) t.fail(`${node} of ${title} moves`)
    t.equal(grown.size, size + 1, title)
    const segments = plan.segments.map((segment) => ({ ...segment, ports: segment.ports.filter((port) => !port.startsWith("n0:")) }))
    const shrunk = where(place({ ...plan, nodes: plan.nodes.slice(1), segments }, hosts, before))
    for (const [node, host] of shrunk) if (before.get(node) !== host) t.fail(`${node} of ${title} moves`)
  }
})

t.test("place puts a new node beside its neighbours", async (t) => {
  const plan = chain(12)
  const hosts = hostsOf([1, 1, 1])
  const before = where(place(plan, hosts, nowhere))
  const grown = planOf(13, [...range(11).map((i) => [i, i + 1] as const), [0, 12]])
  t.equal(where(place(grown, hosts, before)).get("n12"), before.get("n0"))
})

t.test("place moves the nodes of a drained or lost host, and nobody else", async (t) => {
  for (const gone of [{ drained: true }, { alive: false }]) {
    for (const [title, plan] of labs) {
      const before = where(place(plan, hostsOf([1, 1, 1]), nowhere))
      const placement = place(plan, hostsOf([1, 1, 1], { 1: gone }), before)
      const after = where(placement)
      t.notOk([...after.values()].includes("h1"), title)
      for (const [node, host] of before) if (host !== "h1" && after.get(node) !== host) t.fail(`${node} of ${title} moves`)
      t.match(notesOf(placement)[0], new RegExp(`from h1: h1 is ${gone.drained === true ? "drained" : "lost"} \\(`))
      const [a, , c] = counts(after, hostsOf([1, 1, 1]))
      t.ok(Math.abs(a! - c!) <= Math.max(2, plan.nodes.length / 10), `${title}: ${a} and ${c}`)
    }
  }
})

t.test("place moves nobody for a host that comes, unless one has far too many", async (t) => {
  const plan = chain(30)
  const one = where(place(plan, hostsOf([1]), nowhere))
  t.strictSame(where(place(plan, hostsOf([1, 1]), one)), one, "twice the share is bearable")
  const placement = place(plan, hostsOf([1, 1, 1]), one)
  t.strictSame([...counts(where(placement), hostsOf([1, 1, 1]))].sort(), [10, 10, 10])
  t.match(notesOf(placement), [/^20 nodes move from h0: h0 has too many \(.* and 12 more\)$/, /^spread over 3 hosts: 2 of 29 links cross$/])
})

t.test("place obeys pins before all else", async (t) => {
  const hosts = hostsOf([1, 1, 1])
  const edges = range(11).map((i) => [i, i + 1] as const)
  const before = where(place(chain(12), hosts, nowhere))
  const pins = Object.fromEntries(range(9).map((i) => [i, "h0"]))
  const placement = place(planOf(12, edges, [], pins), hosts, before)
  const of = where(placement)
  for (const i of range(9)) t.equal(of.get(`n${i}`), "h0", "also more than its share")
  for (const i of [9, 10, 11]) t.equal(of.get(`n${i}`), before.get(`n${i}`) === "h0" ? of.get(`n${i}`) : before.get(`n${i}`))
  t.match(notesOf(placement)[0], /nodes? moves? from h\d: the topology says so/)
  t.strictSame(where(place(planOf(12, edges, [], { 0: of.get("n0")! }), hosts, of)), of, "a pin that is gone moves nobody")
  const alone = where(place(planOf(12, edges, [], { 0: "h2", 11: "h1" }), hosts, nowhere))
  t.equal(alone.get("n0"), "h2")
  t.equal(alone.get("n11"), "h1")
  t.equal(cost(chain(12), (node) => alone.get(node)), 2, "and the others settle around them")
})

t.test("place takes a placed plan's hosts for where nodes are, not for pins", async (t) => {
  const placement = place(chain(12), hostsOf([1, 1, 1]), nowhere)
  if (!placement.ok) throw new Error("not placed")
  const again = place(placement.plan, hostsOf([1, 1, 1], { 2: { drained: true } }), nowhere)
  const of = where(again)
  t.notOk([...of.values()].includes("h2"))
  for (const { host, name } of placement.plan.nodes) if (host !== "h2") t.equal(of.get(name), host)
})

t.test("place refuses what cannot be, and says where it is written", async (t) => {
  const hosts = hostsOf([1, 1, 1, 1], { 2: { drained: true }, 3: { alive: false } })
  const placement = place(planOf(5, [], [], { 0: "h0", 1: "h11", 2: "h2", 3: "h3", 4: "moon" }), hosts, nowhere, "lab.yaml")
  t.strictSame(refusals(placement), [
    'lab.yaml:2:5: nodes.n1.host: node "n1": there is no host "h11" (did you mean "h1"?)',
    'lab.yaml:3:5: nodes.n2.host: node "n2" is wanted on host "h2", which is drained: name another one, or undo the drain',
    'lab.yaml:4:5: nodes.n3.host: node "n3" is wanted on host "h3", which is lost: start its weftd, or name another one',
    'lab.yaml:5:5: nodes.n4.host: node "n4": there is no host "moon": hosts are h0, h1, h2, h3'
  ])
  t.strictSame(refusals(place(chain(2), [], nowhere)), ["topology:1:1: there is no host to place nodes on: none has registered"])
  t.strictSame(refusals(place(chain(2), hosts.slice(2), nowhere)), [
    "topology:1:1: there is no host to place nodes on: h2 is drained, h3 is lost"
  ])
})

t.test("place copes with what is odd", async (t) => {
  t.strictSame(notesOf(place(planOf(0, []), hostsOf([1, 1]), nowhere)), ["there are no nodes to place"])
  t.strictSame(notesOf(place(chain(3), hostsOf([1]), nowhere)), ["all on host h0"])
  t.strictSame(counts(where(place(chain(9), hostsOf([0, 1, 2]), nowhere)), hostsOf([0, 1, 2])), [0, 3, 6], "a capacity of 0 takes nothing")
  t.strictSame([...counts(where(place(chain(4), hostsOf([0, 0]), nowhere)), hostsOf([0, 0]))], [2, 2], "unless nobody has any")
  const twice = planOf(2, [[0, 1], [0, 1]], [[0, 0, 1]])
  t.equal(where(place(twice, hostsOf([1, 1]), nowhere)).size, 2, "parallel links, two ports of one node on a network")
  t.strictSame(notesOf(place(twice, hostsOf([1, 1]), nowhere)), ["spread over 2 hosts: 2 of 2 links cross, 1 of 1 network crosses"])
  t.strictSame(where(place(chain(3), hostsOf([1]), new Map([["n0", "gone"]]))).get("n0"), "h0", "a host that nobody knows any more")
})

t.test("place begins with different hosts for different labs", async (t) => {
  const first = range(40).map((i) => where(place({ ...chain(1), lab: `lab${i}` }, hostsOf([1, 1, 1, 1]), nowhere)).get("n0"))
  t.equal(new Set(first).size, 4)
})

t.test("place takes a moment for a thousand nodes", async (t) => {
  for (const plan of [scattered(1000, 1500), grid(40, 25), planOf(1000, [], [range(1000)])]) {
    place(plan, hostsOf([1, 1, 1, 1, 1]), nowhere)
    const start = process.cpuUsage()
    place(plan, hostsOf([1, 1, 1, 1, 1]), nowhere)
    const { system, user } = process.cpuUsage(start)
    t.ok((user + system) / 1000 < 500, `${(user + system) / 1000} ms`)
  }
})
