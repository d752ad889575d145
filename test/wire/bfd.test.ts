/** BFD control packets: vectors of others, every truncation, every reason to discard, and mutations. `WEFT_FUZZ`: how many. */
import t from "tap"
import * as Bfd from "../../daemon/wire/bfd.ts"

const octets = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"))

const vectors: ReadonlyArray<{ readonly source: string; readonly hex: string; readonly packet: Bfd.Packet }> = [
  {
    source: "RFC 5880 4.1, written by hand: Up, poll, detect mult 3, 50 ms",
    hex: "20 e0 03 18 00000001 00000002 0000c350 0000c350 00000000",
    packet: {
      diagnostic: 0, state: 3, poll: true, final: false, controlPlaneIndependent: false, demand: false, detectMult: 3,
      myDiscriminator: 1, yourDiscriminator: 2, desiredMinTxInterval: 50_000, requiredMinRxInterval: 50_000, requiredMinEchoRxInterval: 0
    }
  },
  {
    source: "captured from BIRD 2.0.12: its first packet, interface with min rx and tx interval 40 ms",
    hex: "20 40 05 18 f9ad4b72 00000000 000f4240 00009c40 00000000",
    packet: {
      diagnostic: 0, state: 1, poll: false, final: false, controlPlaneIndependent: false, demand: false, detectMult: 5,
      myDiscriminator: 0xf9ad4b72, yourDiscriminator: 0, desiredMinTxInterval: 1_000_000, requiredMinRxInterval: 40_000,
      requiredMinEchoRxInterval: 0
    }
  },
  {
    source: "scapy 2.5, BFD() as it is unless told otherwise",
    hex: "20 c0 03 18 11111111 22222222 3b9aca00 3b9aca00 3b9aca00",
    packet: {
      diagnostic: 0, state: 3, poll: false, final: false, controlPlaneIndependent: false, demand: false, detectMult: 3,
      myDiscriminator: 0x11111111, yourDiscriminator: 0x22222222, desiredMinTxInterval: 1_000_000_000,
      requiredMinRxInterval: 1_000_000_000, requiredMinEchoRxInterval: 1_000_000_000
    }
  },
  {
    source: "RFC 5880 4.1, written by hand: AdminDown, diagnostic 7, final, all flags that are not refused",
    hex: "27 1a ff 18 ffffffff fffffffe ffffffff ffffffff ffffffff",
    packet: {
      diagnostic: 7, state: 0, poll: false, final: true, controlPlaneIndependent: true, demand: true, detectMult: 255,
      myDiscriminator: 0xffffffff, yourDiscriminator: 0xfffffffe, desiredMinTxInterval: 0xffffffff, requiredMinRxInterval: 0xffffffff,
      requiredMinEchoRxInterval: 0xffffffff
    }
  }
]

t.test("decode and encodeInto agree with vectors, at any offset", async (t) => {
  for (const { hex, packet, source } of vectors) {
    const wire = octets(hex)
    t.same(Bfd.decode(wire), { ok: true, value: packet }, source)
    const target = new Uint8Array(40).fill(0xa5)
    t.equal(Bfd.encodeInto(packet, target, 5), 29)
    const around = (count: number): ReadonlyArray<number> => new Array<number>(count).fill(0xa5)
    t.same(target, Uint8Array.from([...around(5), ...wire, ...around(11)]), "every octet is written, and no other")
    t.same(Bfd.decode(target, 5, 29), { ok: true, value: packet })
    for (let length = 0; length < wire.length; length++) t.match(Bfd.decode(wire.subarray(0, length)), { error: { _tag: "Truncated" } })
  }
})

t.test("check discards as RFC 5880 6.8.6 says", async (t) => {
  const good = octets(vectors[0]!.hex)
  const refused = (change: (b: Uint8Array) => void): string | undefined => {
    const b = Uint8Array.from(good)
    change(b)
    return Bfd.check(b, 0)?._tag
  }
  t.equal(refused(() => {}), undefined)
  t.equal(refused((b) => (b[0] = 0x40)), "BadVersion")
  t.equal(refused((b) => (b[0] = 0)), "BadVersion")
  t.equal(refused((b) => (b[3] = 23)), "BadLength")
  t.equal(refused((b) => (b[3] = 25)), "BadLength", "longer than the payload")
  t.equal(refused((b) => (b[1]! |= Bfd.Flag.authentication)), "BadLength", "no room for an authentication section")
  t.equal(refused((b) => (b[2] = 0)), "DetectMultZero")
  t.equal(refused((b) => (b[1]! |= Bfd.Flag.multipoint)), "MultipointSet")
  t.equal(refused((b) => b.fill(0, 4, 8)), "MyDiscriminatorZero")
  t.equal(refused((b) => b.fill(0, 8, 12)), "YourDiscriminatorZero", "while up")
  t.equal(refused((b) => (b.fill(0, 8, 12), (b[1] = 0x80))), "YourDiscriminatorZero", "in Init")
  t.equal(refused((b) => (b.fill(0, 8, 12), (b[1] = 0x40))), undefined, "in Down")
  t.equal(refused((b) => (b.fill(0, 8, 12), (b[1] = 0))), undefined, "in AdminDown")
  const authenticated = octets("20 c4 03 1a 00000001 00000002 0000c350 0000c350 00000000 0102")
  t.equal(Bfd.check(authenticated, 0), undefined)
  t.match(Bfd.decode(authenticated), { error: { _tag: "AuthenticationPresent" } })
  t.match(Bfd.decode(octets(`${vectors[0]!.hex} ffff`)), { ok: true }, "octets behind Length")
})

t.test("mutations: no throw, and what is taken is written as it was read", async (t) => {
  const rounds = Number(process.env["WEFT_FUZZ"] ?? 200_000)
  let seed = 0x2545f491
  const random = (below: number): number => {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    return (seed >>> 0) % below
  }
  const sources = vectors.map(({ hex }) => octets(hex))
  const [b, back] = [new Uint8Array(64), new Uint8Array(24)]
  let taken = 0
  let wrong = 0
  for (let round = 0; round < rounds; round++) {
    const source = sources[random(sources.length)]!
    b.set(source)
    for (let i = random(4); i >= 0; i--) b[random(28)] = random(256)
    const end = random(3) === 0 ? random(64) : 24
    const decoded = Bfd.decode(b, 0, end)
    if (!decoded.ok) continue
    taken++
    Bfd.encodeInto(decoded.value, back, 0)
    // Length and what is behind it are not the packet's.
    back[3] = b[3]!
    for (let i = 0; i < 24; i++) if (back[i] !== b[i]) wrong++
  }
  t.equal(wrong, 0)
  t.ok(taken > rounds / 10, `${taken} of ${rounds} were taken`)
})
