/**
 * Tunnels of the engine: how a segment reaches one other host where the kernel does not encapsulate.
 *
 *   ports == program -- TAP ~~ engine ~~ UDP or GRE over the underlay ~~ the other host
 *
 * There is one TAP for each (segment, remote address). To the program it is a port like any other; `resources/segment.ts`
 * makes it a member of the network or the far end of the link. `EngineLinks` keeps tunnels beside its links: one engine has both.
 */
import { hash } from "node:crypto"
import { KernelError } from "../linux/errors.ts"
import type { LinkProfile } from "../plan/link-profile.ts"
import * as Ip from "../wire/ip.ts"

/** What the segment says of a tunnel. */
export interface EngineTunnelSpec {
  readonly lab: string
  /** Of the TAP's mark, unique in the lab: no dots but those of addresses. */
  readonly label: string
  readonly encapsulation: "vxlan" | "geneve" | "gre"
  /** UDP port, ours and theirs; without meaning for GRE. */
  readonly port: number
  /** 24 bits; the key of GRE. */
  readonly vni: number
  /** Underlay address: where frames go, and the only sender that is heard. */
  readonly remote: string
  /** The underlay address to send from. Absent: whichever the route to `remote` has. */
  readonly local?: string
  /** Geneve's, as they stand in its header, in hexadecimal. */
  readonly options?: string
  /** The kernel's VXLAN device has the port and receives. */
  readonly sendOnly?: true
  /** Of what leaves this host. */
  readonly profile?: LinkProfile
  readonly seed: number
}

export interface EngineTunnel extends EngineTunnelSpec {
  /** ifindex of the TAP in the fabric. */
  readonly tap: number
  /** Nothing is sent this way any more; what is on its way still arrives. */
  readonly draining?: NodeJS.Timeout | "now"
}

const base32 = "abcdefghijklmnopqrstuvwxyz234567"

/** `vx-`, `gn-` or `gr-` and a hash. */
export const tunnelTapName = (id: string, { encapsulation }: EngineTunnelSpec): string => {
  const digits = hash("sha256", `tunnel\0${id}`, "buffer").subarray(0, 10)
  const kind = { vxlan: "vx", geneve: "gn", gre: "gr" }[encapsulation]
  return `${kind}-${Array.from(digits, (digit) => base32[digit & 31]).join("")}`
}

/** Whether the tunnel stays the same one: only its profile can be changed in place. */
export const sameTunnel = (a: EngineTunnelSpec, b: EngineTunnelSpec): boolean =>
  a.encapsulation === b.encapsulation &&
  a.port === b.port &&
  a.vni === b.vni &&
  a.remote === b.remote &&
  a.local === b.local &&
  a.options === b.options &&
  a.sendOnly === b.sendOnly &&
  a.seed === b.seed &&
  a.label === b.label

const octetsOf = (text: string | undefined): Uint8Array => {
  if (text === undefined) return new Uint8Array(0)
  const octets = Ip.parse(text)
  if (octets === undefined) throw new KernelError({ operation: "address tunnel", object: text, code: "EINVAL", detail: "no IP address" })
  return octets
}

/** What the engine has to know. */
export const tunnelEnd = ({ encapsulation, local, options, port, profile, remote, seed, sendOnly, vni }: EngineTunnelSpec) => ({
  encapsulation,
  port,
  vni,
  remote: octetsOf(remote),
  local: octetsOf(local),
  options: new Uint8Array(Buffer.from(options ?? "", "hex")),
  sendOnly: sendOnly === true,
  profile: profile ?? {},
  seed
})

export type TunnelEnd = ReturnType<typeof tunnelEnd>

/** What passed through the engine's tunnels, by their ids, and what came from the underlay and was refused, by encapsulation and reason. */
export interface TunnelStats {
  readonly tunnels: ReadonlyMap<
    string,
    {
      readonly sent: { readonly packets: number; readonly octets: number; readonly drops: Readonly<Record<"queue" | "error", number>> }
      readonly received: { readonly packets: number; readonly octets: number; readonly errors: number }
    }
  >
  readonly refusals: Readonly<Record<"vxlan" | "geneve" | "gre", Readonly<Record<string, number>>>> & {
    readonly optionsIgnored: number
    readonly overflow: number
  }
}
