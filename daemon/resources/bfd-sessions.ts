/**
 * BFD sessions of nodes, and what they say of next hops (RFC 5882 4). The sessions run in the engine's thread; this is the
 * main thread's list of them, which survives the engine: one that dies is started again and gets them all.
 *
 * A next hop is *lost* when its session went down, or has not come up within `graceMs` after it was asked for. It is not lost
 * while the session is administratively down at either end (RFC 5882 3.2), nor because the engine or weftd was started
 * again: until the new session has something to say, the last word counts. (The peer sees its own session time out then,
 * which is true: nobody answered.)
 */
import type { BfdChange, BfdOptions, BfdStatus } from "../datapath/bfd-api.ts"
import { reasonOf } from "../linux/errors.ts"
import * as Netns from "../linux/netns.ts"
import type { BfdSpec } from "../plan/resource.ts"
import type { EngineLinks, LinkEngine } from "./engine-link.ts"

export interface BfdHappening {
  readonly lab: string
  readonly node: string
  readonly type: "bfd.up" | "bfd.down"
  readonly peer: string
  readonly message: string
}

interface Running {
  readonly lab: string
  readonly inode: number
  readonly spec: BfdSpec
  /** Whether the next hop is lost. */
  readonly isLost: boolean
  /** Why the engine does not have the session. */
  readonly failure?: string
  /** Until when nothing but silence is known. */
  readonly grace?: NodeJS.Timeout
}

export interface BfdSessionsParts {
  readonly links: EngineLinks
  readonly tell: (happening: BfdHappening) => void
}

const graceMs = 5000
const holder = "bfd"

const optionsOf = (lab: string, { ifname, local, minRxMs, minTxMs, multihop, multiplier, node, peer }: BfdSpec): BfdOptions => ({
  netns: Netns.path(Netns.nodeName(lab, node)),
  peer,
  ...(ifname === undefined ? {} : { ifname }),
  ...(local === undefined ? {} : { local }),
  multihop,
  minTxMs,
  minRxMs,
  multiplier
})

/** A way out of a node: what sessions and routes have in common. */
export interface Hop {
  readonly lab: string
  readonly node: string
  readonly gateway: string
  readonly ifname: string
}

export class BfdSessions {
  private readonly parts: BfdSessionsParts
  /** By lab and resource id. */
  private readonly sessions = new Map<string, Running>()
  /** Paths of namespaces in which BFD stands still, with the inodes of those that are meant. */
  private readonly paused = new Map<string, number>()
  private hopCallback: ((hop: Pick<Hop, "lab" | "node">) => void) | undefined

  constructor(parts: BfdSessionsParts) {
    this.parts = parts
    parts.links.onStart((engine) => this.start(engine))
  }

  /** Has the session, in the namespace with this inode; changes the times of one that is there. Rejects with why not. */
  async set(lab: string, id: string, inode: number, spec: BfdSpec): Promise<void> {
    const key = `${lab} ${id}`
    const before = this.sessions.get(key)
    if (before !== undefined && before.inode === inode && before.failure === undefined) {
      this.sessions.set(key, { ...before, spec })
      this.parts.links.runningEngine?.setBfd(key, { minTxMs: spec.minTxMs, minRxMs: spec.minRxMs, multiplier: spec.multiplier })
      return
    }
    const engine = await this.parts.links.hold(holder)
    if (before !== undefined) this.forget(key)
    const grace = setTimeout(() => this.judge(key, true), graceMs)
    grace.unref()
    this.sessions.set(key, { lab, inode, spec, isLost: before?.isLost ?? false, grace })
    try {
      await engine.addBfd(key, optionsOf(lab, spec))
    } catch (error) {
      const running = this.sessions.get(key)
      if (running !== undefined) this.sessions.set(key, { ...running, failure: reasonOf(error) })
      throw error
    }
  }

  /** Fine when there is none. */
  async remove(lab: string, id: string): Promise<void> {
    this.forget(`${lab} ${id}`)
    if (this.sessions.size === 0) await this.parts.links.releaseHold(holder)
  }

  /** Has all sessions in a namespace stand still, also those of BGP and those to come, or go on. */
  setPaused(netns: string, inode: number, isPaused: boolean): void {
    if (isPaused) this.paused.set(netns, inode)
    else if (!this.paused.delete(netns)) return
    this.parts.links.runningEngine?.pauseBfd(netns, isPaused)
  }

  isPaused(netns: string, inode: number): boolean {
    return this.paused.get(netns) === inode
  }

  /** The lab's sessions as they are, by resource id. */
  *running(lab: string): Generator<readonly [id: string, inode: number, spec: BfdSpec]> {
    for (const [key, { failure, inode, lab: own, spec }] of this.sessions) {
      if (own === lab) yield [key.slice(lab.length + 1), inode, failure === undefined ? spec : { ...spec, state: failure }]
    }
  }

  /** Whether BFD says that nothing should be sent this way. */
  isLost({ gateway, ifname, lab, node }: Hop): boolean {
    for (const { isLost, lab: own, spec } of this.sessions.values()) {
      if (isLost && own === lab && spec.node === node && spec.peer === gateway && (spec.ifname ?? ifname) === ifname) return true
    }
    return false
  }

  /** Calls back when next hops of a node were lost or came back. */
  onHop(callback: (hop: Pick<Hop, "lab" | "node">) => void): void {
    this.hopCallback = callback
  }

  /** All sessions of the node, BGP's too. Rejects when the engine has just ended. */
  async states(lab: string, node: string): Promise<ReadonlyArray<BfdStatus>> {
    const path = Netns.path(Netns.nodeName(lab, node))
    const states = await this.parts.links.runningEngine?.bfdStates() ?? []
    return states.filter(({ netns }) => netns === path)
  }

  close(): void {
    for (const key of [...this.sessions.keys()]) this.forget(key)
  }

  private forget(key: string): void {
    clearTimeout(this.sessions.get(key)?.grace)
    if (this.sessions.delete(key)) this.parts.links.runningEngine?.removeBfd(key)
  }

  /** A new engine has none of the sessions. */
  private start(engine: LinkEngine): void {
    engine.onBfd((change) => this.heard(change))
    for (const netns of this.paused.keys()) engine.pauseBfd(netns, true)
    for (const [key, { lab, spec }] of this.sessions) {
      engine.addBfd(key, optionsOf(lab, spec)).catch((error: unknown) => {
        const running = this.sessions.get(key)
        if (running !== undefined) this.sessions.set(key, { ...running, failure: reasonOf(error) })
      })
    }
  }

  private heard(change: BfdChange): void {
    this.report(change)
    const { id, previous, remoteState, state } = change
    if (state === "up" || state === "admin-down" || remoteState === "admin-down") this.judge(id, false)
    else if (state === "down" && previous === "up") this.judge(id, true)
  }

  private judge(key: string, isLost: boolean): void {
    const running = this.sessions.get(key)
    if (running === undefined) return
    clearTimeout(running.grace)
    const { grace: _, ...rest } = running
    this.sessions.set(key, { ...rest, isLost })
    if (isLost !== running.isLost) this.hopCallback?.({ lab: running.lab, node: running.spec.node })
  }

  private report({ isFirst, netns, peer, previous, reason, state }: BfdChange): void {
    const place = Netns.parseNodeName(netns.slice(Netns.directory.length + 1))
    if (place === undefined || !isFirst || (state !== "up" && previous !== "up")) return
    const message = state === "up" ? `BFD session with ${peer} is up` : `BFD session with ${peer} is ${state}: ${reason}`
    this.parts.tell({ ...place, peer, type: state === "up" ? "bfd.up" : "bfd.down", message })
  }
}
