/**
 * How each segment's frames cross from host to host: the lab's `encapsulation`, `port` and `geneve-options`, and its own `datapath`.
 *
 * Ports unless the lab says otherwise: VXLAN 4789 (RFC 7348 8) by the kernel and 14789 by the engine, because the two
 * cannot share one on the same host; Geneve 6081 (RFC 8926 3.3).
 */
import type { Transport } from "../plan/resource.ts"
import { formatPath, type Path, type Reporter } from "../topology/diagnostic.ts"
import type { Segment, Topology } from "../topology/model.ts"
import * as Geneve from "../wire/geneve.ts"

const kernelVxlanPort = 4789
const engineVxlanPort = 14789
const genevePort = 6081

type Datapath = Transport["datapath"]

const datapathOf = (topology: Topology, segment: Segment): Datapath =>
  segment.datapath?.value ?? topology.transport.datapath?.value ?? "auto"

/** What the segment is carried by; undefined for what needs no word: VXLAN on its usual port, by whoever can. */
export const transportOf = (topology: Topology, segment: Segment): Transport | undefined => {
  const encapsulation = topology.transport.encapsulation?.value ?? "vxlan"
  const datapath = datapathOf(topology, segment)
  const usual = { vxlan: datapath === "engine" ? engineVxlanPort : kernelVxlanPort, geneve: genevePort, gre: 0 }[encapsulation]
  const port = topology.transport.port?.value ?? usual
  if (encapsulation === "vxlan" && port === kernelVxlanPort && datapath === "auto") return undefined
  const options = encodedOptions(topology)
  return { encapsulation, port, datapath, ...(options.length === 0 ? {} : { options: Buffer.from(options).toString("hex") }) }
}

/** Of Geneve, as they stand in its header. */
const encodedOptions = ({ transport }: Topology): Uint8Array => {
  const options = (transport.geneveOptions?.value ?? []).map((option) => ({
    optionClass: Number(option.class),
    type: option.type,
    critical: option.critical === true,
    data: Buffer.from(option.data ?? "", "hex")
  }))
  const header = { vni: 0, options }
  const octets = new Uint8Array(Geneve.encodedLength(header))
  Geneve.encodeInto(header, octets, 0)
  return octets.subarray(Geneve.headerLength)
}

/** Whether the link's frames go through the engine wherever its ends are. */
export const isByEngine = (topology: Topology, segment: Segment): boolean => datapathOf(topology, segment) === "engine"

/** Reports what cannot be had together. */
export const checkTransport = (topology: Topology, reporter: Reporter): void => {
  const { datapath, encapsulation, geneveOptions, port } = topology.transport
  if (geneveOptions !== undefined && encapsulation?.value !== "geneve") {
    const message = "only Geneve has options: remove the key, or write encapsulation: geneve"
    reporter.error(geneveOptions.path, message, { at: "key" })
  }
  const octets = encodedOptions(topology).length
  if (octets > Geneve.maxOptionsLength) {
    const message = `the options take ${octets} octets, 4 for each and its data: a packet has room for ${Geneve.maxOptionsLength}`
    reporter.error(geneveOptions!.path, message, { at: "key" })
  }
  if (encapsulation?.value === "gre" && port !== undefined) {
    reporter.error(port.path, "GRE has no ports: remove the key, or choose vxlan or geneve", { at: "key" })
  }
  if (encapsulation !== undefined && encapsulation.value !== "vxlan") {
    const message = `the kernel's path carries vxlan only: ${encapsulation.value} needs datapath auto or engine`
    for (const one of [datapath, ...topology.segments.map((segment) => segment.datapath)]) {
      if (one?.value === "kernel") reporter.error(one.path, message)
    }
  } else if (port !== undefined) {
    refuseSharedPort(topology, port.path, reporter)
  }
}

/** One UDP port of a host belongs to the kernel's VXLAN device or to the engine's socket. */
const refuseSharedPort = (topology: Topology, path: Path, reporter: Reporter): void => {
  const engine = topology.segments.find((segment) => isByEngine(topology, segment))
  const other = topology.segments.find((segment) => !isByEngine(topology, segment))
  if (engine === undefined || other === undefined) return
  const [one, two] = [engine, other].map((segment) => formatPath(segment.path))
  reporter.error(
    path,
    `one port cannot serve both the engine (${one}) and the kernel (${two}): remove the key and each has its own, ` +
      `${engineVxlanPort} and ${kernelVxlanPort}, or write datapath: engine at the top level for all`,
    { at: "key" }
  )
}

/** A link with a profile passes the engine: it cannot be the kernel's alone. */
export const refuseKernelProfile = (segment: Segment, reporter: Reporter): void => {
  if (segment.datapath?.value !== "kernel") return
  const message = "the kernel's path has no delay, loss or rate: a link with a profile goes through the engine, so remove one of the two"
  reporter.error(segment.datapath.path, message)
}
