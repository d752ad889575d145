/**
 * BGP speakers: what the routing thread runs, compared with what the topology wants.
 *
 * A speaker belongs to the namespace that it was started in. Where that was made anew, the old speaker does not count, and
 * making the new one ends it. What weftd ran before it was killed is not there, so it is made again; it finds its routes
 * in the kernel and restarts gracefully.
 */
import type { RunningSpeaker } from "../bgp/routing.ts"
import { KernelError, reasonOf } from "../linux/errors.ts"
import * as Netns from "../linux/netns.ts"
import type { BgpSpec } from "../plan/bgp.ts"
import type { StepOf } from "../plan/diff.ts"
import { id } from "../plan/resource.ts"
import { asFailure, type Failure, type Failures, type Handler, inParallel } from "./handler.ts"
import type { Lab } from "./lab.ts"

const isThere = (lab: Lab, node: string, { inode }: RunningSpeaker): boolean => lab.snapshot.nodes.get(node)?.netns.inode === inode

function* observe(lab: Lab): Generator<readonly [string, BgpSpec]> {
  for (const [node, running] of lab.daemon.routing.running(lab.name)) {
    const isWanted = lab.desired.has(id.bgp(node))
    // One whose namespace has gone is still to be removed when nobody wants it.
    if (isThere(lab, node, running) || !isWanted) yield [id.bgp(node), running.spec]
  }
}

const failing = async (operation: string, object: string, action: () => Promise<void>): Promise<void> => {
  try {
    await action()
  } catch (error) {
    if (error instanceof KernelError) throw error
    throw new KernelError({ operation, object, code: "bgp", detail: reasonOf(error) })
  }
}

const start = async (lab: Lab, node: string, spec: BgpSpec): Promise<void> => {
  const name = Netns.nodeName(lab.name, node)
  const netns = Netns.open(name)
  if (netns === undefined) throw new KernelError({ operation: "open network namespace", object: name, code: "ENOENT" })
  await lab.daemon.routing.add({ lab: lab.name, node }, { fd: netns.fd, inode: netns.inode, path: Netns.path(name) }, spec)
}

/** Each does little but wait for the thread, which has others to serve. */
const atOnce = 64

const eachAtOnce = async (steps: ReadonlyArray<StepOf<"bgp">>, action: (step: StepOf<"bgp">) => Promise<void>): Promise<Failures> => {
  const failures = await inParallel(atOnce, steps, async (step): Promise<Failure | undefined> => {
    try {
      await action(step)
      return undefined
    } catch (error) {
      return asFailure(step.id, error)
    }
  })
  return failures.filter((failure) => failure !== undefined)
}

const converge = (lab: Lab, steps: ReadonlyArray<StepOf<"bgp">>): Promise<Failures> =>
  eachAtOnce(steps, ({ after, before, node }) => {
    const { spec } = after!
    // What does not run as it should is started anew, not changed.
    if (before?.state !== "running" && before?.state !== "paused") return failing("start BGP on", node, () => start(lab, node, spec))
    return failing("change BGP on", node, () => lab.daemon.routing.change({ lab: lab.name, node }, spec))
  })

const remove = (lab: Lab, steps: ReadonlyArray<StepOf<"bgp">>): Promise<Failures> =>
  eachAtOnce(steps, ({ node }) => {
    const flush = lab.desired.has(id.node(node))
    return failing("end BGP on", node, () => lab.daemon.routing.remove({ lab: lab.name, node }, { flush }))
  })

export const handler: Handler<"bgp"> = { kind: "bgp", observe, converge, remove }
