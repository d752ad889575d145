/**
 * How frames of a lab travel between hosts. `encapsulation` and `port` hold for the whole lab; `datapath` is the lab's
 * default and a link's or network's own. What they come to together is decided in `compiler/transport.ts`.
 */
import { Schema } from "effect"
import { integer, optional } from "./schema-parts.ts"

const Encapsulation = Schema.Literals(["vxlan", "geneve", "gre"]).annotate({
  description: "What frames between hosts are packed in: vxlan (RFC 7348) unless given, geneve (RFC 8926) or gre (RFC 2784, 2890)"
})
const Datapath = Schema.Literals(["auto", "kernel", "engine"]).annotate({
  description: "Who forwards: the kernel's fast path, weftd's packet engine, or (auto) the fast path where it can"
})

/** Of a link, a network, and the file as a whole. */
export const datapathKey = { datapath: optional(Datapath) }

export const transportKeys = {
  encapsulation: optional(Encapsulation),
  port: optional(integer(1, 65535, "UDP port of the tunnels: 4789 for vxlan (14789 by the engine), 6081 for geneve unless given")),
  ...datapathKey
}

export type Encapsulation = typeof Encapsulation.Type
export type Datapath = typeof Datapath.Type
