/** `latency` (with jitter and loss) and `throughput`: real traffic for a while, and what became of it. */
import { Schema } from "effect"
import { optional } from "../../topology/schema-parts.ts"
import { parseDuration, parseRate, parseShare } from "../../topology/units.ts"
import { explain } from "../explain.ts"
import { kind, type Kind } from "../kind.ts"
import { Flag, Measure, msOf, NodeName, placeOf, randomToken, Rate, referencesOf, Share, Spacing, Target, Time } from "../parts.ts"

const Latency = Schema.Struct({
  from: NodeName,
  to: Target,
  for: optional(Time.annotate({ description: "How long probes are sent; 1s unless given" })),
  spacing: optional(Spacing.annotate({ description: "From one probe to the next; 5ms unless given" })),
  protocol: optional(Schema.Literals(["icmp", "udp"])),
  min: optional(Measure.annotate({ description: "No round trip is shorter" })),
  mean: optional(Measure.annotate({ description: "The mean of round trips is this or less" })),
  p50: optional(Measure),
  p99: optional(Measure),
  max: optional(Measure),
  jitter: optional(Measure.annotate({ description: "The 99th percentile is at most this much above the median" })),
  loss: optional(Share.annotate({ description: "At most so many are lost" })),
  ipv6: optional(Flag)
}).annotate({ expected: "a map such as {from: pc, to: db, p99: 20ms, loss: 0%}" })

/** 0% is a share, too: `parseShare` of "0%" is 0. */
const ms = (value: number): string => `${Number(value.toPrecision(3))} ms`
const percent = (share: number): string => `${Number((share * 100).toPrecision(3))}%`

const bounds = ["mean", "p50", "p99", "max", "jitter"] as const

const latencyTitle = (spec: typeof Latency.Type): string => {
  const parts = [
    ...(spec.min === undefined ? [] : [`min ${spec.min} or more`]),
    ...bounds.flatMap((key) => (spec[key] === undefined ? [] : [`${key} ${spec[key]} or less`])),
    ...(spec.loss === undefined ? [] : [`loss ${spec.loss} or less`])
  ]
  return `round trips from ${spec.from} to ${spec.to}: ${parts.length === 0 ? "some" : parts.join(", ")}`
}

export const latency: Kind<typeof Latency.Type> = kind({
  schema: Latency,
  references: ({ from, to }) => [...referencesOf(["from"], from, "node"), ...referencesOf(["to"], to, "target")],
  title: latencyTitle,
  stage: "measures",
  run: async (spec, lab) => {
    const { address, node } = placeOf(spec.to, lab, spec.ipv6 === true)
    const expected = latencyTitle(spec)
    const door = spec.protocol === "udp" && node !== undefined
      ? { node, ...(await lab.ask(node, "open", { protocol: "udp", port: 0, ipv6: spec.ipv6 === true })) }
      : undefined
    const spacingMs = parseDuration(spec.spacing ?? "5ms")!
    const question = { address, port: door?.port ?? 0, spacingMs, forMs: msOf(spec.for, 1000), timeoutMs: 1000 }
    const flow = await lab.ask(spec.from, "flow", question)
      .finally(() => (door === undefined ? null : lab.ask(door.node, "shut", { id: door.id }).catch(() => null)))
    if (flow.received === 0) return { passed: false, expected, seen: `none of ${flow.sent} probes came back`,
      where: await explain(lab, spec.from, address) }
    const found = { ...flow.latency, jitter: flow.latency.p99 - flow.latency.p50 }
    const loss = flow.sent === 0 ? 1 : flow.lost / flow.sent
    const wrong = bounds.some((key) => spec[key] !== undefined && found[key] > parseDuration(spec[key]!)!)
      || (spec.min !== undefined && found.min < parseDuration(spec.min)!)
      || (spec.loss !== undefined && loss > parseShare(spec.loss)!)
    const figures = (["min", "mean", "p50", "p99", "max", "jitter"] as const).map((key) => `${key} ${ms(found[key])}`).join(", ")
    const unsent = flow.unsent === 0 ? "" : `, ${flow.unsent} could not be sent in time`
    return { passed: !wrong, expected, seen: `${figures}, loss ${percent(loss)} of ${flow.sent}${unsent}` }
  }
})

const Throughput = Schema.Struct({
  from: NodeName,
  to: Target,
  for: optional(Time.annotate({ description: "How long; 2s unless given" })),
  "at-least": optional(Rate),
  "at-most": optional(Rate),
  ipv6: optional(Flag)
}).annotate({ expected: "a map such as {from: pc, to: db, at-least: 50mbit}" })

const rateText = (bps: number): string =>
  bps >= 1e9 ? `${(bps / 1e9).toFixed(2)} gbit` : bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} mbit` : `${(bps / 1e3).toFixed(1)} kbit`

const throughputTitle = (spec: typeof Throughput.Type): string => {
  const limits = [
    ...(spec["at-least"] === undefined ? [] : [`${spec["at-least"]} or more`]),
    ...(spec["at-most"] === undefined ? [] : [`${spec["at-most"]} or less`])
  ]
  return `one TCP connection from ${spec.from} to ${spec.to} carries ${limits.length === 0 ? "data" : limits.join(" and ")}`
}

export const throughput: Kind<typeof Throughput.Type> = kind({
  schema: Throughput,
  references: ({ from, to }) => [...referencesOf(["from"], from, "node"), ...referencesOf(["to"], to, "target")],
  title: throughputTitle,
  stage: "alone",
  run: async (spec, lab) => {
    const { address, node } = placeOf(spec.to, lab, spec.ipv6 === true)
    const expected = throughputTitle(spec)
    if (node === undefined) return { passed: false, expected, seen: `${spec.to} is no node of the lab: nobody there takes the data` }
    const { id, port } = await lab.ask(node, "open", { protocol: "tcp", port: 0, ipv6: spec.ipv6 === true })
    try {
      const [token, forMs] = [randomToken(), msOf(spec.for, 2000)]
      const sent = await lab.ask(spec.from, "flood", { address, port, token, forMs, timeoutMs: 1000 })
      const seen = sent.ok ? await lab.ask(node, "seen", { id, token, timeoutMs: 1000 }) : null
      if (!sent.ok) return { passed: false, expected, seen: sent.reason, where: await explain(lab, spec.from, address) }
      if (seen === null || seen.ms <= 0) return { passed: false, expected, seen: "no data arrived",
        where: await explain(lab, spec.from, address) }
      const bps = (seen.octets * 8000) / seen.ms
      const isRight = bps >= (spec["at-least"] === undefined ? 1 : parseRate(spec["at-least"])!)
        && bps <= (spec["at-most"] === undefined ? Infinity : parseRate(spec["at-most"])!)
      return { passed: isRight, expected, seen: `${rateText(bps)} over ${(seen.ms / 1000).toFixed(1)} s` }
    } finally {
      await lab.ask(node, "shut", { id }).catch(() => null)
    }
  }
})
