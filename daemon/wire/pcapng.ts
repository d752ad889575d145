/**
 * pcapng, the file format of captures: draft-ietf-opsawg-pcapng. A file is one section here: what it is about, its
 * interfaces, their packets in any order, and at the end what became of each interface.
 *
 *      0                   1                   2                   3
 *     +---------------------------------------------------------------+
 *     |                          Block Type                           |
 *     +---------------------------------------------------------------+
 *     |               Block Total Length (a multiple of 4)            |
 *     +---------------------------------------------------------------+
 *     |  Block Body ...                options: code, length, value   |
 *     +---------------------------------------------------------------+
 *     |                      Block Total Length                       |
 *     +---------------------------------------------------------------+
 *
 * Blocks of types and options of codes that are not listed here are skipped over, as 3.2 and 3.5 ask: a decoded block of
 * another type is `other`, with its octets.
 *
 * Unsupported: sections in big-endian order, simple packet blocks (3: no time), obsolete packet blocks, name resolution.
 * Deviations: the section length is written as unknown (-1), because a capture is a stream; at most 16 MiB in a block.
 * Ownership: `data` and `body` of decoded blocks are views of the input, valid as long as that is unchanged.
 */

const BlockType = { section: 0x0a0d0d0a, interface: 1, statistics: 5, packet: 6 } as const
const byteOrderMagic = 0x1a2b3c4d
const byteOrderMagicSwapped = 0x4d3c2b1a

/** Type, length, and the length again behind the body. */
const frameLength = 12
export const maxBlockLength = 16 << 20

/** LINKTYPE_ETHERNET of tcpdump.org's registry. */
export const ethernet = 1

/** Octets of a block's fixed fields, and where its options begin. Those of a packet stand behind its data. */
const fixedLength = { section: 16, interface: 8, packet: 20, statistics: 12 } as const

const Code = {
  endOfOptions: 0,
  comment: 1,
  section: { hardware: 2, os: 3, application: 4 },
  interface: { name: 2, description: 3, timestampResolution: 9, filter: 11, os: 12 },
  packet: { flags: 2 },
  statistics: { start: 2, end: 3, received: 4, dropped: 5, filterAccepted: 6, delivered: 8 }
} as const

/** if_filter begins with an octet that says what language the rest is in: pcap-filter(7). */
const filterIsExpression = 0

// ---- view ------------------------------------------------------------------------------------------------------------

const u16 = (b: Uint8Array, at: number): number => b[at]! | (b[at + 1]! << 8)
const u32 = (b: Uint8Array, at: number): number => (b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24)) >>> 0
/** Times are two words, the upper one first. */
const time = (b: Uint8Array, at: number): bigint => (BigInt(u32(b, at)) << 32n) | BigInt(u32(b, at + 4))
const u64 = (b: Uint8Array, at: number): bigint => (BigInt(u32(b, at + 4)) << 32n) | BigInt(u32(b, at))
const padded = (length: number): number => (length + 3) & ~3

export const blockType = (b: Uint8Array, at: number): number => u32(b, at)
/** Octets from this block to the next. */
export const blockLength = (b: Uint8Array, at: number): number => u32(b, at + 4)

export const isPacket = (b: Uint8Array, at: number): boolean => blockType(b, at) === BlockType.packet
/** Of a packet block: which of the section's interfaces it came from. */
export const packetInterface = (b: Uint8Array, at: number): number => u32(b, at + 8)
export const setPacketInterface = (b: Uint8Array, at: number, id: number): void => {
  for (let octet = 0; octet < 4; octet++) b[at + 8 + octet] = id >>> (8 * octet)
}
/** Whether the packet block at `at` has an earlier time than the one at `otherAt`, in the same units. */
export const isEarlier = (b: Uint8Array, at: number, other: Uint8Array, otherAt: number): boolean => {
  const difference = u32(b, at + 12) - u32(other, otherAt + 12)
  return difference === 0 ? u32(b, at + 16) < u32(other, otherAt + 16) : difference < 0
}

const truncated: DecodeError = Object.freeze({ _tag: "Truncated" })
const wrongLength: DecodeError = Object.freeze({ _tag: "WrongLength" })
const wrongByteOrder: DecodeError = Object.freeze({ _tag: "WrongByteOrder" })
const wrongOption: DecodeError = Object.freeze({ _tag: "WrongOption" })

/** Whether a whole block stands at `at`. `Truncated`: more octets may make it one; the others: never. */
export const check = (b: Uint8Array, at: number): DecodeError | undefined => {
  const length = b.length - at
  if (length < frameLength) return truncated
  const type = blockType(b, at)
  // 4.1: the order of all numbers of a section, its own length included, is told by the magic.
  if (type === BlockType.section && u32(b, at + 8) !== byteOrderMagic) {
    return u32(b, at + 8) === byteOrderMagicSwapped ? wrongByteOrder : { _tag: "NoMagic" }
  }
  const total = blockLength(b, at)
  if (total % 4 !== 0 || total > maxBlockLength || total < frameLength + fixedLengthOf(type)) return wrongLength
  if (length < total) return truncated
  if (u32(b, at + total - 4) !== total) return wrongLength
  if (type === BlockType.section && u16(b, at + 12) !== 1) return { _tag: "UnknownVersion", major: u16(b, at + 12) }
  // The room is a multiple of four, so what fits also fits with its padding.
  if (type === BlockType.packet && u32(b, at + 20) > total - frameLength - fixedLength.packet) return wrongLength
  return undefined
}

const fixedLengthOf = (type: number): number => {
  switch (type) {
    case BlockType.section:
      return fixedLength.section
    case BlockType.interface:
      return fixedLength.interface
    case BlockType.packet:
      return fixedLength.packet
    case BlockType.statistics:
      return fixedLength.statistics
    default:
      return 0
  }
}

// ---- repr ------------------------------------------------------------------------------------------------------------

export interface Section {
  readonly kind: "section"
  readonly comment?: string
  readonly hardware?: string
  readonly os?: string
  readonly application?: string
}

/** Interfaces have no number of their own: the first in the section is 0. */
export interface Interface {
  readonly kind: "interface"
  readonly linkType: number
  /** Octets of a packet that are kept; 0: all. */
  readonly snapLength: number
  readonly name?: string
  readonly description?: string
  readonly comment?: string
  /** Times count units of 10^-n s; 6 when it is not said. Powers of two have bit 7 set. */
  readonly timestampResolution?: number
  /** A pcap-filter(7) expression. */
  readonly filter?: string
  readonly os?: string
}

/** As the interface sees it; absent when it is not known. */
export type Direction = "inbound" | "outbound"
/** How a packet was addressed. */
export type Reception = "unicast" | "multicast" | "broadcast" | "promiscuous"

export interface Packet {
  readonly kind: "packet"
  readonly interfaceId: number
  /** Since 1970, in the interface's units. */
  readonly timestamp: bigint
  /** Octets that the packet had; more than `data` when it was cut. */
  readonly originalLength: number
  readonly data: Uint8Array
  readonly direction?: Direction
  readonly reception?: Reception
}

/** Counts are of packets. Times are in the interface's units. */
export interface Statistics {
  readonly kind: "statistics"
  readonly interfaceId: number
  readonly timestamp: bigint
  readonly start?: bigint
  readonly end?: bigint
  readonly received?: bigint
  readonly dropped?: bigint
  readonly filterAccepted?: bigint
  readonly delivered?: bigint
  readonly comment?: string
}

export interface Other {
  readonly kind: "other"
  readonly type: number
  readonly body: Uint8Array
}

export type Block = Section | Interface | Packet | Statistics

export type DecodeError =
  | { readonly _tag: "Truncated" }
  | { readonly _tag: "WrongLength" }
  | { readonly _tag: "WrongByteOrder" }
  | { readonly _tag: "WrongOption" }
  | { readonly _tag: "NoMagic" }
  | { readonly _tag: "UnknownVersion"; readonly major: number }

/** `length`: octets from this block to the next. */
export type Decoded =
  | { readonly ok: true; readonly value: Block | Other; readonly length: number }
  | { readonly ok: false; readonly error: DecodeError }

const directions = [undefined, "inbound", "outbound", undefined] as const
const receptions = [undefined, "unicast", "multicast", "broadcast", "promiscuous", undefined, undefined, undefined] as const

/** The block at `at`. */
export const decode = (b: Uint8Array, at = 0): Decoded => {
  const error = check(b, at)
  if (error !== undefined) return { ok: false, error }
  const length = blockLength(b, at)
  const type = blockType(b, at)
  const body = at + 8
  const end = at + length - 4
  if (fixedLengthOf(type) === 0) return { ok: true, value: { kind: "other", type, body: b.subarray(body, end) }, length }
  const dataLength = type === BlockType.packet ? padded(u32(b, at + 20)) : 0
  const options = optionsOf(b, body + fixedLengthOf(type) + dataLength, end)
  if (options === undefined) return { ok: false, error: wrongOption }
  switch (type) {
    case BlockType.section:
      return { ok: true, value: { kind: "section", ...texts(options, { comment: Code.comment, ...Code.section }) }, length }
    case BlockType.interface:
      return { ok: true, value: decodeInterface(b, body, options), length }
    case BlockType.statistics:
      return { ok: true, value: decodeStatistics(b, body, options), length }
    default:
      return { ok: true, value: decodePacket(b, body, options), length }
  }
}

const decodeInterface = (b: Uint8Array, body: number, options: Options): Interface => {
  const { description, name, os } = Code.interface
  const resolution = options.get(Code.interface.timestampResolution)
  const filter = options.get(Code.interface.filter)
  return {
    kind: "interface",
    linkType: u16(b, body),
    snapLength: u32(b, body + 4),
    ...texts(options, { name, description, os, comment: Code.comment }),
    ...(resolution?.length === 1 ? { timestampResolution: resolution[0]! } : {}),
    ...(filter?.[0] === filterIsExpression ? { filter: utf8.decode(filter.subarray(1)) } : {})
  }
}

const decodePacket = (b: Uint8Array, body: number, options: Options): Packet => {
  const word = options.get(Code.packet.flags)
  const flags = word?.length === 4 ? u32(word, 0) : 0
  const direction = directions[flags & 3]
  const reception = receptions[(flags >> 2) & 7]
  return {
    kind: "packet",
    interfaceId: u32(b, body),
    timestamp: time(b, body + 4),
    originalLength: u32(b, body + 16),
    data: b.subarray(body + fixedLength.packet, body + fixedLength.packet + u32(b, body + 12)),
    ...(direction === undefined ? {} : { direction }),
    ...(reception === undefined ? {} : { reception })
  }
}

const decodeStatistics = (b: Uint8Array, body: number, options: Options): Statistics => {
  const { end, start, ...counts } = Code.statistics
  const comment = texts(options, { comment: Code.comment })
  const numbers: Record<string, bigint> = {}
  for (const [name, code] of Object.entries({ start, end, ...counts })) {
    const value = options.get(code)
    if (value?.length === 8) numbers[name] = code === start || code === end ? time(value, 0) : u64(value, 0)
  }
  return { kind: "statistics", interfaceId: u32(b, body), timestamp: time(b, body + 4), ...numbers, ...comment }
}

/** By code. Of an option that may be there several times (comments), the first. */
type Options = ReadonlyMap<number, Uint8Array>

/** Undefined when an option reaches past the end. Options may end without saying so (3.5). */
const optionsOf = (b: Uint8Array, start: number, end: number): Options | undefined => {
  const options = new Map<number, Uint8Array>()
  for (let at = start; at < end; ) {
    const code = u16(b, at)
    const length = u16(b, at + 2)
    if (code === Code.endOfOptions) return length === 0 ? options : undefined
    if (at + 4 + length > end) return undefined
    if (!options.has(code)) options.set(code, b.subarray(at + 4, at + 4 + length))
    at += 4 + padded(length)
  }
  return options
}

const utf8 = new TextDecoder()
const encoder = new TextEncoder()

const texts = <K extends string>(options: Options, codes: Readonly<Record<K, number>>): { readonly [k in K]?: string } => {
  const found: { [k in K]?: string } = {}
  for (const name in codes) {
    const value = options.get(codes[name])
    if (value !== undefined) found[name] = utf8.decode(value)
  }
  return found
}

// ---- encode ----------------------------------------------------------------------------------------------------------

/** Longer texts are cut: an option has 65,535 octets at most. */
const maxTextLength = 65_000

type Option = readonly [code: number, value: Uint8Array | string | undefined]

/** Little-endian words of 32 bits. */
const words = (...values: ReadonlyArray<number>): Uint8Array =>
  Uint8Array.from(values.flatMap((value) => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]))
const timeWords = (value: bigint | undefined): Uint8Array | undefined =>
  value === undefined ? undefined : words(Number(value >> 32n), Number(value & 0xffffffffn))
const countWords = (value: bigint | undefined): Uint8Array | undefined =>
  value === undefined ? undefined : words(Number(value & 0xffffffffn), Number(value >> 32n))

/** Option values in octets; those that are absent are gone. */
const present = (options: ReadonlyArray<Option>): ReadonlyArray<readonly [number, Uint8Array]> =>
  options.flatMap(([code, value]) =>
    value === undefined ? [] : [[code, typeof value === "string" ? encoder.encode(value).subarray(0, maxTextLength) : value] as const]
  )

const optionsLength = (options: ReadonlyArray<readonly [number, Uint8Array]>): number =>
  options.length === 0 ? 0 : options.reduce((sum, [, { length }]) => sum + 4 + padded(length), 4)

/** Type, fixed fields, data and options of a block: all that makes it. */
interface Parts {
  readonly type: number
  readonly fixed: Uint8Array
  readonly data: Uint8Array
  readonly options: ReadonlyArray<readonly [number, Uint8Array]>
}

const nothing = new Uint8Array(0)

const partsOf = (block: Block): Parts => {
  switch (block.kind) {
    case "section": {
      // Version 1.0, section length unknown.
      const fixed = words(byteOrderMagic, 1, 0xffffffff, 0xffffffff)
      const { application, hardware, os } = Code.section
      const options = present([
        [Code.comment, block.comment],
        [hardware, block.hardware],
        [os, block.os],
        [application, block.application]
      ])
      return { type: BlockType.section, fixed, data: nothing, options }
    }
    case "interface": {
      const { description, filter, name, os, timestampResolution } = Code.interface
      const options = present([
        [Code.comment, block.comment],
        [name, block.name],
        [description, block.description],
        [timestampResolution, block.timestampResolution === undefined ? undefined : Uint8Array.of(block.timestampResolution)],
        [filter, block.filter === undefined ? undefined : `${String.fromCharCode(filterIsExpression)}${block.filter}`],
        [os, block.os]
      ])
      return { type: BlockType.interface, fixed: words(block.linkType, block.snapLength), data: nothing, options }
    }
    case "packet": {
      const time = [Number(block.timestamp >> 32n), Number(block.timestamp & 0xffffffffn)]
      const fixed = words(block.interfaceId, ...time, block.data.length, block.originalLength)
      const flags = directionFlags(block.direction) | (block.reception === undefined ? 0 : receptions.indexOf(block.reception) << 2)
      return { type: BlockType.packet, fixed, data: block.data, options: flags === 0 ? [] : [[Code.packet.flags, words(flags)]] }
    }
    case "statistics": {
      const { delivered, dropped, end, filterAccepted, received, start } = Code.statistics
      const time = [Number(block.timestamp >> 32n), Number(block.timestamp & 0xffffffffn)]
      const options = present([
        [Code.comment, block.comment],
        [start, timeWords(block.start)],
        [end, timeWords(block.end)],
        [received, countWords(block.received)],
        [dropped, countWords(block.dropped)],
        [filterAccepted, countWords(block.filterAccepted)],
        [delivered, countWords(block.delivered)]
      ])
      return { type: BlockType.statistics, fixed: words(block.interfaceId, ...time), data: nothing, options }
    }
  }
}

const directionFlags = (direction: Direction | undefined): number => (direction === undefined ? 0 : directions.indexOf(direction))

const lengthOf = ({ data, fixed, options }: Parts): number => frameLength + fixed.length + padded(data.length) + optionsLength(options)

export const encodedLength = (block: Block): number => lengthOf(partsOf(block))

/** Writes the block and returns its length in octets. */
export const encodeInto = (block: Block, target: Uint8Array, at: number): number => {
  const parts = partsOf(block)
  const length = lengthOf(parts)
  target.fill(0, at, at + length)
  target.set(words(parts.type, length), at)
  target.set(parts.fixed, at + 8)
  target.set(parts.data, at + 8 + parts.fixed.length)
  let option = at + 8 + parts.fixed.length + padded(parts.data.length)
  for (const [code, value] of parts.options) {
    target.set(words(code | (value.length << 16)), option)
    target.set(value, option + 4)
    option += 4 + padded(value.length)
  }
  target.set(words(length), at + length - 4)
  return length
}

/** Several blocks one after the other. */
export const encode = (...blocks: ReadonlyArray<Block>): Uint8Array => {
  const target = new Uint8Array(blocks.reduce((sum, block) => sum + encodedLength(block), 0))
  let at = 0
  for (const block of blocks) at += encodeInto(block, target, at)
  return target
}
