/**
 * A BGP speaker of the test's own in a node: it says exactly what it is told to, over real TCP, and keeps what it hears.
 *
 *   const peer = await RawPeer.establish(namespace, { from: "10.0.1.2", to: "10.0.1.1", asn: 65002 })
 *   peer.send(update({ attributes: [...base(65002, "10.0.1.2"), attribute(0xc0, 99, [1, 2])], nlri: ["10.2.0.0/24"] }))
 *   await until("it is told why", () => peer.notification !== undefined)
 */
import { addon } from "../../daemon/native/index.ts"
import { Connection } from "../../daemon/bgp/session/connection.ts"
import type { Capability } from "../../daemon/wire/bgp/capabilities.ts"
import { encodeKeepalive, headerLength, writeHeader } from "../../daemon/wire/bgp/header.ts"
import { Family, MessageType } from "../../daemon/wire/bgp/iana.ts"
import * as Notification from "../../daemon/wire/bgp/notification.ts"
import * as Open from "../../daemon/wire/bgp/open.ts"
import { StreamParser } from "../../daemon/wire/bgp/stream.ts"
import * as Ip from "../../daemon/wire/ip.ts"
import { type Namespace, until } from "./harness.ts"

export interface DialOptions {
  readonly from: string
  readonly to: string
}

export interface SpeakOptions extends DialOptions {
  readonly asn: number
  readonly holdTimeS?: number
  /** Besides IPv4 unicast, route refresh and AS numbers of four octets. */
  readonly capabilities?: ReadonlyArray<Capability>
}

export interface Message {
  readonly type: number
  readonly octets: Uint8Array
}

const octetsOf = (prefix: string): ReadonlyArray<number> => {
  const { address, length } = Ip.parsePrefix(prefix)!
  return [length, ...address.subarray(0, (length + 7) >> 3)]
}

const u16 = (value: number): ReadonlyArray<number> => [value >> 8, value & 0xff]
export const u32 = (value: number): ReadonlyArray<number> => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]

/** One attribute; `length` says another length than it has. */
export const attribute = (flags: number, type: number, value: ReadonlyArray<number>, length = value.length): ReadonlyArray<number> =>
  length > 255 ? [flags | 0x10, type, ...u16(length), ...value] : [flags, type, length, ...value]

export const origin = attribute(0x40, 1, [0])
export const asPath = (...path: ReadonlyArray<number>): ReadonlyArray<number> =>
  attribute(0x40, 2, path.length === 0 ? [] : [2, path.length, ...path.flatMap(u32)])
export const nextHop = (address: string): ReadonlyArray<number> => attribute(0x40, 3, [...Ip.parse(address)!])
export const communities = (...values: ReadonlyArray<readonly [number, number]>): ReadonlyArray<number> =>
  attribute(0xc0, 8, values.flatMap(([high, low]) => [...u16(high), ...u16(low)]))

export interface UpdateParts {
  readonly withdrawn?: ReadonlyArray<string>
  readonly attributes?: ReadonlyArray<ReadonlyArray<number>>
  readonly nlri?: ReadonlyArray<string>
  /** Instead of `nlri`. */
  readonly rawNlri?: ReadonlyArray<number>
}

export const update = ({ attributes = [], nlri = [], rawNlri, withdrawn = [] }: UpdateParts): Uint8Array => {
  const gone = withdrawn.flatMap(octetsOf)
  const block = attributes.flat()
  const body = [...u16(gone.length), ...gone, ...u16(block.length), ...block, ...(rawNlri ?? nlri.flatMap(octetsOf))]
  return message(MessageType.update, body)
}

export const message = (type: number, body: ReadonlyArray<number>): Uint8Array => {
  const octets = new Uint8Array(headerLength + body.length)
  octets.set(body, headerLength)
  writeHeader(octets, 0, octets.length, type)
  return octets
}

export const openOf = ({ asn, capabilities = [], from, holdTimeS = 90 }: SpeakOptions): Uint8Array =>
  Open.encode({
    asn,
    holdTimeS,
    bgpIdentifier: Buffer.from(Ip.parse(from)!).readUInt32BE(0),
    capabilities: [
      { kind: "multiprotocol", family: Family.ipv4Unicast }, { kind: "routeRefresh" }, { kind: "fourOctetAs", asn }, ...capabilities
    ]
  })

export class RawPeer {
  readonly messages: Message[] = []
  /** Why there is no connection any more. */
  ended: string | undefined
  #connection: Connection
  #parser = new StreamParser()
  #isConnected = false
  #isDeaf = false

  private constructor(connection: Connection) {
    this.#connection = connection
    connection.attach({
      connected: () => {
        this.#isConnected = true
        // What was said before there was anybody to hear it.
        connection.flush()
      },
      received: (chunk) => this.#received(chunk),
      failed: (reason) => void (this.ended = reason),
      drained: () => {}
    })
  }

  /** A connection, before any word. */
  static async dial(namespace: Namespace, { from, to }: DialOptions): Promise<RawPeer> {
    const peer = RawPeer.start(namespace, { from, to })
    await until("the connection is there", () => peer.#isConnected || peer.ended !== undefined)
    return peer
  }

  /** Begins to connect. */
  static start(namespace: Namespace, { from, to }: DialOptions): RawPeer {
    const none = new Uint8Array(0)
    return new RawPeer(new Connection(addon.bgpConnect(namespace.fd, Ip.parse(to)!, 179, Ip.parse(from)!, "", 0, 0, none)))
  }

  /** A session; tries until weft takes it, which it does not at once after an error. */
  static async establish(namespace: Namespace, options: SpeakOptions): Promise<RawPeer> {
    let peer: RawPeer | undefined
    await until("the session is up", async () => {
      if (peer === undefined || peer.ended !== undefined) {
        peer?.close()
        peer = await RawPeer.dial(namespace, options)
        peer.send(openOf(options))
        peer.send(encodeKeepalive())
      }
      return peer.count(MessageType.keepalive) > 0
    })
    return peer!
  }

  #received(chunk: Uint8Array): boolean {
    if (this.#isDeaf) return true
    this.#parser.feed(chunk)
    while (this.#parser.next()) {
      this.messages.push({ type: this.#parser.type, octets: this.#parser.bytes.slice(this.#parser.at, this.#parser.end) })
    }
    return false
  }

  send(octets: Uint8Array): void {
    this.#connection.write(octets)
    this.#connection.flush()
  }

  keepalive(): void {
    this.send(encodeKeepalive())
  }

  /** Octets that wait because weft does not read. */
  get queued(): number {
    return this.#connection.queued
  }

  /** Reads nothing any more: the window closes. */
  deafen(): void {
    this.#isDeaf = true
  }

  count(type: number): number {
    return this.messages.filter((one) => one.type === type).length
  }

  /** The NOTIFICATION that came, in words. */
  get notification(): string | undefined {
    const found = this.messages.find(({ type }) => type === MessageType.notification)?.octets
    return found === undefined ? undefined : Notification.describe(Notification.decode(found, 0, found.length))
  }

  get isOpen(): boolean {
    return this.ended === undefined
  }

  close(): void {
    this.#connection.close()
    this.ended ??= "closed"
  }
}
