/**
 * Copies of the ports' entries, which the program finds without a search: the maps `places` and `copies`.
 *
 * The kernel writes into an array while programs read it. So a copy that is in use is never written: a changed port gets
 * another place, and then its place is told. A place that was given up is taken again last of all; whatever still read there
 * has long ended by then.
 *
 * `ports` is the truth: it is written first and removed from last, and a port without a copy is looked up there. To open them
 * mends what is not as it should be, so only one process may.
 */
import { addon } from "../native/index.ts"
import * as Layout from "./bpf-layout.ts"
import { attempt } from "./errors.ts"

type Maps = Readonly<Record<"places" | "copies", number>>
type Port = readonly [index: number, entry: Uint8Array]

const none = 0

/** Numbers from 1 to `size`, in a ring: taken at its head, given back at its tail. */
class Places {
  private readonly ring: Uint32Array
  private head = 0
  private count: number

  constructor(size: number, used: ReadonlySet<number>) {
    this.ring = new Uint32Array(size)
    // What was given up last lies before those that are in use, as a rule.
    const start = Math.max(0, ...used)
    const unused = Array.from(this.ring, (_, i) => ((start + i) % size) + 1).filter((place) => !used.has(place))
    this.ring.set(unused)
    this.count = unused.length
  }

  take(count: number): Uint32Array {
    const taken = Uint32Array.from({ length: count }, (_, i) => this.ring[(this.head + i) % this.ring.length]!)
    this.head = (this.head + count) % this.ring.length
    this.count -= count
    return taken
  }

  give(places: Iterable<number>): void {
    for (const place of places) this.ring[(this.head + this.count++) % this.ring.length] = place
  }
}

export class Copies {
  private readonly maps: Maps
  private readonly size: number
  /** By index of the port. */
  private readonly placeOf = new Map<number, number>()
  private places: Places
  private isSuspect = false

  constructor(maps: Maps) {
    this.maps = maps
    this.size = addon.bpfMapInfo(maps.copies).maxEntries - 1
    this.places = new Places(this.size, new Set())
  }

  /** The kernel refused a change: they may be old until `read` has succeeded. */
  get areSuspect(): boolean {
    return this.isSuspect
  }

  /** Remembers what the kernel has of these ports, which are all, and makes the copies that are missing or old. */
  read(ports: ReadonlyArray<Port>): void {
    this.isSuspect = true
    const near = ports.filter(hasPlace)
    const places = new Uint32Array(this.lookUp("places", Layout.keys32(...near.map(keyOf))).buffer)
    const copies = this.lookUp("copies", Layout.keys32(...places))
    const length = Layout.sizes.copies.value
    this.placeOf.clear()
    near.forEach(([index], i) => places[i] !== none && this.placeOf.set(index, places[i]!))
    this.places = new Places(this.size, new Set(this.placeOf.values()))
    const copyOf = (i: number) => copies.subarray(i * length, (i + 1) * length)
    this.set(near.filter((port, i) => places[i] === none || Buffer.compare(encode(port), copyOf(i)) !== 0))
  }

  set(ports: ReadonlyArray<Port>): void {
    this.isSuspect = true
    const near = ports.filter(hasPlace)
    const places = this.places.take(near.length)
    this.update("copies", places, Layout.concat(near.map(encode)))
    this.update("places", Uint32Array.from(near, keyOf), Layout.keys32(...places))
    this.places.give(near.flatMap(([index]) => this.placeOf.get(index) ?? []))
    near.forEach(([index], i) => this.placeOf.set(index, places[i]!))
    this.isSuspect = false
  }

  remove(indexes: ReadonlyArray<number>): void {
    this.isSuspect = true
    const known = indexes.filter((index) => this.placeOf.has(index))
    this.update("places", Uint32Array.from(known, (index) => Layout.placeKey(index)!), Layout.keys32(...known.map(() => none)))
    this.places.give(known.map((index) => this.placeOf.get(index)!))
    known.forEach((index) => this.placeOf.delete(index))
    this.isSuspect = false
  }

  private lookUp(map: keyof Maps, keys: Uint8Array): Uint8Array {
    const { key, value } = Layout.sizes[map]
    return attempt("read ports", "eBPF map", () => addon.bpfLookup(this.maps[map], keys, keys.length / key, value))
  }

  private update(map: keyof Maps, keys: Uint32Array, values: Uint8Array): void {
    attempt("set ports", "eBPF map", () => addon.bpfUpdate(this.maps[map], Layout.keys32(...keys), values, keys.length))
  }
}

const encode = ([index, entry]: Port): Uint8Array => Layout.concat([entry, Layout.keys32(index)])

const hasPlace = ([index]: Port): boolean => Layout.placeKey(index) !== undefined

const keyOf = ([index]: Port): number => Layout.placeKey(index)!
