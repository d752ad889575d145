import t from "tap"
import { dropsIn } from "../../daemon/checks/firewall-counts.ts"
import { render } from "../../daemon/resources/filter-rules.ts"
import { openFilter } from "../../daemon/plan/filter.ts"

t.test("dropsIn names rules that dropped something, and policies that do", async (t) => {
  const web = { name: "no-web", hook: "forward" as const, action: "reject" as const, services: [{ protocol: "tcp", ports: ["80"] }] }
  const ping = { ...web, name: "ping", action: "accept" as const, services: [] }
  const commands = render({ ...openFilter("fw"), forward: "drop", rules: [web, ping] })
  // As nft lists what it was told, with counters that have counted.
  const nftables = commands.flatMap((one) => {
    const object = one["add"] as Readonly<Record<string, object>> | undefined
    if (object === undefined) return []
    return "counter" in object ? [{ counter: { ...object["counter"], packets: 3 } }] : [object]
  })
  t.same(dropsIn(JSON.stringify({ nftables })), [['rule "no-web"', 3], ["policy of forward", 3]])
  t.same(dropsIn(JSON.stringify({ nftables: [] })), [])
})
