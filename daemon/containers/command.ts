/**
 * Commands in containers: in all of a container's namespaces, with its environment, its user and its rights, as
 * `docker exec` has them; to the caller they look like commands in any other node (linux/process.ts).
 *
 * Docker has no call to signal such a command. It is the leader of a session of its own (runc: nsexec.c), so signals go to
 * its process group, by its id on this machine.
 */
import { constants } from "node:os"
import { type Duplex, PassThrough, type Readable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import type { Exec } from "dockerode"
import type { Exit, RunningCommand, TerminalSize } from "../linux/process.ts"
import { type Engine, explain, inspectOurs, nameOf, type Place } from "./engine.ts"

export interface ContainerCommand {
  readonly argv: ReadonlyArray<string>
  /** Added to the container's own. */
  readonly env?: Readonly<Record<string, string>>
  /** Absent: the container's own. */
  readonly user?: string
  readonly tty?: TerminalSize
}

/** As env(1) and docker-exec(1) have them: not started, not executable, not found. */
const exitFailed = 125
const exitNotExecutable = 126
const exitNotFound = 127
const hangUpGraceMs = 2000

/** What Docker says when a command cannot be started, as the exit code that a shell would give. */
const codeOf = (message: string): number =>
  /executable file not found|no such file or directory/.test(message)
    ? exitNotFound
    : /permission denied|is a directory|exec format error/.test(message) ? exitNotExecutable : exitFailed

const write = (target: PassThrough, chunk: Uint8Array): Promise<void> =>
  new Promise((resolve) => {
    if (target.destroyed || target.write(chunk)) return resolve()
    const proceed = (): void => {
      target.off("drain", proceed)
      target.off("close", proceed)
      resolve()
    }
    target.once("drain", proceed)
    target.once("close", proceed)
  })

/** How Docker, on the command's stdout, says that it could not be started. */
const refusal = "OCI runtime exec failed: "

/** Docker's frames, taken apart: 1 octet which stream (2: stderr), 3 octets 0, 4 octets length. Read as fast as it is asked for. */
async function* frames(source: Readable): AsyncGenerator<readonly [isError: boolean, part: Buffer]> {
  let header = Buffer.alloc(0)
  let left = 0
  let isError = false
  for await (const data of source as AsyncIterable<Buffer>) {
    let chunk = data
    while (chunk.length > 0) {
      if (left === 0) {
        const wanted = 8 - header.length
        header = Buffer.concat([header, chunk.subarray(0, wanted)])
        chunk = chunk.subarray(wanted)
        if (header.length < 8) break
        isError = header[0] === 2
        left = header.readUInt32BE(4)
        header = Buffer.alloc(0)
        continue
      }
      const part = chunk.subarray(0, left)
      left -= part.length
      chunk = chunk.subarray(part.length)
      yield [isError, part]
    }
  }
}

async function* unframed(source: Readable): AsyncGenerator<readonly [isError: boolean, part: Buffer]> {
  for await (const part of source as AsyncIterable<Buffer>) yield [false, part]
}

const signalNumber = (name: string): number | undefined =>
  Object.hasOwn(constants.signals, name) ? constants.signals[name as NodeJS.Signals] : undefined

/**
 * Starts a command in the container of a node. What goes wrong (no such program, the container does not run) is said on
 * the command's stderr, with exit code 125, 126 or 127, as env(1) has it.
 */
export const runInContainer = (engine: Engine, place: Place, command: ContainerCommand): Omit<RunningCommand, "pid"> => {
  const name = nameOf(engine, place, "node")
  const stdin = new PassThrough()
  const stdout = new PassThrough()
  const stderr = command.tty === undefined ? new PassThrough() : undefined
  let exec: Exec | undefined
  let exited = false
  let abandoned = false
  let size = command.tty

  const begin = async (): Promise<Duplex> => {
    const container = await inspectOurs(engine, place, "node")
    if (container?.State.Running !== true) {
      const how = container === undefined ? "" : `${container.State.Status}, exit code ${container.State.ExitCode}`
      const state = container === undefined ? "is not there" : `does not run: ${how}`
      throw new Error(`the container of ${place.node} ${state} (docker start ${name}, or weft deploy)`)
    }
    const env = { ...(command.tty === undefined ? {} : { TERM: "xterm-256color" }), ...command.env }
    exec = await (await engine.docker()).getContainer(container.Id).exec({
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      Tty: command.tty !== undefined,
      Cmd: [...command.argv],
      Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
      ...(command.user === undefined ? {} : { User: command.user })
    })
    return exec.start({ hijack: true, stdin: true, Tty: command.tty !== undefined })
  }

  const pidOf = async (): Promise<number> => (exec === undefined ? 0 : (await exec.inspect()).Pid)

  const send = (number: number): void => {
    void pidOf().then(
      (pid) => pid > 1 && !exited && process.kill(-pid, number),
      () => undefined
    ).catch(() => undefined)
  }

  /** The exit code when the output has ended; a command may close its output before it ends. */
  const finish = async (started: Exec): Promise<Exit> => {
    for (let pauseMs = 1; ; pauseMs = Math.min(200, pauseMs * 2)) {
      const { ExitCode: code, Running: running } = await started.inspect()
      if (!running && code !== null) return { code, signal: undefined }
      await sleep(pauseMs)
    }
  }

  const cannotStart = async (reason: string): Promise<Exit> => {
    await write(stderr ?? stdout, Buffer.from(`weft: cannot start "${command.argv[0]}" in ${place.node}: ${reason}\n`))
    return { code: codeOf(reason), signal: undefined }
  }

  const work = async (): Promise<Exit> => {
    let stream: Duplex
    try {
      stream = await begin()
    } catch (error) {
      return cannotStart(explain(engine, "start", command.argv[0]!, error).detail)
    }
    // A command that ends without reading its input resets the connection.
    stream.on("error", () => undefined)
    if (size !== undefined) await resizeTo(size)
    if (abandoned) send(constants.signals.SIGHUP)
    stdin.pipe(stream)
    let refused: string | undefined
    let isFirst = true
    for await (const [isError, part] of stderr === undefined ? unframed(stream) : frames(stream)) {
      if (isFirst && !isError && part.subarray(0, refusal.length).toString("latin1") === refusal) refused = ""
      isFirst = false
      if (refused === undefined) await write(isError ? (stderr ?? stdout) : stdout, part)
      else refused += part.toString("utf8")
    }
    const end = await finish(exec!)
    // A program may well say such a thing itself; then it does not end so.
    if (refused === undefined) return end
    if (end.code !== exitNotExecutable && end.code !== exitNotFound) {
      await write(stdout, Buffer.from(refused))
      return end
    }
    return cannotStart(refused.trim().replace(/^.*unable to start container process: (exec: )?/, "").replace(/: unknown$/, ""))
  }

  const resizeTo = async ({ columns, rows }: TerminalSize): Promise<void> => {
    await exec?.resize({ w: columns, h: rows }).catch(() => undefined)
  }

  const exit = work()
    .catch(async (error: unknown) => {
      const { message } = explain(engine, "run in", name, error)
      await write(stderr ?? stdout, Buffer.from(`weft: ${message}\n`))
      return { code: exitFailed, signal: undefined }
    })
    .finally(() => {
      exited = true
      stdin.destroy()
      stdout.end()
      stderr?.end()
    })

  return {
    stdin,
    stdout,
    stderr,
    exit,
    resize: (wanted) => {
      size = wanted
      if (!exited) void resizeTo(wanted)
    },
    signal: (wanted) => {
      const number = signalNumber(wanted)
      if (number === undefined || exited) return false
      send(number)
      return true
    },
    hangUp: async () => {
      abandoned = true
      if (exited) return
      send(constants.signals.SIGHUP)
      send(constants.signals.SIGCONT)
      const deadline = setTimeout(() => send(constants.signals.SIGKILL), hangUpGraceMs)
      await exit
      clearTimeout(deadline)
    }
  }
}
