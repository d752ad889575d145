/** A table (VRF) of a speaker: its RIB with what the kernel has of it, and what it says of itself. */
import type { BgpVrfSpec } from "../plan/bgp.ts"
import type { FibApi, MonitorApi, NextHopsApi, Scope } from "./fib/api.ts"
import { Origination } from "./origination.ts"
import type { CompiledPolicy } from "./policy/policy.ts"
import { Rib } from "./rib/rib.ts"
import type { FamilyIndex, RibOptions } from "./rib/types.ts"
import type { Scheduler, Task } from "./scheduler.ts"

export const scopeOf = ({ ifnames, name, table }: BgpVrfSpec): Scope => ({ name, table, ifnames })

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
  readonly bestChanged: (family: FamilyIndex, bytes: Uint8Array, at: number, length: number) => void
}

export class Table implements Task {
  readonly rib: Rib
  readonly #parts: TableParts
  readonly #origination: Origination
  readonly #imports: Array<() => void> = []
  #spec: BgpVrfSpec

  constructor(spec: BgpVrfSpec, parts: TableParts, events: TableEvents) {
    const { fib, monitor, nextHops, options, scheduler } = parts
    const scope = scopeOf(spec)
    this.#spec = spec
    this.#parts = parts
    this.rib = new Rib({
      ...options,
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

  /** Takes the routes of other tables whose export targets are among the import targets. */
  importFrom(others: Iterable<Table>): void {
    for (const stop of this.#imports.splice(0)) stop()
    for (const other of others) {
      if (other === this) continue
      const targets = other.spec.exportTargets.filter((target) => this.#spec.importTargets.includes(target))
      if (targets.length > 0) this.#imports.push(this.rib.importFrom(other.rib, (attributes) => attributes))
    }
  }

  close(): void {
    for (const stop of this.#imports.splice(0)) stop()
    this.#origination.close()
    this.#parts.scheduler.forget(this)
  }
}
