/**
 * Real BGP speakers of others in the namespaces of a `World`: FRR, BIRD, GoBGP and ExaBGP, each with a directory of its own for sockets
 * and configuration, so that any number of them run beside each other and beside those of the machine.
 *
 *   const frr = await startFrr(world, node, "router bgp 65002\n no bgp ebgp-requires-policy\n neighbor 10.0.0.1 remote-as 65001")
 *   await frr.ask("show bgp summary json")                      parsed when it is JSON, else text
 *   await frr.configure("router bgp 65002\n no neighbor 10.0.0.1")
 *   await frr.stop()                                            or the world's end
 *
 * What `ask` takes: FRR a command of vtysh; BIRD one of birdc; GoBGP arguments of gobgp (with `-j`: JSON); ExaBGP a line of its API
 * (`announce route ...`) or `events`, for the JSON that it has written. `stop(true)` kills, as a crash does.
 */
import { type ChildProcess, execFileSync } from "node:child_process"
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Namespace, until, type World } from "./harness.ts"

export interface Peer {
  readonly kind: "frr" | "bird" | "gobgp" | "exabgp"
  readonly directory: string
  /** The answer: parsed if it is JSON, else its text. Rejects when the peer says that the command failed. */
  ask(command: string): Promise<unknown>
  /** FRR: commands in addition to what it has. BIRD: a whole configuration. Others cannot. */
  configure(text: string): Promise<void>
  /** What it has logged. */
  log(): string
  /** FRR: ends bgpd alone, as a crash does; zebra and its routes stay. The promise's value starts it again, with this configuration. */
  crashBgpd?(): Promise<(configuration: string) => Promise<void>>
  stop(crash?: boolean): Promise<void>
}

const frrDirectory = "/usr/lib/frr"
const startupMs = 20_000

/** Packages that are missing, for `skip`; false: all are there. */
export const missingPeers = (...kinds: ReadonlyArray<Peer["kind"]>): string | false => {
  const proofs = { frr: `${frrDirectory}/bgpd`, bird: "/usr/sbin/bird", gobgp: "/usr/bin/gobgpd", exabgp: "/usr/sbin/exabgp" }
  const missing = kinds.filter((kind) => !existsSync(proofs[kind]))
  return missing.length === 0 ? false : `needs ${missing.join(", ")}: scripts/setup.sh --test installs it`
}

/** What all have in common: a directory, processes, a log, an end. */
class Processes {
  readonly directory = mkdtempSync(join(tmpdir(), "weft-test-peer-"))
  readonly #world: World
  readonly #namespace: Namespace
  readonly #children: ChildProcess[] = []
  #log = ""

  constructor(world: World, namespace: Namespace) {
    this.#world = world
    this.#namespace = namespace
    // Whoever forgets to stop a peer loses it with the world, or with the process; the directory goes then at the latest.
    process.once("exit", () => rmSync(this.directory, { recursive: true, force: true }))
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  write(name: string, text: string, mode = 0o644): string {
    writeFileSync(this.path(name), text, { mode })
    return this.path(name)
  }

  start(argv: ReadonlyArray<string>): ChildProcess {
    const child = this.#world.start(this.#namespace, argv)
    this.#children.push(child)
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => (this.#log = (this.#log + text).slice(-200_000)))
    }
    child.on("error", (error) => (this.#log += `${argv[0]}: ${error.message}\n`))
    return child
  }

  /** One that was ended on purpose. */
  forget(child: ChildProcess): void {
    this.#children.splice(this.#children.indexOf(child), 1)
  }

  async run(argv: ReadonlyArray<string>, input = ""): Promise<string> {
    const { code, stderr, stdout } = await this.#world.run(this.#namespace, argv, input)
    if (code !== 0) throw new Error(`${argv.join(" ")} exits with ${code}: ${stderr}${stdout}`)
    return stdout
  }

  /** Waits for a file, and tells what was logged when it does not come. */
  async ready(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const alive = (): boolean => this.#children.every((child) => child.exitCode === null && child.signalCode === null)
    try {
      await until(what, async () => {
        if (!alive()) throw new Error(`A process ended before ${what}`)
        return holds()
      }, startupMs)
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.log()}`)
    }
  }

  log(): string {
    const file = this.path("log")
    return this.#log + (existsSync(file) ? readFileSync(file, "utf8") : "")
  }

  async stop(crash = false): Promise<void> {
    const running = this.#children.filter((child) => child.exitCode === null && child.signalCode === null)
    const ended = running.map((child) => new Promise((done) => child.once("close", done)))
    for (const child of running.reverse()) child.kill(crash ? "SIGKILL" : "SIGTERM")
    // Who does not hear is not asked twice.
    const patience = setTimeout(() => running.forEach((child) => child.kill("SIGKILL")), 5000)
    await Promise.all(ended)
    clearTimeout(patience)
    rmSync(this.directory, { recursive: true, force: true })
  }
}

const parsed = (text: string): unknown => {
  const start = text.trimStart()[0]
  if (start !== "{" && start !== "[") return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

export interface FrrOptions {
  /** Besides zebra and bgpd. */
  readonly daemons?: ReadonlyArray<"bfdd" | "staticd" | "ospfd">
  readonly arguments?: ReadonlyArray<string>
}

/** FRR with zebra, staticd and bgpd. `configuration` is what frr.conf would have; resolves when it is loaded. */
export const startFrr = async (world: World, namespace: Namespace, configuration: string, options: FrrOptions = {}): Promise<Peer> => {
  const processes = new Processes(world, namespace)
  const { directory } = processes
  const vtysh = (...more: ReadonlyArray<string>): Promise<string> =>
    processes.run(["vtysh", "--vty_socket", directory, "--config_dir", directory, ...more])
  processes.write("vtysh.conf", "")
  processes.write("frr.conf", `${configuration}\n`)
  const empty = processes.write("empty.conf", "")
  // Debian's FRR runs as nobody who is not in its group frrvty, root included.
  execFileSync("chown", ["-R", "frr:frr", directory])
  const daemons = ["zebra", "staticd", "bgpd", ...(options.daemons ?? []).filter((name) => name !== "staticd")]
  const start = (name: string, file = empty): ChildProcess =>
    processes.start([
      join(frrDirectory, name), "-u", "frr", "-g", "frr", "-f", file, "--vty_socket", directory, "-z", join(directory, "zserv.api"),
      "-i", join(directory, `${name}.pid`), "-A", "127.0.0.1", "-P", "0", "--log", `file:${join(directory, "log")}`,
      ...(name === "bfdd" ? ["--bfdctl", join(directory, "bfdd.sock")] : []),
      ...(name === "bgpd" ? (options.arguments ?? []) : [])
    ])
  let bgpd: ChildProcess | undefined
  for (const name of daemons) {
    // zebra first: the others look for its socket once in a while only.
    const child = start(name)
    if (name === "bgpd") bgpd = child
    await processes.ready(`${name} listens`, () => existsSync(join(directory, `${name}.vty`)))
    if (name === "zebra") await processes.ready("zebra serves", () => existsSync(join(directory, "zserv.api")))
  }
  await vtysh("-b")
  return {
    kind: "frr",
    directory,
    ask: async (command) => {
      const answer = await vtysh("-c", command)
      if (/^% (Unknown|Ambiguous|Command incomplete)/m.test(answer)) throw new Error(`FRR, ${command}: ${answer}`)
      return parsed(answer)
    },
    configure: async (text) => {
      const lines = ["configure terminal", ...text.split("\n")]
      const answer = await vtysh(...lines.flatMap((line) => ["-c", line]))
      if (/^% /m.test(answer)) throw new Error(`FRR does not take ${JSON.stringify(text)}: ${answer}`)
    },
    log: () => processes.log(),
    crashBgpd: async () => {
      const gone = new Promise((done) => bgpd!.once("close", done))
      // nsenter(1) has become bgpd.
      bgpd!.kill("SIGKILL")
      await gone
      rmSync(join(directory, "bgpd.vty"), { force: true })
      processes.forget(bgpd!)
      return async (text) => {
        execFileSync("chown", ["frr:frr", processes.write("bgpd.conf", `${text}\n`)])
        bgpd = start("bgpd", processes.path("bgpd.conf"))
        await processes.ready("bgpd listens", () => existsSync(join(directory, "bgpd.vty")))
      }
    },
    stop: (crash) => processes.stop(crash)
  }
}

/** BIRD 2. `configuration` is the whole of bird.conf but its router id, if it has none. */
export const startBird = async (world: World, namespace: Namespace, configuration: string): Promise<Peer> => {
  const processes = new Processes(world, namespace)
  const file = processes.write("bird.conf", `log "${processes.path("log")}" all;\n${configuration}\n`)
  const socket = processes.path("bird.ctl")
  processes.start(["bird", "-f", "-c", file, "-s", socket, "-P", processes.path("bird.pid")])
  const ask = async (command: string): Promise<string> => processes.run(["birdc", "-s", socket, ...command.split(" ")])
  await processes.ready("BIRD listens", () => existsSync(socket))
  return {
    kind: "bird",
    directory: processes.directory,
    ask,
    configure: async (text) => {
      processes.write("bird.conf", `log "${processes.path("log")}" all;\n${text}\n`)
      const answer = await ask("configure")
      if (!/Reconfigur/.test(answer)) throw new Error(`BIRD does not take the configuration: ${answer}`)
    },
    log: () => processes.log(),
    stop: (crash) => processes.stop(crash)
  }
}

/** GoBGP. `configuration` is gobgpd.conf in TOML. */
export const startGobgp = async (
  world: World,
  namespace: Namespace,
  configuration: string,
  more: ReadonlyArray<string> = []
): Promise<Peer> => {
  const processes = new Processes(world, namespace)
  const file = processes.write("gobgpd.toml", configuration)
  processes.start(["gobgpd", "-f", file, "-p", "--pprof-disable", "--api-hosts", "127.0.0.1:50051", ...more])
  const ask = async (command: string): Promise<unknown> => parsed(await processes.run(["gobgp", ...command.split(" ")]))
  await processes.ready("GoBGP answers", () => ask("global").then(() => true, () => false))
  return {
    kind: "gobgp",
    directory: processes.directory,
    ask,
    configure: () => Promise.reject(new Error("gobgpd takes its configuration when it starts; ask for `neighbor add ...`")),
    log: () => processes.log(),
    stop: (crash) => processes.stop(crash)
  }
}

/**
 * ExaBGP. `neighbors` are `neighbor` blocks without the API's part, which is put into each of them: sessions' changes and all that
 * is received come as JSON (`events`), and lines that are asked are commands.
 */
export const startExabgp = async (world: World, namespace: Namespace, neighbors: string): Promise<Peer> => {
  const processes = new Processes(world, namespace)
  const events = processes.write("events", "")
  const commands = processes.path("commands")
  execFileSync("mkfifo", [commands])
  const helper = processes.write("helper.sh", `#!/bin/sh\ncat <> '${commands}' &\ntrap "kill $!" EXIT TERM\ncat > '${events}'\n`, 0o755)
  const api = "api { processes [ weft ]; neighbor-changes; receive { parsed; update; notification; refresh; open; } }"
  const blocks = neighbors.replaceAll(/^(\s*neighbor\s+\S+\s*\{)/gm, `$1\n  ${api}`)
  const file = processes.write("exabgp.conf", `process weft { run ${helper}; encoder json; }\n${blocks}\n`)
  processes.start([
    "env", "exabgp.daemon.user=root", "exabgp.daemon.drop=false", "exabgp.log.all=true", "exabgp.log.destination=stdout",
    "exabgp.api.cli=false", "exabgp.api.ack=false", "exabgp", file
  ])
  await processes.ready("ExaBGP runs its helper", () => /reactor|welcome/i.test(processes.log()) && existsSync(events))
  return {
    kind: "exabgp",
    directory: processes.directory,
    ask: async (command) => {
      if (command !== "events") return void appendFileSync(commands, `${command}\n`)
      const lines = readFileSync(events, "utf8").split("\n").slice(0, -1).filter((line) => line.startsWith("{"))
      // ExaBGP 4.2 puts words of a ROUTE-REFRESH into quotes twice (reactor/api/response/json.py, refresh).
      return lines.map((line) => JSON.parse(line.replaceAll(/""([^",]+)""/g, '"$1"')))
    },
    configure: () => Promise.reject(new Error("ExaBGP takes its configuration when it starts; ask for `announce ...`")),
    log: () => processes.log(),
    stop: (crash) => processes.stop(crash)
  }
}
