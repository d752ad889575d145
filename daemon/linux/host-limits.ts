/**
 * Limits of the machine that its namespaces share, raised while labs need it and put back afterwards.
 *
 *     net.ipv{4,6}.neigh.default.gc_thresh{1,2,3}   neighbours of all namespaces together: 1024 by default
 *     net.core.netdev_max_backlog                    frames that wait for one CPU: 1000 by default, and a broadcast in a
 *                                                    network of n ports is n frames at once
 *
 * What was there before is kept in a file beside the daemon's lock, so that it is known after a crash; a reboot clears
 * both. Where the daemon's own namespace has no such setting (only the first namespace has), there is nothing to do.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import * as Sysctl from "./sysctl.ts"

const here = -1
const neighbourNames = ["net.ipv4.neigh.default.gc_thresh", "net.ipv6.neigh.default.gc_thresh"] as const
const backlogName = "net.core.netdev_max_backlog"
/** Beyond this a machine has other worries. */
const mostNeighbours = 1 << 20

/** Port counts of all networks and links of all labs. */
export type SegmentSizes = ReadonlyArray<number>

/** What `sizes` need, by sysctl; lower values are never wanted. */
export const needs = (sizes: SegmentSizes): ReadonlyMap<string, number> => {
  // Every port of a segment may talk to every other, in IPv4 and in IPv6 with a link-local and a global address.
  const neighbours = Math.min(mostNeighbours, sizes.reduce((sum, size) => sum + size * (size - 1) * 2, 0))
  const largest = Math.max(0, ...sizes)
  const wanted = new Map<string, number>()
  // gc_thresh1 is where the kernel begins to collect: below it nothing is ever evicted.
  for (const name of neighbourNames) {
    wanted.set(`${name}1`, neighbours)
    wanted.set(`${name}2`, neighbours * 2)
    wanted.set(`${name}3`, neighbours * 4)
  }
  wanted.set(backlogName, largest * 4)
  return wanted
}

/** Sets the limits to what `sizes` need, or back to what they were. Returns what was changed, in words. */
export const fit = (sizes: SegmentSizes, runDirectory: string): ReadonlyArray<string> => {
  const file = `${runDirectory}/limits.json`
  const wanted = needs(sizes)
  const now = Sysctl.read(here, [...wanted.keys()])
  const before: Record<string, string> = { ...now, ...readBefore(file) }
  const changes: Record<string, string> = {}
  for (const [name, need] of wanted) {
    if (now[name] === undefined) continue
    const target = Math.max(need, Number(before[name]))
    if (target !== Number(now[name])) changes[name] = String(target)
  }
  const names = Object.keys(changes)
  if (names.length === 0) return []
  const raised = names.some((name) => Number(changes[name]) > Number(before[name]))
  if (raised) writeFileSync(file, JSON.stringify(before))
  const failures = Sysctl.write(here, changes)
  if (!raised) rmSync(file, { force: true })
  // The other thresholds follow the third: one line says it.
  const told = names.filter((name) => !/ipv6|thresh[12]$/.test(name))
  return [...told.map((name) => `${name}: ${now[name]} -> ${changes[name]}`), ...failures.map((error) => error.message)]
}

const readBefore = (file: string): Record<string, string> => {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Record<string, string>
  } catch {
    return {}
  }
}
