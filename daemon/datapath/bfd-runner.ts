/** BFD sessions in the engine's thread. */
import type { MessagePort } from "node:worker_threads"
import type { EngineHandle } from "../native/index.ts"

/** Keys of BFD's sockets in the engine's epoll set begin here; those of lanes are below. */
export const firstBfdKey = 0x40000000

export interface BfdRunnerParts {
  readonly engine: EngineHandle
  /** `EngineMemory.result` */
  readonly result: Float64Array
  readonly setUrgent: (urgent: boolean) => void
}

export class BfdRunner {
  constructor(_parts: BfdRunnerParts) {}
  join(_port: MessagePort, _seesAll: boolean): void {}
  obey(): void {}
  next(): number {
    return Infinity
  }
  receive(_key: number): void {}
  expire(_nowNs: number): void {}
}
