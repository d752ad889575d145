/**
 * How frames of a lab travel between hosts. `encapsulation`, `port` and options hold for the whole lab; `datapath` is the lab's
 * default and a link's or network's own. What they come to together is decided in `compiler/transport.ts`.
 */
import { Schema } from "effect"
import { integer, optional, text } from "./schema-parts.ts"

const Encapsulation = Schema.Literals(["vxlan", "geneve", "gre"]).annotate({
  description: "What frames between hosts are packed in: vxlan (RFC 7348) unless given, geneve (RFC 8926) or gre (RFC 2784, 2890)"
})
const Datapath = Schema.Literals(["auto", "kernel", "engine"]).annotate({
  description: "Who forwards: the kernel's fast path, weftd's packet engine, or (auto) the fast path where it can"
})

/** Of an option: at most what its 5 bits of length can say, 4 octets each. */
const dataProblem = (value: string): string | undefined => {
  if (!/^([0-9a-fA-F]{2})*$/.test(value)) return 'expected octets in hexadecimal, such as "00c0ffee"'
  const octets = value.length / 2
  return octets % 4 === 0 && octets <= 124 ? undefined : `has ${octets} octets: an option has 0, 4, 8, ... or 124 of them`
}
const classExpected = 'a whole number from 0 to 65535, or four digits such as "0x0102"'
const GeneveOption = Schema.Struct({
  class: Schema.Union([
    integer(0, 65535, "who defines the type"),
    text({
      description: "in hexadecimal",
      problem: (value) => (/^0x[0-9a-fA-F]{1,4}$/.test(value) ? undefined : `expected ${classExpected}`),
      pattern: "^0x[0-9a-fA-F]{1,4}$"
    })
  ]).annotate({ expected: classExpected, description: "Option class: who defines the type (IANA's registry)" }),
  type: integer(0, 127, "Type of the option, without the critical bit"),
  data: optional(text({ description: "octets in hexadecimal, 4 at a time", problem: dataProblem, pattern: "^([0-9a-fA-F]{8}){0,31}$" })),
  critical: optional(Schema.Boolean.annotate({ description: "Who does not know the option must drop the packet" }))
}).annotate({ expected: "a map with class and type" })

/** Of a link, a network, and the file as a whole. */
export const datapathKey = { datapath: optional(Datapath) }

export const transportKeys = {
  encapsulation: optional(Encapsulation),
  port: optional(integer(1, 65535, "UDP port of the tunnels: 4789 for vxlan (14789 by the engine), 6081 for geneve unless given")),
  "geneve-options": optional(
    Schema.Array(GeneveOption).annotate({
      expected: "a list of options",
      description: "Options that every Geneve packet of the lab carries (RFC 8926 3.5), together at most 252 octets with their headers"
    })
  ),
  ...datapathKey
}

export type GeneveOption = typeof GeneveOption.Type
export type Encapsulation = typeof Encapsulation.Type
export type Datapath = typeof Datapath.Type
