/** A pcapng stream as lines for people: time, port, direction, what it is about, octets. */
import * as Pcapng from "../wire/pcapng.ts"
import { describeFrame } from "./describe-frame.ts"

const arrows = { inbound: "in ", outbound: "out" } as const

/**
 * A function that turns chunks of whole blocks, in their order, into lines; it remembers the interfaces. Times are of
 * this machine's zone. The lab is named where the capture is of several.
 */
export const linesOf = (): ((chunk: Uint8Array) => string) => {
  const interfaces: Array<Pcapng.Interface> = []
  let names: ReadonlyArray<string> = []
  return (chunk) => {
    let lines = ""
    for (let at = 0; at < chunk.length; ) {
      const decoded = Pcapng.decode(chunk, at)
      if (!decoded.ok) throw new Error(`Cannot read our own capture: ${decoded.error._tag}`)
      at += decoded.length
      const block = decoded.value
      if (block.kind === "interface") {
        interfaces.push(block)
        names = namesOf(interfaces)
      } else if (block.kind === "packet") lines += lineOf(block, names[block.interfaceId] ?? "?")
    }
    return lines
  }
}

const lineOf = (packet: Pcapng.Packet, name: string): string => {
  const direction = packet.direction === undefined ? "?  " : arrows[packet.direction]
  return `${timeOf(packet.timestamp)}  ${name}  ${direction}  ${describeFrame(packet.data)}  (${packet.originalLength})\n`
}

/** `23:59:59.123456` of a time in ns. */
const timeOf = (timestamp: bigint): string => {
  const seconds = Number(timestamp / 1_000_000_000n)
  const micros = Number((timestamp % 1_000_000_000n) / 1000n)
  return `${new Date(seconds * 1000).toTimeString().slice(0, 8)}.${String(micros).padStart(6, "0")}`
}

/** Equally wide; without the lab where all are of the same. */
const namesOf = (interfaces: ReadonlyArray<Pcapng.Interface>): ReadonlyArray<string> => {
  const full = interfaces.map(({ name }) => name ?? "")
  const labs = new Set(full.map((name) => name.split("/")[0]))
  const short = labs.size > 1 ? full : full.map((name) => name.slice(name.indexOf("/") + 1))
  const width = Math.max(...short.map((name) => name.length))
  return short.map((name) => name.padEnd(width))
}
