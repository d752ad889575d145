/**
 * What two BGP speakers agreed upon, as far as octets depend on it: the one explicit parameter of every codec that needs it.
 *
 * It is made once, when both OPENs are known, and never changes while the session lasts.
 */
import { Family } from "./iana.ts"

export interface SessionContext {
  /** Both sides speak four-octet AS numbers (RFC 6793). */
  readonly asn4: boolean
  /** Both sides take messages of up to 65535 octets (RFC 8654). */
  readonly extendedMessage: boolean
  /** The peer is in another AS (eBGP); RFC 7606 treats some attributes by it. */
  readonly isExternal: boolean
  /** Families (`iana.ts`: afi * 256 + safi) that both sides announced; IPv4 unicast too if neither announced any. */
  readonly families: ReadonlySet<number>
  /** Prefixes that arrive have a path identifier (RFC 7911). */
  addPathReceive(family: number): boolean
  /** Prefixes that we send have a path identifier (RFC 7911). */
  addPathSend(family: number): boolean
  /** NLRI of the family may have an IPv6 next hop although it is IPv4 (RFC 8950), in both directions. */
  extendedNextHop(family: number): boolean
}

export interface ContextOptions {
  readonly asn4?: boolean
  readonly extendedMessage?: boolean
  readonly isExternal: boolean
  readonly families?: Iterable<number>
  readonly addPathReceive?: Iterable<number>
  readonly addPathSend?: Iterable<number>
  readonly extendedNextHop?: Iterable<number>
}

/** What is left out was not agreed upon; families: IPv4 unicast alone. */
export const makeContext = (options: ContextOptions): SessionContext => {
  const receive = new Set(options.addPathReceive)
  const send = new Set(options.addPathSend)
  const extended = new Set(options.extendedNextHop)
  return {
    asn4: options.asn4 ?? false,
    extendedMessage: options.extendedMessage ?? false,
    isExternal: options.isExternal,
    families: new Set(options.families ?? [Family.ipv4Unicast]),
    addPathReceive: (family) => receive.has(family),
    addPathSend: (family) => send.has(family),
    extendedNextHop: (family) => extended.has(family)
  }
}

/** Contexts with the same number decode the same attribute octets to the same `PathAttributes` and faults. */
export const attributeContext = (context: SessionContext): number => (context.asn4 ? 1 : 0) | (context.isExternal ? 2 : 0)
