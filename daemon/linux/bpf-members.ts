/**
 * Which ports a flooded frame is copied to: the maps `segments` and `members`.
 *
 * The program walks the indices from 0 up to the segment's size and skips vacant ones. So that a frame that is being
 * copied meanwhile reaches every port at most once, a member never moves to another index: who leaves makes a vacancy,
 * who joins takes one or is appended, and the size is raised after and lowered before what is behind it.
 */
import { addon } from "../native/index.ts"
import * as Layout from "./bpf-layout.ts"
import { attempt } from "./errors.ts"

export interface Segment {
  readonly ports: ReadonlyArray<number>
  readonly ageingS: number
}

const vacant = 0

interface State {
  ageingS: number
  /** ifindex by index. */
  readonly slots: number[]
  /** index by ifindex. */
  readonly indexes: Map<number, number>
}

export class Members {
  private readonly states = new Map<number, State>()
  private readonly maps: Readonly<Record<"segments" | "members", number>>

  constructor(maps: Readonly<Record<"segments" | "members", number>>) {
    this.maps = maps
    this.read()
  }

  /** Remembers what the kernel has, and nothing else: also for when a change was refused half-way. */
  read(): void {
    const [ids, segments] = this.dump("segments")
    const [keys, values] = this.dump("members")
    this.states.clear()
    new Uint32Array(ids.buffer).forEach((id, i) => {
      const { ageingS, size } = Layout.decodeSegment(segments, i * Layout.sizes.segments.value)
      this.states.set(id, { ageingS, slots: new Array<number>(size).fill(vacant), indexes: new Map() })
    })
    for (let i = 0; i < keys.length / Layout.sizes.members.key; i++) {
      const member = Layout.decodeMember(keys, values, i)
      const state = this.states.get(member.segment)
      // A daemon that died between writing a member and raising the size leaves one that is not in use.
      if (state === undefined || member.index >= state.slots.length) this.vacate(member.segment, [member.index])
      else {
        state.slots[member.index] = member.ifindex
        state.indexes.set(member.ifindex, member.index)
      }
    }
  }

  /** Adds members; makes the segment with `ageingS` when it is not there. */
  join(segment: number, ifindexes: ReadonlyArray<number>, ageingS: number): void {
    const existing = this.states.get(segment)
    const state = existing ?? { ageingS, slots: [], indexes: new Map<number, number>() }
    const size = state.slots.length
    this.states.set(segment, state)
    const taken: number[] = []
    let free = 0
    for (const ifindex of ifindexes) {
      if (state.indexes.has(ifindex)) continue
      while (free < state.slots.length && state.slots[free] !== vacant) free++
      state.slots[free] = ifindex
      state.indexes.set(ifindex, free)
      taken.push(free)
    }
    if (taken.length > 0) {
      const keys = Layout.keys32(...taken.flatMap((index) => [segment, index]))
      const values = Layout.keys32(...taken.map((index) => state.slots[index]!))
      attempt("add members", `segment ${segment}`, () => addon.bpfUpdate(this.maps.members, keys, values, taken.length))
    }
    if (existing === undefined || state.slots.length !== size) this.writeSegment(segment, state)
  }

  leave(segment: number, ifindexes: ReadonlyArray<number>): void {
    const state = this.states.get(segment)
    if (state === undefined) return
    const size = state.slots.length
    const left: number[] = []
    for (const ifindex of ifindexes) {
      const index = state.indexes.get(ifindex)
      if (index === undefined) continue
      state.indexes.delete(ifindex)
      state.slots[index] = vacant
      left.push(index)
    }
    while (state.slots.at(-1) === vacant) state.slots.pop()
    if (state.slots.length !== size) this.writeSegment(segment, state)
    this.vacate(segment, left)
  }

  /** Makes `ifindexes` the members, each once, and `ageingS` the ageing time. */
  set(segment: number, ifindexes: ReadonlyArray<number>, ageingS: number): void {
    const wanted = new Set(ifindexes)
    const state = this.states.get(segment)
    if (state !== undefined) {
      this.leave(
        segment,
        [...state.indexes.keys()].filter((ifindex) => !wanted.has(ifindex))
      )
      if (state.ageingS !== ageingS) {
        state.ageingS = ageingS
        this.writeSegment(segment, state)
      }
    }
    this.join(segment, [...wanted], ageingS)
  }

  remove(segment: number): void {
    const state = this.states.get(segment)
    if (state === undefined) return
    attempt("remove segment", String(segment), () => addon.bpfDelete(this.maps.segments, Layout.keys32(segment), 1))
    this.vacate(segment, [...state.indexes.values()])
    this.states.delete(segment)
  }

  all(): ReadonlyMap<number, Segment> {
    const ports = (state: State) => state.slots.filter((ifindex) => ifindex !== vacant)
    return new Map(Array.from(this.states, ([id, state]) => [id, { ports: ports(state), ageingS: state.ageingS }]))
  }

  /** Seconds after which a station of the segment is forgotten; undefined when there is no such segment. */
  ageingS(segment: number): number | undefined {
    return this.states.get(segment)?.ageingS
  }

  private vacate(segment: number, indexes: ReadonlyArray<number>): void {
    if (indexes.length === 0) return
    const keys = Layout.keys32(...indexes.flatMap((index) => [segment, index]))
    attempt("remove members", `segment ${segment}`, () => addon.bpfDelete(this.maps.members, keys, indexes.length))
  }

  private writeSegment(segment: number, state: State): void {
    const value = Layout.encodeSegment({ ageingS: state.ageingS, size: state.slots.length })
    attempt("set segment", String(segment), () => addon.bpfUpdate(this.maps.segments, Layout.keys32(segment), value, 1))
  }

  private dump(map: "segments" | "members"): readonly [Uint8Array, Uint8Array] {
    const { key, value } = Layout.sizes[map]
    const { maxEntries } = addon.bpfMapInfo(this.maps[map])
    return attempt("read eBPF map", map, () => addon.bpfDump(this.maps[map], key, value, maxEntries))
  }
}
