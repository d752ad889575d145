/**
 * Sessions of BFD that neighbours ask for (RFC 5882 4). They run in the engine's thread and tell this one directly of
 * every change, so that neither a full main thread nor a full table stands between a broken path and the way around it.
 *
 * The engine may not run yet, or end and start again: a channel is asked for when there is a session and no channel, and
 * all sessions are added to a new one. An engine that ends says nothing about the paths, so nobody is told anything then.
 */
import type { BfdChange, BfdChannel, BfdOptions, BfdState, BfdTimers } from "../datapath/bfd-api.ts"
import { BfdClient } from "../datapath/bfd-client.ts"
import { same } from "./neighbor-spec.ts"

/** `down`: the path is broken. `up`: it works, or the other side has taken its session down on purpose (RFC 5882 4.2). */
export type BfdVerdict = "up" | "down"

export interface BfdWatch {
  readonly options: BfdOptions
  readonly verdict: (verdict: BfdVerdict, reason: string) => void
  /** The session cannot be had. */
  readonly failed: (reason: string) => void
}

interface Watched extends BfdWatch {
  state: BfdState
  /** Why it could not be had, as told. */
  refusal?: string
}

const retryMs = 1000

export class BfdLink {
  readonly #request: (isWanted: boolean) => void
  readonly #watched = new Map<string, Watched>()
  #client: BfdClient | undefined
  #retry: NodeJS.Timeout | undefined

  /** @param request asks for a channel, which comes by `open` or not at all; or says that none is needed any more */
  constructor(request: (isWanted: boolean) => void) {
    this.#request = request
  }

  /** A channel to an engine's thread. */
  open(channel: BfdChannel): void {
    const client = new BfdClient(channel)
    // It was asked for twice. Changing over would take all sessions down for a moment; one of an engine that ended is not here.
    if (this.#client !== undefined) return client.close()
    this.#client = client
    client.onChange((change) => this.#changed(change))
    client.onClose(() => {
      if (this.#client !== client) return
      this.#client = undefined
      for (const watched of this.#watched.values()) watched.state = "down"
      this.#want()
    })
    for (const [id, watched] of this.#watched) this.#add(client, id, watched)
  }

  /** Has a session with this id, changing the one that is there. */
  watch(id: string, watch: BfdWatch): void {
    const before = this.#watched.get(id)
    if (before !== undefined && differsInTimersOnly(before.options, watch.options)) {
      this.#watched.set(id, { ...watch, state: before.state })
      this.#client?.set(id, timersOf(watch.options))
      return
    }
    this.unwatch(id)
    const watched: Watched = { ...watch, state: "down" }
    this.#watched.set(id, watched)
    if (this.#client === undefined) this.#want()
    else this.#add(this.#client, id, watched)
  }

  /** Fine when there is none. */
  unwatch(id: string): void {
    if (!this.#watched.delete(id)) return
    this.#client?.remove(id)
    setImmediate(() => this.#rest())
  }

  /** The engine need not run for us when nobody has a session. */
  #rest(): void {
    if (this.#watched.size > 0 || this.#client === undefined) return
    this.#client.close()
    this.#client = undefined
    this.#request(false)
  }

  /** Undefined: there is none of this id. */
  state(id: string): BfdState | undefined {
    return this.#watched.get(id)?.state
  }

  close(): void {
    clearTimeout(this.#retry)
    this.#watched.clear()
    this.#client?.close()
    this.#client = undefined
  }

  #add(client: BfdClient, id: string, watched: Watched): void {
    client.add(id, watched.options).catch((error: unknown) => {
      if (this.#client !== client || this.#watched.get(id) !== watched) return
      const reason = error instanceof Error ? error.message : String(error)
      if (reason !== watched.refusal) watched.failed(reason)
      watched.refusal = reason
      // An address may not be ready yet (RFC 4862 5.4), another program may leave the port.
      setTimeout(() => {
        if (this.#client === client && this.#watched.get(id) === watched) this.#add(client, id, watched)
      }, retryMs).unref()
    })
  }

  /** Asks for a channel until one comes. */
  #want(): void {
    clearTimeout(this.#retry)
    if (this.#watched.size === 0 || this.#client !== undefined) return
    this.#request(true)
    this.#retry = setTimeout(() => this.#want(), retryMs)
  }

  #changed({ id, previous, reason, remoteState, state }: BfdChange): void {
    const watched = this.#watched.get(id)
    if (watched === undefined) return
    watched.state = state
    if (state === "up") return watched.verdict("up", reason)
    if (previous !== "up") return
    // RFC 5882 4.2: the other side has ended its session; that says nothing of the path.
    if (remoteState === "admin-down") return watched.verdict("up", reason)
    watched.verdict("down", reason)
  }
}

const timersOf = ({ minRxMs, minTxMs, multiplier }: BfdOptions): BfdTimers => ({ minTxMs, minRxMs, multiplier })

const differsInTimersOnly = (a: BfdOptions, b: BfdOptions): boolean => same({ ...a, ...timersOf(b) }, b)
