/** Policy routing rules that carry our protocol number. */
import * as Rule from "../wire/rtnetlink/rule.ts"
import type { RuleSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { batchByNode, type Handler } from "./handler.ts"
import type { Lab } from "./lab.ts"
import { protocol } from "./protocol.ts"

const describe = (spec: RuleSpec): string => `${spec.priority} (${spec.family}) in ${spec.node}`

const toKernel = ({ node: _, ...rule }: RuleSpec): Rule.Rule => ({ ...rule, protocol })

function* observe(lab: Lab): Generator<readonly [string, RuleSpec]> {
  for (const [node, { rules }] of lab.snapshot.nodes) {
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
