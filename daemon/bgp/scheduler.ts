/**
 * Fair slices for everything in the routing thread that has more to do than fits between two packets: tables, kernel
 * routes, updates to be packed.
 *
 * Whoever has work is woken and gets a slice; who has more left goes to the end of the queue. After `turnMs` the thread
 * goes back to its event loop, so that a keepalive, a session of BFD that is down or a question waits no longer than that.
 *
 * Who can wait (`wakeLater`) gets a slice when nobody else wants one, or after `laterMs`: the kernel's routes are written when what
 * has come is decided, not for each neighbour's word about it.
 */

/** Something that works in slices. */
export interface Task {
  /** Works for about `budgetMs`; true: there is more to do. Must not throw. */
  run(budgetMs: number): boolean
}

const turnMs = 5
const sliceMs = 1
const usualLaterMs = 4000

export class Scheduler {
  #ready: Task[] = []
  #next: Task[] = []
  readonly #waiting = new Set<Task>()
  readonly #later = new Set<Task>()
  /** Since when the first of them has waited. */
  #laterSince = 0
  #isTurnDue = false
  #busyMs = 0
  readonly #laterMs: number

  constructor({ laterMs = usualLaterMs }: { readonly laterMs?: number } = {}) {
    this.#laterMs = laterMs
  }

  /** There is work for `task`. Cheap when it is known already. */
  wake(task: Task): void {
    if (this.#waiting.has(task)) return
    this.#waiting.add(task)
    this.#next.push(task)
    this.#arrange()
  }

  /** There is work for `task` that may become more, or less, while others work. */
  wakeLater(task: Task): void {
    if (this.#later.has(task) || this.#waiting.has(task)) return
    if (this.#later.size === 0) this.#laterSince = performance.now()
    this.#later.add(task)
    this.#arrange()
  }

  /** `task` has ended: it gets no slice any more. */
  forget(task: Task): void {
    this.#waiting.delete(task)
    this.#later.delete(task)
  }

  get isBusy(): boolean {
    return this.#waiting.size + this.#later.size > 0
  }

  /** How long slices have run in all, ms. */
  get busyMs(): number {
    return this.#busyMs
  }

  #arrange(): void {
    if (this.#isTurnDue) return
    this.#isTurnDue = true
    setImmediate(this.#turn)
  }

  readonly #turn = (): void => {
    this.#isTurnDue = false
    const began = performance.now()
    const end = began + turnMs
    // Between the turn in which everybody else was through and this one the event loop has looked for more.
    if (this.#later.size > 0 && (this.#waiting.size === 0 || began - this.#laterSince > this.#laterMs)) this.#wakeAll()
    let now = began
    while (now < end) {
      const task = this.#ready.pop() ?? this.#refill()
      if (task === undefined) break
      if (!this.#waiting.delete(task)) continue
      if (task.run(Math.min(sliceMs, end - now))) this.wake(task)
      now = performance.now()
    }
    this.#busyMs += now - began
    if (this.isBusy) this.#arrange()
  }

  #wakeAll(): void {
    for (const task of this.#later) this.wake(task)
    this.#later.clear()
  }

  /** The next round, in the order in which it was asked for. */
  #refill(): Task | undefined {
    if (this.#next.length === 0) return undefined
    this.#ready = this.#next.reverse()
    this.#next = []
    return this.#ready.pop()
  }
}
