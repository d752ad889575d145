/**
 * A neighbour that is a prefix: whoever connects from there gets a session of its own, up to a limit. We never connect to it.
 */
import type { BgpNeighborSpec } from "../../plan/bgp.ts"
import { isInPrefix } from "../link-addresses.ts"
import type { Session, StateName } from "./api.ts"
import type { Connection } from "./connection.ts"
import { NeighborSession, type SessionOptions } from "./session.ts"

export interface DynamicOptions extends SessionOptions {
  /** A peer has come: its session, not started yet. */
  created(session: Session): void
}

export class DynamicSessions {
  neighbor: BgpNeighborSpec
  readonly #options: DynamicOptions
  readonly #sessions = new Map<string, NeighborSession>()
  #forget: (() => void) | undefined
  /** Peers that were turned away because there were as many as may be. */
  refused = 0

  constructor(options: DynamicOptions) {
    this.#options = options
    this.neighbor = options.neighbor
  }

  get sessions(): ReadonlyArray<Session> {
    return [...this.#sessions.values()]
  }

  start(): void {
    const { remote, password, shutdown } = this.neighbor
    if (remote.kind !== "prefix" || shutdown || this.#forget !== undefined) return
    this.#forget = this.#options.transport.expect({
      devices: this.#options.devices ?? [""],
      prefix: remote.prefix,
      ...(password === undefined ? {} : { password }),
      accept: (connection) => this.#accept(connection, remote.limit)
    })
  }

  /** Another prefix or limit, and what else a session does not have to begin anew for. Sessions with peers outside of the prefix end. */
  change(neighbor: BgpNeighborSpec): void {
    this.#forget?.()
    this.#forget = undefined
    this.neighbor = neighbor
    this.start()
    const { remote } = neighbor
    for (const [address, session] of [...this.#sessions]) {
      if (remote.kind === "prefix" && isInPrefix(address, remote.prefix)) continue
      this.#sessions.delete(address)
      session.close("deconfigured")
      this.#options.callbacks.gone?.(session)
    }
  }

  close(how: "deconfigured" | "keep" = "deconfigured"): void {
    this.#forget?.()
    this.#forget = undefined
    for (const session of this.#sessions.values()) session.close(how)
    this.#sessions.clear()
  }

  #accept(connection: Connection, limit: number): void {
    const { address } = connection.remote!
    const known = this.#sessions.get(address)
    if (known !== undefined) return known.accept(connection)
    if (this.#sessions.size >= limit) {
      this.refused++
      return connection.close()
    }
    const session = this.#create(address)
    this.#sessions.set(address, session)
    this.#options.created(session)
    session.start()
    session.accept(connection)
    this.#look(session, session.state)
  }

  #create(address: string): NeighborSession {
    const { callbacks } = this.#options
    const session = new NeighborSession({
      ...this.#options,
      neighbor: { ...this.neighbor, name: address, remote: { kind: "address", address } },
      isDynamic: true,
      secondEnded: () => this.#look(session, session.state),
      callbacks: {
        ...callbacks,
        established: (...args) => callbacks.established(...args),
        update: (...args) => callbacks.update(...args),
        routeRefresh: (...args) => callbacks.routeRefresh(...args),
        down: (...args) => callbacks.down(...args),
        room: (...args) => callbacks.room(...args),
        stale: (session, family, what) => {
          callbacks.stale(session, family, what)
          this.#look(session, session.state)
        },
        stateChanged: (session, from, to) => {
          callbacks.stateChanged(session, from, to)
          this.#look(session, to)
        }
      }
    })
    return session
  }

  /** A peer that is not connected and of whom nothing is kept is forgotten, once what goes on now is over. */
  #look(session: Session, state: StateName): void {
    // Active: it hung up before it said anything (RFC 4271 8.2.2, OpenSent), and would have its place for ever.
    if (state !== "Idle" && state !== "Active") return
    queueMicrotask(() => {
      const known = this.#sessions.get(session.neighbor.name)
      if (known !== session || known.status().staleFamilies.length > 0) return
      if (known.state !== "Idle" && (known.state !== "Active" || known.hasConnection)) return
      this.#sessions.delete(session.neighbor.name)
      known.close("keep")
      this.#options.callbacks.gone?.(known)
    })
  }
}
