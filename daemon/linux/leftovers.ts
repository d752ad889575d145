/** What weftd instances that do not run any more have left on this machine. Their next start clears or adopts it. */
import { existsSync } from "node:fs"
import { addon } from "../native/index.ts"
import * as Netns from "./netns.ts"

const runs = (instance: string): boolean => {
  const lock = `/run/weft/${instance}/lock`
  if (!existsSync(lock)) return false
  const descriptor = addon.lockFile(lock)
  if (descriptor < 0) return true
  addon.close(descriptor)
  return false
}

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
