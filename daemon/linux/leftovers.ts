/** What weftd instances that do not run any more have left on this machine. Their next start clears or adopts it. */
import { readFileSync, statSync } from "node:fs"
import * as Netns from "./netns.ts"

/**
 * Whether somebody holds a lock (flock(2)) on the file. Read off /proc/locks (proc_locks(5)): trying to take the lock would
 * make a daemon fail that starts at this moment.
 *
 *     4: FLOCK  ADVISORY  WRITE 2164 00:1a:4711 0 EOF      device (major:minor, hexadecimal) and inode
 */
export const isLocked = (path: string): boolean => {
  const status = statSync(path, { throwIfNoEntry: false })
  if (status === undefined) return false
  return readFileSync("/proc/locks", "utf8").split("\n").some((line) => {
    const [, kind, , , , file] = line.split(/\s+/)
    const [major, minor, inode] = (file ?? "").split(":")
    return kind === "FLOCK" && Number(inode) === status.ino && deviceOf(parseInt(major!, 16), parseInt(minor!, 16)) === status.dev
  })
}

/** As stat(2) has it (glibc: makedev). */
const deviceOf = (major: number, minor: number): number => (minor & 0xff) + (major & 0xfff) * 0x100 + (minor >>> 8) * 0x10_0000

const runs = (instance: string): boolean => isLocked(`/run/weft/${instance}/lock`)

/** Namespaces by the instance whose mark they carry, of instances that do not run. */
export const leftovers = (): ReadonlyArray<{ readonly instance: string; readonly namespaces: ReadonlyArray<string> }> => {
  const byOwner = new Map<string, string[]>()
  for (const name of Netns.list()) {
    const owner = Netns.owner(name)
    if (owner === undefined) continue
    const names = byOwner.get(owner)
    if (names === undefined) byOwner.set(owner, [name])
    else names.push(name)
  }
  return [...byOwner].filter(([instance]) => !runs(instance)).map(([instance, namespaces]) => ({ instance, namespaces }))
}
