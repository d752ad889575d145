/** The nodes that a user can name, for suggestions and shell completion. */

import type { Client } from "./client.ts"
import { closest } from "./closest.ts"
import { NotFound } from "./command.ts"

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

/** That there is no such node, with the name that was probably meant, or those that there are. */
export const withSuggestion = async (client: Client, node: string, error: NotFound): Promise<NotFound> => {
  const names = (await nodeNames(client).catch(() => []))
    .filter(({ qualified }) => qualified === node.includes("/"))
    .map(({ name }) => name)
  if (error.message.includes("did you mean")) return error
  const meant = closest(node, names)
  if (meant !== undefined) return new NotFound(`${error.message} (did you mean ${meant}?)`)
  return new NotFound(
    error.message,
    names.length === 0
      ? "See: weft list, weft inspect LAB"
      : `Nodes: ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", ..." : ""}`
  )
}
