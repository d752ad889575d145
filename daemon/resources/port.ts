/**
 * Ports: veth pairs between a node and the fabric, with our eBPF program at the ingress of the fabric side.
 *
 * A pair is made in its final namespaces in one request; its mark, its qdisc and its program follow in the same batch, then
 * the fabric side comes up, and the node's side last.
 * What was cut short between them is found as an unmarked veth in the fabric and removed (`reconciler/sweep.ts`), or as a
 * marked one without a program, which `observe` reports as absent so that it is completed.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { isTunnelEnd } from "../linux/bpf.ts"
import * as Fabric from "../linux/fabric.ts"
import { Batch, dump } from "../linux/rtnetlink.ts"
import type { StepOf } from "../plan/diff.ts"
import type { PortSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import * as Link from "../wire/rtnetlink/link.ts"
import * as Neighbour from "../wire/rtnetlink/neighbour.ts"
import * as Tc from "../wire/rtnetlink/tc.ts"
import { strictNodes } from "./by-hand.ts"
import { asFailure, batchByNode, byNode, type Failure, type Failures, type Handler } from "./handler.ts"
import type { Lab } from "./lab.ts"
import type { NodeSnapshot } from "./snapshot.ts"

const name = (port: { node: string; ifname: string }): string => `${port.node}:${port.ifname}`

function* observe(lab: Lab): Generator<readonly [string, PortSpec]> {
  const { fabricPorts, nodes } = lab.snapshot
  const programs = Fabric.programIds(lab.daemon.fabric.fd, Array.from(fabricPorts.values(), (port) => port.link.index))
  const others = otherEnds(lab)
  const isStrict = strictNodes(lab)
  for (const { node, ifname, link } of fabricPorts.values()) {
    const inside = nodes.get(node)?.links.get(ifname)
    const known = lab.known.has(id.port(node, ifname))
    if (inside === undefined || inside.index !== link.peer) {
      // One end without the other: as good as absent, unless nobody wants it, and then it is there to be removed.
      const state = "without its node's side"
      if (!known) yield [id.port(node, ifname), { node, ifname, mac: "", mtu: link.mtu, fabricName: link.name, state }]
      continue
    }
    const isPulled = !link.up && link.group === Fabric.pulledGroup
    const held = isPulled || (!link.up && isDown(lab, others.get(`${node}:${ifname}`)))
    const right = stateOf(lab, programs.get(link.index), held ? { ...link, up: true } : link, inside)
    const state = right === "up" && isStrict(node) ? stateByHand(nodes.get(node)!, inside) : right
    yield [id.port(node, ifname), { node, ifname, mac: inside.mac, mtu: inside.mtu, fabricName: link.name, state, ...carrierOf(isPulled) }]
  }
}

const carrierOf = (isPulled: boolean): Pick<PortSpec, "carrier"> => (isPulled ? { carrier: "lost" } : {})

/** How the host side has to stand for the carrier that the node's side shall have. */
const standing = ({ carrier }: PortSpec): { readonly up: boolean; readonly group: number } =>
  carrier === "lost" ? { up: false, group: Fabric.pulledGroup } : { up: true, group: 0 }

/** For each port of a link, the port at the other end. */
const otherEnds = (lab: Lab): ReadonlyMap<string, string> => {
  const others = new Map<string, string>()
  for (const { spec } of lab.desiredOf("segment")) {
    if (spec.segmentKind !== "p2p") continue
    others.set(spec.ports[0]!, spec.ports[1]!)
    others.set(spec.ports[1]!, spec.ports[0]!)
  }
  return others
}

/** The node's side of this port is down: then the host side of the other end is held down (reconciler/fabric-watch.ts). */
const isDown = (lab: Lab, port: string | undefined): boolean => {
  const [node, ifname] = port === undefined ? ["", ""] : splitPort(port)
  return lab.snapshot.nodes.get(node)?.links.get(ifname)?.up === false
}

const splitPort = (port: string): [node: string, ifname: string] => {
  const colon = port.indexOf(":")
  return [port.slice(0, colon), port.slice(colon + 1)]
}

/** `up`, or what is wrong with a port that exists. */
const stateOf = (lab: Lab, programId: number | undefined, outside: Link.Link, inside: Link.Link): string => {
  if (!inside.up || !outside.up) return "down"
  if (outside.mtu !== inside.mtu) return `the fabric side's mtu is ${outside.mtu}`
  if (programId === lab.daemon.program.programId) return "up"
  return programId === undefined ? "without its eBPF program" : "with another eBPF program"
}

/** The kernel's own queues of interfaces like ours: none; before it was first up, another name for none. */
const ownQueues = new Set(["noqueue", "noop", ""])

const neighboursOn = ({ neighbours }: NodeSnapshot, index: number) => neighbours.filter((one) => one.index === index)

/** `up`, or what somebody did to a port with ip(8) or tc(8). */
const stateByHand = (node: NodeSnapshot, inside: Link.Link): string => {
  const neighbours = neighboursOn(node, inside.index).map(({ address }) => address)
  const found = [
    ...(inside.arp ? [] : ["without ARP"]),
    ...(ownQueues.has(inside.qdisc) ? [] : [`with queue ${inside.qdisc}`]),
    ...(neighbours.length === 0 ? [] : [`with static neighbour ${neighbours.join(", ")}`])
  ]
  return found.length === 0 ? "up" : found.join(", ")
}

/** Undoes that. */
const undo = (lab: Lab, batch: Batch, { ifname, node }: PortSpec, tag: number): void => {
  const snapshot = lab.snapshot.nodes.get(node)
  const inside = snapshot?.links.get(ifname)
  if (snapshot === undefined || inside === undefined || !strictNodes(lab)(node)) return
  if (!ownQueues.has(inside.qdisc)) {
    Tc.removeRootQdisc(batch.out, inside.index)
    batch.note("remove queue of", `${node}:${ifname}`, tag)
  }
  for (const neighbour of neighboursOn(snapshot, inside.index)) {
    Neighbour.removeNeighbour(batch.out, neighbour)
    batch.note("remove static neighbour", `${neighbour.address} of ${node}:${ifname}`, tag)
  }
}

/** What makes a fabric side ours and makes it forward. */
const dress = (lab: Lab, batch: Batch, index: number, tag: number, port: PortSpec): void => {
  Tc.addClsact(batch.out, index)
  batch.note("add clsact qdisc", name(port), tag)
  Tc.addIngressFilter(batch.out, index, lab.daemon.program.programFd, Fabric.filterName)
  batch.note("attach eBPF program", name(port), tag)
}

const add = (lab: Lab, batch: Batch, step: StepOf<"port">, tag: number, index: number): void => {
  const { spec } = step.after!
  const stale = lab.fabricIndex(name(spec))
  if (stale !== undefined) {
    Link.removeLink(batch.out, stale)
    batch.note("remove link", name(spec), tag)
  }
  const inside = lab.freeIndex(spec.node)
  Link.addVeth(batch.out, {
    local: { name: spec.fabricName, index, mtu: spec.mtu },
    peer: { name: spec.ifname, index: inside, mtu: spec.mtu, mac: spec.mac },
    peerNetns: lab.netns(spec.node).fd,
    group: 0
  })
  batch.note("add link", name(spec), tag)
  Link.addAltName(batch.out, index, Fabric.markOf({ lab: lab.name, node: spec.node, ifname: spec.ifname }))
  batch.note("mark link", name(spec), tag)
  dress(lab, batch, index, tag, spec)
  Link.setLink(batch.out, index, standing(spec))
  batch.note(spec.carrier === "lost" ? "take the carrier from" : "bring up fabric side of", name(spec), tag)
  lab.setIndex(spec.node, spec.ifname, inside)
  lab.setFabricIndex(name(spec), index)
}

const addAll = (lab: Lab, steps: ReadonlyArray<StepOf<"port">>): Failures => {
  if (steps.length === 0) return []
  const failures: Failure[] = []
  const batch = new Batch(lab.daemon.fabric.fd)
  // Never the index of an interface that is gone while the program still has an entry for it.
  const { fabric, program } = lab.daemon
  const known = [...program.ports().keys()].filter((index) => !isTunnelEnd(index))
  let index = Math.max(1, ...Fabric.links(fabric.fd).map((link) => link.index), ...known)
  for (const [tag, step] of steps.entries()) {
    try {
      // The kernel tells of a carrier that is lost up to a second later where both ends of a veth have the same index, which it takes
      // for an interface that stands on no other (net/core/link_watch.c: linkwatch_urgent_event).
      if (++index === lab.freeIndex(step.after!.spec.node)) index++
      add(lab, batch, step, tag, index)
    } catch (error) {
      failures.push(asFailure(step.id, error))
    }
  }
  for (const { tag, error } of batch.commit()) {
    const step = steps[tag]!
    // The first failure of a port explains the others.
    if (!failures.some((failure) => failure.id === step.id)) failures.push({ id: step.id, error })
    lab.setFabricIndex(name(step.after!.spec), undefined)
  }
  const made = steps.filter((step) => !failures.some((failure) => failure.id === step.id))
  const up = batchByNode(lab, made, (batch, step, tag) => {
    Link.setLink(batch.out, lab.index(step.node, step.after!.spec.ifname), { up: true })
    batch.note("bring up link", name(step.after!.spec), tag)
  })
  return [...failures, ...up]
}

const change = (lab: Lab, steps: ReadonlyArray<StepOf<"port">>): Failures => {
  const outside = new Batch(lab.daemon.fabric.fd)
  for (const [tag, step] of steps.entries()) {
    const { spec } = step.after!
    const index = lab.fabricIndex(name(spec))!
    Link.setLink(outside.out, index, { mtu: spec.mtu, ...standing(spec) })
    outside.note("change link", name(spec), tag)
    dress(lab, outside, index, tag, spec)
  }
  const failures = outside.commit().map(({ tag, error }) => ({ id: steps[tag]!.id, error }))
  const inside = batchByNode(lab, steps, (batch, step, tag) => {
    const { spec } = step.after!
    Link.setLink(batch.out, lab.index(spec.node, spec.ifname), { mtu: spec.mtu, mac: spec.mac, up: true, arp: true })
    batch.note("change link", name(spec), tag)
    undo(lab, batch, spec, tag)
  })
  return [...failures, ...inside]
}

/** How long the kernel may take to tell its own parts of a carrier. */
const tellingMs = 500

/** Carriers have come back: waits until IPv6 knows, which accepts no gateway on the interface before. */
const settled = async (lab: Lab, steps: ReadonlyArray<StepOf<"port">>): Promise<void> => {
  const deadline = performance.now() + tellingMs
  for (const [node, group] of byNode(steps)) {
    const waited = new Set(group.map(({ after }) => lab.index(node, after!.spec.ifname)))
    const isTold = (): boolean =>
      Array.from(dump(lab.netns(node).fd, Link.dumpLinks)).every(({ body }) => Link.isRunning(body) || !waited.has(Link.decode(body).index))
    while (!isTold() && performance.now() < deadline) await sleep(1)
  }
}

/** How long the kernel may take until new links send: it does so in turn with all other changes of links on the machine. */
const openingMs = 3000

/**
 * Ports are new: waits until their host sides send. Those were set up first and got their carrier from the node's side later;
 * before the kernel acts on that, what is flooded to them is lost, and nobody's ARP is answered.
 */
const opened = async (lab: Lab, steps: ReadonlyArray<StepOf<"port">>): Promise<void> => {
  const sides = steps.flatMap(({ after }) => (after!.spec.carrier === "lost" ? [] : (lab.fabricIndex(name(after!.spec)) ?? [])))
  let waited: ReadonlySet<number> = new Set(sides)
  const deadline = performance.now() + openingMs
  for (let pauseMs = 1; waited.size > 0 && performance.now() < deadline; pauseMs = Math.min(50, pauseMs * 2)) {
    // A node that has taken its side down meanwhile has no carrier to wait for.
    waited = Fabric.opening(lab.daemon.fabric.fd, waited)
    if (waited.size > 0) await sleep(pauseMs)
  }
}

const remove = (lab: Lab, steps: ReadonlyArray<StepOf<"port">>): Failures => {
  const indexes: number[] = []
  for (const step of steps) {
    const index = lab.fabricIndex(name(step.before!))
    if (index === undefined) continue
    lab.daemon.program.removePort(index)
    lab.setFabricIndex(name(step.before!), undefined)
    indexes.push(index)
  }
  try {
    Fabric.removeLinks(lab.daemon.fabric.fd, indexes)
    return []
  } catch (error) {
    return steps.map((step) => asFailure(step.id, error))
  }
}

export const handler: Handler<"port"> = {
  kind: "port",
  observe,
  converge: async (lab, steps) => {
    // A carrier that goes takes routes along that BFD watches: what is wanted of them has to be known before.
    lab.daemon.bfdRoutes.follow(lab)
    const removed = remove(lab, steps.filter((step) => step.action === "replace"))
    const added = addAll(lab, steps.filter((step) => step.action !== "update"))
    const changed = change(lab, steps.filter((step) => step.action === "update"))
    await settled(lab, steps.filter(({ after, before }) => before?.carrier === "lost" && after!.spec.carrier === undefined))
    await opened(lab, steps.filter((step) => step.action !== "update"))
    return [...removed, ...added, ...changed]
  },
  remove
}
