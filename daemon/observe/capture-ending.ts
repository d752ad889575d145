/** How a capture ended, and what became of the packets of each port. */
import * as Pcapng from "../wire/pcapng.ts"

/** What became of a port's packets. */
export interface PortCount {
  readonly name: string
  /** The filter let them through. */
  readonly received: number
  /** Of these: nobody read them in time. */
  readonly dropped: number
  readonly delivered: number
}

export interface Ending {
  readonly reason: string
  /** Something went away that was needed. */
  readonly failed: boolean
  readonly ports: ReadonlyArray<PortCount>
}

/** Why it ended, and whether that was meant. */
export type Reason = Pick<Ending, "reason" | "failed">

/** By an AbortSignal: when its reason is a text, the capture has failed for that reason. */
export const stoppedBy = (reason: unknown): Reason =>
  typeof reason === "string" ? { reason, failed: true } : { reason: "stopped", failed: false }

export const enough = (count: number): Reason => ({ reason: `${count} packets captured`, failed: false })
export const over = (durationMs: number): Reason => ({ reason: `${durationMs / 1000} s have passed`, failed: false })

const nanosecondsOf = (ms: number): bigint => BigInt(ms) * 1_000_000n

/** The statistics block of each port, in their order; times in ms since 1970. */
export const statisticsOf = (ports: ReadonlyArray<PortCount>, startMs: number, endMs: number): ReadonlyArray<Pcapng.Statistics> =>
  ports.map(({ delivered, dropped, received }, interfaceId) => ({
    kind: "statistics",
    interfaceId,
    timestamp: nanosecondsOf(endMs),
    start: nanosecondsOf(startMs),
    end: nanosecondsOf(endMs),
    received: BigInt(received),
    dropped: BigInt(dropped),
    delivered: BigInt(delivered)
  }))
