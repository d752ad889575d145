/** Policy routing rules that carry our protocol number, and what people add to them (by-hand.ts). */
import * as Rule from "../wire/rtnetlink/rule.ts"
import type { RuleSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { batchByNode, type Handler } from "./handler.ts"
import type { Lab } from "./lab.ts"
import { strictNodes } from "./by-hand.ts"
import { byHand, protocol } from "./protocol.ts"

const describe = (spec: RuleSpec): string => `${spec.priority} (${spec.family}) in ${spec.node}`

const toKernel = ({ byHand: made, node: _, ...rule }: RuleSpec): Rule.Rule =>
  made === undefined ? { ...rule, protocol } : { ...rule, ...made }

/** Older versions of ip(8) give rules no protocol. The kernel's own have one (RTPROT_KERNEL). */
const madeRules = new Set([0, byHand])

function* observe(lab: Lab): Generator<readonly [string, RuleSpec]> {
  const isStrict = strictNodes(lab)
  for (const [node, { rules }] of lab.snapshot.nodes) {
    // Ours after those that have their priorities: each id is told once, and theirs go when ours is put right.
    for (const { action, protocol: owner, ...rule } of rules) {
      if (!madeRules.has(owner) || !isStrict(node)) continue
      const made = { protocol: owner, ...(action === undefined ? {} : { action }) }
      yield [id.rule(node, rule.family, rule.priority), { node, ...rule, byHand: made }]
    }
    for (const { protocol: owner, ...rule } of rules) {
      if (owner === protocol) yield [id.rule(node, rule.family, rule.priority), { node, ...rule }]
    }
  }
}

export const handler: Handler<"rule"> = {
  kind: "rule",
  observe,
  converge: (lab, steps) =>
    batchByNode(lab, steps, (batch, step, tag) => {
      if (step.before !== undefined) {
        Rule.removeRule(batch.out, toKernel(step.before))
        batch.note("remove rule", describe(step.before), tag)
      }
      Rule.addRule(batch.out, toKernel(step.after!.spec))
      batch.note("add rule", describe(step.after!.spec), tag)
    }),
  remove: (lab, steps) =>
    batchByNode(lab, steps, (batch, step, tag) => {
      Rule.removeRule(batch.out, toKernel(step.before!))
      batch.note("remove rule", describe(step.before!), tag)
    })
}
