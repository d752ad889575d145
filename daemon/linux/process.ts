/**
 * Programs in nodes: start, feed, signal, end.
 *
 * `weft-enter` (native/src/enter) is spawned, enters the node and becomes the program: never a shell, never a second
 * process. Every command is the leader of a session of its own, so that a signal reaches all of a pipeline and a clean-up
 * finds its background jobs. Commands hold none of the daemon's descriptors; one that `endsWithDaemon` gets SIGHUP when the
 * daemon dies, however that happens, and others outlive it.
 *
 * Limits: a process that leaves the session (a daemon calling setsid) is not the command any more; `endProcesses` finds it
 * by its namespace when the node goes.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs"
import { constants } from "node:os"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import { addon } from "../native/index.ts"
import { DescriptorReadable, DescriptorWritable, type EndMark } from "./descriptor-stream.ts"
import { attempt, KernelError, reasonOf } from "./errors.ts"

const enterProgram = fileURLToPath(new URL("../../.weft/native/weft-enter", import.meta.url))

/** How long output of a background child is waited for after the command itself has ended. */
const idleAfterExitMs = 100
/** How long a command may take to go after SIGHUP. */
const hangUpGraceMs = 2000

export interface TerminalSize {
  readonly columns: number
  readonly rows: number
}

export interface Command {
  /** `/run/netns/weft.<lab>.<node>` */
  readonly netnsPath: string
  /** Files that take the place of those in /etc, for this command only. */
  readonly etcDir?: string
  readonly hostname?: string
  /** Program (looked up in PATH) and arguments. Not empty, no NUL octets. */
  readonly argv: ReadonlyArray<string>
  /** Added to a small clean environment: PATH, HOME, USER, LANG, and TERM on a terminal. */
  readonly env?: Readonly<Record<string, string>>
  /** Name or number; absent: root. */
  readonly user?: string
  /** Working directory; absent: the user's home. */
  readonly directory?: string
  /** Run on a pseudo terminal of this size. */
  readonly tty?: TerminalSize
  /** SIGHUP when the daemon is gone: nobody is left who would read what it says. */
  readonly endsWithDaemon?: boolean
}

export interface Exit {
  /** As a shell has it: 128 + number when a signal ended the command. */
  readonly code: number
  /** `SIGTERM`, or undefined when the command ended by itself. */
  readonly signal: string | undefined
}

export interface RunningCommand {
  readonly pid: number
  /** Never fails: what is written after the command has closed its side is dropped. */
  readonly stdin: Writable
  readonly stdout: Readable
  /** Absent on a terminal, where both are one. */
  readonly stderr: Readable | undefined
  /** When the process has ended. Its output may still have to be read: the streams end by themselves. */
  readonly exit: Promise<Exit>
  /** Without effect when the command has no terminal or has ended. */
  resize(size: TerminalSize): void
  /** To the command's process group; on a terminal also to the group in the foreground. False: no such signal, or ended. */
  signal(name: string): boolean
  /** SIGHUP, and SIGKILL to what is left of the command's session 2 s later. Resolves when the command has ended. */
  hangUp(): Promise<void>
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const environmentOf = (command: Command): Record<string, string> => ({
  PATH: process.env["PATH"] ?? defaultPath,
  HOME: "/root",
  USER: "root",
  LOGNAME: "root",
  LANG: process.env["LANG"] ?? "C.UTF-8",
  ...(command.tty === undefined ? {} : { TERM: "xterm-256color" }),
  ...command.env
})

const enterArguments = (command: Command): Array<string> => {
  const options: Array<string> = ["--netns", command.netnsPath]
  if (command.etcDir !== undefined) options.push("--etc", command.etcDir)
  if (command.hostname !== undefined) options.push("--hostname", command.hostname)
  if (command.user !== undefined) options.push("--user", command.user)
  if (command.directory !== undefined) options.push("--directory", command.directory)
  if (command.tty !== undefined) options.push("--tty")
  if (command.endsWithDaemon === true) options.push("--hang-up")
  return [...options, "--", ...command.argv]
}

interface Streams {
  readonly stdin: DescriptorWritable
  readonly stdout: DescriptorReadable
  readonly stderr: DescriptorReadable | undefined
  /** The command's sides: ours to close once it has been started. */
  readonly theirs: readonly [number, number, number]
}

/** End of file on a terminal is a character (VEOF), once to send an unfinished line and once to say that there is no more. */
const terminalEnd: EndMark = (last) =>
  last === undefined || last === 0x0a ? Uint8Array.of(0x04) : Uint8Array.of(0x04, 0x04)

/** Descriptors that are opened one after the other: all of them, or none. Throws KernelError. */
const openAll = <A>(what: string, open: (keep: <D extends ReadonlyArray<number>>(opened: D) => D) => A): A => {
  const kept: number[] = []
  try {
    return attempt("open", what, () =>
      open((opened) => {
        kept.push(...opened)
        return opened
      })
    )
  } catch (error) {
    for (const descriptor of kept) addon.close(descriptor)
    throw error
  }
}

const openTerminal = (size: TerminalSize): Streams =>
  openAll("pseudo terminal", (keep) => {
    const [ours, theirs] = keep(addon.terminalOpen(size.columns, size.rows))
    return {
      stdin: new DescriptorWritable(addon.duplicate(ours), terminalEnd),
      stdout: new DescriptorReadable(ours),
      stderr: undefined,
      theirs: [theirs, theirs, theirs]
    }
  })

const openPipes = (): Streams =>
  openAll("pipes of a command", (keep) => {
    const [stdin, theirStdin] = keep(addon.pipeOpen(false))
    const [stdout, theirStdout] = keep(addon.pipeOpen(true))
    const [stderr, theirStderr] = keep(addon.pipeOpen(true))
    return {
      stdin: new DescriptorWritable(stdin),
      stdout: new DescriptorReadable(stdout),
      stderr: new DescriptorReadable(stderr),
      theirs: [theirStdin, theirStdout, theirStderr]
    }
  })

/** Whether there is a signal of this name: `SIGINT`. */
export const isSignal = (name: string): boolean => signalNumber(name) !== undefined

const signalNumber = (name: string): number | undefined =>
  Object.hasOwn(constants.signals, name) ? constants.signals[name as NodeJS.Signals] : undefined

const sendSignal = (pid: number, signal: number): boolean => {
  try {
    return process.kill(pid, signal)
  } catch {
    // ESRCH: it has ended meanwhile.
    return false
  }
}

const notStarted = (command: Command, cause: unknown): KernelError => {
  const code = (cause as NodeJS.ErrnoException).code ?? "EIO"
  return new KernelError({ operation: `start in ${command.netnsPath}`, object: command.argv[0]!, code, detail: reasonOf(cause) })
}

/** Spawns weft-enter and closes the command's sides here; `abandon` runs before an error (E2BIG, ENOMEM) is thrown on. */
const startOr = (abandon: () => void, command: Command, stdio: Streams["theirs"]): ChildProcess => {
  try {
    return spawn(enterProgram, enterArguments(command), { stdio: [...stdio], detached: true, env: environmentOf(command), cwd: "/" })
  } catch (cause) {
    abandon()
    throw notStarted(command, cause)
  } finally {
    for (const descriptor of new Set(stdio)) addon.close(descriptor)
  }
}

/**
 * Starts a command in a node. What goes wrong inside (no such namespace, user or program) is said on the command's stderr
 * with exit code 125, 126 or 127, as env(1) has it.
 *
 * @throws KernelError when no process can be started at all.
 */
export const spawnInNetns = (command: Command): RunningCommand => {
  const streams = command.tty === undefined ? openPipes() : openTerminal(command.tty)
  const { stdin, stdout, stderr } = streams
  const abandon = (): void => {
    for (const stream of [stdin, stdout, stderr]) stream?.destroy()
  }
  const child = startOr(abandon, command, streams.theirs)

  let exited = false
  const exit = new Promise<Exit>((resolve, reject) => {
    child.once("error", (cause) => reject(notStarted(command, cause)))
    child.once("exit", (code, signal) => {
      exited = true
      stdin.destroy()
      stdout.endWhenIdle(idleAfterExitMs)
      stderr?.endWhenIdle(idleAfterExitMs)
      resolve({ code: code ?? 128 + (signal === null ? 0 : constants.signals[signal]), signal: signal ?? undefined })
    })
  })
  const { pid } = child
  if (pid === undefined) {
    exit.catch(() => undefined)
    abandon()
    // Node tells the reason later, when nobody waits for it any more: short of descriptors or processes, or not built.
    const [code, detail] = existsSync(enterProgram)
      ? ["EAGAIN", "this machine or the daemon is short of descriptors or processes"]
      : ["ENOENT", `${enterProgram} was not built, type: npm run build`]
    throw new KernelError({ operation: `start in ${command.netnsPath}`, object: command.argv[0]!, code, detail })
  }

  const signal = (name: string): boolean => {
    const number = signalNumber(name)
    if (number === undefined || exited) return false
    const foreground = command.tty === undefined || stdout.destroyed ? 0 : addon.terminalForeground(stdout.descriptor)
    if (foreground > 1 && foreground !== pid) sendSignal(-foreground, number)
    return sendSignal(-pid, number)
  }
  const hangUp = async (): Promise<void> => {
    // A command that has ended by itself may have left something running on purpose.
    if (exited) return
    signal("SIGHUP")
    // A stopped process sees SIGHUP only when it continues.
    signal("SIGCONT")
    const deadline = setTimeout(() => endSession(pid, exited), hangUpGraceMs)
    await exit.catch(() => undefined)
    if (sessionMembers(pid).length === 0) clearTimeout(deadline)
  }
  return {
    pid,
    stdin,
    stdout,
    stderr,
    exit,
    resize: ({ columns, rows }) => {
      if (command.tty !== undefined && !stdout.destroyed) addon.terminalResize(stdout.descriptor, columns, rows)
    },
    signal,
    hangUp
  }
}

export interface Finished extends Exit {
  readonly stdout: string
  readonly stderr: string
  /** More was written than was kept. */
  readonly truncated: boolean
  /** The time was up and the command was ended. */
  readonly timedOut: boolean
}

/**
 * Runs a command to its end.
 *
 * @param limits `timeoutMs`: when it is ended with SIGHUP, then SIGKILL. `outputOctets`: how much of stdout and of stderr
 *   is kept; the rest is read and dropped. `stdin`: what it reads.
 */
export const runInNetns = (command: Command, limits: RunLimits): Promise<Finished> => runToEnd(spawnInNetns(command), limits)

export interface RunLimits {
  readonly timeoutMs: number
  readonly outputOctets?: number
  readonly stdin?: string | Uint8Array
}

/** Waits for the end of a command that has been started: see `runInNetns`. */
export const runToEnd = async (running: Omit<RunningCommand, "pid">, limits: RunLimits): Promise<Finished> => {
  const outputOctets = limits.outputOctets ?? 65536
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    void running.hangUp()
  }, limits.timeoutMs)
  running.stdin.end(limits.stdin)
  const [stdout, stderr, exit] = await Promise.all([
    keepOutput(running.stdout, outputOctets),
    running.stderr === undefined ? { text: "", truncated: false } : keepOutput(running.stderr, outputOctets),
    running.exit
  ])
  clearTimeout(timer)
  return { ...exit, stdout: stdout.text, stderr: stderr.text, truncated: stdout.truncated || stderr.truncated, timedOut }
}

const keepOutput = async (stream: Readable, limit: number): Promise<{ text: string; truncated: boolean }> => {
  const chunks: Array<Buffer> = []
  let kept = 0
  let truncated = false
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const part = chunk.subarray(0, limit - kept)
    if (part.length < chunk.length) truncated = true
    if (part.length > 0) chunks.push(part)
    kept += part.length
  }
  return { text: Buffer.concat(chunks).toString("utf8"), truncated }
}

// ---- finding and ending processes ------------------------------------------------------------------------------------

const processIds = (): Array<number> =>
  readdirSync("/proc").flatMap((name) => (/^[0-9]+$/.test(name) ? [Number(name)] : []))

/** Processes of a session, by /proc/PID/stat: the fields after the name in parentheses are state, ppid, pgrp, session. */
const sessionMembers = (session: number): Array<number> =>
  processIds().filter((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
      return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3]) === session
    } catch {
      return false
    }
  })

/** SIGKILL to all of a session. When its leader has ended and its id lives again, the id is another's: nothing is left. */
const endSession = (leader: number, leaderExited: boolean): void => {
  const members = sessionMembers(leader)
  if (leaderExited && members.includes(leader)) return
  for (const pid of members) sendSignal(pid, constants.signals.SIGKILL)
}

/**
 * The processes that live in each of these namespaces, by the namespaces' inodes. The daemon itself is never among them, nor is
 * a process that only visits: one thread enters with setns(2) and leaves again, as other weftds and routing daemons do.
 */
export const processesInEach = (inodes: ReadonlySet<number>): Map<number, Array<number>> => {
  const found = new Map<number, Array<number>>()
  for (const pid of processIds()) {
    if (pid === process.pid) continue
    const inode = netnsInode(`/proc/${pid}`)
    if (inode === undefined || !inodes.has(inode) || visits(pid, inode)) continue
    const pids = found.get(inode)
    if (pids === undefined) found.set(inode, [pid])
    else pids.push(pid)
  }
  return found
}

/** Whether most threads of a process whose first one is in this namespace are elsewhere. */
const visits = (pid: number, inode: number): boolean => {
  try {
    const threads = readdirSync(`/proc/${pid}/task`)
    const inside = threads.filter((thread) => netnsInode(`/proc/${pid}/task/${thread}`) === inode)
    return inside.length * 2 < threads.length
  } catch {
    // ENOENT: it has ended.
    return false
  }
}

/** The processes in the network namespace with this inode, without the daemon itself. */
export const processesIn = (inode: number): Array<number> => processesInEach(new Set([inode])).get(inode) ?? []

/** Of a process or a thread, by its folder in /proc. */
const netnsInode = (folder: string): number | undefined => {
  try {
    // `net:[4026531840]`
    return Number(readlinkSync(`${folder}/ns/net`).slice(5, -1))
  } catch {
    // ENOENT: it has ended, or it is a zombie.
    return undefined
  }
}

/**
 * Ends every process in these namespaces: SIGTERM (and SIGHUP, which interactive shells need), and SIGKILL after `graceMs`
 * to what is left. Each is looked at again right before each signal, so a reused process id is never hit.
 *
 * @returns how many processes there were.
 */
export const endProcesses = async (inodes: ReadonlySet<number>, graceMs: number): Promise<number> => {
  const { SIGTERM, SIGHUP, SIGCONT, SIGKILL } = constants.signals
  const first = signalAll(inodes, [SIGTERM, SIGHUP, SIGCONT])
  if (first === 0) return 0
  const deadline = performance.now() + graceMs
  while (processesInEach(inodes).size > 0) {
    if (performance.now() >= deadline) {
      // Again and again until none is left: a process may fork while it is being looked for.
      if (signalAll(inodes, [SIGKILL]) === 0 || performance.now() >= deadline + 2000) break
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return first
}

const signalAll = (inodes: ReadonlySet<number>, signals: ReadonlyArray<number>): number => {
  let count = 0
  for (const [inode, pids] of processesInEach(inodes)) {
    for (const pid of pids) {
      count++
      for (const signal of signals) addon.signalInNetns(pid, inode, signal)
    }
  }
  return count
}

/** A process that was stopped, and when it was started (clock ticks since boot): another one may get its number. */
export type Stopped = readonly [pid: number, startedAt: string]

/** State and start time of a process (proc(5), fields 3 and 22); undefined when it has ended. */
const statOf = (pid: number): { readonly state: string; readonly startedAt: string } | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    // The name, in parentheses, may have spaces and parentheses of its own.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return { state: fields[0]!, startedAt: fields[19]! }
  } catch {
    return undefined
  }
}

/** Running or sleeping: what is stopped, traced, in the kernel or dead makes no step. */
const isMoving = ({ state }: { readonly state: string }): boolean => state === "R" || state === "S"

/** How long a process may take to heed a signal. */
const heedMs = 20

/** Stops the processes in the network namespace with this inode that run (SIGSTOP), and says which. */
export const stopProcesses = (inode: number): ReadonlyArray<Stopped> => {
  const stopped = processesIn(inode).flatMap((pid): ReadonlyArray<Stopped> => {
    const stat = statOf(pid)
    if (stat === undefined || stat.state === "T") return []
    addon.signalInNetns(pid, inode, constants.signals.SIGSTOP)
    return [[pid, stat.startedAt]]
  })
  const deadline = performance.now() + heedMs
  while (hasContinued(stopped) && performance.now() < deadline);
  return stopped
}

/** Lets those go on that are still there. */
export const continueProcesses = (inode: number, stopped: ReadonlyArray<Stopped>): void => {
  for (const [pid, startedAt] of stopped) {
    if (statOf(pid)?.startedAt === startedAt) addon.signalInNetns(pid, inode, constants.signals.SIGCONT)
  }
}

/** Whether one of them goes on all the same: somebody else let it. */
export const hasContinued = (stopped: ReadonlyArray<Stopped>): boolean =>
  stopped.some(([pid, startedAt]) => {
    const stat = statOf(pid)
    return stat?.startedAt === startedAt && isMoving(stat)
  })
