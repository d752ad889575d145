/**
 * Tunnel ends: the maps `tunnels` and `origins`.
 *
 * A tunnel end is a port without an interface (docs/adr/0014): its index is `firstTunnel` and its number. Where its frames
 * go stands in `tunnels`; `origins` says which end a frame that came in belongs to, and what stands not in there is
 * refused. So an end is written before its origin, and an origin is taken out before its end.
 */
import { addon } from "../native/index.ts"
import * as Layout from "./bpf-layout.ts"
import { attempt, KernelError } from "./errors.ts"

type Maps = Readonly<Record<"tunnels" | "origins", number>>

const nothing: ReadonlySet<number> = new Set()
const nobody = new Uint8Array(Layout.sizes.tunnels.value)

export class Tunnels {
  private readonly ends = new Map<number, Layout.TunnelEnd>()
  private readonly byVni = new Map<number, Set<number>>()
  private readonly unused: number[] = []
  private readonly maps: Maps

  constructor(maps: Maps) {
    this.maps = maps
    this.read()
  }

  /** Remembers what the kernel has, and nothing else: also for when a change was refused half-way. */
  read(): void {
    const { key, value } = Layout.sizes.origins
    const { maxEntries } = addon.bpfMapInfo(this.maps.origins)
    const [keys, values] = attempt("read eBPF map", "origins", () => addon.bpfDump(this.maps.origins, key, value, maxEntries))
    const devices = new Map<number, number>()
    for (const [i, index] of new Uint32Array(values.buffer).entries()) {
      // The others say that a VNI is known.
      if (Layout.isTunnelEnd(index)) devices.set(index, Layout.decodeOriginDevice(keys, i))
    }
    const indexes = [...devices.keys()]
    this.ends.clear()
    this.byVni.clear()
    this.findUnused(new Set(indexes))
    if (indexes.length === 0) return
    const numbers = Layout.keys32(...indexes.map(numberOf))
    const length = Layout.sizes.tunnels.value
    const tunnels = attempt("read eBPF map", "tunnels", () => addon.bpfLookup(this.maps.tunnels, numbers, indexes.length, length))
    indexes.forEach((index, i) => this.remember(index, Layout.decodeTunnel(tunnels, i * length, devices.get(index)!)))
  }

  /** By index of the port. */
  all(): ReadonlyMap<number, Layout.TunnelEnd> {
    return this.ends
  }

  /** The indexes of the ends of one VNI. */
  of(vni: number): ReadonlySet<number> {
    return this.byVni.get(vni) ?? nothing
  }

  /** The index of this end, made if it is not there; how it sends (`local`, `via`) can be changed. */
  add(end: Layout.TunnelEnd): number {
    const known = this.find(end)
    const before = known === undefined ? undefined : this.ends.get(known)
    if (known !== undefined && before?.local === end.local && before?.via === end.via) return known
    const index = known ?? this.takeUnused()
    this.remember(index, end)
    attempt("add tunnel end", end.remote, () => {
      this.write(index, Layout.encodeTunnel(end))
      this.setOrigin({ device: end.device, vni: end.vni }, 0)
      this.setOrigin(end, index)
    })
    return index
  }

  remove(indexes: ReadonlyArray<number>): void {
    for (const index of indexes) {
      const end = this.ends.get(index)
      if (end === undefined) continue
      const { device, vni } = end
      this.ends.delete(index)
      this.byVni.get(vni)!.delete(index)
      this.unused.push(index)
      const isLast = ![...this.of(vni)].some((other) => this.ends.get(other)!.device === device)
      if (this.of(vni).size === 0) this.byVni.delete(vni)
      attempt("remove tunnel end", end.remote, () => {
        addon.bpfDelete(this.maps.origins, Layout.encodeOrigin(end), 1)
        if (isLast) addon.bpfDelete(this.maps.origins, Layout.encodeOrigin({ device, vni }), 1)
        this.write(index, nobody)
      })
    }
  }

  private find({ device, vni, remote }: Layout.TunnelEnd): number | undefined {
    return [...this.of(vni)].find((index) => {
      const end = this.ends.get(index)!
      return end.device === device && end.remote === remote
    })
  }

  private remember(index: number, end: Layout.TunnelEnd): void {
    this.ends.set(index, end)
    const others = this.byVni.get(end.vni)
    if (others === undefined) this.byVni.set(end.vni, new Set([index]))
    else others.add(index)
  }

  private findUnused(used: ReadonlySet<number>): void {
    this.unused.length = 0
    for (let number = addon.bpfMapInfo(this.maps.tunnels).maxEntries - 1; number >= 0; number--) {
      if (!used.has(Layout.firstTunnel + number)) this.unused.push(Layout.firstTunnel + number)
    }
  }

  private takeUnused(): number {
    const index = this.unused.pop()
    if (index !== undefined) return index
    const detail = `the data path has room for ${this.ends.size} of them`
    throw new KernelError({ operation: "add", object: "tunnel end", code: "ENOSPC", detail })
  }

  private write(index: number, value: Uint8Array): void {
    addon.bpfUpdate(this.maps.tunnels, Layout.keys32(numberOf(index)), value, 1)
  }

  private setOrigin(origin: Parameters<typeof Layout.encodeOrigin>[0], index: number): void {
    addon.bpfUpdate(this.maps.origins, Layout.encodeOrigin(origin), Layout.keys32(index), 1)
  }
}

const numberOf = (index: number): number => index - Layout.firstTunnel
