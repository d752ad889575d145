/**
 * BFD control packets: the payload of UDP ports 3784 (one hop) and 4784 (multihop). RFC 5880 4.1.
 *
 *      0                   1                   2                   3
 *     +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
 *     |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
 *     +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
 *     |                       My Discriminator                        |
 *     |                      Your Discriminator                       |
 *     |                    Desired Min TX Interval                    |
 *     |                   Required Min RX Interval                    |
 *     |                 Required Min Echo RX Interval                 |
 *     +---------------------------------------------------------------+
 *     |  Authentication Section, if A is set ...
 *
 * Unsupported: authentication (RFC 5880 4.2 to 4.4) and point-to-multipoint (RFC 8562). Packets that have either are
 * whole; who receives one decides, see `discardReason` in daemon/bfd/session.ts.
 * Deviations: none. Octets behind Length are ignored (6.8.6 asks only that Length fit into the payload).
 * Ownership: values hold no views.
 */

export const port = 3784
export const multihopPort = 4784
export const headerLength = 24
/** The least Length of a packet with an authentication section. */
export const authenticatedLength = 26
export const version = 1

/** RFC 5880 4.1, State. */
export const State = { adminDown: 0, down: 1, init: 2, up: 3 } as const

/** RFC 5880 4.1, Diagnostic; the registry "BFD Diagnostic Codes". */
export const Diagnostic = {
  none: 0,
  detectionTimeExpired: 1,
  echoFailed: 2,
  neighborSignaledDown: 3,
  forwardingPlaneReset: 4,
  pathDown: 5,
  concatenatedPathDown: 6,
  administrativelyDown: 7,
  reverseConcatenatedPathDown: 8,
  misConnectivity: 9
} as const

export const Flag = {
  poll: 0x20,
  final: 0x10,
  controlPlaneIndependent: 0x08,
  authentication: 0x04,
  demand: 0x02,
  multipoint: 0x01
} as const

// ---- view ------------------------------------------------------------------------------------------------------------

const u32 = (b: Uint8Array, at: number): number => ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0

export const versionOf = (b: Uint8Array, at: number): number => b[at]! >> 5
export const diagnostic = (b: Uint8Array, at: number): number => b[at]! & 0x1f
export const state = (b: Uint8Array, at: number): number => b[at + 1]! >> 6
/** The bits of `Flag`. */
export const flags = (b: Uint8Array, at: number): number => b[at + 1]! & 0x3f
export const detectMult = (b: Uint8Array, at: number): number => b[at + 2]!
export const length = (b: Uint8Array, at: number): number => b[at + 3]!
export const myDiscriminator = (b: Uint8Array, at: number): number => u32(b, at + 4)
export const yourDiscriminator = (b: Uint8Array, at: number): number => u32(b, at + 8)
/** Intervals are in microseconds. */
export const desiredMinTxInterval = (b: Uint8Array, at: number): number => u32(b, at + 12)
export const requiredMinRxInterval = (b: Uint8Array, at: number): number => u32(b, at + 16)
export const requiredMinEchoRxInterval = (b: Uint8Array, at: number): number => u32(b, at + 20)

const error = <T extends DecodeError["_tag"]>(_tag: T): { readonly _tag: T } => Object.freeze({ _tag })
const truncated = error("Truncated")
const badVersion = error("BadVersion")
const badLength = error("BadLength")
const detectMultZero = error("DetectMultZero")
const multipointSet = error("MultipointSet")
const myDiscriminatorZero = error("MyDiscriminatorZero")
const yourDiscriminatorZero = error("YourDiscriminatorZero")

/**
 * What RFC 5880 6.8.6 discards without knowing the session, in its order. `end`: where the UDP payload ends.
 * Allocates nothing.
 */
export const check = (b: Uint8Array, at: number, end = b.length): DecodeError | undefined => {
  if (end - at < headerLength || end > b.length) return truncated
  if (versionOf(b, at) !== version) return badVersion
  const least = (flags(b, at) & Flag.authentication) === 0 ? headerLength : authenticatedLength
  if (length(b, at) < least || length(b, at) > end - at) return badLength
  if (detectMult(b, at) === 0) return detectMultZero
  if ((flags(b, at) & Flag.multipoint) !== 0) return multipointSet
  if (myDiscriminator(b, at) === 0) return myDiscriminatorZero
  if (yourDiscriminator(b, at) === 0 && state(b, at) > State.down) return yourDiscriminatorZero
  return undefined
}

// ---- repr ------------------------------------------------------------------------------------------------------------

export interface Packet {
  /** 0..31, see `Diagnostic`. */
  readonly diagnostic: number
  /** See `State`. */
  readonly state: number
  readonly poll: boolean
  readonly final: boolean
  readonly controlPlaneIndependent: boolean
  readonly demand: boolean
  /** 1..255 */
  readonly detectMult: number
  /** 32 bits, not 0. */
  readonly myDiscriminator: number
  readonly yourDiscriminator: number
  /** Microseconds, 32 bits. */
  readonly desiredMinTxInterval: number
  readonly requiredMinRxInterval: number
  readonly requiredMinEchoRxInterval: number
}

export type DecodeError =
  | { readonly _tag: "Truncated" }
  | { readonly _tag: "BadVersion" }
  | { readonly _tag: "BadLength" }
  | { readonly _tag: "DetectMultZero" }
  | { readonly _tag: "MultipointSet" }
  | { readonly _tag: "MyDiscriminatorZero" }
  | { readonly _tag: "YourDiscriminatorZero" }
  | { readonly _tag: "AuthenticationPresent" }

export type Decoded = { readonly ok: true; readonly value: Packet } | { readonly ok: false; readonly error: DecodeError }

const authenticationPresent = error("AuthenticationPresent")

/** The packet at `at`, whose UDP payload ends at `end`. */
export const decode = (b: Uint8Array, at = 0, end = b.length): Decoded => {
  const failure = check(b, at, end)
  if (failure !== undefined) return { ok: false, error: failure }
  const bits = flags(b, at)
  // 6.8.6: authentication that is not in use here.
  if ((bits & Flag.authentication) !== 0) return { ok: false, error: authenticationPresent }
  return {
    ok: true,
    value: {
      diagnostic: diagnostic(b, at),
      state: state(b, at),
      poll: (bits & Flag.poll) !== 0,
      final: (bits & Flag.final) !== 0,
      controlPlaneIndependent: (bits & Flag.controlPlaneIndependent) !== 0,
      demand: (bits & Flag.demand) !== 0,
      detectMult: detectMult(b, at),
      myDiscriminator: myDiscriminator(b, at),
      yourDiscriminator: yourDiscriminator(b, at),
      desiredMinTxInterval: desiredMinTxInterval(b, at),
      requiredMinRxInterval: requiredMinRxInterval(b, at),
      requiredMinEchoRxInterval: requiredMinEchoRxInterval(b, at)
    }
  }
}

export const encodedLength = (): number => headerLength

const put32 = (b: Uint8Array, at: number, value: number): void => {
  b[at] = value >>> 24
  b[at + 1] = value >>> 16
  b[at + 2] = value >>> 8
  b[at + 3] = value
}

/** Writes the packet and returns where it ends. */
export const encodeInto = (packet: Packet, target: Uint8Array, at: number): number => {
  target[at] = (version << 5) | packet.diagnostic
  target[at + 1] =
    (packet.state << 6) |
    (packet.poll ? Flag.poll : 0) |
    (packet.final ? Flag.final : 0) |
    (packet.controlPlaneIndependent ? Flag.controlPlaneIndependent : 0) |
    (packet.demand ? Flag.demand : 0)
  target[at + 2] = packet.detectMult
  target[at + 3] = headerLength
  put32(target, at + 4, packet.myDiscriminator)
  put32(target, at + 8, packet.yourDiscriminator)
  put32(target, at + 12, packet.desiredMinTxInterval)
  put32(target, at + 16, packet.requiredMinRxInterval)
  put32(target, at + 20, packet.requiredMinEchoRxInterval)
  return at + headerLength
}
