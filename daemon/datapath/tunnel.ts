/**
 * A tunnel of the engine as the rest of the daemon sees it: where its frames go, and what became of them.
 *
 * Frames of the tunnel's TAP are encapsulated and sent; what comes from its remote end with its VNI is written to the TAP.
 * Both happen in native code (`native/src/tunnel.cc`); a profile, if there is one, applies before the encapsulation.
 */
import { addon, type EngineHandle } from "../native/index.ts"
import type { Counters, Drops } from "./direction.ts"
import type { LinkProfile } from "./profile.ts"

export interface TunnelEnd {
  readonly encapsulation: "vxlan" | "geneve" | "gre"
  /** UDP port, ours and theirs; without meaning for GRE. */
  readonly port: number
  /** 24 bits; the key of GRE. */
  readonly vni: number
  /** Octets of an address: where frames go, and the only sender that is heard. */
  readonly remote: Uint8Array
  /** Octets of the address to send from; none: the one that the route has. */
  readonly local: Uint8Array
  /** Geneve's, as they stand in its header (RFC 8926 3.5): sent in every packet, and known when they come. */
  readonly options?: Uint8Array
  /** Somebody else has the port and receives: the kernel's VXLAN device. */
  readonly sendOnly?: boolean
  /** Of what leaves. */
  readonly profile: LinkProfile
  readonly seed: number
}

/** Packets as on the wire, octets from the inner Ethernet header on. */
export interface TunnelCounters {
  /** `queue` counts what found no room in a socket too, `error` what had no route. */
  readonly sent: Counters
  readonly received: { readonly packets: number; readonly octets: number; /** Not taken by the TAP. */ readonly errors: number }
}

/** Why packets from the underlay were not delivered; as in native/src/encapsulation.h, in its order. */
export const refusalReasons = ["truncated", "flags", "protocol", "options", "checksum", "unknownVni", "source"] as const
export type RefusalReason = (typeof refusalReasons)[number]

export interface Refusals {
  readonly vxlan: Readonly<Record<RefusalReason, number>>
  readonly geneve: Readonly<Record<RefusalReason, number>>
  readonly gre: Readonly<Record<RefusalReason, number>>
  /** Geneve packets that were delivered although they had options that their tunnel does not know, none of them critical. */
  readonly optionsIgnored: number
  /** Packets that came faster than they could be looked at. */
  readonly overflow: number
}

const counterFields = 8

/** `direction`: what its profile did to frames before they were sent. */
export const readTunnel = (engine: EngineHandle, tunnel: number, direction: Counters): TunnelCounters => {
  const values = new Float64Array(counterFields)
  addon.tunnelCounters(engine, tunnel, values)
  const [packets, octets, errors, overflows, unreachable, inPackets, inOctets, inErrors] = values as unknown as number[]
  const drops: Drops = {
    ...direction.drops,
    // What the direction counts of failed sends is in the tunnel's own counters already.
    queue: Math.max(direction.drops.queue, overflows!),
    error: Math.max(direction.drops.error, errors! + unreachable!)
  }
  return {
    sent: { ...direction, packets: packets!, octets: octets!, drops },
    received: { packets: inPackets!, octets: inOctets!, errors: inErrors! }
  }
}

export const readRefusals = (engine: EngineHandle): Refusals => {
  const reasons = refusalReasons.length
  const values = new Float64Array(3 * reasons + 2)
  addon.tunnelRefusals(engine, values)
  const of = (kind: number) =>
    Object.fromEntries(refusalReasons.map((reason, i) => [reason, values[kind * reasons + i]!])) as Record<RefusalReason, number>
  return { vxlan: of(0), geneve: of(1), gre: of(2), optionsIgnored: values[3 * reasons]!, overflow: values[3 * reasons + 1]! }
}
