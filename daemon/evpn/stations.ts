/**
 * Where each MAC address of each segment is: here, or behind which VTEP. RFC 7432 15 decides between what ports here show and
 * what others announce.
 *
 *      a port here shows it --seen()-->   +---------+ --> advertise with this sequence number, or withdraw
 *      the plan has it      --seen()-->   | station | --> tell the data path: behind this VTEP, or forget it
 *      routes of others     --heard()-->  +---------+ --> moved, duplicate, frozen: for people
 *
 *   - Among the others' announcements a sticky one wins, then the higher sequence number, then the lower VTEP address.
 *   - A station that a port here shows while another host has announced it has moved here: it is announced with the next sequence number.
 *   - Another's announcement wins over ours by the same rule; ours is withdrawn until a port shows the station again.
 *   - After `maxMoves` in `periodMs` it is taken for a duplicate: nothing about it changes, and nothing is said, until it has been
 *     quiet for that long (15.1: until somebody acts; a lab should heal when its mistake has been mended).
 *
 * Pure: who calls says what time it is. Nothing happens before `take`.
 */
import * as Ip from "../wire/ip.ts"

/** RFC 7432 15.1: N and M. */
export const maxMoves = 5
export const periodMs = 180_000

/** What another host announces of a station. */
export interface Claim {
  readonly vtep: string
  readonly sequence: number
  readonly sticky: boolean
}

export interface StationId {
  readonly vni: number
  /** Lower case, colons. */
  readonly mac: string
}

/** What people see. */
export interface StationView extends StationId {
  /** Undefined: here. */
  readonly vtep: string | undefined
  readonly sequence: number
  readonly sticky: boolean
  readonly moves: number
  readonly frozen: boolean
}

export type Happening = StationId & {
  readonly kind: "moved" | "duplicate" | "thawed" | "sticky"
  /** VTEPs; undefined: here. */
  readonly from: string | undefined
  readonly to: string | undefined
  readonly sequence: number
}

/** What has to be done, each station at most once in each list. */
export interface Work {
  readonly advertise: ReadonlyArray<StationId & { readonly sequence: number }>
  readonly withdraw: ReadonlyArray<StationId>
  readonly tell: ReadonlyArray<StationId & { readonly vtep: string }>
  readonly forget: ReadonlyArray<StationId>
  readonly happenings: ReadonlyArray<Happening>
}

interface State {
  readonly id: StationId
  claims: ReadonlyArray<Claim>
  /** A port here has it: by what the plan says or what was seen. */
  present: boolean
  /** Ours is the announcement that counts. */
  ours: boolean
  sequence: number
  readonly moves: number[]
  frozenMs: number | undefined
  /** It has been said that it is here although it is sticky elsewhere. */
  isStickyTold: boolean
  /** What the world has been told. */
  advertised: number | undefined
  told: string | undefined
}

const keyOf = ({ mac, vni }: StationId): string => `${vni}|${mac}`

/** As RFC 7432 15 compares them: as numbers; IPv4 before IPv6. */
export const compareAddresses = (a: string, b: string): number => {
  const [x, y] = [Ip.parse(a), Ip.parse(b)]
  if (x === undefined || y === undefined) return a < b ? -1 : Number(a > b)
  return x.length - y.length || Buffer.compare(x, y)
}

/** Negative: `a` wins. */
export const compareClaims = (a: Claim, b: Claim): number =>
  Number(b.sticky) - Number(a.sticky) || b.sequence - a.sequence || compareAddresses(a.vtep, b.vtep)

export class Stations {
  readonly #own: string
  readonly #states = new Map<string, State>()
  readonly #dirty = new Set<State>()
  #happenings: Happening[] = []

  /** @param own this host's VTEP address */
  constructor(own: string) {
    this.#own = own
  }

  get size(): number {
    return this.#states.size
  }

  *views(): Generator<StationView> {
    for (const { claims, frozenMs, id, moves, ours, present, sequence } of this.#states.values()) {
      const best = claims[0]
      // A duplicate that is here is not announced: when others have let go of it too, here is still where it is.
      const isHere = ours || (present && frozenMs !== undefined)
      const where = ours || best === undefined ? { vtep: undefined, sequence, sticky: false } : best
      if (isHere || best !== undefined) {
        const { sticky, vtep } = where
        yield { ...id, vtep, sequence: where.sequence, sticky, moves: moves.length, frozen: frozenMs !== undefined }
      }
    }
  }

  /** Where it is now; undefined: nobody knows, or here. */
  vtepOf(id: StationId): string | undefined {
    return this.#states.get(keyOf(id))?.told
  }

  /**
   * A port here has the station. `fresh`: it has just been seen, so it is here now whatever others say; without it the plan
   * says so, and others may know better.
   */
  seen(id: StationId, fresh: boolean, nowMs: number): void {
    const state = this.#state(id)
    const best = state.claims[0]
    state.present = true
    if (state.ours) return
    if (best === undefined) return this.#take(state)
    if (!fresh || state.frozenMs !== undefined) return
    if (best.sticky) {
      if (state.isStickyTold) return
      state.isStickyTold = true
      this.#happenings.push({ ...id, kind: "sticky", from: best.vtep, to: undefined, sequence: best.sequence })
      return
    }
    if (this.#move(state, { from: best.vtep, to: undefined, sequence: best.sequence + 1 }, nowMs)) {
      state.sequence = best.sequence + 1
      this.#take(state)
    }
  }

  /** No port here has it any more. */
  gone(id: StationId): void {
    const state = this.#states.get(keyOf(id))
    if (state === undefined) return
    state.present = false
    state.ours = false
    this.#dirty.add(state)
  }

  /** These are all announcements of other hosts about the station. */
  heard(id: StationId, claims: ReadonlyArray<Claim>, nowMs: number): void {
    const known = this.#states.get(keyOf(id))
    if (known === undefined && claims.length === 0) return
    const state = known ?? this.#state(id)
    const before = state.claims[0]
    const best = claims.toSorted(compareClaims)[0]
    state.claims = claims.toSorted(compareClaims)
    this.#dirty.add(state)
    if (state.frozenMs !== undefined) return
    if (state.ours && best !== undefined && this.#beats(best, state)) {
      // A port of the plan that another host has announced first is none that has moved.
      if (this.#move(state, { from: undefined, to: best.vtep, sequence: best.sequence }, nowMs)) state.ours = false
    } else if (!state.ours && before !== undefined && best !== undefined && before.vtep !== best.vtep && best.sequence > before.sequence) {
      this.#happenings.push({ ...id, kind: "moved", from: before.vtep, to: best.vtep, sequence: best.sequence })
    }
    // Everybody else has let go of what is on one of our ports.
    if (best === undefined && state.present) this.#take(state)
  }

  /** Stations that have been quiet for long enough are none of duplicates any more. */
  thaw(nowMs: number): void {
    for (const state of this.#states.values()) {
      if (state.frozenMs === undefined || nowMs - state.frozenMs < periodMs) continue
      state.frozenMs = undefined
      state.moves.length = 0
      this.#dirty.add(state)
      const to = state.ours ? undefined : state.claims[0]?.vtep
      this.#happenings.push({ ...state.id, kind: "thawed", from: to, to, sequence: state.sequence })
      if (state.ours && state.claims[0] !== undefined && this.#beats(state.claims[0], state)) state.ours = false
      if (state.present && state.claims.length === 0) state.ours = true
    }
  }

  /** What there is to do since the last call. */
  take(): Work {
    const work = { advertise: [] as Array<StationId & { sequence: number }>, withdraw: [] as StationId[] }
    const path = { tell: [] as Array<StationId & { vtep: string }>, forget: [] as StationId[] }
    for (const state of this.#dirty) {
      const { claims, frozenMs, id, ours, present, sequence } = state
      if (frozenMs === undefined || !present) {
        const wanted = ours ? sequence : undefined
        if (wanted !== undefined && wanted !== state.advertised) work.advertise.push({ ...id, sequence: wanted })
        else if (wanted === undefined && state.advertised !== undefined) work.withdraw.push(id)
        state.advertised = wanted
        const vtep = ours ? undefined : claims[0]?.vtep
        if (vtep !== undefined && vtep !== state.told) path.tell.push({ ...id, vtep })
        // Where a port here shows it, the data path has learnt it already.
        else if (vtep === undefined && state.told !== undefined && !ours) path.forget.push(id)
        state.told = vtep
      }
      if (!present && claims.length === 0 && frozenMs === undefined) this.#states.delete(keyOf(id))
    }
    this.#dirty.clear()
    const happenings = this.#happenings
    this.#happenings = []
    return { ...work, ...path, happenings }
  }

  #state(id: StationId): State {
    const key = keyOf(id)
    let state = this.#states.get(key)
    if (state === undefined) {
      const nothing = { claims: [], present: false, ours: false, sequence: 0, moves: [], frozenMs: undefined }
      this.#states.set(key, (state = { id, ...nothing, isStickyTold: false, advertised: undefined, told: undefined }))
    }
    return state
  }

  #take(state: State): void {
    state.ours = true
    this.#dirty.add(state)
  }

  #beats(claim: Claim, { sequence }: State): boolean {
    return compareClaims(claim, { vtep: this.#own, sequence, sticky: false }) < 0
  }

  /** Counts a move; false: it was one too many, and nothing moves. */
  #move(state: State, way: Pick<Happening, "from" | "to" | "sequence">, nowMs: number): boolean {
    while (state.moves[0] !== undefined && nowMs - state.moves[0] > periodMs) state.moves.shift()
    state.moves.push(nowMs)
    if (state.moves.length < maxMoves) {
      this.#happenings.push({ ...state.id, kind: "moved", ...way })
      return true
    }
    state.frozenMs = nowMs
    this.#dirty.add(state)
    this.#happenings.push({ ...state.id, kind: "duplicate", ...way })
    return false
  }
}
