/**
 * Tells a listener what is in etcd, from the start and after each change, for as long as it wants to know.
 *
 *     list everything at revision n -> tell it, and what has gone -> watch from n+1 -> the stream fails -> list ...
 *
 * A stream is not believed to live because nobody has said that it is dead: every few seconds it is asked for its progress,
 * and one that does not answer is given up for one to another member. Nor is it believed to be complete: once a minute
 * the revisions of all keys are compared with what was told.
 */
import type { EtcdClient, KeyValue, WatchResponse } from "./etcd-client.ts"
import { decodeHost, decodeLab, decodeReport, endOf, type Keys, type StoredHost } from "./etcd-values.ts"
import type { FleetListener, HostState } from "./fleet.ts"

/** Between an answer of the stream and the next question, and how long that may take. */
const beatMs = 1500
/** How long etcd may be away before the listener is told: longer than the election of a leader takes. */
const patienceMs = 4000
const backOffMs = { first: 100, most: 3000 }
const auditMs = 60_000
const auditPauseMs = 2000

export class Watcher {
  readonly #client: EtcdClient
  readonly #keys: Keys
  readonly #listener: FleetListener
  readonly #log: (line: string) => void
  /** Revision of each key as it was told last. */
  #told = new Map<string, string>()
  readonly #records = new Map<string, StoredHost>()
  readonly #alive = new Set<string>()
  readonly #drained = new Set<string>()
  #connected: boolean | undefined
  #patience: NodeJS.Timeout | undefined
  #stopped = false
  /** Ends what the loop waits for. */
  #interrupt: () => void = () => {}

  constructor(client: EtcdClient, keys: Keys, listener: FleetListener, log: (line: string) => void) {
    this.#client = client
    this.#keys = keys
    this.#listener = listener
    this.#log = log
    this.#doubt()
    void this.#run()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#patience)
    this.#interrupt()
  }

  async #run(): Promise<void> {
    // The listener does not hear anything before it has what `watch` returns.
    await Promise.resolve()
    let failures = 0
    while (!this.#stopped) {
      const startedMs = performance.now()
      try {
        const revision = await this.#list()
        if (this.#stopped) return
        this.#believe()
        await this.#follow(revision)
      } catch {
        // The client remembers why; whether it matters, patience tells.
      }
      if (this.#stopped) return
      this.#doubt()
      failures = performance.now() - startedMs > 10_000 ? 0 : failures + 1
      // The first time at once: mostly, one member has gone and another is there.
      const pauseMs = Math.min(backOffMs.most, backOffMs.first * 2 ** Math.min(failures, 10))
      if (failures > 1) await this.#pause(pauseMs * (0.5 + Math.random() / 2))
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#interrupt = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #believe(): void {
    clearTimeout(this.#patience)
    this.#patience = undefined
    if (this.#connected === true) return
    this.#connected = true
    this.#tell(() => this.#listener.connection?.(true, ""))
  }

  #doubt(): void {
    if (this.#connected === false || this.#patience !== undefined) return
    this.#patience = setTimeout(() => {
      this.#patience = undefined
      this.#connected = false
      this.#tell(() => this.#listener.connection?.(false, this.#client.silence))
    }, patienceMs)
  }

  /** A listener's fault is not the watch's end. */
  #tell(what: () => void): void {
    try {
      if (!this.#stopped) what()
    } catch (error) {
      this.#log(`fleet.failed to act on what etcd tells: ${(error as Error).stack ?? String(error)}`)
    }
  }

  /** Reads and tells everything. @returns the revision that it is of */
  async #list(): Promise<string> {
    const what = "read the shared state"
    const { header, kvs } = await this.#client.range(what, { key: this.#keys.all, end: endOf(this.#keys.all) })
    if (this.#stopped) return header.revision
    const there = new Map(kvs.map((entry) => [entry.key.toString(), entry] as const))
    for (const key of [...this.#told.keys()].filter((key) => !there.has(key))) this.#hear(key, undefined)
    // Where hosts are comes before what they have.
    const ranks = ["hosts", "alive", "drained", "labs", "reports"]
    const rankOf = (key: string): number => ranks.indexOf(this.#keys.parse(key)?.kind ?? "")
    const keys = [...there.keys()].map((key) => [rankOf(key), key] as const).toSorted(([a], [b]) => a - b)
    let hostsTold = false
    for (const [rank, key] of keys) {
      if (rank > 2 && !hostsTold) {
        this.#tellHosts()
        hostsTold = true
      }
      this.#hear(key, there.get(key))
    }
    if (!hostsTold) this.#tellHosts()
    return header.revision
  }

  /** Tells events from after `revision` on until the stream fails. */
  #follow(revision: string): Promise<void> {
    const { stream, abandon } = this.#client.watch()
    return new Promise((resolve) => {
      let heard = true
      let over = false
      let beat: NodeJS.Timeout | undefined
      const end = (): void => {
        if (over) return
        clearTimeout(beat)
        clearInterval(audit)
        over = true
        this.#interrupt = () => {}
        stream.cancel()
        if (!this.#stopped) abandon()
        resolve()
      }
      this.#interrupt = end
      const ask = (): void => {
        heard = false
        stream.write({ progressRequest: {} })
        beat = setTimeout(look, beatMs)
      }
      const look = (): void => {
        // When this process was busy, the answer may be there unread: it gets a moment to be heard.
        if (heard) beat = setTimeout(ask, beatMs)
        else beat = setTimeout(() => (heard ? ask() : end()), 200)
      }
      const audit = setInterval(() => void this.#audit(end, () => over), auditMs * (0.75 + Math.random() / 2))
      stream.on("error", end)
      stream.on("end", end)
      stream.on("data", (response: WatchResponse) => {
        if (over) return
        heard = true
        // After a compaction beyond `revision` there is nothing to go on from: then the next list has it.
        if (response.canceled) end()
        else this.#apply(response)
      })
      const range = { key: Buffer.from(this.#keys.all), rangeEnd: Buffer.from(endOf(this.#keys.all)) }
      stream.write({ createRequest: { ...range, startRevision: String(BigInt(revision) + 1n), fragment: true } })
      ask()
    })
  }

  #apply(response: WatchResponse): void {
    let hosts = false
    for (const { type, kv } of response.events) {
      const key = kv.key.toString()
      const kind = this.#hear(key, type === "PUT" ? kv : undefined)
      if (kind === "hosts" || kind === "alive" || kind === "drained") hosts = true
    }
    if (hosts) this.#tellHosts()
  }

  /** One key as it is now; `undefined`: it is gone. @returns its kind */
  #hear(key: string, entry: KeyValue | undefined): string | undefined {
    if (entry === undefined) this.#told.delete(key)
    else this.#told.set(key, entry.modRevision)
    const parsed = this.#keys.parse(key)
    if (parsed === undefined) return undefined
    try {
      this.#hearKind(parsed, key, entry)
    } catch (error) {
      this.#log(`fleet.damaged ${(error as Error).message}`)
    }
    return parsed.kind
  }

  #hearKind({ kind, name, host }: { kind: string; name: string; host: string }, key: string, entry: KeyValue | undefined): void {
    switch (kind) {
      case "labs": {
        const found = entry === undefined ? undefined : { lab: decodeLab(key, name, entry.value).lab, revision: entry.modRevision }
        return this.#tell(() => this.#listener.lab?.(name, found))
      }
      case "reports": {
        if (entry === undefined) return
        const report = decodeReport(key, host, entry.value)
        return this.#tell(() => this.#listener.report?.(name, report))
      }
      case "hosts":
        this.#records.delete(name)
        if (entry !== undefined) this.#records.set(name, decodeHost(key, name, entry.value))
        return
      case "alive":
        return void (entry === undefined ? this.#alive.delete(name) : this.#alive.add(name))
      case "drained":
        return void (entry === undefined ? this.#drained.delete(name) : this.#drained.add(name))
    }
  }

  #tellHosts(): void {
    const hosts = [...this.#records.values()].map((record): HostState => stateOf(record, this.#alive, this.#drained))
    this.#tell(() => this.#listener.hosts?.(hosts))
  }

  /** Ends the stream when it has not told everything: what two lists some time apart agree on must have been told. */
  async #audit(end: () => void, isOver: () => boolean): Promise<void> {
    const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, auditPauseMs).unref())
    const list = async (): Promise<Map<string, string>> => {
      const range = { key: this.#keys.all, end: endOf(this.#keys.all), keysOnly: true }
      const { kvs } = await this.#client.range("compare with the shared state", range)
      return new Map(kvs.map(({ key, modRevision }) => [key.toString(), modRevision] as const))
    }
    try {
      const first = await list()
      await pause()
      if (isOver()) return
      const second = await list()
      await pause()
      if (isOver()) return
      const missed = [...new Set([...second.keys(), ...this.#told.keys()])].find((key) => {
        const revision = second.get(key)
        return first.get(key) === revision && this.#told.get(key) !== revision && !this.#isNewer(key, revision)
      })
      if (missed === undefined) return
      this.#log(`fleet.missed a change of key "${missed}" in etcd: reading everything again`)
      end()
    } catch {
      // The stream will notice, too.
    }
  }

  /** Whether what was told of a key is newer than this revision of it. */
  #isNewer(key: string, revision: string | undefined): boolean {
    const told = this.#told.get(key)
    return told !== undefined && (revision === undefined || BigInt(told) > BigInt(revision))
  }
}

export const stateOf = (record: StoredHost, alive: ReadonlySet<string>, drained: ReadonlySet<string>): HostState => ({
  ...record,
  alive: alive.has(record.name),
  drained: drained.has(record.name)
})
