/**
 * The VXLAN devices by which segments reach other hosts: one for each UDP port that some segment uses.
 *
 *   fabric namespace                                    weftd's own namespace: the underlay
 *   weft_port_5 --> vxlan4789 (external, clsact) ~~~~~~ UDP socket, port 4789 --> routes of the machine
 *
 * The device is made from the underlay straight into the fabric: its sockets stay where it was asked for, and it never
 * exists elsewhere. It knows no VNIs and no peers; those are tunnel ends in the program's maps (linux/bpf-tunnels.ts), and a
 * device is there as long as a tunnel end uses it. It bears the mark `weft-vxlan.PORT`. One that somebody deletes is made
 * again under the same ifindex, so that nothing else has to change.
 */
import { isTunnelEnd, type PortProgram, type TunnelEnd } from "../linux/bpf.ts"
import { KernelError, reasonOf } from "../linux/errors.ts"
import * as Fabric from "../linux/fabric.ts"
import type { Netns } from "../linux/netns.ts"
import { Batch } from "../linux/rtnetlink.ts"
import { interfaceOf, vxlanOverhead } from "../linux/underlay.ts"
import { familyOf } from "../wire/ip.ts"
import * as Link from "../wire/rtnetlink/link.ts"
import * as Tc from "../wire/rtnetlink/tc.ts"

interface Parts {
  readonly fabric: Netns
  readonly program: PortProgram
  /** This host's address in the underlay, the source of what it sends; absent: routes choose. */
  readonly address?: string
  /** The namespace of the underlay; absent: weftd's own. */
  readonly underlay?: Netns
  /** Something that whoever runs the daemon wants to know. */
  readonly tell: (message: string) => void
}

/**
 * As large as a device takes: a lab's MTU is not the underlay's. Over IPv4, what is too long is fragmented there; 65,535 octets
 * of IP packet hold 50 octets of headers and this. Over IPv6 the kernel drops it (net/ipv6/ip6_output.c, ip6_fragment: only with
 * `ignore_df`), so there the engine sends for a segment whose MTU is too large (tunnel-ways.ts), as a socket's packets are fragmented.
 */
const deviceMtu = 65_485
const ownNamespace = -1

export interface TunnelDevice {
  readonly index: number
  /** It is up and has our program. */
  readonly whole: boolean
}

export class Tunnels {
  private readonly parts: Parts
  private kernelHasVxlan = true
  private devices: ReadonlyMap<number, TunnelDevice> = new Map()
  private underlayMtu: number | undefined

  constructor(parts: Parts) {
    this.parts = parts
  }

  /** False once the kernel has said that it has no VXLAN devices. */
  get supported(): boolean {
    return this.kernelHasVxlan
  }

  /** Reads the devices that are there, by UDP port, and the underlay's MTU. */
  look(): ReadonlyMap<number, TunnelDevice> {
    const { address, fabric, program, underlay } = this.parts
    this.underlayMtu = address === undefined ? undefined : interfaceOf(underlay?.fd ?? ownNamespace, address)?.mtu
    const links = Fabric.ports(fabric.fd).vxlans.filter(isOurs)
    const programs = Fabric.programIds(fabric.fd, links.map((link) => link.index))
    const entries = program.ports()
    const isWhole = ({ index, up }: Link.Link): boolean =>
      up && programs.get(index) === program.programId && entries.get(index)?.port.kind === "tunnels"
    this.devices = new Map(links.map((link) => [link.vxlan!.port, { index: link.index, whole: isWhole(link) }]))
    return this.devices
  }

  /**
   * The tunnel end of `vni` towards the host at `remote`, on the device of this UDP port, which is made or mended. Returns its
   * index. `via`: ifindex of what sends instead of the device.
   * @throws KernelError; EOPNOTSUPP: the kernel has no VXLAN devices
   */
  add(port: number, vni: number, remote: string, via?: number): number {
    const index = this.open(port)
    const local = this.localFor(remote)
    const end = { device: index, vni, remote, ...(local === undefined ? {} : { local }), ...(via === undefined ? {} : { via }) }
    return this.parts.program.addTunnelEnd(end)
  }

  /** The device of this UDP port, made or mended if need be; returns its ifindex. @throws KernelError */
  open(port: number): number {
    const device = this.devices.get(port)
    return device?.whole === true ? device.index : this.make(port, device?.index)
  }

  /** Whether the kernel can send packets of `mtu` octets to the host at `remote`, in fragments if need be. */
  carries(mtu: number, remote: string): boolean {
    return familyOf(remote) === "ipv4" || this.underlayMtu === undefined || mtu + vxlanOverhead.ipv6 <= this.underlayMtu
  }

  /** The tunnel ends of `vni`, by index. */
  endsOf(vni: number): ReadonlyMap<number, TunnelEnd> {
    const { program } = this.parts
    return new Map(Array.from(program.tunnelEndsOf(vni), (index) => [index, program.tunnelEnds().get(index)!]))
  }

  /** The address from which to send to `remote`; undefined: whichever the route says. */
  localFor(remote: string): string | undefined {
    const { address } = this.parts
    return address !== undefined && familyOf(address) === familyOf(remote) ? address : undefined
  }

  /** Removes these tunnel ends, and devices that no other uses. */
  remove(indexes: ReadonlyArray<number>): void {
    if (indexes.length === 0) return
    this.parts.program.removeTunnelEnds(indexes)
    this.prune()
  }

  /** The VXLAN device `index` is gone: makes it again when tunnel ends use it. */
  lost(index: number): void {
    const { program, tell } = this.parts
    const entry = program.ports().get(index)?.port
    if (entry?.kind !== "tunnels") return
    const ends = [...program.tunnelEnds()].flatMap(([end, { device }]) => (device === index ? [end] : []))
    try {
      if (ends.length === 0) return program.removePort(index)
      this.make(entry.udpPort, undefined)
      tell(`VXLAN device of UDP port ${entry.udpPort} was deleted by somebody: made again`)
    } catch (error) {
      program.removeTunnelEnds(ends)
      program.removePort(index)
      tell(reasonOf(error))
    }
  }

  /** The VXLAN device `index` is down: sets it up again when it is one of ours. Nothing else tells that frames are lost. */
  lowered(index: number): void {
    const { fabric, program, tell } = this.parts
    const entry = program.ports().get(index)?.port
    if (entry?.kind !== "tunnels") return
    const batch = new Batch(fabric.fd)
    Link.setLink(batch.out, index, { up: true })
    batch.note("bring up VXLAN device", String(entry.udpPort))
    const failure = batch.commit()[0]
    tell(failure === undefined ? `VXLAN device of UDP port ${entry.udpPort} was set down by somebody: up again` : reasonOf(failure.error))
  }

  /** At start: removes tunnel ends of no VNI in `vnis`, makes devices that are missing, removes those that are left over. */
  sweep(vnis: ReadonlySet<number>): void {
    const { fabric, program } = this.parts
    program.removeTunnelEnds([...program.tunnelEnds()].flatMap(([index, { vni }]) => (vnis.has(vni) ? [] : [index])))
    const links = Fabric.ports(fabric.fd).vxlans
    const alive = new Set(links.map((link) => link.index))
    for (const [index, { port }] of [...program.ports()]) if (port.kind === "tunnels" && !alive.has(index)) this.lost(index)
    const known = program.ports()
    Fabric.removeLinks(fabric.fd, links.flatMap((link) => (isOurs(link) && known.has(link.index) ? [] : [link.index])))
    this.prune()
  }

  private prune(): void {
    const { fabric, program } = this.parts
    const used = new Set([...program.tunnelEnds().values()].map(({ device }) => device))
    const idle = [...program.ports()].flatMap(([index, { port }]) => (port.kind === "tunnels" && !used.has(index) ? [index] : []))
    if (idle.length === 0) return
    program.removePorts(idle)
    Fabric.removeLinks(fabric.fd, idle)
    this.look()
  }

  /** Makes the device, or mends the one that is `there`. */
  private make(port: number, there: number | undefined): number {
    const { fabric, program } = this.parts
    const index = there ?? this.create(port)
    const batch = new Batch(fabric.fd)
    if (there === undefined) {
      Link.addAltName(batch.out, index, Fabric.vxlanMarkOf(port))
      batch.note("mark VXLAN device", String(port))
    }
    Tc.addClsact(batch.out, index)
    batch.note("add clsact qdisc to VXLAN device", String(port))
    Tc.addIngressFilter(batch.out, index, program.programFd, Fabric.filterName)
    batch.note("attach eBPF program to VXLAN device", String(port))
    Link.setLink(batch.out, index, { up: true, mtu: deviceMtu })
    batch.note("bring up VXLAN device", String(port))
    const failure = batch.commit()[0]
    if (failure !== undefined) {
      if (there === undefined) Fabric.removeLinks(fabric.fd, [index])
      throw explained(failure.error, port)
    }
    program.setPort(index, { kind: "tunnels", udpPort: port })
    if (there === undefined) this.elideGro(port)
    this.devices = new Map([...this.devices, [port, { index, whole: true }]])
    return index
  }

  /**
   * What the underlay's interface could join has been joined there; to try again costs a tenth of the packets per second
   * (net/core/gro_cells.c). A device that refuses is only slower.
   */
  private elideGro(port: number): void {
    try {
      Fabric.elideGro(this.parts.fabric.fd, nameOf(port))
    } catch (error) {
      this.parts.tell(reasonOf(error))
    }
  }

  private create(port: number): number {
    const { fabric, program, underlay } = this.parts
    const known = [...program.ports()].find(([, entry]) => entry.port.kind === "tunnels" && entry.port.udpPort === port)?.[0]
    const taken = [...Fabric.links(fabric.fd).map((link) => link.index), ...[...program.ports().keys()].filter((key) => !isTunnelEnd(key))]
    const index = known ?? Math.max(1, ...taken) + 1
    const batch = new Batch(underlay?.fd ?? ownNamespace)
    Link.addVxlan(batch.out, { name: nameOf(port), index, mtu: deviceMtu, port, netns: fabric.fd })
    batch.note("make VXLAN device for UDP port", String(port))
    const failure = batch.commit()[0]
    if (failure === undefined) return index
    if (failure.error.code === "EOPNOTSUPP") this.kernelHasVxlan = false
    throw explained(failure.error, port)
  }
}

const nameOf = (port: number): string => `vxlan${port}`

/** What bears the mark of its port and is what we would make. */
const isOurs = ({ altNames, vxlan }: Link.Link): boolean => vxlan?.external === true && altNames.includes(Fabric.vxlanMarkOf(vxlan.port))

const advice: Readonly<Record<string, (port: number) => string>> = {
  EADDRINUSE: (port) =>
    `the port is taken in the underlay: \`ss -ulnp 'sport = :${port}'\` says by whom; a socket without a process is a VXLAN device's, ` +
    "see `ip -d link show type vxlan`. End it, or give the lab another `port:`",
  EEXIST: (port) =>
    `another VXLAN device without peers of its own has port ${port}, for instance that of another weftd or of a container network, see ` +
    "`ip -d link show type vxlan`. Remove it, or give the lab another `port:`",
  EOPNOTSUPP: () => "this kernel has no VXLAN devices (CONFIG_VXLAN, or the module vxlan): use `datapath: engine`"
}

const explained = (error: KernelError, port: number): KernelError => {
  const detail = advice[error.code]?.(port)
  return detail === undefined ? error : new KernelError({ operation: error.operation, object: error.object, code: error.code, detail })
}
