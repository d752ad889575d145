/**
 * An owner of BFD sessions, on the main thread or another one: adds, changes and removes them, and hears of them.
 *
 * The engine's thread waits in a system call and not in Node's loop: each command is posted and then signalled.
 */
import type { BfdChange, BfdChannel, BfdCommand, BfdOptions, BfdReply, BfdStatus, BfdTimers } from "./bfd-api.ts"
import { addon } from "../native/index.ts"

interface Waiting {
  readonly done: (reply: BfdReply) => void
  readonly fail: (error: Error) => void
}

export class BfdClient {
  private readonly channel: BfdChannel
  private readonly waiting = new Map<number, Waiting>()
  private lastTicket = 0
  private isOpen = true
  private changeCallback: ((change: BfdChange) => void) | undefined
  private closeCallback: (() => void) | undefined

  /** The channel's descriptor belongs to the client from now on. It does not keep the thread alive. */
  constructor(channel: BfdChannel) {
    this.channel = channel
    channel.port.on("message", (reply: BfdReply) => this.hear(reply))
    channel.port.on("close", () => this.finish())
    channel.port.unref()
  }

  /**
   * Adds a session under a new id of this owner. Rejects when it cannot be had, with what to do: no such namespace or
   * interface, an address that is not ours, a port that somebody else has. The session starts down.
   */
  async add(id: string, options: BfdOptions): Promise<void> {
    const reply = await this.ask((ticket) => ({ kind: "bfd-add", id, options, ticket }))
    if (reply.kind === "bfd-added" && reply.failure !== undefined) throw new Error(reply.failure)
  }

  /** Changes a session's times on the fly, by a poll sequence; `adminDown` takes it down or up again. Fine when there is none. */
  set(id: string, timers: Partial<BfdTimers> & { readonly adminDown?: boolean }): void {
    this.tell({ kind: "bfd-set", id, timers })
  }

  /** Fine when there is none. The peer is told AdminDown when this was the last owner. */
  remove(id: string): void {
    this.tell({ kind: "bfd-remove", id })
  }

  /** Has all sessions of a namespace stand still, whoever owns them, or go on. */
  pause(netns: string, isPaused: boolean): void {
    this.tell({ kind: "bfd-pause", netns, isPaused })
  }

  /** This owner's sessions; the main thread's `Engine` sees all. */
  async states(): Promise<ReadonlyArray<BfdStatus>> {
    const reply = await this.ask((ticket) => ({ kind: "bfd-states", ticket }))
    return reply.kind === "bfd-states" ? reply.states : []
  }

  /** Calls back at each change of one of this owner's sessions, and once when it is added and another owner has it up already. */
  onChange(callback: (change: BfdChange) => void): void {
    this.changeCallback = callback
  }

  /** Calls back once when the engine's thread has ended: all sessions are gone, and a new channel is needed. */
  onClose(callback: () => void): void {
    this.closeCallback = callback
  }

  /** Ends all sessions of this owner. */
  close(): void {
    this.tell({ kind: "bfd-close" })
    this.channel.port.close()
  }

  private hear(reply: BfdReply): void {
    if (reply.kind === "bfd-change") return this.changeCallback?.(reply.change)
    const waiting = this.waiting.get(reply.ticket)
    this.waiting.delete(reply.ticket)
    if (this.waiting.size === 0) this.channel.port.unref()
    waiting?.done(reply)
  }

  private tell(command: BfdCommand): void {
    if (!this.isOpen) return
    this.channel.port.postMessage(command)
    addon.eventSignal(this.channel.event)
  }

  private ask(command: (ticket: number) => BfdCommand): Promise<BfdReply> {
    return new Promise((done, fail) => {
      if (!this.isOpen) return fail(new Error("The engine's thread has ended"))
      const ticket = ++this.lastTicket
      this.waiting.set(ticket, { done, fail })
      this.channel.port.ref()
      this.tell(command(ticket))
    })
  }

  private finish(): void {
    if (!this.isOpen) return
    this.isOpen = false
    addon.close(this.channel.event)
    for (const { fail } of this.waiting.values()) fail(new Error("The engine's thread has ended"))
    this.waiting.clear()
    this.closeCallback?.()
  }
}
