import t from "tap"
import { load } from "../../daemon/compiler/load.ts"

const topology = `
name: devices
nodes:
  a:
    kind: router
    routes:
      - { to: 2001:db8:9::/48, via: [{ dev: e1 }, { dev: e2, weight: 3 }] }
      - { to: 10.9.0.0/16, via: [{ dev: e1 }, { dev: e2 }] }
  b: { kind: router }
links:
  - { endpoints: [a:e1, b:e1], cidr: [10.0.1.0/30, 2001:db8:1::/64] }
  - { endpoints: [a:e2, b:e2], cidr: [10.0.2.0/30, 2001:db8:2::/64] }
`

t.test("ways without gateways say when they are for IPv6: the kernel refuses IPv6 routes by others", async (t) => {
  const result = load({ filename: "devices.weft.yaml", content: topology })
  if (!result.ok) return t.fail(JSON.stringify(result.diagnostics))
  const groups = result.plan.resources.flatMap((resource) => (resource.kind === "nexthop" ? [resource.spec.members] : []))
  t.strictSame(groups, [
    [{ family: "ipv6", ifname: "e1", weight: 1 }, { family: "ipv6", ifname: "e2", weight: 3 }],
    [{ ifname: "e1", weight: 1 }, { ifname: "e2", weight: 1 }]
  ])
})
