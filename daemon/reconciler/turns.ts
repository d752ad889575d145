/**
 * Whose turn it is to change a lab: one at a time, in the order in which they came.
 *
 * Deploying and destroying are long and somebody's decision: who comes while another does it is refused. Changing faults is
 * short: it waits for its turn, and who deploys waits for it. It does not wait for ever for a deploy of somebody else.
 */
import { Refused } from "./control.ts"

type Kind = "deploy" | "faults"

interface Line {
  holder: Kind
  readonly waiting: Array<{ readonly kind: Kind; readonly begin: () => void }>
}

export class Turns {
  readonly #lines = new Map<string, Line>()

  /** How many labs are being changed. */
  get size(): number {
    return this.#lines.size
  }

  has(lab: string): boolean {
    return this.#lines.has(lab)
  }

  /**
   * Waits for its turn.
   *
   * @param patienceMs of a change of faults, while somebody deploys
   * @returns what ends the turn
   * @throws Refused `busy`
   */
  async take(lab: string, kind: Kind, patienceMs = 0): Promise<() => void> {
    const line = this.#lines.get(lab)
    if (line === undefined) {
      this.#lines.set(lab, { holder: kind, waiting: [] })
    } else {
      const deploys = line.holder === "deploy" || line.waiting.some((one) => one.kind === "deploy")
      if (deploys && kind === "deploy") throw busy(lab)
      await this.#wait(lab, line, kind, deploys ? patienceMs : undefined)
    }
    return () => this.#end(lab)
  }

  #wait(lab: string, line: Line, kind: Kind, patienceMs: number | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        line.waiting.splice(line.waiting.indexOf(entry), 1)
        reject(busy(lab))
      }
      const timer = patienceMs === undefined ? undefined : setTimeout(giveUp, patienceMs)
      const begin = (): void => {
        clearTimeout(timer)
        resolve()
      }
      const entry = { kind, begin }
      line.waiting.push(entry)
    })
  }

  #end(lab: string): void {
    const line = this.#lines.get(lab)!
    const next = line.waiting.shift()
    if (next === undefined) return void this.#lines.delete(lab)
    line.holder = next.kind
    next.begin()
  }
}

const busy = (lab: string): Refused =>
  new Refused("busy", `Lab "${lab}" is being changed by another command: wait for it (weft events --follow)`)
