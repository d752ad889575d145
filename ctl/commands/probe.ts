/**
 * `weft probe`: probes at a fixed spacing from a node to another one or to an address, and when they did not come back. The
 * daemon sends and counts; here is what it reports.
 */

import { setTimeout as wait } from "node:timers/promises"
import { type Client, withClient } from "../client.ts"
import { Exit, Failure, NotFound } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { answers, type FlowState, outagesOf, watchFlows } from "../flows.ts"
import type { FlowRequest, FlowSpec } from "../flow-messages.ts"
import { withSuggestion } from "../node-names.ts"
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
    const ended = watched.until((states) => {
      if (isShown) process.stderr.write(`\r${liveLine(states, elapsed(), style)}\u001b[K`)
      if (states.every(({ report }) => report !== undefined && report.error !== "")) return true
      const late = elapsed() - durationMs
      // What is under way at the end is worth waiting for: it may be lost.
      return interrupted() || (late >= 0 && (states.every(isDecided) || late > timeoutMs + reportMs))
    })
    await ended.catch(async (error: unknown) => {
      throw error instanceof NotFound ? await wrongName(client, input, error) : error
    })
    if (isShown) process.stderr.write("\r\u001b[K")
    // A daemon that is slow to hang up is not waited for.
    await Promise.race([watched.end(), wait(1000, undefined, { ref: false })])
    return show(input, watched.states)
  })
}

/** A name that is not there is a mistake of whoever typed it, not something that probes have found out. */
const wrongName = async (client: Client, { from, to }: Input, error: NotFound): Promise<Failure> => {
  const word = [from, to].find((name) => error.message.includes(`"${name.replace(/^.*\//, "")}"`)) ?? from
  const { hint, message } = await withSuggestion(client, word, error)
  return new Failure(Exit.usage, message, hint)
}

const isDecided = (state: FlowState): boolean => answers(state) || state.lasting !== undefined

/** As the daemon has them: `daemon/probes/protocols.ts`. */
const spacings: Readonly<Record<string, number>> = {
  udp: 1, icmp: 1, tcp: 1, "tcp-connect": 20, http: 100, dns: 100, traceroute: 2000, "path-mtu": 5000, throughput: 500
}
const timeouts: Readonly<Record<string, number>> = { http: 2000, traceroute: 1500, "path-mtu": 3000, throughput: 2000 }
const mostFlows = 1000
const smallestPort = 1
const largestPort = 65535

const wanted = (input: Input) => {
  const { duration, flows, from, icmp, ipv6, spacing, timeout, to, udp } = input
  if (udp && icmp) throw new Failure(Exit.usage, "--udp and --icmp exclude each other")
  if ((udp || icmp) && input.protocol !== "udp") throw new Failure(Exit.usage, "--protocol says what --udp and --icmp do: leave one out")
  const protocol = icmp ? "icmp" : input.protocol
  const count = flows === undefined ? 1 : Number(flows)
  if (!Number.isInteger(count) || count < 1 || count > mostFlows) {
    throw new Failure(Exit.usage, `Cannot start ${flows} flows: 1 to ${mostFlows} are possible`)
  }
  const port = input.port === undefined ? 0 : Number(input.port)
  if (input.port !== undefined && !(Number.isInteger(port) && port >= smallestPort && port <= largestPort)) {
    throw new Failure(Exit.usage, `Cannot use "${input.port}" as --port: ${smallestPort} to ${largestPort} are possible`)
  }
  const [lab, source] = from.includes("/") ? [from.slice(0, from.indexOf("/")), from.slice(from.indexOf("/") + 1)] : ["", from]
  const timeoutMs = timeMs("timeout", timeout, timeouts[protocol] ?? defaultTimeoutMs)
  const { "answered-by": answeredBy = "", expect = "", host = "", name = "", path = "", type = "" } = input
  const spec: FlowSpec = {
    from: source,
    to: lab !== "" && to.startsWith(`${lab}/`) ? to.slice(lab.length + 1) : to,
    protocol,
    spacingMs: timeMs("spacing", spacing, spacings[protocol] ?? 1),
    timeoutMs,
    payload: 0,
    ipv6: ipv6 || to.includes(":"),
    port, path, host, expect, name, type, answeredBy,
    rate: rateOf(input.rate)
  }
  const request: FlowRequest = { lab, flows: Array.from({ length: count }, () => spec), reportMs }
  return { durationMs: duration === undefined ? Number.POSITIVE_INFINITY : timeMs("duration", duration, 0), request, timeoutMs }
}

const ratesBit: Readonly<Record<string, number>> = { k: 1e3, M: 1e6, G: 1e9, "": 1 }

/** `10M`, `10Mbit`, `10Mbit/s` -> bit/s; 0 when nothing is said. */
const rateOf = (text: string | undefined): number => {
  if (text === undefined) return 0
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)([kMG]?)(?:bit(?:\/s|ps)?)?$/.exec(text) ?? []
  const rate = Number(number) * ratesBit[unit]!
  if (!(rate > 0)) throw new Failure(Exit.usage, `Cannot use "${text}" as --rate: a rate such as 10M or 2.5Gbit is expected`)
  return rate
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
    const { address = "", port = 0 } = first?.report ?? {}
    const { protocol = "", spacingMs = 0 } = first?.spec ?? {}
    const where = address === "" || address === to ? to : `${to} (${address})`
    const named = /^(udp|icmp|tcp|http|dns)$/.test(protocol) ? protocol.toUpperCase() : protocol
    const at = port === 0 || protocol === "udp" ? "" : ` to port ${port}`
    printError(`${from} to ${where}, ${named}${at} every ${spacingMs} ms${several}`)
    print(flowLines(states, { style: styleOf(process.stdout), width: widthOf(process.stdout) }).join("\n"))
  } else {
    const flows = states.map((state) => {
      const { changes, report, samples, spec } = state
      const { flow: _flow, outages: _outages, ...figures } = report ?? { flow: 0, outages: [] }
      return { ...spec, ...figures, outages: outagesOf(state), changes, samples }
    })
    await printValue(output, { flows })
  }
  const isFine = states.every(({ report }) => report !== undefined && report.error === "" && report.lost === 0
    && report.outageCount === 0 && report.received > 0)
  return isFine ? Exit.done : Exit.failed
}
