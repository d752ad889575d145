/** Super-frames cut into packets. What the kernel makes of the same frames is compared in test/root/engine-segment.test.ts. */

import t from "tap"
import { addon } from "../../daemon/native/index.ts"
import * as InternetChecksum from "../../daemon/wire/internet-checksum.ts"
import { seeded } from "../random.ts"
import { build, examples, vnetLength } from "./super-frames.ts"

for (const spec of examples) {
  t.test(`segmentFrame cuts ${spec.name} into packets with right lengths, checksums and sequence numbers`, async (t) => {
    const frame = build(spec)
    const before = frame.slice()
    const packets = addon.segmentFrame(frame, true)
    t.strictSame(frame, before, "the frame stays as it was")
    t.equal(packets.length, Math.ceil(spec.payload / spec.size))
    const header = frame.length - spec.payload
    const transport = vnetLength + new DataView(frame.buffer).getUint16(6, true)
    const payload = packets.map((packet) => packet.subarray(header))
    t.strictSame(Buffer.concat(payload), Buffer.from(frame.subarray(header)), "nothing is lost")
    for (const [i, packet] of packets.entries()) {
      const view = new DataView(packet.buffer)
      const network = vnetLength + (spec.vlan === undefined ? 14 : 18)
      const length = packet.length - transport
      if (spec.family === 4) {
        t.equal(view.getUint16(network + 2), packet.length - network)
        t.equal(InternetChecksum.checksum(InternetChecksum.sum(packet, network, transport)), 0, "IPv4 header checksum")
      } else t.equal(view.getUint16(network + 4), packet.length - network - 40)
      const addresses = spec.family === 4 ? [network + 12, network + 20] : [network + 8, network + 40]
      const pseudo = InternetChecksum.sum(packet, addresses[0]!, addresses[1]!) + length + (spec.protocol === "tcp" ? 6 : 17)
      t.equal(InternetChecksum.checksum(pseudo + InternetChecksum.sum(packet, transport)), 0, "checksum")
      if (spec.protocol === "udp") t.equal(view.getUint16(transport + 4), length)
      else t.equal(view.getUint32(transport + 4), (0xffff_f000 + i * spec.size) % 2 ** 32)
    }
  })
}

t.test("segmentFrame leaves an ordinary frame alone, completing its checksum when asked to", async (t) => {
  const one = addon.segmentFrame(build(examples[0]!), false)[0]!
  t.equal(one[0], 1, "a packet leaves its checksum to the next")
  t.strictSame(addon.segmentFrame(one, false), [one])
  t.strictSame(addon.segmentFrame(one, true), [addon.segmentFrame(build(examples[0]!), true)[0]])
})

t.test("segmentFrame refuses frames that are not what their header claims, and never reads beyond them", async (t) => {
  const random = seeded(3)
  for (const spec of examples) {
    const whole = build({ ...spec, payload: Math.min(spec.payload, 3000) })
    for (let length = 0; length < 150; length++) addon.segmentFrame(whole.slice(0, length), true)
    for (let round = 0; round < 500; round++) {
      const frame = whole.slice()
      for (let i = 0; i < 3; i++) frame[random.below(110)] = random.below(256)
      addon.segmentFrame(frame, true)
    }
  }
  const refused = (change: (frame: Uint8Array, view: DataView) => void) => {
    const frame = build(examples[0]!)
    change(frame, new DataView(frame.buffer))
    return addon.segmentFrame(frame, true)
  }
  t.strictSame(refused((frame) => (frame[0] = 0)), [], "no checksum to be completed")
  t.strictSame(refused((frame) => (frame[1] = 3)), [], "UDP fragmentation is long gone")
  t.strictSame(refused((_, view) => view.setUint16(4, 0, true)), [], "no size")
  t.strictSame(refused((_, view) => view.setUint16(4, 1, true)), [], "too many packets")
  t.strictSame(refused((_, view) => view.setUint16(6, 60_000, true)), [], "the transport header lies outside")
  t.strictSame(refused((_, view) => view.setUint16(8, 6, true)), [], "the checksum is somewhere else")
})

t.test("joinPackets gives back the super-frame that was cut", async (t) => {
  for (const spec of examples.filter(({ flags }) => ((flags ?? 0) & 0x80) === 0)) {
    const frame = build({ ...spec, flags: 0x18, payload: Math.min(spec.payload, spec.size * 60) })
    const packets = addon.segmentFrame(frame, false)
    const [joined, count] = addon.joinPackets(packets)
    t.equal(count, packets.length, spec.name)
    t.strictSame(joined, frame, spec.name)
  }
})

t.test("joinPackets keeps apart what does not belong together", async (t) => {
  const header = vnetLength + 54
  const frame = build({ name: "", family: 4, protocol: "tcp", size: 1000, payload: 5000 })
  const packets = () => addon.segmentFrame(frame, false).map((packet) => packet.slice())
  const joins = (change: (packets: Uint8Array[]) => void) => {
    const list = packets()
    change(list)
    return addon.joinPackets(list)[1]
  }
  t.equal(joins(() => {}), 5)
  t.equal(joins((list) => list.splice(2, 1)), 2, "a packet is missing")
  t.equal(joins((list) => list.splice(2, 0, list[1]!)), 2, "a packet is there twice")
  t.equal(joins((list) => (list[2]![0] = 0)), 2, "its checksum is complete, right or wrong")
  const at = { identification: 18, ttl: 22, address: 29, port: 35, ack: 45 }
  for (const [field, offset] of Object.entries(at)) t.equal(joins((list) => list[2]![vnetLength + offset]!++), 2, `another ${field}`)
  for (const [flag, bits] of Object.entries({ syn: 0x12, rst: 0x14, urg: 0x30, ece: 0x50, cwr: 0x90 })) {
    t.equal(joins((list) => (list[2]![header - 7] = bits)), 2, flag)
    t.equal(joins((list) => (list[0]![header - 7] = bits)), 1, `${flag} first`)
  }
  t.equal(joins((list) => (list[2]![header - 7] = 0x18)), 3, "PSH ends it")
  const shorten = (packet: Uint8Array): Uint8Array => {
    const short = packet.slice(0, -1)
    new DataView(short.buffer).setUint16(vnetLength + 16, short.length - vnetLength - 14)
    return short
  }
  t.equal(joins((list) => (list[2] = shorten(list[2]!))), 3, "a short packet ends it")
  t.equal(joins((list) => (list[2] = list[2]!.slice(0, -1))), 2, "its length is wrong")
})
