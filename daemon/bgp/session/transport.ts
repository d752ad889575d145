/**
 * The sockets of one speaker, inside its node's namespace: listeners, connections, and who gets a connection that comes in.
 *
 * There is a listener for each address family as soon as a neighbour needs it, and one more for each interface of a VRF: tables
 * without a VRF device have no other way to keep equal addresses apart. A connection goes to the neighbour with its source address; else
 * to the longest dynamic prefix that has it; else it is closed. A neighbour with a password has its key on the listener before its
 * SYN comes (RFC 2385, 2), a dynamic prefix one for all of it.
 */
import { constants } from "node:os"
import { addon, isNativeError, type Poll } from "../../native/index.ts"
import * as Ip from "../../wire/ip.ts"
import { Connection, endpointsOf } from "./connection.ts"

export const bgpPort = 179

/** Who takes connections. Exactly one of `address` and `prefix`. */
export interface Expectation {
  /** Interfaces by which they come, "" for any. */
  readonly devices: ReadonlyArray<string>
  readonly address?: string
  readonly prefix?: string
  /** With a link-local address: the interface that it is on; 0: any. */
  readonly ifindex?: number
  readonly password?: string
  accept(connection: Connection): void
}

export interface ConnectOptions {
  readonly address: string
  readonly port: number
  readonly source?: string
  /** Where link-local addresses are, and the way out; "": by the routing table. */
  readonly device: string
  /** Hop limits of what is sent and least of what is received; 0: as the kernel has it. */
  readonly hops: number
  readonly minimumHops: number
  readonly password?: string
}

interface Listener {
  readonly name: string
  readonly descriptor: number
  readonly poll: Poll
}

const none = new Uint8Array(0)
const keyOf = (password: string | undefined): Uint8Array => (password === undefined ? none : new TextEncoder().encode(password))
const any: Readonly<Record<Ip.Family, Uint8Array>> = { ipv4: new Uint8Array(4), ipv6: new Uint8Array(16) }

/** What `accept` fails with while something is short that may be there later. */
const { EMFILE, ENFILE, ENOBUFS, ENOMEM } = constants.errno
const shortages: ReadonlySet<number> = new Set([EMFILE, ENFILE, ENOBUFS, ENOMEM])
const shortageMs = 200
/** How many connections of a listener are taken in one turn of the event loop. */
const acceptsPerTurn = 64

const isLinkLocal = (address: string): boolean => /^fe[89ab]/i.test(address)

/** Whether the address is in the prefix. */
const contains = (prefix: string, address: string): boolean => {
  const parsed = Ip.parsePrefix(prefix)
  const octets = Ip.parse(address)
  if (parsed === undefined || octets === undefined || octets.length !== parsed.address.length) return false
  for (let bit = 0; bit < parsed.length; bit += 8) {
    const mask = parsed.length - bit >= 8 ? 0xff : (0xff << (8 - (parsed.length - bit))) & 0xff
    if (((octets[bit >> 3]! ^ parsed.address[bit >> 3]!) & mask) !== 0) return false
  }
  return true
}

const lengthOf = (prefix: string): number => Ip.parsePrefix(prefix)?.length ?? -1

export class Transport {
  readonly #netns: number
  readonly #port: number
  /** The only address to listen at; undefined: all. */
  readonly #address: Uint8Array | undefined
  readonly #listeners = new Map<string, Listener>()
  readonly #expectations = new Set<Expectation>()
  /** Told when a listener cannot be opened or a key not be set: the neighbour can still connect. */
  readonly #warn: (text: string) => void
  readonly #connections = new Set<Connection>()
  #isFrozen = false
  /** Connections that came in and that nobody wanted. */
  refused = 0

  /** `netns`: a descriptor of the namespace, which stays the caller's. */
  constructor(netns: number, options: { readonly port?: number; readonly address?: string; readonly warn?: (text: string) => void } = {}) {
    this.#netns = netns
    this.#port = options.port ?? bgpPort
    this.#address = options.address === undefined ? undefined : Ip.parse(options.address)
    this.#warn = options.warn ?? (() => {})
  }

  get netns(): number {
    return this.#netns
  }

  get port(): number {
    return this.#port
  }

  /** Takes connections until the function that is returned is called. */
  expect(expectation: Expectation): () => void {
    this.#expectations.add(expectation)
    const family = Ip.familyOf(expectation.address ?? expectation.prefix!)
    for (const device of expectation.devices) {
      try {
        const listener = this.#listen(device, family)
        if (expectation.password !== undefined) this.#setKey(listener, expectation, keyOf(expectation.password))
      } catch (error) {
        this.#warn(`Cannot listen for BGP connections of ${expectation.address ?? expectation.prefix}: ${(error as Error).message}`)
      }
    }
    return () => this.#forget(expectation, family)
  }

  /** Starts connecting. Throws a `NativeError` when that fails at once: there is no route, no such source address. */
  connect(options: ConnectOptions): Connection {
    if (this.#isFrozen) throw new Error("the speaker is paused")
    const descriptor = addon.bgpConnect(
      this.#netns,
      Ip.parse(options.address)!,
      options.port,
      options.source === undefined ? none : Ip.parse(options.source)!,
      options.device,
      options.hops,
      options.minimumHops,
      keyOf(options.password)
    )
    return this.#follow(new Connection(descriptor))
  }

  #follow(connection: Connection): Connection {
    this.#connections.add(connection)
    connection.onGone(() => this.#connections.delete(connection))
    return connection
  }

  /** While frozen nobody is let in, nothing is read and nothing written, as in a process that stands still. */
  setFrozen(isFrozen: boolean): void {
    this.#isFrozen = isFrozen
    for (const { poll } of this.#listeners.values()) addon.pollChange(poll, isFrozen ? 0 : 1)
    for (const connection of [...this.#connections]) connection.setFrozen(isFrozen)
  }

  /** Closes the listeners; connections are their owners'. */
  close(): void {
    this.#expectations.clear()
    for (const { descriptor, poll } of this.#listeners.values()) {
      addon.pollStop(poll)
      addon.close(descriptor)
    }
    this.#listeners.clear()
  }

  #listen(device: string, family: Ip.Family): Listener {
    const name = `${family} ${device}`
    const known = this.#listeners.get(name)
    if (known !== undefined) return known
    const descriptor = addon.bgpListen(this.#netns, this.#address ?? any[family], this.#port, device)
    const listener = { name, descriptor, poll: addon.pollStart(descriptor, 1, () => this.#acceptAll(listener, device)) }
    if (this.#isFrozen) addon.pollChange(listener.poll, 0)
    this.#listeners.set(name, listener)
    return listener
  }

  #setKey(listener: Listener, { address, prefix }: Expectation, key: Uint8Array): void {
    const parsed = prefix === undefined ? undefined : Ip.parsePrefix(prefix)!
    try {
      addon.bgpKey(listener.descriptor, parsed?.address ?? Ip.parse(address!)!, parsed?.length ?? -1, 0, key)
    } catch (error) {
      const isGone = key.length === 0 && isNativeError(error) && error.code === "ENOENT"
      if (!isGone) throw error
    }
  }

  #forget(expectation: Expectation, family: Ip.Family): void {
    if (!this.#expectations.delete(expectation)) return
    for (const device of expectation.devices) {
      const name = `${family} ${device}`
      const listener = this.#listeners.get(name)
      if (listener === undefined) continue
      if (expectation.password !== undefined) this.#setKey(listener, expectation, none)
      const isUsed = [...this.#expectations].some(
        (other) => other.devices.includes(device) && Ip.familyOf(other.address ?? other.prefix!) === family
      )
      if (isUsed) continue
      this.#listeners.delete(name)
      addon.pollStop(listener.poll)
      addon.close(listener.descriptor)
    }
  }

  /** All that wait: one for each turn of the event loop would leave those of a router with many neighbours waiting for seconds. */
  #acceptAll(listener: Listener, device: string): void {
    for (let count = 0; count < acceptsPerTurn && this.#listeners.get(listener.name) === listener; count++) {
      if (!this.#accept(listener, device)) return
    }
  }

  /** False: nobody waits, or nobody can be let in. */
  #accept(listener: Listener, device: string): boolean {
    const octets = new Uint8Array(32)
    const numbers = new Uint32Array(7)
    const descriptor = addon.bgpAccept(listener.descriptor, octets, numbers)
    if (descriptor < 0) {
      // The peer has gone again; and out of descriptors or memory there is nothing to do but to wait for some.
      if (shortages.has(-descriptor)) this.#rest(listener)
      if (descriptor !== -constants.errno.EAGAIN) this.refused++
      return false
    }
    const ends = endpointsOf(octets, numbers)
    const connection = this.#follow(new Connection(descriptor, ends, performance.now() - numbers[6]!))
    const found = this.#find(device, ends[0].address, ends[0].ifindex)
    if (found !== undefined) {
      found.accept(connection)
      return true
    }
    this.refused++
    connection.close()
    return true
  }

  /** Does not look at a listener for a while: who waits there would be told of again and again. */
  #rest(listener: Listener): void {
    addon.pollChange(listener.poll, 0)
    setTimeout(() => {
      if ([...this.#listeners.values()].includes(listener)) addon.pollChange(listener.poll, 1)
    }, shortageMs).unref()
  }

  #find(device: string, address: string, ifindex: number): Expectation | undefined {
    let best: Expectation | undefined
    for (const expectation of this.#expectations) {
      if (!expectation.devices.includes(device)) continue
      if (expectation.address !== undefined) {
        const scope = expectation.ifindex ?? 0
        if (expectation.address === address && (!isLinkLocal(address) || scope === 0 || scope === ifindex)) return expectation
      } else if (contains(expectation.prefix!, address) && lengthOf(expectation.prefix!) > lengthOf(best?.prefix ?? "")) {
        best = expectation
      }
    }
    return best
  }
}
