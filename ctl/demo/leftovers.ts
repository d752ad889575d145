/** What of the demo is still on this machine. Looks at the machine itself: a daemon's word is no proof. */

import { existsSync, readdirSync } from "node:fs"
import { pathOf } from "../client.ts"
import { instance, ownAddress } from "./daemon.ts"

const inFolder = (folder: string, matches: (name: string) => boolean): ReadonlyArray<string> => {
  try {
    return readdirSync(folder)
      .filter(matches)
      .map((name) => `${folder}/${name}`)
  } catch {
    return []
  }
}

/**
 * @param lab name of the lab that was removed
 * @param ownPid the demo's own daemon, when it started one
 * @returns a line for each thing that should be gone
 */
export const leftoversOf = (lab: string, ownPid: number | undefined): ReadonlyArray<string> => {
  const ofLab = (name: string): boolean => name.startsWith(`weft.${lab}.`)
  const found = [...inFolder("/run/netns", ofLab), ...inFolder("/etc/netns", ofLab)]
  if (ownPid === undefined) return found
  const socket = pathOf(ownAddress)
  const own = [`/run/netns/weft.fabric.${instance}`, socket, `/run/weft/${instance}`].filter((path) => existsSync(path))
  return [...found, ...own, ...(alive(ownPid) ? [`process ${ownPid}`] : [])]
}

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
