/**
 * This host's entry, held while the daemon lives: `alive/NAME` goes with a lease of `ttlS`, which is renewed all the time
 * and granted again when it was lost.
 *
 * Two daemons must not have one name. The entry says who holds it, by a token that is another at each start, and nobody
 * writes over another's; only a daemon that starts takes the entry of one with its own underlay address and instance,
 * which is itself before it died. `underlay/ADDR` goes with the same lease: two hosts with one address would be one end of each
 * tunnel.
 */
import { randomUUID } from "node:crypto"
import { EtcdError, type Compare, type EtcdClient, type KeyValue } from "./etcd-client.ts"
import { decodeHolder, encode, type Holder, type Keys } from "./etcd-values.ts"
import type { HostRecord, RegistrationListener } from "./fleet.ts"

export const ttlS = 10
const renewMs = 3000
/** Leaving must not keep a daemon from ending: the lease would run out by itself. */
const leaveMs = 1000

/** Another living host has the name, or the underlay address. */
export class NameTaken extends Error {
  override readonly name = "NameTaken"
}

export class Registration {
  readonly #client: EtcdClient
  readonly #keys: Keys
  readonly #log: (line: string) => void
  readonly #token = randomUUID()
  #listener: RegistrationListener = () => {}
  #record: HostRecord | undefined
  #lease: string | undefined
  #timer: NodeJS.Timeout | undefined
  /** What the log said last of it, so that it does not say it every 3 s. */
  #said = ""
  #closed = false

  constructor(client: EtcdClient, keys: Keys, log: (line: string) => void) {
    this.#client = client
    this.#keys = keys
    this.#log = log
  }

  /** Registers, and stays registered. May be called again with another record. @throws NameTaken, EtcdError */
  async start(record: HostRecord, listener: RegistrationListener = () => {}): Promise<void> {
    clearTimeout(this.#timer)
    this.#record = record
    this.#listener = listener
    try {
      await this.#claim(record, true)
      listener(true, "")
    } catch (error) {
      // What etcd could not be asked now is done later.
      if (error instanceof NameTaken) this.#record = undefined
      throw error
    } finally {
      if (this.#record !== undefined && !this.#closed) this.#renewLater()
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    if (this.#lease === undefined) return
    const left = this.#client.revoke("take leave", this.#lease).catch(() => undefined)
    let timer: NodeJS.Timeout | undefined
    await Promise.race([left, new Promise((resolve) => (timer = setTimeout(resolve, leaveMs)))])
    clearTimeout(timer)
  }

  #renewLater(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#renew(), renewMs)
  }

  async #renew(): Promise<void> {
    const record = this.#record!
    try {
      const kept = this.#lease !== undefined && (await this.#client.keepAlive(`keep host "${record.name}" registered`, this.#lease))
      if (!kept && !this.#closed) {
        const isFirst = this.#lease === undefined
        await this.#claim(record, isFirst)
        this.#log(`fleet.registered host ${record.name}${isFirst ? "" : " again: its lease had run out"}`)
        this.#listener(true, "")
      }
      this.#said = ""
    } catch (error) {
      // What cannot be reached is told by the watch; here only what it cannot see.
      if (!(error instanceof EtcdError) && (error as Error).message !== this.#said && !this.#closed) {
        this.#said = (error as Error).message
        if (error instanceof NameTaken) this.#listener(false, error.message)
        else this.#log(`fleet.failed ${this.#said}`)
      }
    }
    if (!this.#closed) this.#renewLater()
  }

  /**
   * Takes the name and the underlay address with a new lease. `takeOver`: also from our predecessor, as long as we have never
   * had them.
   */
  async #claim(record: HostRecord, takeOver: boolean): Promise<void> {
    const what = `register host "${record.name}"`
    const lease = await this.#client.grant(what, ttlS)
    const { instance, name, underlay } = record
    const keys = [this.#keys.alive(name), this.#keys.underlay(underlay)] as const
    const holder: Holder = { token: this.#token, underlay, instance, host: name }
    const stored = encode({ ...record, since: new Date().toISOString() })
    const success = [
      ...keys.map((key) => ({ requestPut: { key: Buffer.from(key), value: encode(holder), lease } })),
      { requestPut: { key: Buffer.from(this.#keys.host(name)), value: stored } }
    ]
    const failure = keys.map((key) => ({ requestRange: { key: Buffer.from(key) } }))
    let found: ReadonlyArray<KeyValue | undefined> = []
    for (let count = 0; count < 10; count++) {
      const compare = keys.map((key, index) => isAsFound(key, found[index]))
      const { succeeded, responses } = await this.#client.transaction(what, { compare, success, failure })
      if (succeeded) {
        this.#lease = lease
        return
      }
      found = responses.map((response) => response.responseRange?.kvs[0])
      const taken = this.#taken(record, takeOver, keys, found)
      if (taken !== undefined) {
        await this.#client.revoke(what, lease).catch(() => undefined)
        throw new NameTaken(`Cannot ${what}: ${taken} ${ttlS} s later`)
      }
    }
    throw new Error(`Cannot ${what}: somebody changes key "${keys[0]}" in etcd all the time`)
  }

  /** Who has the name or the underlay address, unless it is us. */
  #taken(
    { instance, name, underlay }: HostRecord,
    takeOver: boolean,
    keys: readonly [string, string],
    [byName, byUnderlay]: ReadonlyArray<KeyValue | undefined>
  ): string | undefined {
    const holderOf = (key: string, entry: KeyValue | undefined): Holder | undefined => {
      const holder = entry === undefined ? undefined : decodeHolder(key, entry.value)
      return holder?.token === this.#token ? undefined : holder
    }
    const isPredecessor = (other: Holder): boolean => takeOver && other.underlay === underlay && other.instance === instance
    const named = holderOf(keys[0], byName)
    if (named !== undefined && !isPredecessor(named)) {
      return `a living host has that name (underlay ${named.underlay}, instance ${named.instance}). `
        + "Choose another with --host, or end the weftd there; its name is free"
    }
    const there = holderOf(keys[1], byUnderlay)
    if (there === undefined || (isPredecessor(there) && there.host === name)) return undefined
    return `the living host "${there.host ?? "?"}" (instance ${there.instance}) has the underlay address ${underlay}. `
      + "Choose another with --underlay, or end the weftd there; its address is free"
  }
}

const isAsFound = (key: string, found: KeyValue | undefined): Compare =>
  found === undefined
    ? { target: "CREATE", result: "EQUAL", key: Buffer.from(key), createRevision: "0" }
    : { target: "MOD", result: "EQUAL", key: Buffer.from(key), modRevision: found.modRevision }
