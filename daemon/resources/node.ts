/**
 * Nodes: named network namespaces and the sysctls in them.
 *
 * A node that is paused (a fault) has its processes stopped by SIGSTOP; which they were is recorded with the lab, and these go on
 * afterwards. Its sessions of BFD run in weftd and stand still with them.
 *
 * Removing a node first ends every process that runs in its namespace: a namespace lives as long as anyone is in it.
 */
import { rmSync, symlinkSync } from "node:fs"
import { KernelError } from "../linux/errors.ts"
import * as Netns from "../linux/netns.ts"
import { continueProcesses, endProcesses, hasContinued, stopProcesses } from "../linux/process.ts"
import { Batch } from "../linux/rtnetlink.ts"
import * as Sysctl from "../linux/sysctl.ts"
import * as Link from "../wire/rtnetlink/link.ts"
import type { StepOf } from "../plan/diff.ts"
import type { NodeSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { asFailure, each, type Failure, type Failures, type Handler } from "./handler.ts"
import { hasOwnEtc, hostsPath } from "./hosts-file.ts"
import type { Lab } from "./lab.ts"

/** In every namespace (net/core/dev.c: LOOPBACK_IFINDEX). */
const loopbackIndex = 1
const endGraceMs = 500

function* observe(lab: Lab): Generator<readonly [string, NodeSpec]> {
  const specs = new Map(Array.from(lab.knownOf("node"), ({ spec }) => [spec.node, spec]))
  for (const [node, { netns }] of lab.snapshot.nodes) {
    const spec = specs.get(node)
    const names = Object.keys(spec?.sysctls ?? {})
    const dropped = lab.formerSysctls(node).filter((name) => spec?.sysctls[name] === undefined)
    const sysctls = { ...Sysctl.read(netns.fd, names), ...notInitial(Sysctl.read(netns.fd, dropped)) }
    const paused = isPaused(lab, node) ? { paused: true as const } : {}
    const loopback = lab.snapshot.nodes.get(node)?.links.get("lo")?.up === false ? { loopback: "down" as const } : {}
    yield [id.node(node), { node, nodeKind: spec?.nodeKind ?? "host", sysctls, ...paused, ...loopback }]
  }
  // Whoever deletes a namespace by hand leaves its files; whoever is killed while deleting it, the file of its name.
  for (const [node, spec] of specs) {
    const lost = !lab.snapshot.nodes.has(node) && !lab.snapshot.foreign.has(node) && !lab.desired.has(id.node(node))
    if (lost && (hasOwnEtc(lab, node) || Netns.isHalfMade(Netns.nodeName(lab.name, node)))) yield [id.node(node), spec]
  }
}

/** As recorded, as long as nobody else let the processes go on. */
const isPaused = (lab: Lab, node: string): boolean => {
  const record = lab.records.get(id.node(node))
  const { inode } = lab.netns(node)
  if (record?.kind !== "pause" || record.inode !== inode) return false
  return lab.daemon.bfd.isPaused(pathOf(lab, node), inode) && !hasContinued(record.stopped)
}

const pathOf = (lab: Lab, node: string): string => Netns.path(Netns.nodeName(lab.name, node))

const pause = (lab: Lab, node: string): void => {
  const { inode } = lab.netns(node)
  const record = lab.records.get(id.node(node))
  const before = record?.kind === "pause" && record.inode === inode ? record.stopped : []
  lab.daemon.bfd.setPaused(pathOf(lab, node), inode, true)
  lab.records.set(id.node(node), { kind: "pause", inode, stopped: [...before, ...stopProcesses(inode)] })
}

const resume = (lab: Lab, node: string): void => {
  const { inode } = lab.netns(node)
  const record = lab.records.get(id.node(node))
  if (record?.kind === "pause" && record.inode === inode) continueProcesses(inode, record.stopped)
  lab.records.delete(id.node(node))
  lab.daemon.bfd.setPaused(pathOf(lab, node), inode, false)
}

/** Settings that nobody wants any more are there as long as they differ from what the kernel gives a new namespace. */
const notInitial = (values: Readonly<Record<string, string>>): Readonly<Record<string, string>> => {
  const names = Object.keys(values)
  if (names.length === 0) return values
  const initial = Sysctl.initialValues(names)
  return Object.fromEntries(Object.entries(values).filter(([name, value]) => initial[name] !== value))
}

/** Files that commands in the node find in /etc: what `ip netns exec` binds there. */
const makeEtc = (lab: Lab, name: string): void => {
  const etc = Netns.makeEtc(name)
  rmSync(`${etc}/hosts`, { force: true })
  symlinkSync(hostsPath(lab), `${etc}/hosts`)
}

/** What to write: everything that differs, and the kernel's own value where nobody wants another any more. */
const settings = (step: StepOf<"node">): Record<string, string> => {
  const wanted = step.after!.spec.sysctls
  const now: Readonly<Record<string, string>> = step.before?.sysctls ?? {}
  const changed = Object.fromEntries(Object.entries(wanted).filter(([name, value]) => now[name] !== value))
  const dropped = Object.keys(now).filter((name) => wanted[name] === undefined)
  return dropped.length === 0 ? changed : { ...changed, ...Sysctl.initialValues(dropped) }
}

const converge = (lab: Lab, steps: ReadonlyArray<StepOf<"node">>): Failures => {
  const failures: Failure[] = []
  for (const step of steps) {
    try {
      const name = Netns.nodeName(lab.name, step.node)
      const foreign = lab.snapshot.foreign.get(step.node)
      if (foreign !== undefined) throw foreign
      if (step.action !== "update") {
        // The files first: a namespace that is there is whole.
        makeEtc(lab, name)
        Netns.create(name, lab.daemon.instance)
        // Whoever had this name until now may have removed the files with it.
        if (!hasOwnEtc(lab, step.node)) makeEtc(lab, name)
        lab.adopt(step.node)
      }
      const error = Sysctl.write(lab.netns(step.node).fd, settings(step))[0]
      if (error !== undefined) failures.push({ id: step.id, error: inNode(step.node, error) })
      if (step.before?.loopback === "down") bringUpLoopback(lab, step.node)
      if (step.after!.spec.paused === true) pause(lab, step.node)
      else if (step.before?.paused === true || lab.records.has(step.id)) resume(lab, step.node)
    } catch (error) {
      failures.push(asFailure(step.id, error))
    }
  }
  return failures
}

/** Of a new node, it is up from the beginning. @throws KernelError */
const bringUpLoopback = (lab: Lab, node: string): void => {
  const batch = new Batch(lab.netns(node).fd)
  Link.setLink(batch.out, loopbackIndex, { up: true })
  batch.note("bring up loopback", node)
  const [failure] = batch.commit()
  if (failure !== undefined) throw failure.error
}

const inNode = (node: string, error: KernelError): KernelError =>
  new KernelError({ operation: error.operation, object: `${error.object} in ${node}`, code: error.code, detail: error.detail })

const remove = async (lab: Lab, steps: ReadonlyArray<StepOf<"node">>): Promise<Failures> => {
  const inodes = steps.flatMap((step) => lab.snapshot.nodes.get(step.node)?.netns.inode ?? [])
  await endProcesses(new Set(inodes), endGraceMs)
  const failures = each(steps, (step) => {
    const name = Netns.nodeName(lab.name, step.node)
    const seen = lab.snapshot.nodes.get(step.node)?.netns.inode
    const now = Netns.within(name, ({ inode }) => inode)
    lab.forget(step.node)
    lab.records.delete(step.id)
    if (seen !== undefined) lab.daemon.bfd.setPaused(Netns.path(name), seen, false)
    // What has come under this name since we looked is not ours to remove: a node that moves between two instances.
    if (now === undefined || now === seen) Netns.remove(name)
    else if (hasOwnEtc(lab, step.node)) Netns.removeEtc(name)
  })
  // Who came in by the name while the others were being ended; now there is no name to come in by. The snapshot still has
  // the namespaces open, so that their inodes are nobody else's.
  await endProcesses(new Set(inodes), 0)
  return failures
}

export const handler: Handler<"node"> = { kind: "node", observe, converge, remove }
