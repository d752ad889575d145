/**
 * Traffic over two tunnels, one of which is cut: how long it is gone, measured by probes between the nodes themselves.
 *
 *     pc1 -- fw ==vpn-aws-1== vpc-router -- batch       flows of UDP probes, one each per ms; batch answers
 *              ==vpn-aws-2==                            both routers spread flows over both tunnels
 *
 * The tunnel with more of the traffic is cut, by a fault that drops every packet and leaves the interfaces up on both sides. So
 * nobody is told, and BFD has to notice.
 */

import { setTimeout as wait } from "node:timers/promises"
import type { Client } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { FaultsChanged } from "../fault-messages.ts"
import { answers, type FlowState, longestOutageMs, watchFlows } from "../flows.ts"
import { milliseconds } from "../render/flows.ts"
import { routeLines } from "../render/routes.ts"
import { print, styleOf } from "../terminal.ts"
import { routeTo, waysOf } from "./routing.ts"
import { indent } from "./show.ts"

const near = "fw"
const far = "vpc-router"
/** What the link is called, and its ports at either end. */
const tunnels = [
  { link: "vpn-aws-1", near: "vpn-aws1", far: "vpn1" },
  { link: "vpn-aws-2", near: "vpn-aws2", far: "vpn2" }
] as const
type Tunnel = (typeof tunnels)[number]

export const ends = { from: "pc1", to: "batch" } as const
export const flowCount = 6
const spacingMs = 1
/** A probe without an answer for so long is lost. */
const timeoutMs = 500
const reportMs = 50

/** Longer than this is no failover, on however slow a machine. */
const boundMs = 2000
/** How long to wait for a state: longer than BGP's hold time, to see it at work where BFD is not. */
const patienceMs = 45_000

/** Traffic of one tunnel as `fw` sees it, in packets per second. */
interface Rate {
  readonly out: number
  readonly back: number
}
/** In the order of `tunnels`. */
type Rates = ReadonlyArray<Rate>

/** What the parts of this story share. */
interface Scene {
  readonly client: Client
  readonly lab: string
  readonly states: ReadonlyArray<FlowState>
}

/** Cuts, watches, heals. Prints what it sees, and returns what is not as it should be. */
export const showFailover = async (client: Client, lab: string): Promise<ReadonlyArray<string>> => {
  const spec = { ...ends, protocol: "udp", spacingMs, timeoutMs, payload: 0, ipv6: false }
  const watched = watchFlows(client, { lab, flows: Array.from({ length: flowCount }, () => spec), reportMs })
  let ended = false
  const reading = watched.until(() => ended)
  // It is awaited below; a failure before that is seen as flows that do not answer.
  reading.catch(() => {})
  try {
    const scene: Scene = { client, lab, states: watched.states }
    const problems = await before(scene)
    if (problems.length > 0) return problems
    const rates = await ratesOf(scene)
    showRates(rates)
    const tunnel = tunnels[rates[1]!.out > rates[0]!.out ? 1 : 0]
    const { fault, problems: seen } = await cutTunnel(scene, tunnel)
    return [...seen, ...(await heal(scene, tunnel, fault))]
  } finally {
    ended = true
    await Promise.race([reading, wait(1000, undefined, { ref: false })]).catch(() => {})
    await watched.end()
  }
}

/** Polls until it is so. Returns whether it ever was. */
const until = async (isSo: () => Promise<boolean> | boolean): Promise<boolean> => {
  const deadline = performance.now() + patienceMs
  while (!(await isSo())) {
    if (performance.now() > deadline) return false
    await wait(reportMs)
  }
  return true
}

const lostOf = (states: ReadonlyArray<FlowState>): number => states.reduce((sum, { report }) => sum + (report?.lost ?? 0), 0)
const answer = ({ states }: Scene): boolean => states.every(answers)

/** Whether both routers share traffic among both tunnels. */
const isShared = async ({ client, lab, states }: Scene): Promise<boolean> => {
  const there = waysOf(await routeTo(client, `${lab}/${near}`, states[0]?.report?.address ?? ""))
  const back = waysOf(await routeTo(client, `${lab}/${far}`, "10.10.0.0/16"))
  return tunnels.every((tunnel) => there.includes(tunnel.near) && back.includes(tunnel.far))
}

const before = async (scene: Scene): Promise<ReadonlyArray<string>> => {
  if (!(await until(() => answer(scene)))) {
    const said = scene.states.find(({ report }) => report?.error)?.report?.error ?? "no probe came back"
    return [`${ends.from} does not reach ${ends.to}: ${said}`]
  }
  if (!(await until(() => isShared(scene)))) return [`${near} and ${far} do not share traffic between two tunnels`]
  await showRoute(scene)
  return []
}

/** Returns the id of the fault, and what is not as it should be. */
const cutTunnel = async (scene: Scene, tunnel: Tunnel): Promise<{ readonly fault: string; readonly problems: ReadonlyArray<string> }> => {
  const { client, lab, states } = scene
  const style = styleOf(process.stdout)
  const { link } = tunnel
  const peer = await peerOf(scene, tunnel)
  const [session, neighbor] = await Promise.all([bfdOf(scene, peer), neighborOf(scene, peer)])
  const lostBefore = lostOf(states)
  const outagesBefore = states.map(({ outages }) => outages.length)
  print("")
  print(`${indent}${style.bold(`Cut ${link} silently:`)} packets vanish, interfaces stay up, nobody is told`)
  const words = ["link-down", link, "carrier=keep"]
  print(style.dim(`${indent}(weft inject ${words.join(" ")})`))
  const fault = changed(`cut ${link}`, await client.inject({ lab, words, for: "", files: {} }))
  const gone = await until(async () => {
    const ways = waysOf(await routeTo(client, `${lab}/${near}`, states[0]!.report!.address))
    return !ways.includes(tunnel.near) && ways.length > 0
  })
  // Until every probe of the outage is either answered or lost.
  await wait(timeoutMs + 4 * reportMs)
  const recovered = gone && (await until(() => answer(scene)))
  const during = states.map((state, place) => ({ ...state, outages: state.outages.slice(outagesBefore[place]) }))
  const longestMs = Math.max(...during.map(longestOutageMs))
  showOutages(during)
  if (!recovered) {
    return { fault, problems: [`traffic from ${ends.from} to ${ends.to} did not come back within ${patienceMs / 1000} s of the cut`] }
  }
  const [bfd, bgp] = await Promise.all([bfdOf(scene, peer), neighborOf(scene, peer)])
  print("")
  print(`${indent}BFD on ${near}: ${peer} ${bfd?.state ?? "?"}, ${bfd?.lastDownReason || bfd?.diagnostic || "?"}`
    + ` (${session?.detectionMs ?? "?"} ms)`)
  print(`${indent}BGP on ${near}: ${peer} ${bgp?.state ?? "?"} (${bgp?.lastReset ?? "?"})`)
  await showRoute(scene)
  showRates(await ratesOf(scene))
  print("")
  const hold = neighbor?.holdTimeS ?? 0
  print(`${indent}BGP alone notices such a cut when its hold time is over: up to ${hold} s here.`)
  const measured = style.bold(style.green(`${Math.round(longestMs)} ms`))
  print(`${indent}Measured now, with BFD and ECMP: ${measured}, the longest outage of any flow`)
  const problems = [
    ...(lostOf(states) > lostBefore ? [] : [`no flow lost anything, though ${link} was cut`]),
    ...(longestMs <= boundMs ? [] : [`the outage lasted ${milliseconds(longestMs)}: more than ${boundMs / 1000} s is no failover`])
  ]
  return { fault, problems }
}

const heal = async (scene: Scene, { link }: Tunnel, fault: string): Promise<ReadonlyArray<string>> => {
  const { client, lab, states } = scene
  const style = styleOf(process.stdout)
  const lostBefore = lostOf(states)
  const started = performance.now()
  changed(`heal ${link}`, await client.heal({ lab, ids: [fault], all: false }))
  if (!(await until(() => isShared(scene)))) return [`${link} was healed and is not used again after ${patienceMs / 1000} s`]
  const tookMs = performance.now() - started
  const rates = await ratesOf(scene)
  await wait(timeoutMs + 4 * reportMs)
  const lost = lostOf(states) - lostBefore
  const verdict = lost === 0 ? style.green("nothing lost") : style.yellow(`${lost} lost`)
  print("")
  print(`${indent}${style.bold(`Heal ${link}:`)} both tunnels in use after ${milliseconds(tookMs)}, ${verdict} meanwhile`)
  print(style.dim(`${indent}(weft heal ${fault})`))
  showRates(rates)
  const sent = states.reduce((sum, { report }) => sum + (report?.sent ?? 0), 0)
  const blindMs = Math.max(...states.map(({ report }) => report?.blindMs ?? 0))
  print(style.dim(`${indent}${sent} probes altogether, ${lostOf(states)} lost; at most ${milliseconds(blindMs)} passed without one`))
  const after = Math.max(0, ...states.map(({ lasting }) => lasting?.lengthMs ?? 0))
  return answer(scene) ? [] : [`not all flows answer after ${link} was healed: silent for ${milliseconds(after)}`]
}

/** The id of the fault that was injected or healed. @throws Failure when it was not */
const changed = (what: string, { diagnostics, failures, faults }: FaultsChanged): string => {
  const reasons = [...diagnostics.map(({ message }) => message), ...failures.map(({ error }) => error)]
  const id = faults[0]?.id
  if (reasons.length > 0 || id === undefined) throw new Failure(Exit.failed, `The demo could not ${what}: ${reasons.join("; ")}`)
  return id
}

/** Address of the far router in a tunnel. */
const peerOf = async ({ client, lab }: Scene, tunnel: Tunnel): Promise<string> => {
  const { nodes } = await client.inspect(lab)
  const address = nodes.find(({ name }) => name === far)?.ports.find(({ name }) => name === tunnel.far)?.addresses[0]
  return address?.split("/")[0] ?? "?"
}

const bfdOf = async ({ client, lab }: Scene, peer: string) =>
  (await client.bfd(`${lab}/${near}`)).sessions.find((session) => session.peer === peer)

const neighborOf = async ({ client, lab }: Scene, peer: string) =>
  (await client.bgp(`${lab}/${near}`)).neighbors.find(({ remoteAddress }) => remoteAddress === peer)

/** How much passes each tunnel, both ways. */
const ratesOf = async ({ client, lab }: Scene): Promise<Rates> => {
  const look = async () => {
    const { nodes } = await client.inspect(lab)
    const ports = nodes.find(({ name }) => name === near)?.ports ?? []
    return { at: performance.now(), counters: tunnels.map((tunnel) => ports.find(({ name }) => name === tunnel.near)?.counters) }
  }
  const first = await look()
  await wait(500)
  const second = await look()
  const seconds = (second.at - first.at) / 1000
  return tunnels.map((_, at) => {
    const [early, late] = [first.counters[at], second.counters[at]]
    const passed = (of: "fromPackets" | "toPackets"): number => Math.round(((late?.[of] ?? 0) - (early?.[of] ?? 0)) / seconds)
    return { out: passed("fromPackets"), back: passed("toPackets") }
  })
}

const showRates = (rates: Rates): void => {
  const texts = rates.map(({ back, out }, at) => `${tunnels[at]!.near} out ${String(out).padStart(4)}, back ${String(back).padStart(4)}`)
  print(`${indent}packets/s: ${texts.join("; ")}`)
}

const showRoute = async ({ client, lab, states }: Scene): Promise<void> => {
  const style = styleOf(process.stdout)
  const route = await routeTo(client, `${lab}/${near}`, states[0]?.report?.address ?? "")
  print(`${indent}${near}'s way to ${ends.to} (weft routes ${near} ${states[0]?.report?.address ?? ends.to}):`)
  for (const line of route === undefined ? ["no route"] : routeLines(route, style)) print(indent + line)
}

/** A line for each flow that was hit, and one for the others. */
const showOutages = (states: ReadonlyArray<FlowState>): void => {
  const style = styleOf(process.stdout)
  const spared: Array<number> = []
  for (const [place, state] of states.entries()) {
    const lost = state.outages.reduce((sum, outage) => sum + outage.lost, state.lasting?.lost ?? 0)
    if (lost === 0) spared.push(place + 1)
    else print(`${indent}flow ${place + 1}: outage ${style.yellow(milliseconds(longestOutageMs(state)).padStart(8))}, ${lost} probes lost`)
  }
  if (spared.length > 0) print(`${indent}flow ${spared.join(", ")}: nothing lost, on the other tunnel both ways`)
}
