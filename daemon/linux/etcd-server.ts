/**
 * An etcd of weftd's own, for `weftd --etcd new`: one member, supervised.
 *
 *     DIR/            mode 0700: whoever may write to etcd may do what root may do
 *       client:1      unix socket on which it serves this machine's weftd
 *       data/         its database
 *       etcd.log      warnings and errors
 *
 * Other hosts reach it with TLS at `address`, with a client certificate of the same authority as its own that names
 * `daemonName`, and without certificates not at all: there is no plaintext on any network, loopback included, since any
 * user of the machine could then deploy. It is a process of its own that outlives a weftd that is killed; the next one
 * adopts it when it was started with the same words, and starts it anew when not.
 *
 * Deliberately missing: more than one member. Three are set up by hand (docs/fleet.md).
 */
import { spawn } from "node:child_process"
import { X509Certificate } from "node:crypto"
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, rmSync, statSync, truncateSync } from "node:fs"
import { connect, isIPv6 } from "node:net"
import { basename, join } from "node:path"

/** DNS name in the certificates of daemons (`weft pki issue --role daemon`), and in no user's. */
export const daemonName = "daemon.weft.internal"

export interface EtcdOptions {
  /** Its folder, below weftd's state; made when it is not there. */
  readonly directory: string
  /** Where other hosts reach it, port included; undefined: nowhere. */
  readonly remote?: {
    readonly address: string
    readonly port: number
    /** PEM files. The certificate is shown to other hosts, so it must be for `address`. */
    readonly tls: { readonly ca: string; readonly cert: string; readonly key: string }
  }
  readonly log: (line: string) => void
}

export interface EtcdServer {
  /** What this machine's weftd connects to: `unix:PATH`. */
  readonly endpoint: string
  readonly pid: number
  /** Ends etcd. */
  close(): Promise<void>
}

const program = "etcd"
const readyMs = 60_000
const graceMs = 5000
const watchMs = 1000
const backOffMs = { first: 200, most: 10_000 }
/** It has run for so long that its end is not the end of a series. */
const steadyMs = 30_000
const maxLogOctets = 4 << 20
/** sun_path of unix(7), without the NUL. */
const maxSocketPath = 107

/** Starts etcd, or adopts the one that a killed weftd left. @throws Error that says what to do */
export const startEtcd = async (options: EtcdOptions): Promise<EtcdServer> => {
  const { directory, log, remote } = options
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  if ((statSync(directory).mode & 0o077) !== 0) {
    throw new Error(`Cannot start etcd in "${directory}": others may open that folder. Type: chmod 700 '${directory}'`)
  }
  if (join(directory, "client:1").length > maxSocketPath) {
    throw new Error(`Cannot start etcd in "${directory}": the path is too long for a unix socket. Choose a shorter one with --state DIR`)
  }
  if (remote !== undefined) warnOfUsers(remote.tls.cert, log)
  const supervisor = new Supervisor(options)
  await supervisor.start()
  return supervisor
}

/** Every certificate of an authority that makes no difference may write. */
const hasDaemonName = (certificate: string): boolean => new X509Certificate(readFileSync(certificate)).checkHost(daemonName) !== undefined

const warnOfUsers = (certificate: string, log: (line: string) => void): void => {
  if (hasDaemonName(certificate)) return
  log(`etcd.open every certificate of the authority of "${certificate}" may write to etcd, those of users, too: `
    + `it does not have the DNS name ${daemonName}, which those of "weft pki issue --role daemon" have`)
}

const wordsOf = ({ directory, remote }: EtcdOptions): ReadonlyArray<string> => {
  const address = remote === undefined ? undefined : `${isIPv6(remote.address) ? `[${remote.address}]` : remote.address}:${remote.port}`
  // Never dialled with one member, but it has to look like a peer's.
  const peer = "http://127.0.0.1:2380"
  const network = remote === undefined ? [] : [
    "--client-cert-auth=true",
    `--trusted-ca-file=${remote.tls.ca}`,
    `--cert-file=${remote.tls.cert}`,
    `--key-file=${remote.tls.key}`,
    ...(hasDaemonName(remote.tls.cert) ? [`--client-cert-allowed-hostname=${daemonName}`] : [])
  ]
  return [
    "--name=weft",
    `--data-dir=${join(directory, "data")}`,
    // Relative to the folder it runs in: a path of a unix socket has 107 octets at most, and etcd wants a port.
    `--listen-client-urls=unix://client:1${address === undefined ? "" : `,https://${address}`}`,
    `--advertise-client-urls=${address === undefined ? "http://127.0.0.1:2379" : `https://${address}`}`,
    "--listen-peer-urls=unix://peer:1",
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=weft=${peer}`,
    ...network,
    // It would dial etcd with the server's certificate, which need not be good for clients.
    "--enable-grpc-gateway=false",
    "--auto-compaction-mode=periodic",
    "--auto-compaction-retention=1h",
    `--quota-backend-bytes=${2 * 2 ** 30}`,
    // A lab of many thousand nodes is one request.
    `--max-request-bytes=${8 << 20}`,
    "--snapshot-count=10000",
    "--logger=zap",
    "--log-level=warn",
    `--log-outputs=${join(directory, "etcd.log")}`
  ]
}

/** A process, such that another with the same id is not taken for it. */
interface Process {
  readonly pid: number
  /** Field 22 of /proc/PID/stat: clock ticks since boot. */
  readonly startTime: string
}

const startTimeOf = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19]
  } catch {
    return undefined
  }
}

const isRunning = ({ pid, startTime }: Process): boolean => startTimeOf(pid) === startTime

const wordsOfProcess = (pid: number): ReadonlyArray<string> => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1)
  } catch {
    return []
  }
}

const signal = (running: Process, name: NodeJS.Signals): void => {
  try {
    if (isRunning(running)) process.kill(running.pid, name)
  } catch {
    // ESRCH: it has ended meanwhile.
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

const end = async (running: Process): Promise<void> => {
  signal(running, "SIGTERM")
  // A stopped process ends only when it goes on.
  signal(running, "SIGCONT")
  for (const deadline = performance.now() + graceMs; isRunning(running) && performance.now() < deadline; ) await sleep(20)
  signal(running, "SIGKILL")
  while (isRunning(running)) await sleep(5)
}

class Supervisor implements EtcdServer {
  readonly endpoint: string
  readonly #directory: string
  readonly #words: ReadonlyArray<string>
  readonly #log: (line: string) => void
  #running: Process | undefined
  #startedMs = 0
  /** Where in its log this run of it begins. */
  #logFrom = 0
  #failures = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: EtcdOptions) {
    this.#directory = options.directory
    this.#log = options.log
    this.#words = wordsOf(options)
    this.endpoint = `unix:${join(options.directory, "client:1")}`
  }

  get pid(): number {
    return this.#running?.pid ?? 0
  }

  async start(): Promise<void> {
    const left = this.#find()
    if (left !== undefined && this.#isAsWanted(left)) {
      this.#running = left
      this.#startedMs = performance.now()
      this.#log(`etcd.adopted process ${left.pid}, which an earlier weftd has started`)
    } else {
      if (left !== undefined) await end(left)
      await this.#spawn()
    }
    try {
      await this.#ready()
    } catch (error) {
      await this.close()
      throw error
    }
    this.#watchLater(watchMs)
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    if (this.#running !== undefined) await end(this.#running)
  }

  #path(name: string): string {
    return join(this.#directory, name)
  }

  /** The etcd of this folder that runs already. Anybody can have such words on a command line, but not as this user. */
  #find(): Process | undefined {
    for (const name of readdirSync("/proc").filter((entry) => /^[0-9]+$/.test(entry))) {
      const pid = Number(name)
      const words = wordsOfProcess(pid)
      if (basename(words[0] ?? "") !== program || !words.includes(`--data-dir=${this.#path("data")}`)) continue
      const startTime = startTimeOf(pid)
      const isOurs = statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid === process.geteuid?.()
      if (startTime !== undefined && isOurs) return { pid, startTime }
    }
    return undefined
  }

  #isAsWanted({ pid }: Process): boolean {
    const words = wordsOfProcess(pid).slice(1)
    return words.length === this.#words.length && words.every((word, index) => word === this.#words[index])
  }

  async #spawn(): Promise<void> {
    const path = `${process.env["PATH"] ?? ""}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin`
    // One that was killed leaves its sockets, and etcd does not remove those of others.
    for (const name of ["client:1", "peer:1"]) rmSync(this.#path(name), { force: true })
    // Its own session, and none of our descriptors: it outlives us.
    const stderr = openSync(this.#path("etcd.stderr"), "w", 0o600)
    this.#logFrom = statSync(this.#path("etcd.log"), { throwIfNoEntry: false })?.size ?? 0
    const child = spawn(program, [...this.#words], {
      cwd: this.#directory,
      detached: true,
      stdio: ["ignore", stderr, stderr],
      // Settings in the environment (ETCD_NAME ...) are another etcd's.
      env: { PATH: path, HOME: "/root" }
    })
    closeSync(stderr)
    const failed = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      child.once("spawn", () => resolve(undefined))
      child.once("error", resolve)
    })
    if (failed !== undefined) {
      const remedy = failed.code === "ENOENT" ? "it is not installed. Type: sudo apt-get install etcd-server" : failed.message
      throw new Error(`Cannot start etcd: ${remedy}`)
    }
    child.unref()
    const pid = child.pid!
    this.#running = { pid, startTime: startTimeOf(pid) ?? "" }
    this.#startedMs = performance.now()
  }

  /** Waits until it serves. @throws Error with what its log says last */
  async #ready(): Promise<void> {
    const deadline = performance.now() + readyMs
    while (!(await accepts(this.#path("client:1")))) {
      if (this.#running === undefined || !isRunning(this.#running)) throw new Error(`Cannot start etcd: ${this.#lastWords()}`)
      if (performance.now() > deadline) {
        throw new Error(`Cannot start etcd: it does not serve after ${readyMs / 1000} s. See ${this.#path("etcd.log")}`)
      }
      await sleep(20)
    }
  }

  #watchLater(ms: number): void {
    if (!this.#closed) this.#timer = setTimeout(() => void this.#watch(), ms)
  }

  async #watch(): Promise<void> {
    if (this.#running !== undefined && isRunning(this.#running)) {
      this.#boundLog()
      return this.#watchLater(watchMs)
    }
    const lived = performance.now() - this.#startedMs
    this.#failures = lived > steadyMs ? 1 : this.#failures + 1
    const pauseMs = Math.min(backOffMs.most, backOffMs.first * 2 ** (this.#failures - 1))
    // A series is told once, and then now and then.
    if (this.#failures <= 3 || this.#failures % 10 === 0) this.#log(`etcd.ended it is started again: ${this.#lastWords()}`)
    await sleep(pauseMs)
    if (this.#closed) return
    try {
      await this.#spawn()
    } catch (error) {
      this.#running = undefined
      this.#log(`etcd.failed ${(error as Error).message}`)
    }
    this.#watchLater(watchMs)
  }

  /** etcd appends, so cutting its log is safe. */
  #boundLog(): void {
    try {
      if (statSync(this.#path("etcd.log")).size > maxLogOctets) truncateSync(this.#path("etcd.log"))
    } catch {
      // Not there yet.
    }
  }

  /** Why it ended, as far as it said so. */
  #lastWords(): string {
    const lines = [tailOf(this.#path("etcd.log"), this.#logFrom), tailOf(this.#path("etcd.stderr"), 0)].flatMap((text) => text.split("\n"))
    const messages = lines.flatMap((line) => {
      try {
        const { level, msg, error } = JSON.parse(line) as { level: string; msg: string; error?: string }
        return ["error", "fatal", "panic", "dpanic"].includes(level) ? [error === undefined ? msg : `${msg}: ${error}`] : []
      } catch {
        return /^(?:error|flag|panic|.* E \| )/.test(line) ? [line] : []
      }
    })
    const last = messages.at(-1)
    return last === undefined ? `it has ended without a word. See ${this.#path("etcd.log")}` : `${last}. See ${this.#path("etcd.log")}`
  }
}

const tailOf = (path: string, from: number): string => {
  try {
    const { size } = statSync(path)
    const octets = Buffer.alloc(Math.min(Math.max(0, size - from), 16_384))
    const descriptor = openSync(path, "r")
    try {
      readSync(descriptor, octets, 0, octets.length, size - octets.length)
    } finally {
      closeSync(descriptor)
    }
    return octets.toString("utf8")
  } catch {
    return ""
  }
}

const accepts = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", () => resolve(false))
  })
