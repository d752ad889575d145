/**
 * What end-to-end tests stand on: a real weftd of an instance of its own, the real `bin/weft` beside a typed client, and
 * a look afterwards whether anything of it was left on the machine.
 *
 *   const weftd = await Weftd.start("edits")      instance test-edits-<pid>, state in a temporary folder
 *   const lab = weftd.name("edits")                lab names that no other test has
 *   const outcome = await weftd.deploy({ name: lab, nodes: ... })
 *   t.teardown(() => weftd.close())                destroys the labs, stops the daemon, throws when something is left
 *
 * Topologies are plain objects: JSON is YAML.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Client from "../../ctl/client.ts"
import type { Change, ChangeDone, InspectResponse, Planned, Progress, Topology } from "../../ctl/messages.ts"
import * as Netns from "../../daemon/linux/netns.ts"
import { checkout, until } from "./harness.ts"

/** A topology as the file would say it. */
export type TopologyObject = { readonly name: string } & Readonly<Record<string, unknown>>

export const toTopology = (topology: TopologyObject | string): Topology => ({
  filename: "test.weft.yaml",
  content: Buffer.from(typeof topology === "string" ? topology : JSON.stringify(topology))
})

export interface Outcome {
  readonly planned: Planned | undefined
  /** Every step, in order. */
  readonly steps: ReadonlyArray<ChangeDone>
  /** -1 when it failed. */
  readonly changed: number
  /** `id: message` of each resource that failed. */
  readonly failures: ReadonlyArray<string>
  readonly message: string
  readonly rolledBack: boolean
}

export interface Output {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** `~ port/a:eth0 mtu: 1500 -> 1400`: one line for each change, as a person would read a plan. */
export const describe = (changes: ReadonlyArray<Change>): ReadonlyArray<string> =>
  changes.map(({ action, attributes, id }) => {
    const sign = { CREATE: "+", UPDATE: "~", REPLACE: "-/+", REMOVE: "-", NONE: "=" }[action]
    if (action !== "UPDATE" && action !== "REPLACE") return `${sign} ${id}`
    return `${sign} ${id} ${attributes.map(({ path, before, after }) => `${path}: ${before} -> ${after}`).join(", ")}`
  })

const startPatienceMs = 120_000
const stopPatienceMs = 60_000

export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  readonly timeoutMs?: number
  /** Called with the process as soon as it runs. */
  readonly onStart?: (child: ChildProcess) => void
}

/** Runs a program to its end, whatever its exit status. */
export const run = (argv: ReadonlyArray<string>, options: RunOptions = {}): Promise<Output> =>
  new Promise((resolve, reject) => {
    const { cwd, env = process.env, timeoutMs = 300_000 } = options
    const child = spawn(argv[0]!, argv.slice(1), { stdio: "pipe", env, cwd, timeout: timeoutMs, killSignal: "SIGKILL" })
    let [stdout, stderr] = ["", ""]
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
    child.stdin.on("error", () => {})
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, stdout, stderr }))
    child.stdin.end(options.input ?? "")
    options.onStart?.(child)
  })

/** The environment of a user: the test runner's own settings are not for the programs under test. */
export const environment = (more: Readonly<Record<string, string>>): NodeJS.ProcessEnv => {
  const env: NodeJS.ProcessEnv = { ...process.env, ...more }
  for (const name of ["NODE_OPTIONS", "FORCE_COLOR", "NO_COLOR"]) delete env[name]
  return env
}

/** Runs `ip ...`, `nft ...` and the like at once; throws with what it said. */
export const sh = (...argv: ReadonlyArray<string>): string =>
  execFileSync(argv[0]!, argv.slice(1), { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })

export interface WeftdOptions {
  /** Path of the network namespace in which it runs; absent: the machine's own. */
  readonly netns?: string
  /** The labs of daemons that share them. */
  readonly labs?: Set<string>
}

export class Weftd {
  readonly instance: string
  readonly address: string
  readonly directory: string
  readonly fabric: string
  private child: ChildProcess | undefined
  private connected: Client.Client | undefined
  private readonly labs: Set<string>
  /** Kernel ids of every eBPF program and map that a daemon of this instance held. */
  private readonly bpf = { programs: new Set<number>(), maps: new Set<number>() }
  private readonly children = new Set<ChildProcess>()
  private readonly words: ReadonlyArray<string>
  private readonly netns: string | undefined

  /** A daemon that is still to be started. */
  constructor(label: string, words: ReadonlyArray<string>, options: WeftdOptions = {}) {
    this.words = words
    this.netns = options.netns
    this.labs = options.labs ?? new Set()
    this.instance = `test-${label}-${process.pid}`
    this.address = `unix:/run/weft/${this.instance}/weftd.sock`
    this.directory = mkdtempSync(join(tmpdir(), `weft-${this.instance}-`))
    this.fabric = Netns.fabricName(this.instance)
  }

  /** A daemon that answers. `words`: more of its command line. */
  static async start(label: string, words: ReadonlyArray<string> = []): Promise<Weftd> {
    const weftd = new Weftd(label, words)
    await weftd.start()
    return weftd
  }

  /** A lab name that no other test on this machine has; the lab is destroyed by `close`. */
  name(label: string): string {
    const name = `t${process.pid}-${label}`
    this.labs.add(name)
    return name
  }

  get client(): Client.Client {
    if (this.connected === undefined) throw new Error("the daemon is not running")
    return this.connected
  }

  get pid(): number {
    return this.child?.pid ?? 0
  }

  /** It has answered, and has not ended since. */
  get isRunning(): boolean {
    return this.connected !== undefined && this.child?.exitCode === null && this.child.signalCode === null
  }

  get log(): string {
    return readFileSync(join(this.directory, "weftd.log"), "utf8")
  }

  get stateDirectory(): string {
    return join(this.directory, "state")
  }

  /** Starts the daemon (again) and waits until it answers. */
  async start(): Promise<void> {
    this.spawn()
    await this.ready()
  }

  /** Starts the daemon and does not wait. */
  spawn(): void {
    const log = openSync(join(this.directory, "weftd.log"), "a")
    const words = ["--instance", this.instance, "--state", this.stateDirectory, ...this.words]
    // nsenter(1) and not `ip netns exec`: that one has another /sys, in another mount namespace.
    const enter = this.netns === undefined ? [] : ["nsenter", `--net=${this.netns}`, "--"]
    const argv = [...enter, join(checkout, "bin/weftd"), ...words]
    this.child = spawn(argv[0]!, argv.slice(1), { stdio: ["ignore", log, log] })
    closeSync(log)
    // A test that fails must not wait for its daemon for ever.
    this.child.unref()
    const { child } = this
    child.once("exit", (code, signal) => {
      // Whoever asks it next only hears that nobody is there.
      if (this.child === child) process.stderr.write(`${this.instance} ended by itself (${signal ?? code}):\n${this.log.slice(-4000)}\n`)
    })
  }

  async ready(): Promise<void> {
    const child = this.child!
    await until(
      "weftd answers",
      async () => {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(`weftd ended:\n${this.log.slice(-2000)}`)
        const client = await Client.connect(this.address).catch(() => undefined)
        if (client === undefined) return false
        const answers = await client.list().then(
          () => true,
          () => false
        )
        if (answers) this.connected = client
        else client.close()
        return answers
      },
      startPatienceMs
    )
    this.noteBpf()
  }

  /** Ends the daemon at once, as a crash would. */
  async kill(): Promise<void> {
    this.noteBpf()
    await this.end("SIGKILL")
  }

  /** Ends it as a service manager would; returns its exit status. */
  async stop(): Promise<number | null> {
    this.noteBpf()
    return this.end("SIGTERM")
  }

  private async end(signal: NodeJS.Signals): Promise<number | null> {
    this.connected?.close()
    this.connected = undefined
    const child = this.child
    this.child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    // It was let go when it started, so that a failed test does not wait for it; this waits.
    child.ref()
    const gone = once(child, "exit")
    child.kill(signal)
    const timer = setTimeout(() => child.kill("SIGKILL"), stopPatienceMs)
    const [code] = (await gone) as [number | null]
    clearTimeout(timer)
    return code
  }

  async plan(topology: TopologyObject | string): Promise<ReadonlyArray<string>> {
    const { changes, diagnostics } = await this.client.plan(toTopology(topology))
    const errors = diagnostics.filter(({ severity }) => severity === "ERROR")
    if (errors.length > 0) throw new Error(errors.map(({ line, message, path }) => `${line} ${path}: ${message}`).join("\n"))
    return describe(changes)
  }

  deploy(topology: TopologyObject | string, options: { rollback?: boolean } = {}): Promise<Outcome> {
    return collect(this.client.deploy(toTopology(topology), options.rollback ?? false))
  }

  /** Deploys and throws when that fails. */
  async make(topology: TopologyObject | string): Promise<Outcome> {
    const outcome = await this.deploy(topology)
    if (outcome.changed < 0) throw new Error(`deploy failed: ${outcome.message}\n${outcome.failures.join("\n")}`)
    return outcome
  }

  destroy(lab: string): Promise<Outcome> {
    return collect(this.client.destroy(lab))
  }

  inspect(lab: string): Promise<InspectResponse> {
    return this.client.inspect(lab)
  }

  /** What differs right now between what was asked for and what is, as a plan would say it. */
  async drift(lab: string): Promise<ReadonlyArray<string>> {
    return describe((await this.inspect(lab)).drift)
  }

  /** The real command line tool against this daemon. */
  weft(words: ReadonlyArray<string>, options: RunOptions = {}): Promise<Output> {
    return run([join(checkout, "bin/weft"), ...words], { ...options, env: environment({ WEFT_DAEMON: this.address }) })
  }

  /** Runs a command in a node as users do, with `ip netns exec`. */
  inNode(lab: string, node: string, ...argv: ReadonlyArray<string>): Promise<Output> {
    return run(["ip", "netns", "exec", Netns.nodeName(lab, node), ...argv])
  }

  /** Starts something in a node; it is killed by `close` at the latest. */
  startIn(lab: string, node: string, argv: ReadonlyArray<string>): ChildProcess {
    return this.spawnTool(["nsenter", `--net=${Netns.path(Netns.nodeName(lab, node))}`, "--", ...argv])
  }

  /** Starts something anywhere; it is killed by `close` at the latest. */
  spawnTool(argv: ReadonlyArray<string>): ChildProcess {
    const child = spawn(argv[0]!, argv.slice(1), { stdio: "pipe" })
    this.children.add(child)
    child.on("close", () => this.children.delete(child))
    child.stdin.on("error", () => {})
    return child
  }

  /** Whether `from` gets an answer to one ping. */
  async pings(lab: string, from: string, address: string): Promise<boolean> {
    return (await this.inNode(lab, from, "ping", "-c", "1", "-W", "2", address)).code === 0
  }

  /** Destroys what is deployed, stops the daemon; throws when anything of this instance is left. */
  async close(): Promise<void> {
    for (const child of this.children) child.kill("SIGKILL")
    const problems: string[] = []
    if (this.child === undefined && this.leftovers().length > 0) this.spawn()
    if (this.child !== undefined && this.connected === undefined) await this.ready()
    if (this.connected !== undefined) {
      problems.push(...(await this.destroyAll()))
      await this.stop()
    }
    problems.push(...(await this.remaining()))
    if (problems.length > 0) throw new Error(`Left behind by ${this.instance}: ${problems.join(", ")}\n${this.log.slice(-1500)}`)
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** Destroys every lab that it knows. Returns what could not be. */
  async destroyAll(): Promise<ReadonlyArray<string>> {
    const problems: string[] = []
    for (const { name } of await this.client.list()) {
      const { changed, failures, message } = await this.destroy(name)
      if (changed < 0) problems.push(`cannot destroy ${name}: ${message} ${failures.join(", ")}`)
    }
    return problems
  }

  /** What is still there after a moment: the kernel frees eBPF programs and maps some time after their last user has gone. */
  async remaining(): Promise<ReadonlyArray<string>> {
    return until("nothing is left", () => this.leftovers().length === 0).then(
      () => [],
      () => this.leftovers()
    )
  }

  /** Everything on this machine that is of this instance or of its labs. */
  leftovers(): ReadonlyArray<string> {
    this.noteBpf()
    const ofLab = (name: string): boolean => [...this.labs].some((lab) => name.startsWith(`weft.${lab}.`))
    const namespaces = Netns.list().filter((name) => ofLab(name) || name === this.fabric || Netns.owner(name) === this.instance)
    const etc = existing("/etc/netns").filter(ofLab)
    const files = [`/run/weft/${this.instance}`].filter((path) => existsSync(path))
    const processes = existing("/proc").filter((pid) => /^\d+$/.test(pid) && Number(pid) !== this.pid && this.owns(pid))
    return [
      ...namespaces.map((name) => `namespace ${name}`),
      ...etc.map((name) => `/etc/netns/${name}`),
      ...files,
      ...processes.map((pid) => `process ${pid}`),
      ...[...this.bpf.programs].filter((id) => lives("prog", id)).map((id) => `eBPF program ${id}`),
      ...[...this.bpf.maps].filter((id) => lives("map", id)).map((id) => `eBPF map ${id}`)
    ]
  }

  private owns(pid: string): boolean {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")
      const daemon = words.includes(this.instance) && words.some((word) => word.endsWith("daemon/main.ts"))
      // What it runs itself, such as etcd, keeps its data with the daemon's.
      return daemon || words.some((word) => word.includes(`${this.stateDirectory}/`))
    } catch {
      return false
    }
  }

  /** The daemon's descriptors by what they are: `socket`, `net`, `bpf-map`, ... */
  descriptors(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>()
    for (const fd of existing(`/proc/${this.pid}/fd`)) {
      const target = linkOf(`/proc/${this.pid}/fd/${fd}`).replace(/:?\[?\d+\]?$/, "")
      counts.set(target, (counts.get(target) ?? 0) + 1)
    }
    return counts
  }

  private noteBpf(): void {
    for (const fd of existing(`/proc/${this.pid}/fdinfo`)) {
      const info = contentOf(`/proc/${this.pid}/fdinfo/${fd}`)
      const program = /^prog_id:\s*(\d+)/m.exec(info)?.[1]
      const map = /^map_id:\s*(\d+)/m.exec(info)?.[1]
      if (program !== undefined) this.bpf.programs.add(Number(program))
      else if (map !== undefined) this.bpf.maps.add(Number(map))
    }
  }
}

/** A node's identity: it changes when the namespace is made anew. */
export const inodeOf = (lab: string, node: string): number => statSync(Netns.path(Netns.nodeName(lab, node))).ino

/** `node:ifname` -> ifindex, and the namespaces' inodes: what stays the same while nothing is made anew. */
export const identities = (inspected: InspectResponse): Readonly<Record<string, number>> =>
  Object.fromEntries(
    inspected.nodes.flatMap(({ name, ports }) => [
      [name, inodeOf(inspected.lab.name, name)] as const,
      ...ports.map((port) => [`${name}:${port.name}`, port.ifindex] as const)
    ])
  )

/** A TCP connection between two nodes: `exchange` sends something and waits for its echo. */
export class Connection {
  private readonly client: ChildProcess
  private received = ""

  private constructor(client: ChildProcess) {
    this.client = client
    client.stdout!.setEncoding("utf8").on("data", (text: string) => (this.received += text))
  }

  static async open(weftd: Weftd, lab: string, from: string, to: string, address: string, port = 5001): Promise<Connection> {
    const server = weftd.startIn(lab, to, [
      process.execPath,
      "-e",
      `require("net").createServer((s) => s.pipe(s)).listen(${port}, "::", () => console.log("up"))`
    ])
    await once(server.stdout!, "data")
    const script =
      `const s = require("net").connect(${port}, "${address}", () => console.log("up"));` +
      `process.stdin.pipe(s); s.pipe(process.stdout); s.on("close", () => process.exit(9))`
    const connection = new Connection(weftd.startIn(lab, from, [process.execPath, "-e", script]))
    await until(`${from} is connected to ${to}`, () => connection.received.includes("up"))
    return connection
  }

  /** Whether what is sent comes back over the same connection. */
  async exchange(text: string): Promise<boolean> {
    this.client.stdin!.write(`${text}\n`)
    try {
      await until(`"${text}" comes back`, () => this.received.includes(`${text}\n`) || this.client.exitCode !== null)
    } catch {
      return false
    }
    return this.received.includes(`${text}\n`)
  }
}

const collect = async (stream: AsyncIterable<Progress>): Promise<Outcome> => {
  let planned: Planned | undefined
  const steps: ChangeDone[] = []
  for await (const progress of stream) {
    if (progress.event === "planned") planned = progress.planned
    else if (progress.event === "change") steps.push(progress.change)
    else if (progress.event === "done")
      return { planned, steps, changed: progress.done.changed, failures: [], message: "", rolledBack: false }
    else if (progress.event === "failed") {
      const { failures, message, rolledBack } = progress.failed
      return { planned, steps, changed: -1, failures: failures.map(({ change, error }) => `${change.id}: ${error}`), message, rolledBack }
    }
  }
  throw new Error("the stream ended without an outcome")
}

const existing = (directory: string): ReadonlyArray<string> => {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

const contentOf = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

const linkOf = (path: string): string => {
  try {
    return readlinkSync(path)
  } catch {
    return ""
  }
}

const lives = (kind: "prog" | "map", id: number): boolean => {
  try {
    sh("bpftool", kind, "show", "id", String(id))
    return true
  } catch {
    return false
  }
}
