/** Faults of links and nodes as changes of plans: what exactly they change, and what they say when they cannot. */
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import { applyFaults } from "../../daemon/faults/apply.ts"
import { kindOf } from "../../daemon/faults/kinds.ts"
import { readWords } from "../../daemon/faults/read-words.ts"
import type { Fault } from "../../daemon/plan/fault.ts"
import { partOf } from "../../daemon/plan/part.ts"
import type { Plan, ResourceOf, SegmentSpec } from "../../daemon/plan/resource.ts"

const files = { "wave.csv": "time,rate,delay,loss\n0,10mbit,5ms,1%\n10s,5mbit,20ms,2%\n20s,,,\n" }

/** a -- b with everything, b -- c plain, lan of a, c, d, e; ways to 10.50.0.0/16 over both links of b. */
const loaded = load({
  filename: "links.weft.yaml",
  content: JSON.stringify({
    name: "links",
    groups: { left: {} },
    nodes: {
      a: { kind: "router", group: "left", host: "h1" },
      b: {
        kind: "router", group: "left", host: "h1",
        routes: [{ to: "10.50.0.0/16", via: ["a:ab", "c:bc"] }, { to: "10.60.0.0/16", via: "c:bc" }]
      },
      c: { kind: "router", labels: { site: "far" }, host: "h2" },
      d: { kind: "host", host: "h2" },
      e: { kind: "host", host: "h2" }
    },
    networks: { lan: { cidr: "10.3.0.0/24", ports: ["a", "c", "d", "e"].map((port) => ({ port, as: "lan" })) } },
    links: [
      {
        name: "ab", endpoints: ["b:ab", "a:ab"], cidr: "10.1.0.0/30",
        delay: { "a-to-b": "4ms", "b-to-a": "6ms", jitter: "1ms" }, rate: "100mbit"
      },
      { name: "bc", endpoints: ["c:bc", "b:bc"], cidr: ["10.2.0.0/30", "fd02::/64"] },
      { name: "cd", endpoints: ["c:cd", "d:cd"], cidr: "10.4.0.0/30", trace: "wave.csv" }
    ]
  }).replaceAll(',"as":"lan"', ""),
  files: new Map(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)]))
} as Parameters<typeof load>[0])
if (!loaded.ok) throw new Error(loaded.diagnostics.map(({ message, path }) => `${path}: ${message}`).join("\n"))
const { plan: base } = loaded

const read = (line: string) => readWords({ words: line.split(" "), for: "", files }, base)
const faultOf = (line: string, index = 0): Fault => {
  const result = read(line)
  if (!result.ok) throw new Error(`${line}: ${result.diagnostics.map(({ message }) => message).join("; ")}`)
  const { kind, spec } = result.fault
  return { kind, spec, id: `f${index + 1}`, title: kindOf(kind)!.title(spec, base), injectedAt: "2026-01-01T00:00:00.000Z", by: "test" }
}
const broken = (...lines: ReadonlyArray<string>): Plan => applyFaults(base, lines.map((line, index) => faultOf(line, index))).plan
const titleOf = (line: string): string => faultOf(line).title
const segment = (plan: Plan, name: string): SegmentSpec | undefined =>
  plan.resources.find((one): one is ResourceOf<"segment"> => one.kind === "segment" && one.spec.name === name)?.spec
const spec = (plan: Plan, id: string): object | undefined => plan.resources.find((one) => one.id === id)?.spec
const shut = { mute: true, deaf: true }
const lan = Object.fromEntries(segment(base, "lan")!.ports.map((port) => [port.split(":")[0]!, port])) as Record<string, string>

t.test("link-down", async (t) => {
  const lost = broken("link-down bc")
  t.strictSame(segment(lost, "bc")!.gates, { "b:bc": shut, "c:bc": shut })
  t.match(spec(lost, "port/b:bc"), { carrier: "lost" })
  t.match(spec(lost, "port/c:bc"), { carrier: "lost" })
  const groups = lost.resources.flatMap((one) => (one.kind === "nexthop" ? [one.spec.members.map(({ ifname }) => ifname)] : []))
  t.strictSame(groups, [["ab"]], "what the kernel takes out of groups is not wanted in them")
  t.ok(spec(lost, "route/b/254/10.60.0.0/16/0"), "static routes without a group stay, as in the kernel")
  const both = broken("link-down bc", "link-down ab")
  t.notOk(both.resources.some(({ kind }) => kind === "nexthop"), "a group without members goes")
  t.notOk(spec(both, "route/b/254/10.50.0.0/16/0"), "and its routes with it")
  const kept = broken("link-down b:bc carrier=keep")
  t.strictSame(segment(kept, "bc")!.gates, { "b:bc": shut, "c:bc": shut })
  t.notOk(kept.resources.some((one) => one.kind === "port" && one.spec.carrier !== undefined))
  const near = broken("link-down c:bc side=near")
  t.match(spec(near, "port/c:bc"), { carrier: "lost" })
  t.notMatch(spec(near, "port/b:bc"), { carrier: "lost" })
  t.strictSame(segment(broken(`link-down ${lan["d"]} carrier=keep`), "lan")!.gates, { [lan["d"]!]: shut })
  t.equal(titleOf("link-down b:bc"), "link b:bc -- c:bc is down, carrier lost")
})

t.test("flap is down in its first phase and up in the second", async (t) => {
  const fault = faultOf("flap bc 2s 500ms")
  t.strictSame(kindOf("flap")!.phases!(fault.spec), [2000, 500])
  t.match(segment(applyFaults(base, [{ ...fault, phase: 0 }]).plan, "bc")!.gates, { "b:bc": shut })
  t.equal(applyFaults(base, [{ ...fault, phase: 1 }]).plan, base)
})

t.test("one-way shuts the end that sends and the one that receives", async (t) => {
  t.strictSame(segment(broken("one-way b:bc out"), "bc")!.gates, { "b:bc": { mute: true }, "c:bc": { deaf: true } })
  t.strictSame(segment(broken("one-way b:bc in"), "bc")!.gates, { "c:bc": { mute: true }, "b:bc": { deaf: true } })
  t.strictSame(segment(broken("one-way bc a-to-b"), "bc")!.gates, { "c:bc": { mute: true }, "b:bc": { deaf: true } })
  t.strictSame(segment(broken(`one-way ${lan["d"]} in`), "lan")!.gates, { [lan["d"]!]: { deaf: true } })
  t.equal(titleOf("one-way b:bc in"), "nothing passes c:bc -> b:bc")
})

t.test("impairments replace what they name, in their direction, and nothing else", async (t) => {
  const was = segment(base, "ab")!.profiles!
  const ab = (...lines: ReadonlyArray<string>) => segment(broken(...lines), "ab")!.profiles!
  t.strictSame(ab("delay ab 50ms"), { ...was, aToB: { ...was.aToB, delayMs: 50 }, bToA: { ...was.bToA, delayMs: 50 } })
  t.strictSame(ab("delay b:ab 50ms direction=out"), { ...was, aToB: { ...was.aToB, delayMs: 50 } }, "b:ab is the topology's a")
  t.strictSame(ab("delay a:ab 0 direction=out").bToA.delayMs, undefined, "0 takes the topology's away")
  t.strictSame(ab("rate ab 0").aToB.rateBps, undefined)
  t.strictSame(ab("rate ab 1mbit queue=20ms aqm=codel").bToA, { ...was.bToA, rateBps: 1e6, queue: { ms: 20 }, aqm: "codel" })
  t.strictSame(ab("loss ab p=1% r=20%").aToB.loss, { kind: "gilbert-elliott", p: 0.01, r: 0.2, lossBad: 1, lossGood: 0 })
  t.strictSame(ab("loss ab 10%", "loss ab 20%").aToB.loss, { kind: "random", probability: 0.2 }, "the later one holds")
  t.match(ab("impair ab loss=1% duplicate=2% queue=30ms jitter=0").aToB, { loss: {}, duplicate: 0.02, queue: { ms: 30 }, delayMs: 4 })
  t.notOk("jitter" in ab("impair ab jitter=0").aToB)
  const plain = segment(broken("loss b:bc 5% direction=in"), "bc")!
  t.strictSame(plain.endpoints, ["c:bc", "b:bc"], "a plain wire gets the endpoints of the topology")
  t.strictSame([plain.profiles!.aToB, plain.profiles!.bToA], [{ loss: { kind: "random", probability: 0.05 } }, {}])
  t.strictSame(segment(broken("loss bc 0%"), "bc"), segment(base, "bc"), "nothing on a plain wire is a plain wire")
  t.equal(titleOf("delay b:ab 50ms jitter=5ms direction=out"), "b:ab -> a:ab: delay 50ms jitter 5ms")
})

t.test("a recording of the topology's does not hide a fault", async (t) => {
  const trace = segment(broken("loss cd 30%"), "cd")!.profiles!.aToB.trace!
  t.ok(trace.kind === "samples" && trace.samples.every((sample) => sample.loss === undefined && sample.rateBps !== undefined))
  t.equal(segment(broken("impair cd rate=1mbit delay=1ms loss=1%"), "cd")!.profiles!.aToB.trace, undefined, "nothing of it is left")
})

t.test("brownout replays a recording from when it was injected, and is over when that is", async (t) => {
  const fault = faultOf("brownout b:bc wave.csv direction=out")
  const { profiles } = segment(applyFaults(base, [fault]).plan, "bc")!
  t.match(profiles!.bToA.trace, { kind: "samples", sinceMs: Date.parse(fault.injectedAt), periodMs: 20_000 })
  t.strictSame(profiles!.aToB, {})
  t.equal(kindOf("brownout")!.defaultForMs!(fault.spec), 20_000)
})

t.test("mtu: a gate, or the interfaces'", async (t) => {
  const smaller = { "b:bc": { mtu: 900 }, "c:bc": { mtu: 900 } }
  t.strictSame(segment(broken("mtu bc 1000", "mtu b:bc 900"), "bc")!.gates, smaller, "the smaller holds")
  t.strictSame(segment(broken("mtu bc 1000", "link-down bc carrier=keep"), "bc")!.gates!["b:bc"], { mtu: 1000, ...shut })
  const told = broken("mtu ab 1000 icmp=true")
  t.match([spec(told, "port/a:ab"), spec(told, "port/b:ab")], [{ mtu: 1000 }, { mtu: 1000 }])
  t.equal(segment(told, "ab")!.gates, undefined)
})

t.test("partition shuts links and divides networks", async (t) => {
  const two = broken("partition group:left rest")
  t.strictSame(segment(two, "bc")!.gates, { "b:bc": shut, "c:bc": shut })
  t.equal(segment(two, "ab")!.gates, undefined)
  t.strictSame([segment(two, "lan")!.ports, segment(two, "lan~2")!.ports], [[lan["a"]], [lan["c"], lan["d"], lan["e"]]])
  t.not(segment(two, "lan")!.vni, segment(two, "lan~2")!.vni)
  t.strictSame(broken("partition group:left"), two, "one set is cut off from the rest")
  t.strictSame(segment(broken("partition host:h1 label:site=far d,e"), "lan~3")!.ports, [lan["d"], lan["e"]])
  const twice = broken("partition a rest", "partition d rest")
  const parts = twice.resources.flatMap((one) => (one.kind === "segment" && one.spec.name.startsWith("lan") ? [one.spec.ports] : []))
  t.strictSame(parts.map((ports) => [...ports].toSorted()).toSorted(), [[lan["a"]], [lan["c"], lan["e"]], [lan["d"]]])
  t.equal(segment(broken("partition a b"), "lan"), segment(base, "lan"), "only one side is on it")
})

t.test("nodes that crash are gone, and their neighbours see it", async (t) => {
  const plan = broken("node-crash c")
  t.notOk(plan.resources.some(({ spec }) => "node" in spec && spec.node === "c"))
  t.equal(segment(plan, "bc"), undefined)
  t.notOk(segment(plan, "lan")!.ports.includes(lan["c"]!))
  t.match([spec(plan, "port/b:bc"), spec(plan, "port/d:cd")], [{ carrier: "lost" }, { carrier: "lost" }])
  const fault = faultOf("node-crash c")
  const before = kindOf("node-crash")!.before!(fault.spec, base)
  t.match(segment(before, "lan")!.gates, { [lan["c"]!]: shut }, "first nothing gets out any more")
  t.ok(before.resources.some(({ id }) => id === "node/c"))
  t.notOk(broken("node-crash c carrier=keep").resources.some((one) => one.kind === "port" && one.spec.carrier === "lost"))
  t.strictSame(broken("host-loss h2").resources, broken("node-crash host:h2").resources)
  t.equal(kindOf("node-restart")!.defaultForMs!(faultOf("node-restart c 3s").spec), 3000)
})

t.test("each host of a fleet has the gates of its own ports", async (t) => {
  const plan = broken("link-down bc")
  const part = (host: string) => segment(partOf(plan, host, () => "192.0.2.1"), "bc")!.gates
  t.strictSame([part("h1"), part("h2")], [{ "b:bc": shut }, { "c:bc": shut }])
})

t.test("what the lab has not, or what cannot be, is said with what there is", async (t) => {
  const wrong: ReadonlyArray<readonly [line: string, message: RegExp, suggestion?: string]> = [
    ["link-down abc", /the lab has no link "abc"/, "ab"],
    ["link-down b:bcc", /no link "b:bcc"/, "b:bc"],
    ["link-down lan", /"lan" is a network: name one of its ports/],
    ["link-down bc side=near", /named by one of its ports/],
    ["link-down b:bc side=near carrier=keep", /nobody does/],
    [`delay ${lan["d"]} 5ms`, /is a port of the network "lan": only links have delay/],
    ["delay bc", /"value" is missing/],
    ["delay bc 5", /expected a time/],
    ["delay ab 5ms direction=out", /seen from one end: name the link by its port, "b:ab" or "a:ab"/],
    ["loss bc 130%", /from 0% to 100%/],
    ["loss bc", /expected a share such as 30%, or p and r/],
    ["loss bc p=1%", /bursts of loss need "r"/],
    ["impair bc", /says nothing of the link/],
    ["impair bc colour=red", /unknown key/],
    [`one-way ${lan["d"]} a-to-b`, /has no a and b/],
    ["mtu bc 1000 icmp=true", /the link has IPv6/],
    ["flap bc 1ms 1s", /at least 50ms/],
    ["brownout bc nothing.csv", /cannot read "nothing.csv"|nothing.csv/],
    ["partition grup:left", /the lab has no node "grup:left"/, "group:left"],
    ["partition a b,a", /node "a" is in two sets/],
    ["partition a c", /network "lan" is divided, and .* is in no set/],
    ["partition rest", /all nodes are in one set/],
    ["node-crash f", /the lab has no node "f"/],
    ["host-loss h3", /none of the lab's nodes is on host "h3"/, "h1"],
    ["daemon-restart", /the lab is on h1, h2: name the host/]
  ]
  for (const [line, message, suggestion] of wrong) {
    const result = read(line)
    t.notOk(result.ok, line)
    if (result.ok) continue
    t.match(result.diagnostics.map((one) => one.message).join("; "), message, line)
    if (suggestion !== undefined) t.equal(result.diagnostics[0]!.suggestion, suggestion, line)
  }
})
