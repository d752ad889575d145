/** A table (VRF) of a speaker: its RIB with what the kernel has of it, and what it says of itself. */
import type { BgpVrfSpec } from "../plan/bgp.ts"
import { parse as parseCommunity } from "../wire/bgp/communities.ts"
import type { FibApi, MonitorApi, NextHopsApi, Scope } from "./fib/api.ts"
import { same } from "./neighbor-spec.ts"
import { Origination } from "./origination.ts"
import type { CompiledPolicy } from "./policy/policy.ts"
import type { Import } from "./rib/leak.ts"
import { Rib } from "./rib/rib.ts"
import type { FamilyIndex, RibOptions, RibSetting } from "./rib/types.ts"
import type { Scheduler, Task } from "./scheduler.ts"

/** Of a scope, no interface at all: none has such a name. An empty list means those that no other scope names. */
const noInterface = ["/"]

export const scopeOf = ({ ifnames, name, table }: BgpVrfSpec): Scope =>
  ({ name, table, ifnames: ifnames.length === 0 && name !== "default" ? noInterface : ifnames })

/** Route targets as extended communities. */
export const targetsOf = (texts: ReadonlyArray<string>): ReadonlyArray<bigint> =>
  texts.map((text) => {
    const community = parseCommunity(`rt:${text}`)
    if (community?.kind !== "extended") throw new Error(`"${text}" is no route target`)
    return community.value
  })

export interface TableParts {
  readonly monitor: MonitorApi
  readonly nextHops: NextHopsApi
  readonly fib: FibApi
  readonly scheduler: Scheduler
  readonly options: Omit<RibOptions, "nextHops" | "fib" | "events">
}

export interface TableEvents {
  readonly endOfRib: (peer: number, family: FamilyIndex) => void
  readonly maxPrefix: (peer: number, family: FamilyIndex, count: number) => void
  readonly nearMaxPrefix: (peer: number, family: FamilyIndex, count: number) => void
  readonly bestChanged: (family: FamilyIndex, bytes: Uint8Array, at: number, length: number) => void
}

export class Table implements Task {
  readonly rib: Rib
  readonly #parts: TableParts
  readonly #origination: Origination
  readonly #imports = new Map<Table, Import>()
  #importTargets: ReadonlySet<bigint>
  #spec: BgpVrfSpec

  constructor(spec: BgpVrfSpec, parts: TableParts, events: TableEvents) {
    const { fib, monitor, nextHops, options, scheduler } = parts
    const scope = scopeOf(spec)
    this.#spec = spec
    this.#parts = parts
    this.#importTargets = new Set(targetsOf(spec.importTargets))
    this.rib = new Rib({
      ...options,
      exportTargets: targetsOf(spec.exportTargets),
      nextHops: nextHops.scope(scope),
      fib: fib.table(spec.table),
      events: { wanted: () => scheduler.wake(this), ...events }
    })
    this.#origination = new Origination({ rib: this.rib, monitor, scope })
  }

  get spec(): BgpVrfSpec {
    return this.#spec
  }

  run(budgetMs: number): boolean {
    return this.rib.run(budgetMs)
  }

  /** Networks, redistribution and aggregates as `spec` says. */
  originate(spec: BgpVrfSpec, policies: ReadonlyMap<string, CompiledPolicy>): void {
    this.#spec = spec
    this.#origination.set(spec, scopeOf(spec), policies)
  }

  /** Another kernel table or other export targets, and how the speaker decides. The rest of `spec` is for `originate`. */
  configure(spec: BgpVrfSpec, setting: RibSetting): void {
    const before = this.#spec
    this.#spec = spec
    if (before.table !== spec.table) this.rib.moveTo(this.#parts.fib.table(spec.table))
    this.rib.configure({ ...setting, exportTargets: targetsOf(spec.exportTargets) })
  }

  /** Takes the routes of other tables that bear one of the import targets. */
  importFrom(others: Iterable<Table>): void {
    const { importTargets } = this.#spec
    const targets = new Set(targetsOf(importTargets))
    const areNew = !same([...this.#importTargets].map(String), [...targets].map(String))
    this.#importTargets = targets
    const wanted = new Set(importTargets.length === 0 ? [] : [...others].filter((other) => other !== this))
    for (const [other, imported] of [...this.#imports]) {
      if (wanted.has(other)) {
        if (areNew) imported.again()
        continue
      }
      imported.stop()
      this.#imports.delete(other)
    }
    for (const other of wanted) {
      if (!this.#imports.has(other)) this.#imports.set(other, this.rib.importFrom(other.rib, () => this.#importTargets))
    }
  }

  /** Has no routes of its own and of other tables any more. What it has of neighbours goes with them; `run` empties the kernel. */
  retire(): void {
    for (const imported of this.#imports.values()) imported.stop()
    this.#imports.clear()
    const nothing = { networks: [], aggregates: [], redistribute: [] }
    this.#origination.set({ ...this.#spec, ...nothing }, scopeOf(this.#spec), new Map())
    this.#origination.close()
    this.rib.close()
  }

  close(): void {
    for (const imported of this.#imports.values()) imported.stop()
    this.#imports.clear()
    this.#origination.close()
    this.#parts.scheduler.forget(this)
  }
}
