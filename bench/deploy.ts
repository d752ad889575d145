/**
 * How long a lab takes to come, to stay and to go, beside `ip -batch` doing the same kernel work and Mininet.
 *
 *   star   hosts on networks of at most 300 hosts, one router in the middle
 *   chain  routers in a row, a link between each two
 *
 * `ip` makes the same namespaces, veth pairs, addresses and default routes: one `ip -batch` for the namespaces, one
 * for the pairs, and one in each namespace for what must be said inside. It makes no bridge, no qdisc, no eBPF, no sysctl.
 * Mininet (where it is installed) makes hosts on one Linux bridge; weft is then measured on one network as well.
 *
 * weft is measured at the API, from the call to the end of its stream, as `deploy`; and as `cli`, from the start of the
 * command to its end. Rounds of all cases are interleaved.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs, type ParseArgsConfig } from "node:util"
import * as grpc from "@grpc/grpc-js"
import * as protoLoader from "@grpc/proto-loader"
import * as Report from "./report.ts"

const checkout = fileURLToPath(new URL("..", import.meta.url))
const instance = "bench"
const socket = `/run/weft/${instance}/weftd.sock`
const portsPerNetwork = 300

type Shape = "star" | "chain"

interface Size {
  readonly shape: Shape
  readonly nodes: number
}

/** Each node's ports with their addresses: what weft's file says and what `ip` is told. */
interface Node {
  readonly name: string
  readonly ports: { readonly name: string; readonly address: string }[]
  gateway?: string
}

const star = (count: number): { yaml: string; nodes: Node[] } => {
  const core: Node = { name: "core", ports: [] }
  const nodes = [core]
  let networks = ""
  for (let first = 0; first < count; first += portsPerNetwork) {
    const index = first / portsPerNetwork
    const subnet = `10.${index}`
    core.ports.push({ name: `eth${index}`, address: `${subnet}.0.1/16` })
    const names = ["core"]
    for (let i = first; i < Math.min(count, first + portsPerNetwork); i++) {
      const host = i - first + 2
      nodes.push({ name: `h${i}`, ports: [{ name: "eth0", address: `${subnet}.${host >> 8}.${host & 255}/16` }], gateway: `${subnet}.0.1` })
      names.push(`h${i}`)
    }
    networks += `  net${index}: { cidr: ${subnet}.0.0/16, gateway: core, ports: [${names.join(", ")}] }\n`
  }
  const hosts = nodes.slice(1).map(({ name }) => `  ${name}: { kind: host }\n`)
  return { yaml: `nodes:\n  core: { kind: router }\n${hosts.join("")}networks:\n${networks}`, nodes }
}

const chain = (count: number): { yaml: string; nodes: Node[] } => {
  const nodes: Node[] = Array.from({ length: count }, (_, i) => ({ name: `r${i}`, ports: [] }))
  let links = ""
  for (let i = 0; i + 1 < count; i++) {
    const prefix = `10.${i >> 8}.${i & 255}`
    nodes[i]!.ports.push({ name: "right", address: `${prefix}.0/31` })
    nodes[i + 1]!.ports.push({ name: "left", address: `${prefix}.1/31` })
    links += `  - { endpoints: ["r${i}:right", "r${i + 1}:left"], cidr: ${prefix}.0/31 }\n`
  }
  return { yaml: `nodes:\n${nodes.map(({ name }) => `  ${name}: { kind: router }\n`).join("")}links:\n${links}`, nodes }
}

const build = ({ shape, nodes }: Size): { yaml: string; nodes: Node[] } => (shape === "star" ? star(nodes) : chain(nodes))

const seconds = (action: () => void): number => {
  const start = performance.now()
  action()
  return (performance.now() - start) / 1000
}

const must = (command: string, argv: ReadonlyArray<string>, input?: string): void => {
  const { status, stderr } = spawnSync(command, argv, { input, encoding: "utf8", maxBuffer: 64 << 20 })
  if (status !== 0) throw new Error(`${command} ${argv.slice(0, 4).join(" ")}: ${stderr.trim().split("\n")[0]}`)
}

// ---- ip -batch ------------------------------------------------------------------------------------------------------

const prefix = "weft-bench-"
const hub = `${prefix}hub`

const namespaces = (nodes: ReadonlyArray<Node>, verb: "add" | "del"): string =>
  nodes.map(({ name }) => `netns ${verb} ${prefix}${name}\n`).join("")

/** Pairs from the hub into the nodes. */
const pairs = (nodes: ReadonlyArray<Node>): string => {
  let port = 0
  const lines: string[] = []
  for (const { name, ports } of nodes) {
    for (const { name: ifname } of ports) lines.push(`link add p${port++} up type veth peer name ${ifname} netns ${prefix}${name}`)
  }
  return `${lines.join("\n")}\n`
}

const inside = (node: Node): string => {
  const lines = ["link set lo up", ...node.ports.flatMap(({ name, address }) => [`addr add ${address} dev ${name}`, `link set ${name} up`])]
  if (node.gateway !== undefined) lines.push(`route add default via ${node.gateway}`)
  return `${lines.join("\n")}\n`
}

const ipBatch = (nodes: ReadonlyArray<Node>): { create: number; remove: number } => {
  must("ip", ["netns", "add", hub])
  try {
    const create = seconds(() => {
      must("ip", ["-batch", "-"], namespaces(nodes, "add"))
      must("ip", ["-n", hub, "-batch", "-"], pairs(nodes))
      for (const node of nodes) must("ip", ["-n", `${prefix}${node.name}`, "-batch", "-"], inside(node))
    })
    const remove = seconds(() => must("ip", ["-batch", "-"], namespaces(nodes, "del")))
    return { create, remove }
  } finally {
    spawnSync("ip", ["netns", "del", hub])
  }
}

// ---- weft -----------------------------------------------------------------------------------------------------------

type Progress = grpc.ClientReadableStream<{ failed?: { message: string } }>

interface Weft {
  readonly process: ChildProcess
  readonly labs: grpc.Client & Record<"deploy" | "destroy", (request: object) => Progress>
  readonly folder: string
}

const startWeft = async (): Promise<Weft> => {
  const folder = mkdtempSync(`${tmpdir()}/weft-bench-`)
  const daemon = spawn(`${checkout}bin/weftd`, ["--instance", instance, "--state", `${folder}/state`], { stdio: "ignore" })
  for (let i = 0; !existsSync(socket); i++) {
    if (i > 1200 || daemon.exitCode !== null) throw new Error("weftd did not start")
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const loading = { longs: Number, enums: String, defaults: true, oneofs: true } as const
  const definition = protoLoader.loadSync(`${checkout}proto/weft/v1/weft.proto`, loading)
  const service = grpc.loadPackageDefinition(definition) as unknown as { weft: { v1: { Labs: new (...of: unknown[]) => Weft["labs"] } } }
  const options = { "grpc.max_receive_message_length": 64 << 20, "grpc.max_send_message_length": 64 << 20 }
  return { process: daemon, labs: new service.weft.v1.Labs(`unix:${socket}`, grpc.credentials.createInsecure(), options), folder }
}

const stopWeft = async ({ process: daemon, labs, folder }: Weft): Promise<void> => {
  labs.close()
  const ended = new Promise((resolve) => daemon.once("exit", resolve))
  daemon.kill("SIGTERM")
  await ended
  rmSync(folder, { recursive: true, force: true })
}

/** Seconds from the call to the end of the stream. */
const call = (stream: Progress): Promise<number> => {
  const start = performance.now()
  return new Promise((resolve, reject) => {
    stream.on("data", ({ failed }) => failed !== undefined && failed !== null && reject(new Error(failed.message)))
    stream.on("error", reject)
    stream.on("end", () => resolve((performance.now() - start) / 1000))
  })
}

/** Resident memory of the daemon, MiB, when it has come to rest. */
const memory = async (daemon: ChildProcess): Promise<number> => {
  await new Promise((resolve) => setTimeout(resolve, 1000))
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.pid}/status`, "utf8"))![1]) / 1024
}

const cli = (argv: ReadonlyArray<string>): number => seconds(() => must(`${checkout}bin/weft`, ["--daemon", `unix:${socket}`, ...argv]))

const weftRound = async (weft: Weft, yaml: string, record: (metric: string, value: number) => void): Promise<void> => {
  const topology = { filename: "bench.weft.yaml", content: Buffer.from(`name: bench\n${yaml}`) }
  record("deploy", await call(weft.labs.deploy({ topology })))
  record("redeploy", await call(weft.labs.deploy({ topology })))
  record("memory", await memory(weft.process))
  record("destroy", await call(weft.labs.destroy({ lab: "bench" })))
  const file = `${weft.folder}/bench.weft.yaml`
  writeFileSync(file, `name: bench\n${yaml}`)
  record("cli-deploy", cli(["deploy", file]))
  record("cli-destroy", cli(["destroy", "bench"]))
}

// ---- Mininet --------------------------------------------------------------------------------------------------------

const mininetProgram = `
import sys, time
from mininet.net import Mininet
from mininet.topo import SingleSwitchTopo
from mininet.nodelib import LinuxBridge
net = Mininet(topo=SingleSwitchTopo(int(sys.argv[1])), switch=LinuxBridge, controller=None)
start = time.time(); net.start(); built = time.time(); net.stop()
print(time.time() - built)
`

/** Seconds to make and to remove `count` hosts on one Linux bridge; undefined where Mininet is not installed. */
const mininet = (count: number): { create: number; remove: number } | undefined => {
  if (spawnSync("/usr/bin/python3", ["-c", "import mininet"]).status !== 0) return undefined
  // In a namespace of its own: Mininet puts bridges and interfaces where it runs.
  const name = `${prefix}mininet`
  must("ip", ["netns", "add", name])
  try {
    const start = performance.now()
    const program = ["/usr/bin/python3", "-c", mininetProgram, String(count)]
    const { stdout, stderr, status } = spawnSync("ip", ["netns", "exec", name, ...program], { encoding: "utf8" })
    if (status !== 0) throw new Error(`Mininet: ${stderr.trim().split("\n").at(-1)}`)
    const remove = Number(stdout.trim().split("\n").at(-1))
    return { create: (performance.now() - start) / 1000 - remove, remove }
  } finally {
    spawnSync("ip", ["netns", "del", name])
  }
}

// ---- the run --------------------------------------------------------------------------------------------------------

const units: Readonly<Record<string, string>> = { memory: "MiB" }

export const run = async (argv: ReadonlyArray<string>, emit: Report.Emit): Promise<void> => {
  const options = {
    sizes: { type: "string", default: "10,100,300,1000" },
    shapes: { type: "string", default: "star,chain" },
    rounds: { type: "string", default: "3" }
  } satisfies ParseArgsConfig["options"]
  const { values } = parseArgs({ args: [...argv], options, strict: true })
  if (process.getuid?.() !== 0) throw new Error("The bench makes network namespaces: run it as root")
  const shapes = values.shapes.split(",") as Shape[]
  const sizes = shapes.flatMap((shape) => values.sizes.split(",").map((nodes): Size => ({ shape, nodes: Number(nodes) })))
  if (sizes.some(({ nodes }) => !(nodes >= 2)) || !(Number(values.rounds) >= 1)) {
    throw new TypeError("--sizes and --rounds take positive numbers")
  }
  const weft = await startWeft()
  try {
    for (const size of sizes) await measure(weft, size, Number(values.rounds), emit)
  } finally {
    await stopWeft(weft)
  }
}

const measure = async (weft: Weft, size: Size, rounds: number, emit: Report.Emit): Promise<void> => {
  const name = `${size.shape}-${size.nodes}`
  const { yaml, nodes } = build(size)
  const samples = new Map<string, number[]>()
  const record = (what: string) => (metric: string, value: number): void => {
    const key = `${what} ${metric}`
    samples.set(key, [...(samples.get(key) ?? []), value])
  }
  for (let round = 0; round < rounds; round++) {
    console.error(`deploy ${name}: round ${round + 1} of ${rounds}`)
    await weftRound(weft, yaml, record("weft"))
    const ip = ipBatch(nodes)
    record("ip")("deploy", ip.create)
    record("ip")("destroy", ip.remove)
    const other = size.shape === "star" && size.nodes <= 300 ? mininet(size.nodes) : undefined
    if (other !== undefined) {
      record("mininet")("deploy", other.create)
      record("mininet")("destroy", other.remove)
    }
  }
  for (const [key, values] of samples) {
    const [what, metric] = key.split(" ") as [string, string]
    const subject = { bench: "deploy", case: what === "weft" ? name : `${name}-${what}`, metric, unit: units[metric] ?? "s" }
    emit(Report.figure(subject, values))
    if (what !== "weft") continue
    for (const reference of ["ip", "mininet"]) {
      const theirs = samples.get(`${reference} ${metric}`)
      if (theirs !== undefined) emit(Report.figure(subject, values, { case: `${name}-${reference}`, samples: theirs }))
    }
  }
}
