/**
 * Waiting for all hosts of a lab to finish one generation of it. It always ends: a host that is lost or silent for too
 * long is a failure that says so, and its part follows when it comes back.
 */
import type { ChangeFailure, HostProgress } from "../reconciler/control.ts"
import type { Mirror } from "./mirror.ts"
import { isGone, type Standing, standingsOf } from "./standing.ts"

export interface Patience {
  /** For a host whose lease is gone. */
  readonly lostMs: number
  /** For a host that is alive and says nothing. */
  readonly silentMs: number
  /** For the shared state itself. */
  readonly awayMs: number
}

export const usualPatience: Patience = { lostMs: 10_000, silentMs: 60_000, awayMs: 90_000 }

const lookMs = 250
/** Hosts are given up on one by one; this ends what nobody thought of, and no deploy that goes on. */
const longestMs = 6 * 3_600_000

export interface Settled {
  readonly changed: number
  readonly failures: ReadonlyArray<ChangeFailure>
  /** Hosts that only had something to remove and have not confirmed it. */
  readonly unconfirmed: ReadonlyArray<string>
}

interface Wait {
  readonly mirror: Mirror
  readonly name: string
  readonly generation: number
  readonly wanted: "present" | "absent"
  readonly tell: (progress: HostProgress) => void
  readonly patience?: Patience
}

/** Resolves when there is nothing to wait for any more. */
export const settle = async (wait: Wait): Promise<Settled> => {
  const follower = new Settling(wait)
  const settled = await wait.mirror.until(() => follower.look(), { timeoutMs: longestMs, everyMs: lookMs })
  return settled ?? follower.giveUp("the lab does not come to rest")
}

class Settling {
  readonly #wait: Wait
  readonly #patience: Patience
  /** What was told of each host. */
  readonly #told = new Map<string, string>()
  /** Since when a host is lost, and since when it has said nothing; by our own clock. */
  readonly #lostMs = new Map<string, number>()
  readonly #silentMs = new Map<string, number>()
  #awayMs: number | undefined
  #last: ReadonlyArray<Standing> = []

  constructor(wait: Wait) {
    this.#wait = wait
    this.#patience = wait.patience ?? usualPatience
  }

  /** Undefined: not yet. */
  look(): Settled | undefined {
    const { generation, mirror, name, wanted } = this.#wait
    const nowMs = performance.now()
    const { connected, reason, since } = mirror.connection
    if (!connected) {
      this.#awayMs ??= nowMs
      // Silence means nothing while nobody can be heard.
      this.#silentMs.clear()
      this.#lostMs.clear()
      if (nowMs - this.#awayMs < this.#patience.awayMs) return undefined
      return this.giveUp(`etcd cannot be reached since ${since} (${reason}): the change is committed and goes on; see weft list`)
    }
    this.#awayMs = undefined
    const found = mirror.lab(name)
    if (found === undefined) {
      if (wanted === "absent") return this.#settled(this.#last)
      // Before it has shown the lab once, the watch may be behind our own commit.
      return this.#last.length > 0 || this.#silence("", nowMs) ? this.giveUp("somebody else has destroyed the lab meanwhile") : undefined
    }
    if (found.lab.generation < generation) return this.#silence("", nowMs) ? this.giveUp("etcd does not show the change") : undefined
    if (found.lab.generation > generation) {
      const by = found.lab.deployedBy === undefined ? "" : ` by host ${found.lab.deployedBy}`
      return this.giveUp(`the lab was changed again${by} (${found.lab.deployedAt}) before this change was done`)
    }
    const standings = standingsOf(found.lab, mirror.reports(name), mirror.hosts)
    this.#last = standings
    for (const standing of standings) this.#tell(standing)
    if (wanted === "absent" && isGone(standings)) return this.#settled(standings)
    const waiting = standings.filter((standing) => this.#isWorthWaiting(standing, nowMs))
    return waiting.length > 0 ? undefined : this.#settled(standings)
  }

  /** Ends with what is known. */
  giveUp(error: string): Settled {
    const { changed, failures, unconfirmed } = this.#settled(this.#last)
    return { changed, failures: [{ id: "", host: "", error, blocked: false }, ...failures], unconfirmed }
  }

  #isWorthWaiting({ host, state }: Standing, nowMs: number): boolean {
    if (state === "waiting" || state === "converging") {
      this.#lostMs.delete(host)
      return !this.#silence(host, nowMs)
    }
    if (state !== "lost") return false
    const since = this.#lostMs.get(host) ?? nowMs
    this.#lostMs.set(host, since)
    return nowMs - since < this.#patience.lostMs
  }

  /** Whether nothing was heard of `host` for too long; "" is the shared state's own silence. */
  #silence(host: string, nowMs: number): boolean {
    const since = this.#silentMs.get(host) ?? nowMs
    this.#silentMs.set(host, since)
    const heard = this.#wait.mirror.reports(this.#wait.name).get(host)?.heardMs ?? 0
    return nowMs - Math.max(since, heard) >= this.#patience.silentMs
  }

  #tell({ done, host, state, total }: Standing): void {
    const text = `${state} ${done}/${total}`
    if (this.#told.get(host) === text) return
    this.#told.set(host, text)
    this.#wait.tell({ host, state, done, total })
  }

  #settled(standings: ReadonlyArray<Standing>): Settled {
    const changed = standings.reduce((sum, { done }) => sum + done, 0)
    const unconfirmed: string[] = []
    const failures = standings.flatMap(({ failures, host, isPlanned, state }): ReadonlyArray<ChangeFailure> => {
      switch (state) {
        case "failed":
          return (failures.length === 0 ? [{ id: "", error: "failed" }] : failures).map(({ error, id }) => {
            return { id, host, error: `${host}: ${error}`, blocked: false }
          })
        case "lost":
          if (!isPlanned && this.#wait.wanted === "present") {
            unconfirmed.push(host)
            return []
          }
          return [{ id: "", host, error: this.#lostText(host), blocked: false }]
        case "waiting":
        case "converging":
          return [{ id: "", host, error: `${host}: alive, but it says nothing of the lab (${state}): look at its log`, blocked: false }]
        default:
          return []
      }
    })
    return { changed, failures, unconfirmed }
  }

  #lostText(host: string): string {
    return this.#wait.wanted === "present"
      ? `${host} is lost: its part of the lab is made when it comes back`
      : `${host} is lost and could not confirm: it removes its part when it comes back. If it never will: weft drain ${host} --forget`
  }
}
