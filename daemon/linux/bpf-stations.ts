/**
 * What EVPN knows of stations on other hosts: entries of the map `fdb` that are told instead of learnt, and the map
 * `neighbors`, from which requests of ARP and ND are answered here.
 *
 * Everything is told for `leaseS` and must be told again before that: a daemon that dies takes its knowledge with it, and the
 * program goes back to flooding and learning. A frame of a port here moves a told station at once; user space sees that
 * `news` has changed and reads the table.
 */
import { addon } from "../native/index.ts"
import * as Epoch from "./bpf-epoch.ts"
import * as Layout from "./bpf-layout.ts"
import { attempt } from "./errors.ts"

export type { Neighbor } from "./bpf-layout.ts"

/** For how long the program believes what it was told. */
export const leaseS = 30

/** A station behind another port, mostly a tunnel end. */
export interface ToldStation {
  readonly segment: number
  readonly mac: string
  readonly ifindex: number
  /** Of that port. */
  readonly serial: number
}

type Maps = Readonly<Record<"fdb" | "epoch" | "neighbors" | "answered" | "news", number>>

const leaseEnd = (): bigint => process.hrtime.bigint() + BigInt(leaseS) * 1_000_000_000n

export class Stations {
  private readonly maps: Maps
  private readonly cpus: number

  constructor(maps: Maps, cpus: number) {
    this.maps = maps
    this.cpus = cpus
  }

  /** Changes whenever a port here has taught an address or taken one over. */
  news(): bigint {
    const value = attempt("read", "eBPF map news", () => addon.bpfLookup(this.maps.news, Layout.keys32(0), 1, 8))
    return new DataView(value.buffer, value.byteOffset).getBigUint64(0, true)
  }

  /** Makes these stations told ones, for another lease. */
  tell(stations: ReadonlyArray<ToldStation>): void {
    if (stations.length === 0) return
    const keys = Layout.concat(stations.map(({ mac, segment }) => Layout.encodeStationKey(segment, mac)))
    const until = leaseEnd()
    const values = Layout.concat(stations.map(({ ifindex, serial }) => Layout.encodeStation(ifindex, serial, until)))
    try {
      attempt("tell stations", "eBPF map fdb", () => addon.bpfUpdate(this.maps.fdb, keys, values, stations.length))
    } finally {
      Epoch.begin(this.maps.epoch)
    }
  }

  /** Forgets stations, whether told or learnt. Forgetting what is not known is fine. */
  forget(stations: ReadonlyArray<Pick<ToldStation, "segment" | "mac">>): void {
    if (stations.length === 0) return
    const keys = Layout.concat(stations.map(({ mac, segment }) => Layout.encodeStationKey(segment, mac)))
    attempt("forget stations", "eBPF map fdb", () => addon.bpfDelete(this.maps.fdb, keys, stations.length))
    Epoch.begin(this.maps.epoch)
  }

  /** Answers requests for these addresses, for another lease. */
  setNeighbors(neighbors: ReadonlyArray<Layout.Neighbor>): void {
    if (neighbors.length === 0) return
    const keys = Layout.concat(neighbors.map(Layout.encodeNeighborKey))
    const until = leaseEnd()
    const values = Layout.concat(neighbors.map((neighbor) => Layout.encodeNeighbor(neighbor, until)))
    attempt("set neighbors", "eBPF map neighbors", () => addon.bpfUpdate(this.maps.neighbors, keys, values, neighbors.length))
  }

  /** `setNeighbors` for those that are there already: not for addresses that another station has claimed meanwhile. */
  renewNeighbors(neighbors: ReadonlyArray<Layout.Neighbor>): void {
    const { key, value } = Layout.sizes.neighbors
    const { maxEntries } = addon.bpfMapInfo(this.maps.neighbors)
    const [keys, values] = attempt("read", "eBPF map neighbors", () => addon.bpfDump(this.maps.neighbors, key, value, maxEntries))
    const disputed = new Set(Array.from({ length: keys.length / key }, (_, i) => Layout.disputedNeighbor(keys, values, i)))
    this.setNeighbors(neighbors.filter((neighbor) => !disputed.has(Layout.neighborText(neighbor))))
  }

  /** Removing what is gone already is fine. */
  removeNeighbors(neighbors: ReadonlyArray<Pick<Layout.Neighbor, "address" | "segment">>): void {
    if (neighbors.length === 0) return
    const keys = Layout.concat(neighbors.map(Layout.encodeNeighborKey))
    attempt("remove neighbors", "eBPF map neighbors", () => addon.bpfDelete(this.maps.neighbors, keys, neighbors.length))
  }

  /** No request is answered any more: for a start after a daemon that died. */
  clearNeighbors(): void {
    const { key, value } = Layout.sizes.neighbors
    const { maxEntries } = addon.bpfMapInfo(this.maps.neighbors)
    attempt("clear", "eBPF map neighbors", () => {
      const [keys] = addon.bpfDump(this.maps.neighbors, key, value, maxEntries)
      if (keys.length > 0) addon.bpfDelete(this.maps.neighbors, keys, keys.length / key)
    })
  }

  /** How many requests of the ports with these counters' slots were answered. */
  answered(slots: ReadonlyArray<number>): number {
    if (slots.length === 0) return 0
    const length = Layout.sizes.answered.value * this.cpus
    const keys = Layout.keys32(...slots)
    const values = attempt("read", "eBPF map answered", () => addon.bpfLookup(this.maps.answered, keys, slots.length, length))
    const from = new DataView(values.buffer, values.byteOffset, values.byteLength)
    let total = 0n
    for (let at = 0; at < values.length; at += 8) total += from.getBigUint64(at, true)
    return Number(total)
  }
}
