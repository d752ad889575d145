/**
 * Limits of the machine that its namespaces share, raised while labs need it and put back afterwards.
 *
 *     net.ipv{4,6}.neigh.default.gc_thresh{1,2,3}   neighbours of all namespaces together: 1024 by default
 *     net.core.netdev_max_backlog                    frames that wait for one CPU: 1000 by default, and a broadcast in a
 *                                                    network of n ports is n frames at once
 *
 * What was there before is kept in a file beside the daemon's lock, so that it is known after a crash; a reboot clears
 * both. Each instance has a file of its own and reads those of the others: a limit is what the neediest wants, and goes
 * back to what it was when nobody wants more. (Two that change limits in the same millisecond may miss each other's wish
 * until the next change.) Where the daemon's own namespace has no such setting (only the first namespace has), there is nothing to do.
 */
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { basename, dirname } from "node:path"
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

/** What one instance has to say about the limits, in `limits.json` in its run directory. */
interface Claim {
  /** The values before any instance raised them. */
  readonly before: Readonly<Record<string, string>>
  readonly needs: Readonly<Record<string, number>>
}

/**
 * Sets the limits to what `sizes` and the other instances need, or back to what they were. Returns what was changed, in
 * words. `runDirectory`: this instance's, beside those of the others.
 */
export const fit = (sizes: SegmentSizes, runDirectory: string): ReadonlyArray<string> => {
  const wanted = Object.fromEntries(needs(sizes))
  // First the values, then the claims: whoever raises a value has claimed it before.
  const now = Sysctl.read(here, Object.keys(wanted))
  const mine = readClaim(runDirectory)
  const others = otherDirectories(runDirectory).flatMap((directory) => readClaim(directory) ?? [])
  const claims = mine === undefined ? others : [mine, ...others]
  const before: Record<string, string> = {}
  const changes: Record<string, string> = {}
  for (const [name, value] of Object.entries(now)) {
    const known = claims.flatMap((claim) => claim.before[name] ?? []).map(Number)
    const original = known.length === 0 ? Number(value) : Math.min(...known)
    before[name] = String(original)
    const target = Math.max(original, wanted[name]!, ...others.map((claim) => claim.needs[name] ?? 0))
    if (target !== Number(value)) changes[name] = String(target)
  }
  const raises = Object.keys(before).some((name) => wanted[name]! > Number(before[name]))
  if (raises) writeClaim(runDirectory, { before, needs: wanted })
  const names = Object.keys(changes)
  const failures = names.length === 0 ? [] : Sysctl.write(here, changes)
  if (!raises && failures.length === 0) removeClaim(runDirectory)
  // The other thresholds follow the third: one line says it.
  const told = names.filter((name) => !/ipv6|thresh[12]$/.test(name))
  return [...told.map((name) => `${name}: ${now[name]} -> ${changes[name]}`), ...failures.map((error) => error.message)]
}

const fileIn = (directory: string): string => `${directory}/limits.json`
const unfinishedIn = (directory: string): string => `${fileIn(directory)}.new`

const otherDirectories = (runDirectory: string): ReadonlyArray<string> => {
  const parent = dirname(runDirectory)
  return readdirSync(parent).filter((name) => name !== basename(runDirectory)).map((name) => `${parent}/${name}`)
}

const readClaim = (directory: string): Claim | undefined => {
  try {
    const { before, needs } = JSON.parse(readFileSync(fileIn(directory), "utf8")) as Partial<Claim>
    return before === undefined || needs === undefined ? undefined : { before, needs }
  } catch {
    // Most instances claim nothing.
    return undefined
  }
}

/** In one step: a daemon that is killed meanwhile must not lose what was there before. */
const writeClaim = (directory: string, claim: Claim): void => {
  writeFileSync(unfinishedIn(directory), JSON.stringify(claim))
  renameSync(unfinishedIn(directory), fileIn(directory))
}

const removeClaim = (directory: string): void => {
  for (const file of [fileIn(directory), unfinishedIn(directory)]) rmSync(file, { force: true })
}
