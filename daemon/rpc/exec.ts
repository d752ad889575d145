/**
 * `Nodes.Exec`: one command in a node, its streams and its end, over one bidirectional call.
 *
 *     request messages:   start, then stdin | stdinEof | resize | signal     half-close = end of stdin
 *     response messages:  stdout | stderr ..., last: exit
 *
 * Nothing is queued here: a response is written when the transport has taken the one before, and a request is read when
 * the command has taken the input before. So a gigabyte passes in either direction in constant memory, and whoever is
 * slow slows the other end. The price: a signal behind input that the command does not read waits with it. A client that
 * cannot get its signal through cancels the call.
 *
 * A cancelled call hangs up: SIGHUP to the command, SIGKILL to what is left 2 s later.
 *
 * A node of another host: its daemon gets the call (forward.ts).
 */
import type { Readable, Writable } from "node:stream"
import { type ServerDuplexStream, status } from "@grpc/grpc-js"
import { PeerError } from "../fleet/peer-clients.ts"
import { checkForwarding, forward, type Forwarding } from "./forward.ts"

export interface TerminalSize {
  readonly columns: number
  readonly rows: number
}

/** `weft.v1.ExecRequest` as proto-loader makes it with `oneofs: true`. */
export interface ExecRequest {
  readonly start?: ExecStart
  readonly stdin?: Uint8Array
  readonly stdinEof?: boolean
  readonly resize?: TerminalSize
  readonly signal?: string
}
export interface ExecStart {
  readonly node: string
  readonly argv: ReadonlyArray<string>
  readonly tty: boolean
  readonly size?: TerminalSize | null
  readonly env?: Readonly<Record<string, string>>
  readonly user?: string
}
export type ExecResponse =
  | { readonly stdout: Uint8Array }
  | { readonly stderr: Uint8Array }
  | { readonly exit: { readonly code: number; readonly signal: string } }

/** A node, or why there is none. */
export type ResolvedNode =
  | {
      readonly lab: string
      readonly node: string
      readonly netnsPath: string
      readonly etcDir?: string
      /** Its commands run in a container. */
      readonly container?: boolean
      /** The other host that has it; absent: this one. */
      readonly host?: string
    }
  /** `ambiguous`: the name fits nodes of several labs. `suggestion`: the closest name that exists. */
  | { readonly error: string; readonly suggestion?: string; readonly ambiguous?: boolean }

/** What this needs of a running command; `linux/process.ts` has it. */
export interface RunningCommand {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable | undefined
  readonly exit: Promise<{ readonly code: number; readonly signal: string | undefined }>
  readonly resize: (size: TerminalSize) => void
  readonly signal: (name: string) => boolean
  readonly hangUp: () => Promise<void>
}
export interface Command {
  readonly netnsPath: string
  /** The lab of a node whose commands run in its container; the node is `hostname`. */
  readonly containerOf?: string
  readonly etcDir?: string
  readonly hostname: string
  readonly argv: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly user?: string
  readonly tty?: TerminalSize
}

export interface ExecDependencies {
  readonly resolveNode: (node: string) => ResolvedNode | Promise<ResolvedNode>
  /** @throws when no process can be started. */
  readonly spawn: (command: Command) => RunningCommand
  /** Signals that a client may send, by name. */
  readonly isSignal: (name: string) => boolean
  /** Where there are other hosts. */
  readonly forwarding?: Forwarding
}

export interface Exec {
  /** For `Nodes.Exec` of a grpc-js service. */
  readonly handler: (call: ServerDuplexStream<ExecRequest, ExecResponse>) => void
  /**
   * Ends the commands of a node, of a lab, or all, and resolves when they have ended: before a node goes, and at shutdown.
   * Their clients get the exit as usual. All includes those that another host runs for our clients.
   */
  readonly end: (where?: { readonly lab: string; readonly node?: string }) => Promise<void>
}

type Call = ServerDuplexStream<ExecRequest, ExecResponse>

/** What makes the call fail, with its gRPC status. */
class Refusal extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const invalid = (message: string): Refusal => new Refusal(status.INVALID_ARGUMENT, message)

interface Session {
  readonly lab: string
  readonly node: string
  readonly command: RunningCommand
}

export const makeExec = (dependencies: ExecDependencies): Exec => {
  const sessions = new Set<Session>()
  const ending = new AbortController()

  const serve = async (call: Call): Promise<void> => {
    const requests = call.iterator({ destroyOnReturn: false }) as AsyncIterator<ExecRequest>
    const first = await requests.next()
    const start = first.done === true ? undefined : first.value.start
    if (start === undefined || start === null) throw invalid("Cannot exec: the first message must be start")
    const resolved = await dependencies.resolveNode(start.node)
    if ("error" in resolved) throw unresolved(resolved)
    const { host, lab, node } = resolved
    if (host !== undefined) {
      const forwarding = checkForwarding(dependencies.forwarding, call, { host, node })
      // By its full name: what is one node here may be two there.
      const named = { start: { ...start, node: `${lab}/${node}` } }
      return forward(forwarding, { host, method: "Exec", call, first: named, requests, signal: ending.signal })
    }
    const command = spawn(dependencies, commandOf(start, resolved))
    const session = { lab, node, command }
    sessions.add(session)
    void command.exit.catch(() => undefined).then(() => sessions.delete(session))
    if (call.cancelled || call.destroyed) return command.hangUp()
    call.once("close", () => void command.hangUp())

    let violation: Error | undefined
    const feeding = feed(requests, command, dependencies.isSignal).catch((error: unknown) => {
      // A call that goes away breaks the iteration too; then nobody is left to hear of it.
      violation = error instanceof Error ? error : new Error(String(error))
      return command.hangUp()
    })
    const outputs = [pump(command.stdout, "stdout", call)]
    if (command.stderr !== undefined) outputs.push(pump(command.stderr, "stderr", call))
    const [exit] = await Promise.all([command.exit, ...outputs])
    if (violation !== undefined) await feeding
    if (violation instanceof Refusal) throw violation
    if (!call.destroyed) {
      call.write({ exit: { code: exit.code, signal: exit.signal ?? "" } })
      call.end()
    }
  }

  return {
    handler: (call) => {
      serve(call).catch((error: unknown) => {
        if (call.destroyed) return
        const code = error instanceof Refusal || error instanceof PeerError ? error.code : status.INTERNAL
        const details = error instanceof Error ? error.message : String(error)
        call.emit("error", { code, details, message: details })
      })
    },
    end: async (where) => {
      if (where === undefined) ending.abort("weftd is ending")
      const chosen = [...sessions].filter(
        ({ lab, node }) => where === undefined || (lab === where.lab && (where.node === undefined || node === where.node))
      )
      await Promise.all(chosen.map(({ command }) => command.hangUp()))
    }
  }
}

const unresolved = (failure: Extract<ResolvedNode, { readonly error: string }>): Refusal => {
  const hint = failure.suggestion === undefined ? "" : `; did you mean "${failure.suggestion}"?`
  return new Refusal(failure.ambiguous === true ? status.INVALID_ARGUMENT : status.NOT_FOUND, failure.error + hint)
}

const spawn = (dependencies: ExecDependencies, command: Command): RunningCommand => {
  try {
    return dependencies.spawn(command)
  } catch (error) {
    // E2BIG is the client's doing: too many or too long arguments.
    const message = error instanceof Error ? error.message : String(error)
    throw new Refusal(message.includes("E2BIG") ? status.INVALID_ARGUMENT : status.INTERNAL, message)
  }
}

const commandOf = (start: ExecStart, node: Extract<ResolvedNode, { readonly netnsPath: string }>): Command => {
  if (start.argv.length === 0 || start.argv[0] === "") throw invalid("Cannot exec: no command given")
  const env = start.env ?? {}
  for (const text of [...start.argv, ...Object.values(env), start.user ?? ""]) {
    if (text.includes("\0")) throw invalid("Cannot exec: an argument contains a NUL octet")
  }
  for (const name of Object.keys(env)) {
    if (!/^[^=\0]+$/.test(name)) throw invalid(`Cannot exec: "${name}" is no name for an environment variable`)
  }
  return {
    netnsPath: node.netnsPath,
    hostname: node.node,
    argv: start.argv,
    env,
    ...(node.container === true ? { containerOf: node.lab } : {}),
    ...(node.etcDir === undefined ? {} : { etcDir: node.etcDir }),
    ...(start.user === undefined || start.user === "" ? {} : { user: start.user }),
    ...(start.tty ? { tty: sizeOf(start.size ?? { columns: 0, rows: 0 }) } : {})
  }
}

/** 0 means not known: then a terminal is what it has always been. struct winsize has 16 bits for each. */
const sizeOf = ({ columns, rows }: TerminalSize): TerminalSize => {
  if (columns > 0xffff || rows > 0xffff) throw invalid(`Cannot exec: a terminal of ${columns} x ${rows} is too large`)
  return { columns: columns === 0 ? 80 : columns, rows: rows === 0 ? 24 : rows }
}

/** Requests after `start`, one by one, until the client closes its side. */
const feed = async (requests: AsyncIterator<ExecRequest>, command: RunningCommand, isSignal: (name: string) => boolean): Promise<void> => {
  for (let next = await requests.next(); next.done !== true; next = await requests.next()) {
    const { start, stdin, stdinEof, resize, signal } = next.value
    if (stdin !== undefined) {
      if (command.stdin.writableEnded) throw invalid("Cannot exec: stdin after its end")
      await writeAll(command.stdin, stdin)
    } else if (stdinEof === true) {
      command.stdin.end()
    } else if (resize !== undefined && resize !== null) {
      command.resize(sizeOf(resize))
    } else if (signal !== undefined) {
      if (!isSignal(signal)) throw invalid(`Cannot exec: "${signal}" is no signal`)
      command.signal(signal)
    } else if (start !== undefined) {
      throw invalid("Cannot exec: start was sent twice")
    }
    // What this version does not know is skipped: a newer client may send more.
  }
  command.stdin.end()
}

/** Resolves when the stream can take more, or will never. */
const writeAll = async (stream: Writable, chunk: Uint8Array): Promise<void> => {
  if (stream.destroyed || stream.write(chunk)) return
  await new Promise<void>((resolve) => {
    const proceed = (): void => {
      stream.off("drain", proceed)
      stream.off("close", proceed)
      resolve()
    }
    stream.once("drain", proceed)
    stream.once("close", proceed)
  })
}

/** Output to messages, until the stream or the call ends. */
const pump = async (source: Readable, name: "stdout" | "stderr", call: Call): Promise<void> => {
  for await (const chunk of source as AsyncIterable<Uint8Array>) {
    // What is left after a hang-up is read and dropped, or the command could stay in its write.
    if (call.destroyed) continue
    await writeMessage(call, name === "stdout" ? { stdout: chunk } : { stderr: chunk })
  }
}

const writeMessage = (call: Call, message: ExecResponse): Promise<void> =>
  new Promise((resolve) => {
    const proceed = (): void => {
      call.off("drain", proceed)
      call.off("close", proceed)
      resolve()
    }
    if (call.write(message)) return resolve()
    call.once("drain", proceed)
    call.once("close", proceed)
  })
