import t from "tap"
import { draw } from "../../ctl/commands/graph.ts"
import type { InspectResponse } from "../../ctl/messages.ts"
import { layout } from "../../ctl/render/graph/layout.ts"
import { graphOf } from "../../ctl/render/graph/model.ts"
import { areaOf, labelsOf, overlap, routesOf } from "../../ctl/render/graph/routes.ts"
import { hybrid, labOf, spineLeaf, threeTier } from "./fixtures.ts"

const many = labOf(
  "many",
  Object.fromEntries(
    Array.from({ length: 61 }, (_, index) => [
      `n${index}`,
      [index === 0 ? "router" : "host", index % 2 === 0 ? "a" : "b"] as const
    ])
  ),
  [
    {
      name: "lan",
      kind: "network",
      cidrs: ["10.0.0.0/24"],
      ports: Array.from({ length: 61 }, (_, index) => [`n${index}:eth0`, `10.0.0.${index + 1}/24`] as const)
    }
  ]
)
const labs: Readonly<Record<string, InspectResponse>> = {
  hybrid: hybrid(),
  "spine-leaf by group": spineLeaf(4, 8, 4),
  "spine-leaf at one site": spineLeaf(2, 4, 3, "site"),
  "three-tier": threeTier(),
  "sixty on one network": many,
  "one node": labOf("one", { pc: ["host", ""] }, []),
  empty: labOf("empty", {}, [])
}

for (const [name, lab] of Object.entries(labs)) {
  t.test(`layout of ${name}: every element has a place, no two overlap`, async (t) => {
    const graph = graphOf(lab)
    const { places } = layout(graph)
    t.equal(places.size, graph.elements.length)
    const all = [...places]
    const overlaps = all.flatMap(([one, a], index) =>
      all
        .slice(index + 1)
        .filter(([, b]) => overlap(a, b))
        .map(([other]) => `${one} on ${other}`)
    )
    t.strictSame(overlaps, [])
    t.ok(all.every(([, { height, width, x, y }]) => [x, y, width, height].every(Number.isFinite)))
  })

  t.test(`labels of ${name} overlap neither each other nor an element`, async (t) => {
    const graph = graphOf(lab)
    const placed = layout(graph)
    const areas = labelsOf(routesOf(graph, placed), placed).map(areaOf)
    const overlaps = areas.filter(
      (area, index) =>
        areas.slice(index + 1).some((other) => overlap(area, other))
        || [...placed.places.values()].some((place) => overlap(area, place))
    )
    t.strictSame(overlaps, [])
  })

  t.test(`the drawing of ${name} is the same every time`, async (t) => {
    t.equal(draw(lab, "svg"), draw(structuredClone(lab), "svg"))
  })
}

t.test("layout puts a site's elements into its box and keeps boxes apart", async (t) => {
  const graph = graphOf(hybrid())
  const { boxes, places } = layout(graph)
  t.strictSame(boxes.map(({ cluster }) => cluster).sort(), ["aws", "idc", "internet", "office"])
  for (const element of graph.elements) {
    const box = boxes.find(({ cluster }) => cluster === element.cluster)!
    const place = places.get(element.id)!
    t.ok(
      place.x >= box.x
        && place.y >= box.y
        && place.x + place.width <= box.x + box.width
        && place.y + place.height <= box.y + box.height,
      element.id
    )
  }
  t.notOk(boxes.some((one, index) => boxes.slice(index + 1).some((other) => overlap(one, other))))
})

t.test("hybrid's labels nearly all find room", async (t) => {
  const graph = graphOf(hybrid())
  const placed = layout(graph)
  const wanted = placed.edges.flatMap(({ aLabel, bLabel, label }) => [aLabel, bLabel, label]).filter((text) => text !== "").length
  t.ok(labelsOf(routesOf(graph, placed), placed).length >= wanted * 0.85)
})

t.test("drawings escape what users write", async (t) => {
  const evil = `"><script>alert('&')</script>\u0000`
  const lab = labOf("evil", { [evil]: ["host", evil], b: ["router", "x"] }, [
    { name: evil, kind: "network", cidrs: [evil], ports: [[`b:eth0`, evil]] }
  ])
  const svg = draw(lab, "svg")
  t.notMatch(svg, /<script/)
  t.notMatch(svg, /\u0000/)
  t.match(svg, "&#60;script&#62;alert(&#39;&#38;&#39;)")
  t.notMatch(draw(lab, "mermaid"), /<script|"">/)
  t.notMatch(draw(lab, "dot"), /[^\\]">/)
})

t.test("SVG has no reference to the outside", async (t) => {
  const svg = draw(hybrid(), "svg")
  t.strictSame(svg.match(/https?:[^"]+/g), ["http://www.w3.org/2000/svg"])
  t.match(svg, "prefers-color-scheme:dark")
})

t.test("a lab over hosts: sites name theirs, wires between hosts are dashed", async (t) => {
  const lab = hybrid()
  const spread = { ...lab, nodes: lab.nodes.map((node) => ({ ...node, host: node.labels["site"] === "aws" ? "h2" : "h1" })) }
  const graph = graphOf(spread)
  t.equal(graph.homes.get("aws"), "h2")
  t.match(graph.subtitle, /2 hosts$/)
  const isAws = (id: string): boolean => graph.elements.find((element) => element.id === id)!.cluster === "aws"
  t.ok(graph.edges.some(({ tunnel }) => tunnel))
  t.same(graph.edges.filter(({ a, b, tunnel }) => (isAws(a) !== isAws(b)) !== tunnel), [])
  t.match(draw(spread, "svg"), />aws · h2<[^]*class="wire between tunnel"[^]*tunnel between hosts/)
  t.match(draw(spread, "mermaid"), /-\.-/)
  t.match(draw(spread, "dot"), /style=dashed/)

  const mixed = { ...lab, nodes: lab.nodes.map((node, index) => ({ ...node, host: `h${index % 2}` })) }
  t.equal(graphOf(mixed).homes.size, 0)
  t.match(draw(mixed, "svg"), />on h1</, "where a site has several hosts each node names its own")
  t.notMatch(draw(lab, "svg"), />on |tunnel between hosts/, "one host is not mentioned")
})
