/** What stands in the maps, past what `PortProgram` remembers. */
import type { PortProgram } from "../../../daemon/linux/bpf.ts"
import * as Layout from "../../../daemon/linux/bpf-layout.ts"
import { addon } from "../../../daemon/native/index.ts"

const { copies: copySize, ports: portSize } = Layout.sizes

/** Entries of `ports` as their copies should be, and the copies, by index of the port; where these are; ports without one. */
export const look = ({ maps }: PortProgram) => {
  const [keys, values] = addon.bpfDump(maps.ports, portSize.key, portSize.value, addon.bpfMapInfo(maps.ports).maxEntries)
  const indexes = [...new Uint32Array(keys.buffer)]
  const near = indexes.filter((index) => Layout.placeKey(index) !== undefined)
  const keysOfPlaces = Layout.keys32(...near.map((index) => Layout.placeKey(index)!))
  const places = [...new Uint32Array(addon.bpfLookup(maps.places, keysOfPlaces, near.length, 4).buffer)]
  const copies = addon.bpfLookup(maps.copies, Layout.keys32(...places), places.length, copySize.value)
  const text = (octets: Uint8Array, at: number, length: number) => Buffer.from(octets.subarray(at, at + length)).toString("hex")
  const entry = (i: number) => text(values, i * portSize.value, portSize.value)
  return {
    far: indexes.filter((index) => !near.includes(index)),
    entries: new Map(near.map((index) => [index, entry(indexes.indexOf(index)) + text(Layout.keys32(index), 0, 4)])),
    copies: new Map(near.map((index, i) => [index, text(copies, i * copySize.value, copySize.value)])),
    places
  }
}
