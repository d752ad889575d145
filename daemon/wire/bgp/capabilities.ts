/**
 * Capabilities in an OPEN message (RFC 5492).
 */

export interface AddPathFamily {
  readonly family: number
  readonly receive: boolean
  readonly send: boolean
}

export interface GracefulRestartFamily {
  readonly family: number
  /** F bit: forwarding state was preserved. */
  readonly forwardingPreserved: boolean
}

export interface LongLivedFamily extends GracefulRestartFamily {
  /** 24 bits */
  readonly staleTimeS: number
}

export interface ExtendedNextHop {
  readonly family: number
  /** AFI of the next hop. */
  readonly nextHopAfi: number
}

export type Capability =
  | { readonly kind: "multiprotocol"; readonly family: number }
  | { readonly kind: "routeRefresh" }
  | { readonly kind: "enhancedRouteRefresh" }
  | { readonly kind: "extendedMessage" }
  | { readonly kind: "extendedNextHop"; readonly entries: ReadonlyArray<ExtendedNextHop> }
  | { readonly kind: "role"; readonly role: number }
  | {
    readonly kind: "gracefulRestart"
    /** R bit: the speaker has restarted (RFC 4724). */
    readonly restarting: boolean
    /** N bit: NOTIFICATIONs are restarts too (RFC 8538). */
    readonly notification: boolean
    /** 12 bits */
    readonly restartTimeS: number
    readonly families: ReadonlyArray<GracefulRestartFamily>
  }
  | { readonly kind: "longLivedGracefulRestart"; readonly families: ReadonlyArray<LongLivedFamily> }
  | { readonly kind: "fourOctetAs"; readonly asn: number }
  | { readonly kind: "addPath"; readonly families: ReadonlyArray<AddPathFamily> }
  | { readonly kind: "fqdn"; readonly hostname: string; readonly domain: string }
  | { readonly kind: "unknown"; readonly code: number; readonly value: Uint8Array }
