/** Well-formed messages of all kinds, by hand and from other implementations (test/vectors/bgp.json): what tests cut and damage. */
import { readFileSync } from "node:fs"
import { attribute, hex, mandatory, message, nlri, origin, asPath, update } from "./build.ts"

export interface Vector {
  readonly name: string
  /** Who made the octets. */
  readonly source: string
  /** The session's AS numbers have four octets. */
  readonly asn4: boolean
  readonly octets: string
  /** What the maker says of the message. */
  readonly says: Record<string, unknown>
}

export const vectors = JSON.parse(readFileSync(new URL("../../vectors/bgp.json", import.meta.url), "utf8")) as ReadonlyArray<Vector>

const hop = `20010db8${"00".repeat(11)}01`

const byHand: ReadonlyArray<Uint8Array> = [
  message(1, "04 fde9 005a c0000201 00"),
  message(1, "04 5ba0 00b4 c0000201 2a 0228 0104 00010001 0200 0506 000100010002 0600 4006 c078 00010180 4104 00010001 4504 00010103 4600"),
  message(1, "04 fde9 005a c0000201 ff ff 0009 02 0006 0104 00020001"),
  message(1, "04 fde9 005a c0000201 18 0216 0901 00 4707 00010180 00000e 4908 02 7231 04 6c61623a"),
  message(3, "0602 0c 6d61696e74656e616e6365"),
  message(3, "0609 0603"),
  message(4, ""),
  message(5, "0001 00 01"),
  message(5, "0002 01 01"),
  update({}),
  update({ withdrawn: "100a01 180a0203" }),
  update({ attributes: mandatory, nlri: nlri.repeat(20) }),
  update({ attributes: mandatory, nlri: "00000001100a01 00000002100a01" }),
  update({
    attributes: mandatory + attribute(0x80, 4, "0000000a") + attribute(0x40, 5, "00000064") + attribute(0x40, 6, "") +
      attribute(0xc0, 7, "0000fde9c0000202") + attribute(0xc0, 8, "fde90001ffffff01") + attribute(0x80, 9, "c0000203") +
      attribute(0x80, 10, "c0000204c0000205") + attribute(0xc0, 16, "0002fde900000001") + attribute(0xc0, 32, "0000fde90000000100000002") +
      attribute(0xc0, 35, "0000fde9") + attribute(0xc0, 40, "01000700000000000001") + attribute(0xc0, 0xfe, "deadbeef"),
    nlri
  }),
  update({
    attributes: origin + attribute(0x40, 2, "02025ba0fde9 0102000100 02") + attribute(0x40, 3, "c0000201") +
      attribute(0xc0, 7, "5ba0c0000202") + attribute(0xc0, 17, "0202 00010001 0000fde9") + attribute(0xc0, 18, "00010001c0000202"),
    nlri
  }),
  update({ attributes: attribute(0x80, 14, `000201 10 ${hop} 00 2020010db8 4020010db800000001`) + origin + asPath }),
  update({ attributes: attribute(0x90, 14, `000201 20 ${hop} fe80${"00".repeat(13)}02 00 00`) + origin + asPath }),
  update({ attributes: attribute(0x80, 14, `000101 10 ${hop} 00 00000007 100a01`) + origin + asPath }),
  update({ attributes: attribute(0x80, 15, "000201 2020010db8") }),
  update({ attributes: attribute(0x80, 15, "000201") }),
  update({
    attributes: attribute(0x80, 14, `001946 04 c0000201 00 03 11 0001c00002010064 00000000 20 c0000201`) + origin + attribute(0x40, 2, "") +
      attribute(0x40, 5, "00000064") + attribute(0xc0, 16, "030c000000000008 0002fde900000064") +
      attribute(0xc0, 22, "00 06 000064 c0000201")
  })
]

/** All of them. */
export const corpus: ReadonlyArray<Uint8Array> = [...byHand, ...vectors.map(({ octets }) => hex(octets))]
