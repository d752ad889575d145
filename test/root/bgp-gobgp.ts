/** Configurations of GoBGP for nodes of a `PeerLab`. */

export interface Session {
  readonly address: string
  readonly as?: number
  readonly config?: string
  /** Further tables of the neighbour, in TOML. */
  readonly more?: string
  readonly families?: ReadonlyArray<"ipv4-unicast" | "ipv6-unicast">
  /** Lines of each family's table. */
  readonly perFamily?: string
}

/** A neighbour in gobgpd's words; quick to come up. */
export const neighbor = ({ address, as = 65001, config = "", families = ["ipv4-unicast"], more = "", perFamily = "" }: Session): string => `
[[neighbors]]
  [neighbors.config]
    neighbor-address = "${address}"
    peer-as = ${as}
    ${config}
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 1
    hold-time = 9
    keepalive-interval = 3
  ${more}
${families.map((family) => `
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "${family}"
    ${perFamily}
`).join("")}`

/** A whole configuration of peer `p<i>`. */
export const gobgpd = (i: number, as: number, ...neighbors: ReadonlyArray<string>): string => `
[global.config]
  as = ${as}
  router-id = "10.255.1.${i}"
${neighbors.join("")}`
