/** What of a lab is still on this machine. Looks at the machine itself: a daemon's word is no proof. */

import { readdirSync } from "node:fs"

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
 * @returns a line for each thing that should be gone
 */
export const leftoversOf = (lab: string): ReadonlyArray<string> => {
  const ofLab = (name: string): boolean => name.startsWith(`weft.${lab}.`)
  return [...inFolder("/run/netns", ofLab), ...inFolder("/etc/netns", ofLab)]
}
