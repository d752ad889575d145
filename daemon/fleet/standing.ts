/** How far a lab has got on all its hosts, from what they reported. Pure. */
import { diff } from "../plan/diff.ts"
import { baseOf } from "../plan/fault.ts"
import { hostsWithNodes, partOf } from "../plan/part.ts"
import type { Plan, Resource } from "../plan/resource.ts"
import { type Counts, countsOf, type HostProgress, type LabSummary } from "../reconciler/control.ts"
import type { FleetLab, HostState, PartReport } from "../store/fleet.ts"

export interface Standing extends HostProgress {
  /** The plan has nodes on it; else it only has something to remove. */
  readonly isPlanned: boolean
  readonly failures: PartReport["failures"]
}

const isFinal = ({ state }: Standing): boolean => state === "ready" || state === "failed" || state === "gone"

/** Hosts that have, or may have, something of the lab, by name. */
export const hostsOf = (lab: FleetLab): ReadonlyArray<string> =>
  [...new Set([...lab.hosts, ...(lab.wanted === "present" ? hostsWithNodes(lab.plan) : [])])].toSorted()

/** Each host of the lab at its present generation. A host that has not answered and is not alive is `lost`. */
export const standingsOf = (
  lab: FleetLab,
  reports: ReadonlyMap<string, PartReport>,
  hosts: ReadonlyArray<HostState>
): ReadonlyArray<Standing> => {
  const planned = new Set(lab.wanted === "present" ? hostsWithNodes(lab.plan) : [])
  const known = new Map(hosts.map((host) => [host.name, host]))
  return hostsOf(lab).map((host) => {
    const report = reports.get(host)
    const isPlanned = planned.has(host)
    const current = report?.generation === lab.generation ? report : undefined
    const { done = 0, failures = [], state = "waiting", total = 0 } = current ?? {}
    const standing: Standing = { host, isPlanned, state, done, total, failures }
    if (isFinal(standing)) return standing
    // A host that was forgotten will not come back to remove anything.
    if (!known.has(host) && !isPlanned) return { ...standing, state: "gone" }
    return known.get(host)?.alive === true ? standing : { ...standing, state: "lost" }
  })
}

/** Some host that can still answer has not finished. */
export const isUnderWay = (standings: ReadonlyArray<Standing>): boolean =>
  standings.some(({ state }) => state === "waiting" || state === "converging")

/** Nothing of the lab is left on any host. */
export const isGone = (standings: ReadonlyArray<Standing>): boolean => standings.every(({ state }) => state === "gone")

const lostText = (host: string): string => `host ${host} is lost: its part of the lab waits for it`

/** The lab as a row of `weft list`. */
export const fleetSummary = (
  lab: FleetLab,
  standings: ReadonlyArray<Standing>,
  hosts: ReadonlyArray<HostState>
): LabSummary => {
  const planned = standings.filter(({ isPlanned }) => isPlanned)
  const failed = standings.find(({ state }) => state === "failed")
  const lost = planned.find(({ state }) => state === "lost")
  const first = failed?.failures[0]
  const error =
    failed !== undefined
      ? `${failed.host}: ${first?.error ?? "failed"}`
      : lost !== undefined && !isUnderWay(standings)
        ? lostText(lost.host)
        : ""
  const gone = planned.filter(({ host }) => hosts.find(({ name }) => name === host)?.alive !== true).map(({ host }) => host)
  const base = baseOf(lab)
  const settled = planned.every(({ state }) => state === "ready") ? "ready" : lab.generation === 1 ? "deploying" : "changing"
  return {
    name: lab.name,
    state: lab.wanted === "absent" ? "destroying" : error !== "" ? "failed" : settled,
    nodes: base.nodes.length,
    segments: base.segments.length,
    deployedAt: lab.deployedAt,
    filename: lab.filename,
    // It is as it was left, and may well forward.
    error: error === "" && gone.length > 0 ? `${gone.map((host) => `host ${host}`).join(" and ")} lost: no word of what is there` : error,
    hosts: standings.filter(({ state }) => state !== "gone").map(({ host }) => host),
    faults: lab.faults?.length ?? 0
  }
}

const observedOf = (resources: ReadonlyArray<Resource>): Parameters<typeof diff>[1] =>
  new Map(resources.map(({ id, kind, spec }) => [id, { kind, spec }])) as unknown as Parameters<typeof diff>[1]

/** What changes from one placed plan to the next on all hosts together: a node that moves goes there and comes here. */
export const countsBetween = (before: Plan, after: Plan, vtepOf: (host: string) => string | undefined): Counts => {
  const hosts = [...new Set([...hostsWithNodes(before), ...hostsWithNodes(after)])]
  return countsOf(hosts.flatMap((host) => stepsBetween(before, after, host, vtepOf)))
}

/** The same for one host, from the plans alone: for a host that cannot be asked. */
export const stepsBetween = (
  before: Plan,
  after: Plan,
  host: string,
  vtepOf: (host: string) => string | undefined
): ReturnType<typeof diff> => diff(partOf(after, host, vtepOf), observedOf(partOf(before, host, vtepOf).resources))
