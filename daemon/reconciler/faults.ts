/**
 * `FaultControl`: injecting, healing, and the clock that heals what is over.
 *
 *     order --ledger.inject--> book --FaultedLabs.alter--> plan is true --> perform what happens once
 *     clock --ledger.catchUp--> book --FaultedLabs.alter--> plan is true
 *
 * One host and a fleet differ in how a lab's book is changed (`FaultedLabs`), in nothing else. The clock works from what is
 * stored: what fell due while no daemon ran is healed at start-up, and a lease of a daemon that has died is over.
 */
import { randomBytes } from "node:crypto"
import { catchUp, heal, inject, nextDueMs, unknownIds } from "../faults/ledger.ts"
import type { Action } from "../faults/kind.ts"
import type { EventLog } from "../observe/events.ts"
import type { Fault, Faulted, FaultOrder } from "../plan/fault.ts"
import { type ChangeFailure, type ChangeOutcome, type ChangeWatch, Refused } from "./control.ts"
import { BadFault, type FaultControl, type FaultOutcome, type Which } from "./fault-control.ts"
import { someOf } from "./inspection.ts"
import type { Alteration } from "./reconciler.ts"

/** How labs with faults are kept and made true. */
export interface FaultedLabs {
  /** Of all labs. */
  books(): Promise<ReadonlyArray<{ readonly lab: string; readonly book: Faulted }>>
  /** The lab that is meant. @throws Refused */
  resolve(lab: string): Promise<string>
  /**
   * Changes a lab's book in its turn, and makes what comes of it true. `change` sees the lab as it is then, and may be asked
   * again when somebody else was faster; undefined: nothing to do.
   * @throws Refused, and whatever `change` throws
   */
  alter(lab: string, change: (book: Faulted) => Alteration | undefined, watch?: ChangeWatch): Promise<ChangeOutcome | undefined>
  /** How long to leave it to others to do what is due: of many hosts one is first. */
  patienceMs(lab: string): number
  /** Whether the daemon that gave a lease is known to be gone; not asked of our own. */
  isHostLost(host: string): boolean
}

export interface FaultsParts {
  /** Name of this host. */
  readonly host: string
  readonly labs: FaultedLabs
  readonly events: EventLog
  /** Does what happens once, where it has to; says what was done. */
  readonly perform: (lab: string, action: Action) => Promise<string>
}

/** setTimeout takes 31 bits. */
const longestWaitMs = 3_600_000
const retryMs = 1000

export class Faults implements FaultControl {
  readonly #parts: FaultsParts
  /** Tells this run of the daemon from others of this host. */
  readonly #run = randomBytes(4).toString("hex")
  readonly #leases = new Set<string>()
  #leaseCount = 0
  /** Labs of which the last attempt of the clock failed. */
  readonly #failing = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  /** Labs that the clock is about: one may wait for somebody who deploys, and the others go on. */
  readonly #running = new Map<string, Promise<void>>()
  #closed = false

  constructor(parts: FaultsParts) {
    this.#parts = parts
  }

  async inject(name: string, orders: ReadonlyArray<FaultOrder>, watch?: ChangeWatch): Promise<FaultOutcome> {
    const { labs } = this.#parts
    const lab = await labs.resolve(name)
    let injected: Extract<ReturnType<typeof inject>, { ok: true }>["value"] | undefined
    const outcome = await labs.alter(lab, (book) => {
      const result = inject(book, orders, Date.now())
      if (!result.ok) throw new BadFault(result.diagnostics)
      injected = result.value
      const { before } = injected
      return { book: injected.book, rollback: true, ...(before === undefined ? {} : { before }) }
    }, watch)
    void this.#arm()
    const { actions, faults } = injected!
    const { changed, failures, rolledBack } = outcome!
    if (rolledBack) {
      this.#tell(lab, faults.map((fault) => ({ type: "fault.refused", fault, more: `refused by the kernel: ${failures[0]?.error ?? ""}` })))
      return { faults: [], changed: 0, failures }
    }
    const undone = await this.#perform(lab, actions)
    this.#tell(lab, faults.map((fault) => ({ type: "fault.injected", fault, more: untilText(fault) })))
    return { faults, changed, failures: [...failures, ...undone] }
  }

  async heal(name: string, which: Which, watch?: ChangeWatch): Promise<FaultOutcome> {
    const { labs } = this.#parts
    const lab = await labs.resolve(name)
    let healed: ReadonlyArray<Fault> = []
    const outcome = await labs.alter(lab, (book) => {
      if (typeof which === "object" && "ids" in which) refuseUnknown(lab, book, which.ids)
      const result = heal(book, isMeantBy(which))
      healed = result.faults
      return healed.length === 0 ? undefined : { book: result.book, rollback: false }
    }, watch)
    void this.#arm()
    this.#tell(lab, healed.map((fault) => ({ type: "fault.healed", fault, more: "healed" })))
    return { faults: healed, changed: outcome?.changed ?? 0, failures: outcome?.failures ?? [] }
  }

  async faults(name: string): Promise<ReadonlyArray<Fault>> {
    const { labs } = this.#parts
    const lab = await labs.resolve(name)
    return (await labs.books()).find((one) => one.lab === lab)?.book.faults ?? []
  }

  lease(): { readonly id: string; readonly end: () => Promise<void> } {
    const id = `${this.#parts.host}/${this.#run}.${++this.#leaseCount}`
    this.#leases.add(id)
    return {
      id,
      end: async () => {
        this.#leases.delete(id)
        // What cannot be healed now is healed by the clock.
        const held = (await this.#parts.labs.books()).filter(({ book }) => book.faults?.some(({ lease }) => lease === id))
        await Promise.all(held.map(({ lab }) => this.#catchUpInTurn(lab)))
      }
    }
  }

  /** Heals at once what is over, and goes on with it by the clock. */
  async start(): Promise<void> {
    await this.catchUp()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  /** Something has changed that nobody told this object: look at the clock again. */
  poke(): void {
    void this.#arm()
  }

  // ---- the clock ---------------------------------------------------------------------------------------------------

  /** Brings the faults of all labs to what they should be now. Never rejects. */
  async catchUp(): Promise<void> {
    const books = await this.#parts.labs.books()
    const due = books.filter(({ book, lab }) => !this.#running.has(lab) && catchUp(book, Date.now(), this.#isOver) !== undefined)
    const started = due.map(({ lab }) => this.#catchUpInTurn(lab))
    // For the others: these may take their time.
    await this.#arm()
    await Promise.all(started)
  }

  async #catchUpInTurn(lab: string): Promise<void> {
    while (this.#running.has(lab)) await this.#running.get(lab)
    const running = this.#tryCatchUp(lab).finally(() => this.#running.delete(lab))
    this.#running.set(lab, running)
    await running
    void this.#arm()
  }

  async #tryCatchUp(lab: string): Promise<void> {
    if (this.#closed) return
    try {
      await this.#catchUpLab(lab)
      this.#failing.delete(lab)
    } catch (error) {
      this.#failing.add(lab)
      // Somebody deploys: it is tried again.
      if (error instanceof Refused) return
      const message = `faults of ${lab} cannot be kept by the clock: ${(error as Error).message}`
      this.#parts.events.emit({ lab, type: "fault.failed", subject: lab, message })
    }
  }

  async #catchUpLab(lab: string): Promise<void> {
    let caught: ReturnType<typeof catchUp>
    const outcome = await this.#parts.labs.alter(lab, (book) => {
      caught = catchUp(book, Date.now(), this.#isOver)
      return caught === undefined ? undefined : { book: caught.book, rollback: false }
    })
    if (outcome === undefined || caught === undefined) return
    this.#tell(lab, caught.expired.map(({ fault, reason }) => ({ type: "fault.expired", fault, more: `healed: ${reason}` })))
    this.#tell(lab, caught.lost.map(({ fault, reason }) => ({ type: "fault.lost", fault, more: `goes: ${reason}` })))
  }

  readonly #isOver = (lease: string): boolean => {
    const host = lease.slice(0, lease.lastIndexOf("/"))
    return host === this.#parts.host ? !this.#leases.has(lease) : this.#parts.labs.isHostLost(host)
  }

  /** Sets the alarm for what falls due next. */
  async #arm(): Promise<void> {
    const { labs } = this.#parts
    const books = await labs.books()
    const nowMs = Date.now()
    const dues = books.filter(({ lab }) => !this.#running.has(lab)).map(({ book, lab }) => {
      const isDue = catchUp(book, nowMs, this.#isOver) !== undefined
      const retry = this.#failing.has(lab) ? retryMs : 0
      return (isDue ? nowMs : nextDueMs(book, nowMs)) + labs.patienceMs(lab) + retry
    })
    const dueMs = Math.min(Number.POSITIVE_INFINITY, ...dues)
    clearTimeout(this.#timer)
    if (this.#closed || dueMs === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(() => void this.catchUp(), Math.min(longestWaitMs, Math.max(1, dueMs - nowMs)))
  }

  // ---- parts of the rest -------------------------------------------------------------------------------------------

  async #perform(lab: string, actions: ReadonlyArray<Action>): Promise<ReadonlyArray<ChangeFailure>> {
    const failures: ChangeFailure[] = []
    for (const action of actions) {
      try {
        await this.#parts.perform(lab, action)
      } catch (error) {
        failures.push({ id: "", host: this.#parts.host, error: (error as Error).message, blocked: false })
      }
    }
    return failures
  }

  #tell(lab: string, news: ReadonlyArray<{ readonly type: string; readonly fault: Fault; readonly more: string }>): void {
    for (const { fault, more, type } of news) {
      const message = `${fault.id} ${fault.title}${more === "" ? "" : `: ${more}`} (${fault.by})`
      this.#parts.events.emit({ lab, type, subject: fault.id, message })
    }
  }
}

const untilText = ({ until }: Fault): string => (until === undefined ? "" : `until ${until}`)

const isMeantBy = (which: Which): ((fault: Fault) => boolean) => {
  if (which === "all") return () => true
  if ("lease" in which) return (fault) => fault.lease === which.lease
  const ids = new Set(which.ids)
  return ({ id }) => ids.has(id)
}

/** @throws Refused that says which there are */
const refuseUnknown = (lab: string, book: Faulted, ids: ReadonlyArray<string>): void => {
  const unknown = unknownIds(book, ids)
  if (unknown.length === 0) return
  const faults = book.faults ?? []
  const known = faults.length === 0 ? "none is in force" : `in force: ${someOf(faults.map(({ id, title }) => `${id} (${title})`), ", ")}`
  throw new Refused("not-found", `No fault ${unknown.map((id) => JSON.stringify(id)).join(", ")} in lab "${lab}": ${known}`)
}
