/** The part of `doctor` that looks at the network between hosts: of a weftd that has an underlay address. */
import { createSocket } from "node:dgram"
import { familyOf } from "../wire/ip.ts"
import type { Link } from "../wire/rtnetlink/link.ts"
import { type Finding, fine } from "./finding.ts"
import { interfaceOf, vxlanOverhead } from "./underlay.ts"

export interface Underlay {
  /** This host's address towards the others, canonical text. */
  readonly address: string
  /** UDP ports of the VXLAN devices that this weftd has. */
  readonly ownPorts: () => Iterable<number>
}

/** What a lab's links have unless it says otherwise. */
const usualMtu = 1500
const vxlanPort = 4789
const ownNamespace = -1

/** Nothing is looked at without an underlay. */
export const underlayFindings = async (underlay: Underlay | undefined): Promise<ReadonlyArray<Finding>> => {
  if (underlay === undefined) return []
  const { address, ownPorts } = underlay
  return [mtuFinding(address, interfaceOf(ownNamespace, address)), await portFinding(familyOf(address), new Set(ownPorts()))]
}

/** Exported for its test. `link`: the interface that has the address. */
export const mtuFinding = (address: string, link: Pick<Link, "name" | "mtu"> | undefined): Finding => {
  const subject = "underlay MTU"
  const neededFor = "labs that span hosts, at full speed"
  if (link === undefined) {
    const detail = `no interface of this machine has the underlay address ${address}`
    return { subject, verdict: "WARNING", detail, neededFor, remedy: "ip address show; weftd --underlay ADDR" }
  }
  const overhead = vxlanOverhead[familyOf(address)]
  const wanted = usualMtu + overhead
  if (link.mtu >= wanted) return fine(subject, `${link.name} takes ${link.mtu} octets, ${overhead} of them for VXLAN`, neededFor)
  const fits = link.mtu - overhead
  const cost =
    familyOf(address) === "ipv4"
      ? "longer ones cross in fragments, at a fraction of the throughput"
      : "segments with longer ones are sent by the engine, in fragments, at a fraction of the throughput"
  const detail = `${link.name} takes ${link.mtu} octets: packets of a lab up to ${fits} cross whole, ${cost}`
  const remedy = `ip link set dev ${link.name} mtu ${wanted} where the network allows it, or mtu: ${fits} in labs`
  return { subject, verdict: "WARNING", detail, neededFor, remedy }
}

const portFinding = (family: "ipv4" | "ipv6", ownPorts: ReadonlySet<number>): Promise<Finding> =>
  new Promise((resolve) => {
    const subject = `UDP port ${vxlanPort}`
    const neededFor = "labs that span hosts, unless they say port:"
    if (ownPorts.has(vxlanPort)) return resolve(fine(subject, "this weftd has it", neededFor))
    const socket = createSocket({ type: family === "ipv4" ? "udp4" : "udp6", ipv6Only: family === "ipv6" })
    socket.once("error", ({ message }) => {
      const remedy = `ss -ulnp 'sport = :${vxlanPort}'; ip -d link show type vxlan`
      resolve({ subject, verdict: "WARNING", detail: `cannot be had: ${message}`, neededFor, remedy })
    })
    socket.bind(vxlanPort, () => socket.close(() => resolve(fine(subject, "free", neededFor))))
  })
