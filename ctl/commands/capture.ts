/**
 * `weft capture`: what passes interfaces of nodes, as lines for people or as pcapng for Wireshark. The daemon does it;
 * here the octets are written as they come, and the next ones are asked for when these have been taken: who reads slowly
 * makes the kernel drop packets, and the count of those is shown at the end.
 */

import { once } from "node:events"
import { type FileHandle, open } from "node:fs/promises"
import { connect } from "../client.ts"
import type { CaptureCall } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import type { CaptureEnded, CaptureStart } from "../messages.ts"
import { printable, printError } from "../terminal.ts"
import type { specs } from "./table.ts"

type Input = InputOf<typeof specs.capture>

export const run = async (input: Input, context: Context): Promise<number> => {
  const start = startOf(input)
  if (input.write === "-" && process.stdout.isTTY) {
    throw new Failure(
      Exit.usage,
      "Cannot write pcapng to a terminal",
      "Pipe it: weft capture ... -w - | wireshark -k -i -\nOr write a file: -w FILE. Without -w each packet is a line."
    )
  }
  const client = await connect(context.daemon)
  try {
    const call = client.capture(start)
    endOnSignals(call)
    return await record(call, start, input.write)
  } finally {
    client.close()
  }
}

const startOf = (input: Input): CaptureStart => {
  if (input.ports.length === 0) throw new Failure(Exit.usage, "No interface to capture on", "usage: weft capture NODE:IF [NODE:IF ...]")
  for (const [index, port] of input.ports.entries()) {
    if (!/^[^:]+:[^:]+$/.test(port)) {
      throw new Failure(
        Exit.usage,
        `Cannot capture on "${port}": NODE:IF is expected`,
        `Example: ${port.split(":")[0] || "pc"}:eth0. What a node has: weft inspect. ` +
          `Which packets to show: --filter "${input.ports.slice(index).join(" ")}"`
      )
    }
  }
  return {
    ports: input.ports,
    filter: input.filter ?? "",
    count: wholeNumber("count", input.count),
    durationMs: duration(input.duration),
    snaplen: wholeNumber("snaplen", input.snaplen, 0xffffffff),
    text: input.write === undefined,
    tunnel: input.tunnel
  }
}

/** From 1 on; 0 when the flag is absent. */
const wholeNumber = (flag: string, text: string | undefined, most = Number.MAX_SAFE_INTEGER): number => {
  if (text === undefined) return 0
  const value = /^\d+$/.test(text) ? Number(text) : 0
  if (value < 1 || value > most) throw new Failure(Exit.usage, `Cannot use "${text}" as --${flag}: a whole number from 1 on is expected`)
  return value
}

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** Milliseconds; 0 when the flag is absent. */
export const duration = (text: string | undefined): number => {
  if (text === undefined) return 0
  const [, number, unit = "s"] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? []
  const ms = Math.round(Number(number) * unitsMs[unit]!)
  if (!(ms >= 1)) throw new Failure(Exit.usage, `Cannot use "${text}" as --duration: a time such as 10s, 500ms or 5m is expected`)
  return ms
}

/**
 * The first signal asks for an orderly end, with statistics; the second does not wait for it. Ctrl-C ends a whole pipeline:
 * a reader that has gone since then is no error.
 */
const endOnSignals = (call: CaptureCall): void => {
  let asked = false
  process.stdout.removeAllListeners("error")
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error
    if (!asked) process.exit(141)
  })
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (asked) process.exit(130)
      asked = true
      call.stop()
    })
  }
}

/** Writes what comes, and returns the exit code. A file is made when the capture runs, not before. */
const record = async (call: CaptureCall, start: CaptureStart, file: string | undefined): Promise<number> => {
  let target: FileHandle | undefined
  let running = false
  try {
    for await (const response of call) {
      if (!running) {
        running = true
        if (!start.text && file !== undefined && file !== "-") target = await written(file, open(file, "w"))
        printError(`Capturing on ${start.ports.join(", ")} (Ctrl-C ends it)`)
      }
      switch (response.message) {
        case "text":
          await toStandardOutput(printable(response.text))
          break
        case "pcapng":
          if (target === undefined) await toStandardOutput(response.pcapng)
          else await written(file!, writeAll(target, response.pcapng))
          break
        case "ended":
          return end(response.ended)
      }
    }
  } finally {
    await target?.close()
  }
  throw new Failure(Exit.unreachable, "The daemon hung up before the capture ended", "What has been captured is complete up to here.")
}

const toStandardOutput = async (chunk: string | Uint8Array): Promise<void> => {
  if (chunk.length === 0 || !process.stdout.writable || process.stdout.write(chunk)) return
  // A reader that goes away closes the stream with an error, which endOnSignals judges.
  const settled = new AbortController()
  const drained = once(process.stdout, "drain", settled).catch(() => undefined)
  const closed = once(process.stdout, "close", settled).catch(() => undefined)
  await Promise.race([drained, closed])
  settled.abort()
}

const writeAll = async (target: FileHandle, octets: Uint8Array): Promise<void> => {
  for (let at = 0; at < octets.length; ) at += (await target.write(octets, at)).bytesWritten
}

/** A failure to write says to which file and why. */
const written = async <A>(file: string, writing: Promise<A>): Promise<A> => {
  try {
    return await writing
  } catch (error) {
    throw new Failure(Exit.failed, `Cannot write "${file}": ${(error as NodeJS.ErrnoException).code ?? String(error)}`)
  }
}

const end = ({ failed, ports, reason }: CaptureEnded): number => {
  for (const { delivered, dropped, name } of ports) {
    const lost = dropped === 0 ? "" : `, ${dropped} dropped because they were not read in time`
    printError(`${name}: ${delivered} ${delivered === 1 ? "packet" : "packets"} captured${lost}`)
  }
  if (failed) throw new Failure(Exit.failed, `The capture ended early: ${reason}`)
  return Exit.done
}
