/** The program by itself: one frame in (BPF_PROG_TEST_RUN), its verdict and what it counted out. Nothing is delivered. */
import t from "tap"
import type { Port } from "../../../daemon/linux/bpf.ts"
import { dropReasons, type DropReason } from "../../../daemon/linux/drop-reasons.ts"
import { addon } from "../../../daemon/native/index.ts"
import { needsRoot } from "../harness.ts"
import { broadcast, frame, hex, macOf, makeFixture } from "./frames.ts"

/** include/uapi/linux/pkt_cls.h */
const Verdict = { drop: 2, consumed: 4, redirect: 7 } as const

interface Case {
  readonly title: string
  /** Entries of the ports 0, 1 and 2; `ports` are their ifindexes. */
  readonly entries: (ports: ReadonlyArray<number>) => ReadonlyArray<Port | undefined>
  /** Frames that come out of port 2 first. */
  readonly before?: ReadonlyArray<Uint8Array>
  readonly input: Uint8Array
  readonly verdict: keyof typeof Verdict
  readonly dropped?: DropReason
  /** Packets counted as handed to port 1. */
  readonly delivered: number
}

const link = (peer: number, mac = macOf(0)): Port => ({ kind: "p2p", peer, mac })
const inNetwork = (number: number, segment = 1): Port => ({ kind: "network", segment, mac: macOf(number) })
const pair = (ports: ReadonlyArray<number>) => [link(ports[1]!), link(ports[0]!, macOf(1))]
const plain = frame({ to: macOf(1), from: macOf(0) })

const cases: ReadonlyArray<Case> = [
  { title: "a link, to its node", entries: pair, input: plain, verdict: "redirect", delivered: 1 },
  { title: "a link, to another station", entries: pair, input: frame({ to: macOf(9), from: macOf(0) }), verdict: "redirect", delivered: 1 },
  { title: "a link, LLDP", entries: pair, input: frame({ to: "01:80:c2:00:00:0e", from: macOf(0) }), verdict: "redirect", delivered: 1 },
  { title: "a link to nowhere", entries: () => [link(99)], input: plain, verdict: "drop", dropped: "noPort", delivered: 0 },
  { title: "no entry", entries: () => [], input: plain, verdict: "drop", delivered: 0 },
  {
    title: "a network, alone",
    entries: () => [inNetwork(0)],
    input: frame({ to: broadcast, from: macOf(0) }),
    verdict: "consumed",
    delivered: 0
  },
  {
    title: "a network, unknown, one other port",
    entries: () => [inNetwork(0), inNetwork(1)],
    input: plain,
    verdict: "redirect",
    delivered: 1
  },
  {
    title: "a network, unknown, the other port in another one",
    entries: () => [inNetwork(0), inNetwork(1, 2)],
    input: plain,
    verdict: "consumed",
    delivered: 0
  },
  {
    title: "a network, known",
    entries: () => [inNetwork(0), undefined, inNetwork(2)],
    before: [frame({ to: broadcast, from: macOf(1) })],
    input: plain,
    verdict: "redirect",
    delivered: 0
  },
  {
    title: "a network, STP",
    entries: () => [inNetwork(0), inNetwork(1)],
    input: frame({ to: "01:80:c2:00:00:00", from: macOf(0) }),
    verdict: "drop",
    dropped: "linkLocal",
    delivered: 0
  },
  {
    title: "a network, from a group",
    entries: () => [inNetwork(0), inNetwork(1)],
    input: frame({ to: macOf(1), from: "01:00:5e:00:00:01" }),
    verdict: "drop",
    dropped: "invalidSource",
    delivered: 0
  },
  {
    title: "a network, to its own source",
    entries: () => [inNetwork(0), inNetwork(1)],
    input: frame({ to: macOf(0), from: macOf(0) }),
    verdict: "drop",
    dropped: "hairpin",
    delivered: 0
  }
]

t.test("verdicts", { skip: needsRoot }, async (t) => {
  const { world, program, fabric, ports } = makeFixture("program", 3)
  t.teardown(() => world.close())
  const run = (port: number, octets: Uint8Array, repeat = 1) => addon.bpfTestRun(program.programFd, fabric.fd, ports[port]!, octets, repeat)
  for (const { title, entries, before, input, verdict, dropped, delivered } of cases) {
    program.removePorts(ports)
    entries(ports).forEach((port, i) => port !== undefined && program.setPort(ports[i]!, port))
    const stray = program.strayCounters().drops.noPort
    for (const octets of before ?? []) run(2, octets)
    const result = run(0, input)
    t.equal(result.verdict, Verdict[verdict], `${title}: verdict`)
    t.equal(hex(result.frame), hex(input), `${title}: the frame is as it was`)
    const counters = program.counters(ports[0]!)
    if (counters === undefined) t.equal(program.strayCounters().drops.noPort, stray + 1, `${title}: counted apart`)
    else {
      t.strictSame(counters.from, { packets: 1, octets: input.length }, `${title}: counted at the source`)
      t.strictSame(dropReasons.filter((reason) => counters.drops[reason] > 0), dropped === undefined ? [] : [dropped], `${title}: reason`)
    }
    t.equal(program.counters(ports[1]!)?.to.packets ?? 0, delivered, `${title}: counted at the destination`)
  }
})

t.test("time per frame", { skip: needsRoot }, async (t) => {
  const { world, program, fabric, ports } = makeFixture("time", 3)
  t.teardown(() => world.close())
  const [a, b] = pair(ports)
  program.setPorts([[ports[0]!, a!], [ports[1]!, b!]])
  const times: Record<string, number> = {}
  const measure = (title: string) => {
    // The best of four: what interrupts a run is not the program's.
    const runs = [1, 2, 3, 4].map(() => addon.bpfTestRun(program.programFd, fabric.fd, ports[0]!, plain, 50_000).nanoseconds)
    times[title] = Math.min(...runs)
    // The order of magnitude: a frame between two namespaces takes well over 1000 ns.
    t.ok(times[title]! < 1000, `${title}: ${times[title]} ns`)
  }
  measure("link")
  program.setPorts(ports.map((port, i) => [port, inNetwork(i)]))
  addon.bpfTestRun(program.programFd, fabric.fd, ports[1]!, frame({ to: macOf(0), from: macOf(1) }), 1)
  measure("network")
})
