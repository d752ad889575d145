/**
 * `npm run bench -- failover`: how long traffic is interrupted when a path between two routers fails.
 *
 *     src --- r1 ===left(preferred)=== r2 --- dst          eBGP over both; r2 announces N prefixes, the last one is dst's
 *                ===right============                       probes from src to dst and back every ms
 *
 * The same lab, the same cuts and the same probes for every speaker: weft's own, and, in the same nodes of a lab without `bgp`,
 * Debian's FRR and BIRD; and, for a lost link, `kernel`: the table that weft has made while weftd is stopped, so that nobody but the
 * kernel does anything about the loss. That is the floor for whoever leaves a lost link to the kernel.
 *
 * Cuts of the preferred link: `carrier` pulls its cable, so both ends lose the carrier at once; `down` is `ip link set left down` in r1;
 * the others drop all that arrives at either end of it, so that only timers can tell: BFD at 3x50 ms and 3x10 ms, a hold timer of 3 s.
 *
 * Labs with few and with many prefixes stand side by side and are cut in turns, so that how much longer the outage is with many
 * (`growth`) does not depend on what else the machine does. In ratios an outage is at least the millisecond between two probes.
 *
 *   --rounds N          cuts of each sort (default 5)
 *   --prefixes N,...    default 10,100000
 *   --speaker NAME      weft, kernel, frr, bird: may be repeated (default: all)
 *   --case NAME         carrier, down, bfd50, bfd10, hold: may be repeated (default: all)
 */
import { existsSync } from "node:fs"
import { parseArgs, type ParseArgsOptionsConfig } from "node:util"
import { addon } from "../daemon/native/index.ts"
import * as Fabric from "../daemon/linux/fabric.ts"
import { Batch } from "../daemon/linux/rtnetlink.ts"
import { Flows } from "../daemon/probes/flows.ts"
import { setLink } from "../daemon/wire/rtnetlink/link.ts"
import { type Peer, startBird, startFrr } from "../test/root/bgp-peers.ts"
import { type TopologyObject, Weftd } from "../test/root/daemon-harness.ts"
import { ipBatch, links as linksOf, type Namespace, until, World } from "../test/root/harness.ts"
import * as Report from "./report.ts"

const cases = ["carrier", "down", "bfd50", "bfd10", "hold"] as const
type Case = (typeof cases)[number]
/** Cuts that the kernel sees for itself. */
const seen: ReadonlySet<Case> = new Set(["carrier", "down"])
const speakers = ["weft", "kernel", "frr", "bird"] as const
type Speaker = (typeof speakers)[number]

/** What each case must reach with weft, in ms of the worst cut. */
const bounds: Partial<Record<Case, Report.Bound>> = {
  carrier: { least: 0, most: 20 },
  down: { least: 0, most: 20 },
  bfd50: { least: 0, most: 200 },
  bfd10: { least: 0, most: 60 }
}

const bfdIntervalMs: Partial<Record<Case, number>> = { bfd50: 50, bfd10: 10, carrier: 50, down: 50 }
/** With many prefixes the median outage of weft may be so many times as long as with few. */
const growth: Report.Bound = { least: 0, most: 1.5 }
const spacingMs = 1
const holdTimeS = 3
const asn = { r1: 65001, r2: 65002 } as const
/** Of r1 and r2 on the preferred link and on the other. */
const links = { left: ["10.0.1.1", "10.0.1.2"], right: ["10.0.2.1", "10.0.2.2"] } as const
export const target = "100.127.255.254"
const convergeMs = 180_000

const options = {
  rounds: { type: "string", default: "5" },
  prefixes: { type: "string", default: "10,100000" },
  speaker: { type: "string", multiple: true, default: [...speakers] as string[] },
  case: { type: "string", multiple: true, default: [...cases] as string[] }
} satisfies ParseArgsOptionsConfig

/** The nodes and wires; with `bgp` for weft's own speakers. */
export const topology = (name: string, detection: Case | undefined): TopologyObject => {
  const interval = detection === undefined ? undefined : bfdIntervalMs[detection]
  const session = {
    ...(interval === undefined ? {} : { bfd: { interval: `${interval}ms`, multiplier: 3 } }),
    timers: { hold: `${holdTimeS}s`, keepalive: "1s" }
  }
  const speaker = (node: keyof typeof asn, [left, right]: readonly [string, string], source: object) => ({
    bgp: {
      as: asn[node],
      ...session,
      ...source,
      policies: { preferred: [{ permit: "any", set: { "local-preference": 200 } }] },
      neighbors: [{ peer: left, import: "preferred" }, { peer: right }]
    }
  })
  const bgp = {
    r1: speaker("r1", [links.left[1], links.right[1]], { redistribute: ["connected"] }),
    r2: speaker("r2", [links.left[0], links.right[0]], { redistribute: ["static"] })
  }
  return {
    name,
    nodes: {
      src: { kind: "host" },
      dst: { kind: "host", loopback: [`${target}/32`] },
      r1: { kind: "router", ...(detection === undefined ? {} : bgp.r1) },
      r2: { kind: "router", ...(detection === undefined ? {} : bgp.r2) }
    },
    links: [
      { name: "source", endpoints: ["src:eth0", "r1:src"], cidr: "10.1.0.0/24" },
      { name: "left", endpoints: ["r1:left", "r2:left"], cidr: "10.0.1.0/24" },
      { name: "right", endpoints: ["r1:right", "r2:right"], cidr: "10.0.2.0/24" },
      { name: "target", endpoints: ["r2:dst", "dst:eth0"], cidr: "10.2.0.0/24" }
    ]
  }
}

const frr = (node: keyof typeof asn, detection: Case): string => {
  const own = node === "r1" ? 0 : 1
  const interval = bfdIntervalMs[detection]
  const peers = [links.left[1 - own]!, links.right[1 - own]!]
  const profile = interval === undefined
    ? []
    : ["bfd", " profile fast", "  detect-multiplier 3", `  receive-interval ${interval}`, `  transmit-interval ${interval}`]
  const lines = peers.flatMap((peer) => [
    ` neighbor ${peer} remote-as ${node === "r1" ? asn.r2 : asn.r1}`,
    ` neighbor ${peer} timers 1 ${holdTimeS}`,
    ` neighbor ${peer} advertisement-interval 0`,
    ...(interval === undefined ? [] : [` neighbor ${peer} bfd profile fast`])
  ])
  return [
    ...profile,
    "route-map preferred permit 10", " set local-preference 200",
    `router bgp ${asn[node]}`,
    " no bgp ebgp-requires-policy",
    ...lines,
    " address-family ipv4 unicast",
    `  neighbor ${peers[0]} route-map preferred in`,
    `  redistribute ${node === "r1" ? "connected" : "kernel"}`
  ].join("\n")
}

const bird = (node: keyof typeof asn, detection: Case): string => {
  const own = node === "r1" ? 0 : 1
  const interval = bfdIntervalMs[detection]
  const session = (name: "left" | "right"): string => `protocol bgp ${name} {
  local ${links[name][own]} as ${asn[node]};
  neighbor ${links[name][1 - own]} as ${node === "r1" ? asn.r2 : asn.r1};
  hold time ${holdTimeS}; keepalive time 1; connect retry time 1; error wait time 1, 2;
  ${interval === undefined ? "" : "bfd on;"}
  ipv4 { ${name === "left" ? "import filter { bgp_local_pref = 200; accept; };" : "import all;"}
    export where source ~ [ RTS_DEVICE, RTS_INHERIT ]; };
}`
  return `router id ${links.left[own]};
protocol device { scan time 1; }
protocol direct { ipv4; interface "src"; }
protocol kernel { learn; ipv4 { import ${node === "r1" ? "none" : "all"}; export where source = RTS_BGP; }; }
${interval === undefined ? "" : `protocol bfd { interface "*" {
  min rx interval ${interval} ms; min tx interval ${interval} ms; multiplier 3;
}; }`}
${session("left")}
${session("right")}
`
}

class Lab {
  readonly weftd: Weftd
  readonly name: string
  readonly prefixes: number
  readonly world: World
  readonly flows = Flows.start()
  private readonly open = new Map<string, Namespace>()
  private peers: Peer[] = []
  /** While a cut is measured weftd stands still. */
  private isKernelAlone = false
  /** How long the kernel has taken to set r1's end down, each time, ms. */
  readonly shutMs: number[] = []

  constructor(weftd: Weftd, prefixes: number) {
    this.weftd = weftd
    this.prefixes = prefixes
    this.name = weftd.name(`failover-${prefixes}`)
    this.world = new World(`failover-${prefixes}`)
  }

  node(name: string): Namespace {
    return this.open.get(name) ?? this.enter(name, `weft.${this.name}.${name}`)
  }

  private enter(name: string, full: string): Namespace {
    const path = `/run/netns/${full}`
    const namespace = { name: full, path, fd: addon.netnsOpen(path) }
    this.open.set(name, namespace)
    return namespace
  }

  /** Builds the lab with its speakers and its prefixes; resolves when r1 has them all, by the preferred link. */
  async build(speaker: Speaker, detection: Case): Promise<void> {
    const { prefixes } = this
    await this.weftd.make(topology(this.name, undefined))
    const gateway = (await this.address("dst", "eth0"))
    // Routes of nobody's: the kernel's own tool makes them, and whoever speaks BGP in r2 takes them up.
    const network = (i: number): string => `100.${64 + (i >> 14)}.${(i >> 6) & 255}.${(i & 63) << 2}/30`
    const lines = Array.from({ length: prefixes - 1 }, (_, i) => `route add ${network(i)} via ${gateway} proto static`)
    ipBatch(this.node("r2"), [...lines, `route add ${target}/32 via ${gateway} proto static`])
    this.isKernelAlone = speaker === "kernel"
    if (speaker === "weft" || speaker === "kernel") await this.weftd.make(topology(this.name, detection))
    else {
      for (const node of ["r1", "r2"] as const) {
        const namespace = this.node(node)
        this.peers.push(
          speaker === "frr"
            ? await startFrr(this.world, namespace, frr(node, detection), { daemons: ["bfdd"] })
            : await startBird(this.world, namespace, bird(node, detection))
        )
      }
    }
    await this.converged()
  }

  private async address(node: string, ifname: string): Promise<string> {
    const { stdout } = await this.world.run(this.node(node), ["ip", "-j", "-4", "addr", "show", "dev", ifname])
    return JSON.parse(stdout)[0].addr_info[0].local
  }

  /** r1 has all prefixes and prefers the left link, and r2 the way back. */
  async converged(): Promise<void> {
    const { prefixes } = this
    const prefers = async (node: string, destination: string): Promise<boolean> => {
      const { stdout } = await this.world.run(this.node(node), ["ip", "route", "get", destination])
      return stdout.includes("dev left")
    }
    // Of weft's routes all lie in one group when none waits to be written any more; BIRD's lie in none.
    const summary =
      `/^100/ { routes++; for (i = 2; i < NF; i++) if ($i == "nhid" && !seen[$(i + 1)]++) groups++ } END { print routes + 0, groups + 0 }`
    const hasAll = async (): Promise<boolean> => {
      const { stdout } = await this.world.run(this.node("r1"), ["sh", "-c", `ip route show root 100.64.0.0/10 | awk '${summary}'`])
      const [routes = 0, groups = 0] = stdout.split(" ").map(Number)
      return routes >= prefixes && (groups <= 1 || this.peers.length > 0)
    }
    await until(
      `r1 has ${prefixes} prefixes by the preferred link`,
      async () => (await prefers("r1", target)) && (await prefers("r2", "10.1.0.1")) && (await hasAll()),
      convergeMs
    )
    await this.bfdIsUp()
  }

  /** A cut before BFD is up would measure the hold timer. FRR and BIRD start it when the session is there. */
  private async bfdIsUp(): Promise<void> {
    if (this.peers.length === 0) {
      const areUp = async (node: string): Promise<boolean> => {
        const { sessions } = await this.weftd.client.bfd(`${this.name}/${node}`)
        return sessions.every(({ detectionMs, state }) => state === "up" && detectionMs < 1000)
      }
      return until("BFD is up, and as fast as it is to be", async () => (await areUp("r1")) && (await areUp("r2")), 60_000)
    }
    for (const peer of this.peers) {
      const [command, up] = peer.kind === "frr" ? ["show bfd peers", /Status: up/g] as const : ["show bfd sessions", / Up /g] as const
      if (!/bfd/i.test(String(await peer.ask(peer.kind === "frr" ? "show running-config" : "show protocols")))) continue
      await until("BFD is up", async () => String(await peer.ask(command)).match(up)?.length === 2, 60_000).catch(() => {})
    }
  }

  /** Cuts the preferred path, waits until traffic flows again, mends it; returns the outage in ms. */
  async cut(detection: Case): Promise<number> {
    const responder = this.flows.respond(this.node("dst").path, "0.0.0.0", 0)
    const { port } = responder
    const flow = this.flows.add({ netnsPath: this.node("src").path, address: target, port, spacingMs, timeoutMs: 400 })
    try {
      await until("traffic flows", () => this.flows.read(flow).received > 300, 20_000)
      const before = this.flows.read(flow).received
      if (this.isKernelAlone) process.kill(this.weftd.pid, "SIGSTOP")
      await this.sever(detection)
      // Over when probes are answered again for longer than an answer may take.
      let last = before
      let quietSince = performance.now()
      await until("traffic flows again", () => {
        const { outages, received } = this.flows.read(flow)
        if (received > last + 300 && performance.now() - quietSince > 1000) return !(outages.at(-1)?.lasts ?? false)
        if (received === last) quietSince = performance.now()
        return false
      }, 120_000)
      last = this.flows.read(flow).received
      const { outages, blindMs } = this.flows.read(flow)
      if (blindMs > 5) console.error(`probes could not be sent for ${blindMs.toFixed(1)} ms`)
      // All of them: a speaker that flaps on the way is not to profit from it.
      return outages.reduce((sum, { lengthMs }) => sum + lengthMs, 0)
    } finally {
      this.flows.end(flow)
      this.flows.silence(responder)
      if (this.isKernelAlone) process.kill(this.weftd.pid, "SIGCONT")
      await this.mend(detection)
      await this.converged()
    }
  }

  private async sever(detection: Case): Promise<void> {
    if (detection === "carrier") return this.pull(true)
    if (this.isKernelAlone) return this.shut()
    if (detection === "down") return ipBatch(this.node("r1"), ["link set left down"])
    const rules = "table netdev cut {\n chain left {\n type filter hook ingress device left priority 0; policy drop;\n }\n}\n"
    const done = await Promise.all((["r1", "r2"] as const).map((node) => this.world.run(this.node(node), ["nft", "-f", "-"], rules)))
    for (const { code, stderr } of done) if (code !== 0) throw new Error(`nft: ${stderr}`)
  }

  /** As a fault pulls a cable (daemon/resources/port.ts), without asking weftd, which may stand still. Or plugs it in again. */
  private pull(isOut: boolean): void {
    const fabric = this.open.get("fabric") ?? this.enter("fabric", this.weftd.fabric)
    const batch = new Batch(fabric.fd)
    for (const { ifname, lab, link, node } of Fabric.ports(fabric.fd).marked) {
      if (lab !== this.name || ifname !== "left" || !Object.hasOwn(asn, node)) continue
      setLink(batch.out, link.index, { up: !isOut, group: isOut ? Fabric.pulledGroup : 0 })
      batch.note("pull the cable of", node)
    }
    for (const { error } of batch.commit()) throw error
  }

  /** Both ends, for nobody tells the other one. */
  private shut(): void {
    const ends = (["r1", "r2"] as const).map((node) => {
      const { index } = linksOf(this.node(node)).find(({ name }) => name === "left")!
      return { fd: this.node(node).fd, index }
    })
    for (const [place, { fd, index }] of ends.entries()) {
      const batch = new Batch(fd)
      setLink(batch.out, index, { up: false })
      batch.note("set down", "left")
      const began = performance.now()
      for (const { error } of batch.commit()) throw error
      if (place === 0) this.shutMs.push(performance.now() - began)
    }
  }

  private async mend(detection: Case): Promise<void> {
    if (detection === "carrier") return this.pull(false)
    if (this.isKernelAlone) ipBatch(this.node("r2"), ["link set left up"])
    if (detection === "down") return ipBatch(this.node("r1"), ["link set left up"])
    const words = ["nft", "delete", "table", "netdev", "cut"]
    await Promise.all((["r1", "r2"] as const).map((node) => this.world.run(this.node(node), words)))
  }

  async clear(): Promise<void> {
    for (const peer of this.peers.splice(0)) await peer.stop()
    for (const { fd } of this.open.values()) addon.close(fd)
    this.open.clear()
    await this.weftd.destroy(this.name)
  }

  close(): void {
    this.flows.close()
    this.world.close()
  }
}

export const run = async (argv: ReadonlyArray<string>, emit: Report.Emit): Promise<void> => {
  const { values } = parseArgs({ args: [...argv], options })
  const rounds = Number(values.rounds)
  const counts = values.prefixes.split(",").map(Number)
  const known: ReadonlyArray<string> = [...speakers, ...cases]
  const unknown = [...values.speaker, ...values.case].filter((name) => !known.includes(name))
  if (!(rounds >= 1) || counts.some((count) => !(count >= 1)) || unknown.length > 0) throw new TypeError(`bad option ${unknown.join(", ")}`)
  const weftd = await Weftd.start("failover")
  const labs = counts.map((count) => new Lab(weftd, count))
  try {
    for (const detection of cases.filter((name) => values.case.includes(name))) {
      /** Outages by prefixes, then by speaker. */
      const samples = new Map(counts.map((count) => [count, new Map<Speaker, number[]>()]))
      for (const speaker of speakers.filter((name) => values.speaker.includes(name))) {
        if (speaker === "frr" && !existsSync("/usr/lib/frr/bgpd")) continue
        if (speaker === "kernel" && !seen.has(detection)) continue
        for (const lab of labs) await lab.build(speaker, detection)
        for (let round = 0; round < rounds; round++) {
          for (const lab of labs) {
            const outages = samples.get(lab.prefixes)!
            const outage = await lab.cut(detection)
            outages.set(speaker, [...(outages.get(speaker) ?? []), outage])
            console.error(`${speaker} ${detection} ${lab.prefixes}: ${outage.toFixed(1)} ms`)
          }
        }
        for (const lab of labs) await lab.clear()
      }
      for (const lab of labs) report(detection, lab, samples.get(lab.prefixes)!, emit)
      for (const count of counts.slice(1)) reportGrowth(detection, [counts[0]!, count], samples, emit)
    }
  } finally {
    for (const lab of labs) {
      await lab.clear().catch(() => {})
      lab.close()
    }
    await weftd.close()
  }
}

const report = (detection: Case, lab: Lab, samples: ReadonlyMap<Speaker, number[]>, emit: Report.Emit): void => {
  for (const [speaker, outages] of samples) {
    const subject = { bench: "failover", case: `${detection}, ${lab.prefixes} prefixes, ${speaker}`, metric: "outage", unit: "ms" }
    const reference = speaker === "weft" ? undefined : samples.get("weft")?.map((outage) => Math.max(outage, spacingMs))
    const figure = Report.figure(subject, outages, reference === undefined ? undefined : { case: "weft", samples: reference })
    const bound = speaker === "weft" ? bounds[detection] : undefined
    const judged = bound && { bound: `max <= ${bound.most}`, verdict: figure.max <= bound.most ? "ok" : "missed" } as const
    emit({ ...figure, ...judged })
    const shutMs = speaker === "kernel" ? lab.shutMs.splice(0) : []
    if (shutMs.length > 0) emit(Report.figure({ ...subject, metric: "set-down" }, shutMs))
  }
}

/** How many times as long outages are with `many` prefixes as the median one is with `few`. */
const reportGrowth = (
  detection: Case,
  [few, many]: readonly [number, number],
  samples: ReadonlyMap<number, ReadonlyMap<Speaker, number[]>>,
  emit: Report.Emit
): void => {
  for (const [speaker, outages] of samples.get(many)!) {
    const usual = Math.max(Report.median(samples.get(few)!.get(speaker)!), spacingMs)
    const ratios = outages.map((outage) => Math.max(outage, spacingMs) / usual)
    const subject = { bench: "failover", case: `${detection}, ${many} over ${few} prefixes, ${speaker}`, metric: "growth", unit: "x" }
    const figure = Report.figure(subject, ratios)
    emit(speaker === "weft" ? Report.judged(figure, growth) : figure)
  }
}
