/** Configurations of BIRD 2 for nodes of a `PeerLab`: what each test says, on top of what all say. */
import { addressesOf } from "./bgp-peer-lab.ts"

export interface BirdSession {
  /** BIRD's own number in the lab: it is peer `p<i>`. */
  readonly i: number
  readonly name?: string
  readonly as: number
  /** Of weft. */
  readonly remote?: number
  /** Lines of the protocol. */
  readonly options?: string
  /** Addresses other than those of the link. */
  readonly local?: string
  readonly neighbor?: string
  /** Lines of the channels; absent: the session has no such channel. */
  readonly ipv4?: string
  readonly ipv6?: string
}

/** All that BIRD took up itself goes out. */
export const exportStatic = "import all; export where source = RTS_STATIC;"

/** A session with weft that is quick to come up and quick to notice. */
export const session = ({ as, i, ipv4, ipv6, local, name = "weft", neighbor, options = "", remote = 65001 }: BirdSession): string => {
  const { peer, peer6, weft, weft6 } = addressesOf(i)
  const isSix = ipv4 === undefined
  const channel = (family: string, lines: string | undefined): string => (lines === undefined ? "" : `  ${family} { ${lines} };\n`)
  return `protocol bgp ${name} {
  local ${local ?? (isSix ? peer6 : peer)} as ${as};
  neighbor ${neighbor ?? (isSix ? weft6 : weft)} as ${remote};
  hold time 9; keepalive time 3; connect delay time 1; connect retry time 1; error wait time 1, 2;
  ${options}
${channel("ipv4", ipv4)}${channel("ipv6", ipv6)}}
`
}

/** Static routes of BIRD's own; `filter`: what is set on the way in. */
export const originate = (family: "ipv4" | "ipv6", prefixes: ReadonlyArray<string>, filter = "accept;", name = "own"): string =>
  `protocol static ${name}_${family} {
  ${family} { import filter { ${filter} }; };
${prefixes.map((prefix) => `  route ${prefix} blackhole;\n`).join("")}}
`

/** A whole configuration of peer `p<i>`; routes that others told go into its kernel. */
export const birdOf = (i: number, ...parts: ReadonlyArray<string>): string =>
  [
    `router id 10.255.1.${i};`,
    "protocol device { scan time 1; }",
    "protocol direct { ipv4; ipv6; }",
    "protocol kernel { ipv4 { export where source = RTS_BGP; }; }",
    "protocol kernel { ipv6 { export where source = RTS_BGP; }; }",
    ...parts
  ].join("\n")
