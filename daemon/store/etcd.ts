/**
 * The store of many hosts: etcd, spoken to over its API v3.
 *
 *     labs/NAME           the lab, whole                       vnis/NAME      its VNIs, so that no other lab takes them
 *     reports/NAME/HOST   how far a host has got with it       hosts/NAME     a host as it describes itself
 *     alive/NAME          goes with the host's lease           drained/NAME   there: nothing is placed on the host
 *     underlay/ADDR       whose address it is; same lease
 *
 * A commit is one transaction: the lab has the revision that was expected, and no list of VNIs has changed since they were
 * read. Everything that writes is a transaction with such conditions, since a request whose answer is late may be carried
 * out twice, or long after it was given up (etcd-client.ts).
 *
 * Limits: a lab, gzipped, fits into one request of etcd, 1.5 MiB unless its --max-request-bytes says otherwise.
 */
import { randomUUID } from "node:crypto"
import { baseOf } from "../plan/fault.ts"
import { vnisOf } from "../plan/vni.ts"
import { EtcdClient, EtcdError, type KeyValue, type Operation, type Tls } from "./etcd-client.ts"
import { Registration } from "./etcd-registration.ts"
import { decodeHost, decodeLab, decodeReport, decodeVnis, encode, encodeLab, endOf, type Keys, keysBelow } from "./etcd-values.ts"
import { stateOf, Watcher } from "./etcd-watch.ts"
import type {
  CommitResult, FleetLab, FleetListener, FleetStore, HostRecord, HostState, PartReport, RegistrationListener, Versioned
} from "./fleet.ts"

export interface Options {
  /** `https://10.0.0.1:2379`: one for each member, all of one cluster. */
  readonly endpoints: ReadonlyArray<string>
  /** PEM; needed for https. */
  readonly tls?: Tls
  /** What all our keys start with; `/weft/v1/` unless given. Ends in a slash. */
  readonly prefix?: string
  readonly log: (line: string) => void
}

/**
 * Opens the store. etcd need not be there yet: calls say so until it is.
 *
 * @throws Error when an endpoint is no address, or is `https` and `tls` is missing
 */
export const open = async ({ endpoints, tls, prefix = "/weft/v1/", log }: Options): Promise<FleetStore> =>
  new EtcdStore(new EtcdClient(endpoints, tls), keysBelow(prefix), log)

/** Others commit VNIs all the time: how long a commit tries to come through. */
const commitMs = 20_000

const isAt = (key: string, revision: string) => ({ target: "MOD", result: "EQUAL", key: Buffer.from(key), modRevision: revision })
const isThere = (key: string) => ({ target: "CREATE", result: "GREATER", key: Buffer.from(key), createRevision: "0" })
const isAbsent = (key: string) => ({ target: "CREATE", result: "EQUAL", key: Buffer.from(key), createRevision: "0" })
/** No key of the range has changed since `revision`, and none was added. */
const isUnchangedSince = (prefix: string, revision: string) => ({
  target: "MOD",
  result: "LESS",
  key: Buffer.from(prefix),
  rangeEnd: Buffer.from(endOf(prefix)),
  modRevision: String(BigInt(revision) + 1n)
})
const put = (key: string, value: Buffer): Operation => ({ requestPut: { key: Buffer.from(key), value } })
const get = (key: string): Operation => ({ requestRange: { key: Buffer.from(key) } })
const getAll = (prefix: string): Operation => ({ requestRange: { key: Buffer.from(prefix), rangeEnd: Buffer.from(endOf(prefix)) } })
const del = (key: string): Operation => ({ requestDeleteRange: { key: Buffer.from(key) } })
const delAll = (prefix: string): Operation => ({ requestDeleteRange: { key: Buffer.from(prefix), rangeEnd: Buffer.from(endOf(prefix)) } })

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const nothing = Buffer.alloc(0)

/** What a commit goes by: the lab and all VNIs at one revision. */
interface Ground {
  readonly revision: string
  readonly entry: KeyValue | undefined
  readonly vnis: ReadonlyArray<KeyValue>
}

class EtcdStore implements FleetStore {
  readonly #client: EtcdClient
  readonly #keys: Keys
  readonly #log: (line: string) => void
  readonly #registration: Registration
  readonly #watchers = new Set<Watcher>()
  /** Of each of our reports: its revision as we wrote it, and what is being written. */
  readonly #reported = new Map<string, { revision: string; last: Promise<void> }>()

  constructor(client: EtcdClient, keys: Keys, log: (line: string) => void) {
    this.#client = client
    this.#keys = keys
    this.#log = log
    this.#registration = new Registration(client, keys, log)
  }

  register(record: HostRecord, listener?: RegistrationListener): Promise<void> {
    return this.#registration.start(record, listener)
  }

  async hosts(): Promise<ReadonlyArray<HostState>> {
    const [hosts, alive, drained] = await this.#readRanges("read the hosts", ["hosts/", "alive/", "drained/"])
    const nameOf = ({ key }: KeyValue): string => this.#keys.parse(key.toString())?.name ?? ""
    const [living, leaving] = [new Set(alive!.map(nameOf)), new Set(drained!.map(nameOf))]
    return this.#decodeEach(hosts!, (key, name, entry) => stateOf(decodeHost(key, name, entry.value), living, leaving))
  }

  async setDrained(host: string, drained: boolean): Promise<void> {
    const what = `${drained ? "drain" : "undrain"} host "${host}"`
    const [known, key] = [this.#keys.host(host), this.#keys.drained(host)]
    for (;;) {
      const { kvs } = await this.#client.range(what, { key })
      if ((kvs[0] !== undefined) === drained) break
      const compare = [isThere(known), isAt(key, kvs[0]?.modRevision ?? "0")]
      const success = [drained ? put(key, nothing) : del(key)]
      const { succeeded, responses } = await this.#client.transaction(what, { compare, success, failure: [get(known)] })
      if (succeeded) return
      if (responses[0]?.responseRange?.kvs[0] === undefined) throw new Error(`Cannot ${what}: there is no such host`)
    }
  }

  async forgetHost(host: string): Promise<void> {
    const what = `forget host "${host}"`
    const compare = [isAbsent(this.#keys.alive(host))]
    const success = [del(this.#keys.host(host)), del(this.#keys.drained(host))]
    const { succeeded } = await this.#client.transaction(what, { compare, success })
    if (!succeeded) throw new Error(`Cannot ${what}: it is alive. End its weftd first`)
  }

  async labs(): Promise<ReadonlyArray<Versioned>> {
    const { kvs } = await this.#client.range("read the labs", { key: this.#keys.labs, end: endOf(this.#keys.labs) })
    return this.#decodeEach(kvs, (key, name, entry) => versioned(key, name, entry))
  }

  async lab(name: string): Promise<Versioned | undefined> {
    const key = this.#keys.lab(name)
    const { kvs } = await this.#client.range(`read lab "${name}"`, { key })
    return kvs[0] === undefined ? undefined : versioned(key, name, kvs[0])
  }

  async commit(name: string, expected: string, make: (taken: ReadonlySet<number>) => FleetLab): Promise<CommitResult> {
    const commit = randomUUID()
    const what = `commit lab "${name}"`
    const end = performance.now() + commitMs
    let ground = await this.#ground(what, name)
    for (let count = 0; ; count++) {
      const verdict = await this.#judge(name, expected, count === 0 ? "" : commit, ground)
      if (verdict !== undefined) return verdict
      if (performance.now() > end) throw new Error(`Cannot ${what}: other labs change all the time. Try again`)
      // Those who collided do not collide again.
      if (count > 0) await sleep(Math.random() * Math.min(200, 5 * 2 ** count))
      if (count > 2) ground = await this.#ground(what, name)
      const result = await this.#tryCommit({ name, expected, commit, what, make }, ground)
      if ("ok" in result) return result
      ground = result
    }
  }

  async remove(name: string, expected: string): Promise<boolean> {
    const key = this.#keys.lab(name)
    const success = [del(key), del(this.#keys.vnisOf(name)), delAll(this.#keys.reportsOf(name))]
    const request = { compare: [isAt(key, expected)], success, failure: [get(key)] }
    const { succeeded, responses } = await this.#client.transaction(`remove lab "${name}"`, request)
    // Gone already: by a first attempt whose answer was lost, or by somebody who wanted the same.
    return succeeded || responses[0]?.responseRange?.kvs[0] === undefined
  }

  /** Reports of one host on one lab are written in the order of the calls; on a lab that is gone, not at all. */
  report(lab: string, report: PartReport): Promise<void> {
    const key = this.#keys.report(lab, report.host)
    const state = this.#reported.get(key) ?? { revision: "0", last: Promise.resolve() }
    this.#reported.set(key, state)
    const written = state.last.then(() => this.#writeReport(lab, key, report, state))
    state.last = written.catch(() => undefined)
    return written
  }

  async reports(lab: string): Promise<ReadonlyArray<PartReport>> {
    const prefix = this.#keys.reportsOf(lab)
    const { kvs } = await this.#client.range(`read the reports on lab "${lab}"`, { key: prefix, end: endOf(prefix) })
    return this.#decodeEach(kvs, (key, _lab, entry, host) => decodeReport(key, host, entry.value))
  }

  watch(listener: FleetListener): () => void {
    const watcher = new Watcher(this.#client, this.#keys, listener, this.#log)
    this.#watchers.add(watcher)
    return () => {
      watcher.stop()
      this.#watchers.delete(watcher)
    }
  }

  async close(): Promise<void> {
    for (const watcher of this.#watchers) watcher.stop()
    this.#watchers.clear()
    await this.#registration.close()
    this.#client.close()
  }

  // ---- commit ----------------------------------------------------------------------------------------------------------

  async #ground(what: string, name: string): Promise<Ground> {
    const { header, responses } = await this.#client.transaction(what, { compare: [], success: this.#groundRequests(name) })
    return { revision: header.revision, entry: responses[0]?.responseRange?.kvs[0], vnis: responses[1]?.responseRange?.kvs ?? [] }
  }

  #groundRequests(name: string): ReadonlyArray<Operation> {
    return [get(this.#keys.lab(name)), getAll(this.#keys.vnis)]
  }

  /**
   * Whether the commit has come to its end: done, by an attempt whose answer was lost, or lost to somebody else.
   *
   * @param commit its mark; empty: nothing has been sent yet
   */
  async #judge(name: string, expected: string, commit: string, { entry }: Ground): Promise<CommitResult | undefined> {
    if ((entry?.modRevision ?? "0") === expected) return undefined
    if (entry === undefined) return { ok: false, winner: undefined }
    const key = this.#keys.lab(name)
    const stored = decodeLab(key, name, entry.value)
    if (stored.commit === commit) return { ok: true, revision: entry.modRevision }
    const before = commit === "" ? undefined : await this.#before(name, entry.modRevision)
    // Ours went through, and somebody has changed it since.
    if (before?.commit === commit) return { ok: true, revision: before.revision }
    return { ok: false, winner: { lab: stored.lab, revision: entry.modRevision } }
  }

  /** What a lab was right before a revision of it, if etcd still knows. */
  async #before(name: string, revision: string): Promise<{ readonly commit: string; readonly revision: string } | undefined> {
    const key = this.#keys.lab(name)
    try {
      const { kvs } = await this.#client.range(`read lab "${name}"`, { key, revision: String(BigInt(revision) - 1n) })
      return kvs[0] === undefined ? undefined : { commit: decodeLab(key, name, kvs[0].value).commit, revision: kvs[0].modRevision }
    } catch {
      // Compacted: who changed it then has seen ours, which is all that is lost.
      return undefined
    }
  }

  /** VNIs of other labs. Where a list is damaged, the lab itself says what it has. */
  async #taken(others: ReadonlyArray<KeyValue>): Promise<ReadonlySet<number>> {
    const lists = others.map(async ({ key, value }) => {
      try {
        return decodeVnis(key.toString(), value)
      } catch (error) {
        this.#log(`fleet.damaged ${(error as Error).message}`)
        const found = await this.lab(this.#keys.parse(key.toString())?.name ?? "").catch(() => undefined)
        return found === undefined ? [] : vnisOf([...baseOf(found.lab).resources, ...found.lab.plan.resources])
      }
    })
    return new Set((await Promise.all(lists)).flat())
  }

  /** One transaction. @returns the result, or the ground as it is now when somebody else was faster */
  async #tryCommit(
    { name, expected, commit, what, make }: Commit,
    { revision, entry, vnis }: Ground
  ): Promise<CommitResult | Ground> {
    const own = this.#keys.vnisOf(name)
    const ownEntry = vnis.find(({ key }) => key.toString() === own)
    const others = vnis.filter((found) => found !== ownEntry)
    const taken = await this.#taken(others)
    const lab = make(taken)
    const reserved = reservedBy(lab, ownEntry === undefined ? [] : decodeVnis(own, ownEntry.value))
    const stolen = reserved.find((vni) => taken.has(vni))
    if (lab.name !== name) throw new Error(`Cannot ${what}: the plan is of lab "${lab.name}"`)
    if (stolen !== undefined) throw new Error(`Cannot ${what}: VNI ${stolen} is another lab's`)
    const list = encode(reserved)
    const success = [put(this.#keys.lab(name), encodeLab({ commit, lab }))]
    // Who needs no other VNIs than before does not stand in another lab's way.
    const same = ownEntry !== undefined && ownEntry.value.equals(list)
    if (!same) success.push(put(own, list))
    const compare = [isAt(this.#keys.lab(name), entry?.modRevision ?? "0"), ...(same ? [] : [isUnchangedSince(this.#keys.vnis, revision)])]
    const request = { compare, success, failure: this.#groundRequests(name) }
    try {
      const { header, succeeded, responses } = await this.#client.transaction(what, request)
      if (succeeded) return { ok: true, revision: header.revision }
      return { revision: header.revision, entry: responses[0]?.responseRange?.kvs[0], vnis: responses[1]?.responseRange?.kvs ?? [] }
    } catch (error) {
      if (!(error instanceof EtcdError) || !error.lost) throw error
      return this.#findLost({ name, expected, commit, what, make }, error)
    }
  }

  /** The answer was lost: looks whether the commit went through. */
  async #findLost({ name, expected, commit, what }: Commit, lost: EtcdError): Promise<CommitResult> {
    try {
      const verdict = await this.#judge(name, expected, commit, await this.#ground(what, name))
      if (verdict !== undefined) return verdict
    } catch {
      throw new EtcdError(`${lost.message}. Whether it was committed is not known: look with weft list when etcd answers again`, true, lost)
    }
    throw lost
  }

  // ---- parts of the rest -----------------------------------------------------------------------------------------------

  async #writeReport(lab: string, key: string, report: PartReport, state: { revision: string }): Promise<void> {
    const what = `report on lab "${lab}"`
    const success = [put(key, encode(report))]
    for (let count = 0; count < 10; count++) {
      const compare = [isThere(this.#keys.lab(lab)), isAt(key, state.revision)]
      const request = { compare, success, failure: [get(this.#keys.lab(lab)), get(key)] }
      const { header, succeeded, responses } = await this.#client.transaction(what, request)
      if (succeeded) {
        state.revision = header.revision
        return
      }
      state.revision = responses[1]?.responseRange?.kvs[0]?.modRevision ?? "0"
      if (responses[0]?.responseRange?.kvs[0] === undefined) {
        this.#reported.delete(key)
        return
      }
    }
    throw new Error(`Cannot ${what}: somebody else reports as host "${report.host}"`)
  }

  /** Several ranges at one revision. */
  async #readRanges(what: string, folders: ReadonlyArray<string>): Promise<ReadonlyArray<ReadonlyArray<KeyValue>>> {
    const success = folders.map((folder) => getAll(this.#keys.all + folder))
    const { responses } = await this.#client.transaction(what, { compare: [], success })
    return responses.map((response) => response.responseRange?.kvs ?? [])
  }

  /** What can be read; what cannot is said in the log and left out. */
  #decodeEach<A>(
    entries: ReadonlyArray<KeyValue>,
    decode: (key: string, name: string, entry: KeyValue, host: string) => A
  ): ReadonlyArray<A> {
    return entries.flatMap((entry) => {
      const key = entry.key.toString()
      const parsed = this.#keys.parse(key)
      if (parsed === undefined) return []
      try {
        return [decode(key, parsed.name, entry, parsed.host)]
      } catch (error) {
        this.#log(`fleet.damaged ${(error as Error).message}`)
        return []
      }
    })
  }
}

interface Commit {
  readonly name: string
  readonly expected: string
  readonly commit: string
  readonly what: string
  readonly make: (taken: ReadonlySet<number>) => FleetLab
}

const versioned = (key: string, name: string, entry: KeyValue): Versioned => ({
  lab: decodeLab(key, name, entry.value).lab,
  revision: entry.modRevision
})

/** A lab that goes keeps its VNIs until it is gone: hosts still have its segments. */
const reservedBy = (lab: FleetLab, before: ReadonlyArray<number>): ReadonlyArray<number> =>
  lab.wanted === "absent" ? before : [...new Set(vnisOf([...baseOf(lab).resources, ...lab.plan.resources]))].toSorted((a, b) => a - b)
