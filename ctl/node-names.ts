/** The nodes that a user can name, for suggestions and shell completion. */

import type { Client } from "./client.ts"

/** More labs than this are not looked into: completion must answer at once. */
const labsLookedInto = 8

/**
 * Every name by which a node can be called: `LAB/NODE`, and `NODE` alone where only one lab is deployed.
 *
 * @returns name and a few words about the node
 */
export const nodeNames = async (
  client: Client
): Promise<ReadonlyArray<{ readonly name: string; readonly about: string; readonly qualified: boolean }>> => {
  const labs = (await client.list()).slice(0, labsLookedInto)
  const inspected = await Promise.all(labs.map(({ name }) => client.inspect(name)))
  return inspected.flatMap(({ lab, nodes }) =>
    nodes.flatMap((node) => {
      const about = [node.kind, ...node.ports.flatMap(({ addresses }) => addresses).slice(0, 1)].join(" ")
      const full = { name: `${lab.name}/${node.name}`, about, qualified: true }
      return labs.length === 1 ? [{ name: node.name, about, qualified: false }, full] : [full]
    })
  )
}
