/**
 * The kernel as the oracle for cutting super-frames: one is written to a TAP that is bridged to another TAP without
 * offloads, so that the kernel cuts it and completes the checksums; what comes out there must be what we make of it.
 *
 *     write -> tap0 == br0 == tap1 (no offloads) -> read
 */

import t from "tap"
import { addon } from "../../daemon/native/index.ts"
import { build, examples, vnetLength } from "../datapath/super-frames.ts"
import { ipBatch, needsRoot, until, World } from "./harness.ts"

t.test("segmentFrame makes the packets that the kernel makes", { skip: needsRoot }, async (t) => {
  const world = new World("segment")
  const namespace = world.namespace("bridge")
  const [into] = addon.tapOpen(namespace.fd, "tap0", 9000, false, true)
  const [out] = addon.tapOpen(namespace.fd, "tap1", 9000, false, false)
  t.teardown(() => {
    addon.close(into)
    addon.close(out)
    world.close()
  })
  const ports = ["link set tap0 master br0", "link set tap1 master br0"]
  ipBatch(namespace, ["link add br0 type bridge forward_delay 0", ...ports, "link set br0 up"])
  const buffer = new Uint8Array(70_000)
  const readAll = async (count: number): Promise<ReadonlyArray<Uint8Array>> => {
    const packets: Uint8Array[] = []
    await until(`${count} packets have crossed the bridge (${packets.length} have)`, () => {
      for (let length = addon.read(out, buffer); length > 0; length = addon.read(out, buffer)) {
        // The bridge itself speaks IGMP; ours go to one receiver.
        if (buffer[vnetLength] === 2) packets.push(buffer.slice(0, length))
      }
      return packets.length >= count
    })
    return packets
  }
  // The bridge forwards from when it has seen both ports' carriers.
  const probe = addon.segmentFrame(build(examples[0]!), true)[0]!
  await until("the bridge forwards", () => {
    addon.write(into, probe, 0)
    return addon.read(out, buffer) === probe.length
  })
  while (addon.read(out, buffer) > 0);
  for (const spec of examples) {
    const frame = build(spec)
    t.equal(addon.write(into, frame, 0), frame.length, `the kernel takes ${spec.name}`)
    const ours = addon.segmentFrame(frame, true)
    t.strictSame(await readAll(ours.length), ours, spec.name)
  }
})
