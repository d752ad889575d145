/** A dynamic neighbour: anybody from a prefix. Each that comes is a neighbour of its own, until it has gone for good. */
import type { BgpNeighborSpec } from "../plan/bgp.ts"
import type { Neighbor } from "./neighbor.ts"
import { canMove, same } from "./neighbor-spec.ts"
import type { Session, SessionCallbacks } from "./session/api.ts"

/** What lets peers in: `DynamicSessions`. */
export interface Door {
  readonly refused: number
  /** Lets in whom `spec` says; sessions of those that it does not say end. */
  change(spec: BgpNeighborSpec): void
  close(how?: "deconfigured" | "keep"): void
}

export interface GroupParts {
  readonly open: (callbacks: SessionCallbacks, created: (session: Session) => void) => Door
  /** A neighbour for who has come; its spec is the group's with an address. */
  readonly make: (spec: BgpNeighborSpec) => Neighbor
}

export class NeighborGroup {
  #spec: BgpNeighborSpec
  readonly #door: Door
  readonly #members = new Map<Session, Neighbor>()

  constructor(spec: BgpNeighborSpec, { make, open }: GroupParts) {
    this.#spec = spec
    const of = (session: Session): Neighbor => this.#members.get(session)!
    const callbacks: SessionCallbacks = {
      established: (session, ...rest) => of(session).established(session, ...rest),
      update: (session, ...rest) => of(session).update(session, ...rest),
      routeRefresh: (session, ...rest) => of(session).routeRefresh(session, ...rest),
      down: (session, ...rest) => of(session).down(session, ...rest),
      stale: (session, ...rest) => of(session).stale(session, ...rest),
      stateChanged: () => {},
      room: (session) => of(session).room(session),
      gone: (session) => {
        this.#members.get(session)?.close("deconfigured")
        this.#members.delete(session)
      }
    }
    this.#door = open(callbacks, (session) => {
      const member = make(session.neighbor)
      this.#members.set(session, member)
      member.adopt(session)
    })
  }

  get spec(): BgpNeighborSpec {
    return this.#spec
  }

  /** Who is there, or was a moment ago. */
  get members(): Iterable<Neighbor> {
    return this.#members.values()
  }

  /** How many were turned away. */
  get refused(): number {
    return this.#door.refused
  }

  /** Becomes what `spec` says, under another prefix perhaps; members that fit stay. False: it takes another group. */
  change(spec: BgpNeighborSpec): boolean {
    if (same(this.#spec, spec)) return true
    if (!canMove(this.#spec, spec)) return false
    this.#spec = spec
    this.#door.change(spec)
    for (const member of this.#members.values()) member.change({ ...spec, name: member.spec.name, remote: member.spec.remote })
    return true
  }

  applySetting(): void {
    for (const member of this.#members.values()) member.applySetting()
  }

  close(how: "deconfigured" | "keep"): void {
    for (const member of this.#members.values()) member.close(how)
    this.#members.clear()
    this.#door.close(how)
  }
}
