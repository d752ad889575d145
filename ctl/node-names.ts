/** The nodes that a user can name, for suggestions and shell completion. */

import type { Client } from "./client.ts"

/** More labs than this are not looked into: completion must answer at once. */
const labsLookedInto = 8

interface Name {
  readonly name: string
  /** A few words about it. */
  readonly about: string
  /** Whether the lab is part of the name. */
  readonly qualified: boolean
}

/**
 * Every name by which a node can be called: `LAB/NODE`, and `NODE` alone where only one lab is deployed.
 *
 * @returns name and a few words about the node
 */
export const nodeNames = async (client: Client): Promise<ReadonlyArray<Name>> => {
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

/** The same for interfaces: `LAB/NODE:IF`, and `NODE:IF`. */
export const portNames = async (client: Client): Promise<ReadonlyArray<Name>> => {
  const labs = (await client.list()).slice(0, labsLookedInto)
  const inspected = await Promise.all(labs.map(({ name }) => client.inspect(name)))
  return inspected.flatMap(({ lab, nodes }) =>
    nodes.flatMap((node) =>
      node.ports.flatMap((port) => {
        const about = [port.segment, ...port.addresses.slice(0, 1)].filter((word) => word !== "").join(" ")
        const full = { name: `${lab.name}/${node.name}:${port.name}`, about, qualified: true }
        return labs.length === 1 ? [{ name: `${node.name}:${port.name}`, about, qualified: false }, full] : [full]
      })
    )
  )
}
