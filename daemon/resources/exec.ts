/**
 * Commands that a node runs once when everything else of it is there; those of a container node run in the container. What
 * has run, in which namespace and in which container, is recorded with the lab: one that was made anew runs them again.
 *
 * Commands of one node run one after the other, those of different nodes at the same time. A command that goes on in the
 * background is fine; one that stays in the foreground is ended after a minute and counts as failed.
 */
import { KernelError } from "../linux/errors.ts"
import * as Netns from "../linux/netns.ts"
import { runToEnd, spawnInNetns } from "../linux/process.ts"
import type { StepOf } from "../plan/diff.ts"
import { type ExecSpec, id } from "../plan/resource.ts"
import { blockedBy, byNode, type Failure, type Failures, type Handler, inParallel } from "./handler.ts"
import type { Lab } from "./lab.ts"

const timeoutMs = 60_000
const atOnce = 32

async function observe(lab: Lab): Promise<Iterable<readonly [string, ExecSpec]>> {
  const found: Array<readonly [string, ExecSpec]> = []
  for (const [resource, record] of lab.records) {
    const [, node, index] = resource.split("/")
    if (record.kind !== "exec" || node === undefined || lab.snapshot.nodes.get(node)?.netns.inode !== record.inode) continue
    // What the kernel cannot say of a container, Docker has to be asked for; without an answer it has run.
    if (isContainer(lab, node)) {
      const container = await lab.daemon.containers.idOf({ lab: lab.name, node })
      if (container !== undefined && container !== record.container) continue
    }
    found.push([resource, { node, index: Number(index), argv: record.argv }])
  }
  return found
}

const isContainer = (lab: Lab, node: string): boolean => lab.desired.has(id.container(node))

const run = async (lab: Lab, step: StepOf<"exec">): Promise<Failure | undefined> => {
  const { node, argv } = step.after!.spec
  const name = Netns.nodeName(lab.name, node)
  const fail = (code: string, detail: string): Failure => ({
    id: step.id,
    error: new KernelError({ operation: `run command in ${node}`, object: argv.join(" "), code, detail })
  })
  try {
    const command = { netnsPath: Netns.path(name), etcDir: Netns.etcPath(name), hostname: node, argv }
    const place = { lab: lab.name, node }
    const running = isContainer(lab, node) ? lab.daemon.containers.command(place, { argv }) : spawnInNetns(command)
    const { code, stderr, stdout, timedOut } = await runToEnd(running, { timeoutMs })
    if (timedOut) return fail("ETIMEDOUT", `still running after ${timeoutMs / 1000} s: start long-running commands in the background`)
    if (code !== 0) return fail(`exit code ${code}`, lastLine(stderr === "" ? stdout : stderr))
  } catch (error) {
    return fail("EIO", error instanceof Error ? error.message : String(error))
  }
  const container = isContainer(lab, node) ? await lab.daemon.containers.idOf({ lab: lab.name, node }) : undefined
  lab.records.set(step.id, { kind: "exec", argv, inode: lab.netns(node).inode, ...(container === undefined ? {} : { container }) })
  // At once: a daemon that is killed after this does not run it again.
  await lab.save()
  return undefined
}

const lastLine = (output: string): string => output.trimEnd().split("\n").at(-1) ?? ""

/** In order; the first that fails ends the node's list, and the rest fail with it. */
const runInOrder = async (lab: Lab, steps: ReadonlyArray<StepOf<"exec">>): Promise<Failures> => {
  for (const [position, step] of steps.entries()) {
    const failure = await run(lab, step)
    if (failure !== undefined) return [failure, ...steps.slice(position + 1).map((later) => notRun(later, step.id))]
  }
  return []
}

const notRun = (step: StepOf<"exec">, cause: string): Failure => ({ id: step.id, error: blockedBy(step, cause) })

export const handler: Handler<"exec"> = {
  kind: "exec",
  observe,
  converge: async (lab, steps) =>
    (await inParallel(atOnce, [...byNode(steps).values()], (group) => runInOrder(lab, group))).flat(),
  remove: (lab, steps) => {
    for (const step of steps) lab.records.delete(step.id)
    return []
  }
}
