/**
 * `weft probe`: probes at a fixed spacing from a node to another one or to an address, and when they did not come back. The
 * daemon sends and counts; here is what it reports.
 */

import { setTimeout as wait } from "node:timers/promises"
import { withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { answers, type FlowState, outagesOf, watchFlows } from "../flows.ts"
import type { FlowRequest } from "../flow-messages.ts"
import { flowLines, liveLine } from "../render/flows.ts"
import { printValue } from "../render/value.ts"
import { print, printError, styleOf, widthOf } from "../terminal.ts"
import type { specs } from "./table.ts"

type Input = InputOf<typeof specs.probe>

const reportMs = 100
const defaultTimeoutMs = 1000

export const run = async (input: Input, context: Context): Promise<number> => {
  const { durationMs, request, timeoutMs } = wanted(input)
  const style = styleOf(process.stderr)
  return withClient(context.daemon, async (client) => {
    const watched = watchFlows(client, request)
    const started = performance.now()
    const interrupted = interruption()
    const elapsed = (): number => performance.now() - started
    const isShown = process.stderr.isTTY === true && process.env["TERM"] !== "dumb"
    await watched.until((states) => {
      if (isShown) process.stderr.write(`\r${liveLine(states, elapsed(), style)}\u001b[K`)
      if (states.every(({ report }) => report !== undefined && report.error !== "")) return true
      const late = elapsed() - durationMs
      // What is under way at the end is worth waiting for: it may be lost.
      return interrupted() || (late >= 0 && (states.every(isDecided) || late > timeoutMs + reportMs))
    })
    if (isShown) process.stderr.write("\r\u001b[K")
    // A daemon that is slow to hang up is not waited for.
    await Promise.race([watched.end(), wait(1000, undefined, { ref: false })])
    return show(input, watched.states)
  })
}

const isDecided = (state: FlowState): boolean => answers(state) || state.lasting !== undefined

const wanted = ({ duration, flows, from, icmp, ipv6, spacing, timeout, to, udp }: Input) => {
  if (udp && icmp) throw new Failure(Exit.usage, "--udp and --icmp exclude each other")
  const count = flows === undefined ? 1 : Number(flows)
  if (!Number.isInteger(count) || count < 1 || count > 256) {
    throw new Failure(Exit.usage, `Cannot start ${flows} flows: 1 to 256 are possible`)
  }
  const [lab, source] = from.includes("/") ? [from.slice(0, from.indexOf("/")), from.slice(from.indexOf("/") + 1)] : ["", from]
  const timeoutMs = timeMs("timeout", timeout, defaultTimeoutMs)
  const spec = {
    from: source,
    to: lab !== "" && to.startsWith(`${lab}/`) ? to.slice(lab.length + 1) : to,
    protocol: icmp ? "icmp" : "udp",
    spacingMs: timeMs("spacing", spacing, 1),
    timeoutMs,
    payload: 0,
    ipv6: ipv6 || to.includes(":")
  }
  const request: FlowRequest = { lab, flows: Array.from({ length: count }, () => spec), reportMs }
  return { durationMs: duration === undefined ? Number.POSITIVE_INFINITY : timeMs("duration", duration, 0), request, timeoutMs }
}

const unitsMs: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

const timeMs = (flag: string, text: string | undefined, absent: number): number => {
  if (text === undefined) return absent
  const [, number, unit = "s"] = /^(\d+(?:\.\d+)?)(us|ms|s|m|h)?$/.exec(text) ?? []
  const ms = Number(number) * unitsMs[unit]!
  if (!(ms > 0)) throw new Failure(Exit.usage, `Cannot use "${text}" as --${flag}: a time such as 1ms, 500us or 10s is expected`)
  return ms
}

/** Says whether the user wants it to end. The second signal does not wait. */
const interruption = (): (() => boolean) => {
  let heard = false
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (heard) process.exit(130)
      heard = true
    })
  }
  return () => heard
}

const show = async ({ from, output, to }: Input, states: ReadonlyArray<FlowState>): Promise<number> => {
  if (output === "table") {
    const [first] = states
    const several = states.length === 1 ? "" : `, ${states.length} flows`
    const address = first?.report?.address ?? ""
    const { protocol = "", spacingMs = 0 } = first?.spec ?? {}
    const where = address === "" || address === to ? to : `${to} (${address})`
    printError(`${from} to ${where}, ${protocol.toUpperCase()} every ${spacingMs} ms${several}`)
    print(flowLines(states, { style: styleOf(process.stdout), width: widthOf(process.stdout) }).join("\n"))
  } else {
    const flows = states.map(({ report, spec, ...rest }) => {
      const { flow: _flow, outages: _outages, ...figures } = report ?? { flow: 0, outages: [] }
      return { ...spec, ...figures, outages: outagesOf({ report, spec, ...rest }) }
    })
    await printValue(output, { flows })
  }
  const isFine = states.every(({ report }) => report !== undefined && report.error === "" && report.lost === 0 && report.received > 0)
  return isFine ? Exit.done : Exit.failed
}
