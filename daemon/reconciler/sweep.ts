/**
 * Removes what carries our mark and belongs to no lab: containers, namespaces, host sides of ports, interfaces whose making was cut
 * short, VXLAN devices, entries of the eBPF maps. Runs at start, before labs are looked at; a lab's own leftovers are its diff's business.
 */
import { readdirSync, rmSync } from "node:fs"
import { isTunnelEnd } from "../linux/bpf.ts"
import * as Fabric from "../linux/fabric.ts"
import * as Netns from "../linux/netns.ts"
import { endProcesses } from "../linux/process.ts"
import type { EventLog } from "../observe/events.ts"
import { labsDirectory, type Daemon } from "../resources/lab.ts"

const endGraceMs = 500

/** `labs`: names of the labs that there are; `vnis`: of their segments. */
export const sweep = async (daemon: Daemon, labs: ReadonlySet<string>, vnis: ReadonlySet<number>, events: EventLog): Promise<void> => {
  const tell = (subject: string): void =>
    events.emit({ lab: "", type: "daemon.swept", subject, message: `${subject} belonged to no lab: removed` })
  for (const stray of await daemon.containers.sweep(labs)) tell(stray)
  const strangers = Netns.list().filter((name) => {
    const parsed = Netns.parseNodeName(name)
    return parsed !== undefined && !labs.has(parsed.lab) && Netns.owner(name) === daemon.instance
  })
  const inodes = strangers.flatMap((name) => Netns.within(name, (netns) => netns.inode) ?? [])
  await endProcesses(new Set(inodes), endGraceMs)
  for (const name of strangers) {
    Netns.remove(name)
    tell(name)
  }
  const { marked, taps, unmarked } = Fabric.ports(daemon.fabric.fd)
  // Nobody reads a TAP that was there before this daemon: the labs' links get new ones.
  const unread = taps.filter((link) => !daemon.links.uses(link.index))
  const strays = [...marked.filter((port) => !labs.has(port.lab)).map((port) => port.link), ...unmarked]
  Fabric.removeLinks(daemon.fabric.fd, [...strays, ...unread].map((link) => link.index))
  for (const link of strays) tell(`fabric interface ${link.name}`)
  sweepProgram(daemon)
  daemon.tunnels.sweep(vnis)
  for (const name of Netns.listEtc(`${labsDirectory(daemon)}/`)) {
    const parsed = Netns.parseNodeName(name)
    if (parsed === undefined || labs.has(parsed.lab)) continue
    Netns.removeEtc(name)
    tell(Netns.etcPath(name))
  }
  for (const directory of existing(labsDirectory(daemon))) {
    if (!labs.has(directory)) rmSync(`${labsDirectory(daemon)}/${directory}`, { recursive: true, force: true })
  }
}

/** Entries of interfaces that are gone: an ifindex can be given out again. */
const sweepProgram = ({ program, fabric }: Daemon): void => {
  const alive = new Set(Fabric.links(fabric.fd).map((link) => link.index))
  for (const [index, { port }] of [...program.ports()]) {
    // Tunnel ends are no interfaces, and a VXLAN device that is gone is made again.
    if (!alive.has(index) && !isTunnelEnd(index) && port.kind !== "tunnels") program.removePort(index)
  }
}

const existing = (directory: string): ReadonlyArray<string> => {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
