/**
 * This host's entry, held while the daemon lives: `alive/NAME` goes with a lease of `ttlS`, which is renewed all the time
 * and granted again when it was lost.
 *
 * Two daemons must not have one name. The entry says who holds it, by a token that is another at each start, and nobody
 * writes over another's; only a daemon that starts takes the entry of one with its own underlay address and instance,
 * which is itself before it died.
 */
import { randomUUID } from "node:crypto"
import { EtcdError, type Compare, type EtcdClient } from "./etcd-client.ts"
import { decodeHolder, encode, type Holder, type Keys } from "./etcd-values.ts"
import type { HostRecord } from "./fleet.ts"

export const ttlS = 10
const renewMs = 3000
/** Leaving must not keep a daemon from ending: the lease would run out by itself. */
const leaveMs = 1000

/** Another living host has the name. */
export class NameTaken extends Error {
  override readonly name = "NameTaken"
}

export class Registration {
  readonly #client: EtcdClient
  readonly #keys: Keys
  readonly #log: (line: string) => void
  readonly #token = randomUUID()
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
  async start(record: HostRecord): Promise<void> {
    clearTimeout(this.#timer)
    this.#record = record
    try {
      await this.#claim(record, true)
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
      }
      this.#said = ""
    } catch (error) {
      // What cannot be reached is told by the watch; here only what it cannot see.
      if (!(error instanceof EtcdError) && (error as Error).message !== this.#said && !this.#closed) {
        this.#said = (error as Error).message
        this.#log(`fleet.failed ${this.#said}`)
      }
    }
    if (!this.#closed) this.#renewLater()
  }

  /** Takes the name with a new lease. `takeOver`: also from our predecessor, as long as we have never had it. */
  async #claim(record: HostRecord, takeOver: boolean): Promise<void> {
    const what = `register host "${record.name}"`
    const lease = await this.#client.grant(what, ttlS)
    const alive = this.#keys.alive(record.name)
    const holder: Holder = { token: this.#token, underlay: record.underlay, instance: record.instance }
    const stored = encode({ ...record, since: new Date().toISOString() })
    const key = Buffer.from(alive)
    const success = [
      { requestPut: { key, value: encode(holder), lease } },
      { requestPut: { key: Buffer.from(this.#keys.host(record.name)), value: stored } }
    ]
    const failure = [{ requestRange: { key } }]
    let free: Compare = { target: "CREATE", result: "EQUAL", key, createRevision: "0" }
    for (let count = 0; count < 10; count++) {
      const { succeeded, responses } = await this.#client.transaction(what, { compare: [free], success, failure })
      const there = succeeded ? undefined : responses[0]?.responseRange?.kvs[0]
      if (succeeded) {
        this.#lease = lease
        return
      }
      if (there === undefined) {
        free = { target: "CREATE", result: "EQUAL", key, createRevision: "0" }
        continue
      }
      const other = decodeHolder(alive, there.value)
      const isOurs = other.token === this.#token || (takeOver && other.underlay === record.underlay && other.instance === record.instance)
      if (!isOurs) {
        await this.#client.revoke(what, lease).catch(() => undefined)
        throw new NameTaken(
          `Cannot ${what}: a living host has that name (underlay ${other.underlay}, instance ${other.instance}). `
            + `Choose another with --host, or end the weftd there; its name is free ${ttlS} s later`
        )
      }
      free = { target: "MOD", result: "EQUAL", key, modRevision: there.modRevision }
    }
    throw new Error(`Cannot ${what}: somebody changes key "${alive}" in etcd all the time`)
  }
}
