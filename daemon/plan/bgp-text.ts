/** A speaker in few words: what a plan shows of one that is made or removed. */
import type { BgpNeighborSpec, BgpSpec } from "./bgp.ts"

const neighborText = ({ description, families, remoteAs, shutdown, vrf }: BgpNeighborSpec): string => {
  const policies = families.flatMap(({ exportPolicy, importPolicy }) => [
    ...(importPolicy === undefined ? [] : [`in by ${importPolicy}`]),
    ...(exportPolicy === undefined ? [] : [`out by ${exportPolicy}`])
  ])
  return [
    `AS ${remoteAs}`,
    ...(description === undefined ? [] : [description]),
    families.map(({ family }) => family).join(" and "),
    ...(vrf === "default" ? [] : [`VRF ${vrf}`]),
    ...new Set(policies),
    ...(shutdown ? ["shut down"] : [])
  ].join(", ")
}

/** One value for each neighbour and VRF, instead of each of their settings. */
export const summaryOf = ({ asn, neighbors, routerId, vrfs }: BgpSpec): object => {
  const originated = vrfs.map(({ name, networks, redistribute, table }) => {
    const sources = [...networks.map(({ prefix }) => prefix), ...redistribute.map(({ source }) => source)]
    return [name, `table ${table}${sources.length === 0 ? "" : `, announces ${sources.join(", ")}`}`] as const
  })
  return {
    asn,
    routerId,
    vrfs: Object.fromEntries(originated),
    neighbors: Object.fromEntries(neighbors.map((neighbor) => [neighbor.name, neighborText(neighbor)]))
  }
}
