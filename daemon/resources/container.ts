/**
 * Containers: what runs in the namespace of a node of kind container. Made last, so that a process finds all of its
 * interfaces, addresses and routes; ended first, before the namespace goes.
 *
 * /etc/hosts and /etc/resolv.conf of a container are files of its own with what other nodes of the lab find there.
 */
import { existsSync, readFileSync } from "node:fs"
import * as Netns from "../linux/netns.ts"
import type { StepOf } from "../plan/diff.ts"
import type { ContainerSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { asFailure, type Failure, type Failures, type Handler, inParallel } from "./handler.ts"
import { containerDirectory, hostsPath } from "./hosts-file.ts"
import type { Lab } from "./lab.ts"

const atOnce = 8

async function observe(lab: Lab): Promise<Iterable<readonly [string, ContainerSpec]>> {
  const isWanted = (node: string): boolean => lab.desired.has(id.container(node))
  const known = new Map(Array.from(lab.knownOf("container"), ({ spec }) => [spec.node, { spec, isWanted: isWanted(spec.node) }]))
  if (known.size === 0) return []
  const found = await lab.daemon.containers.find(
    lab.name,
    (node) => known.get(node),
    (node) => lab.snapshot.nodes.get(node)?.netns.inode
  )
  // No engine: nothing can be said, and what is wanted fails with the reason when it is to be made.
  return Array.from(found ?? [], ([node, { spec }]) => [id.container(node), spec] as const)
}

const contentOf = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "")

const converge = async (lab: Lab, steps: ReadonlyArray<StepOf<"container">>): Promise<Failures> => {
  const failures = await inParallel(atOnce, steps, async (step): Promise<Failure | undefined> => {
    const { node } = step
    try {
      await lab.daemon.containers.run({ lab: lab.name, node }, {
        spec: step.after!.spec,
        inode: lab.netns(node).inode,
        directory: containerDirectory(lab, node),
        etc: { hosts: contentOf(hostsPath(lab)), resolver: contentOf(`${Netns.etcPath(Netns.nodeName(lab.name, node))}/resolv.conf`) },
        anew: step.action === "replace"
      })
      return undefined
    } catch (error) {
      return asFailure(step.id, error)
    }
  })
  return failures.filter((failure) => failure !== undefined)
}

const remove = async (lab: Lab, steps: ReadonlyArray<StepOf<"container">>): Promise<Failures> => {
  const failures = await inParallel(atOnce, steps, async ({ id: stepId, node }): Promise<Failure | undefined> => {
    try {
      await lab.daemon.containers.remove({ lab: lab.name, node }, containerDirectory(lab, node))
      return undefined
    } catch (error) {
      return asFailure(stepId, error)
    }
  })
  return failures.filter((failure) => failure !== undefined)
}

export const handler: Handler<"container"> = { kind: "container", observe, converge, remove }
