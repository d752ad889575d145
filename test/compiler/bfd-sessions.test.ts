/** Who watches whom by BFD: next hops, their other ends, peers that nodes name; and what is refused. */
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"

const compiled = (topology: object) => load({ filename: "x.weft.yaml", content: Buffer.from(JSON.stringify(topology)) } as never)

const lab = (routes: ReadonlyArray<object>, more: object = {}) => ({
  name: "x",
  nodes: { a: { kind: "router", routes, ...more }, b: { kind: "router" }, c: { kind: "container", image: "frr" } },
  networks: { lan: { cidr: ["10.0.0.0/24", "fd00::/64"], ports: ["a:e0", "b:e0", "c:e0"] } },
  links: [{ endpoints: ["a:e1", "b:e1"], cidr: "10.0.1.0/30" }]
})

const sessions = (topology: object): ReadonlyArray<string> => {
  const result = compiled(topology) as { readonly plan?: { readonly resources: ReadonlyArray<{ kind: string; id: string; spec: never }> } }
  return (result.plan?.resources ?? []).filter(({ kind }) => kind === "bfd").map(({ id, spec }) => {
    const { ifname, local, minRxMs, minTxMs, multihop, multiplier } = spec as Record<string, unknown>
    return [id, ifname ?? "-", local ?? "-", `${minTxMs}/${minRxMs}/${multiplier}`, ...(multihop === true ? ["multihop"] : [])].join(" ")
  })
}

t.test("a watched next hop has a session at both ends, where the other one is a node that weft routes for", async (t) => {
  t.same(sessions(lab([{ to: "10.9.0.0/16", via: "b:e1", bfd: true }])), ["bfd/a/10.0.1.2 e1 - 50/50/3", "bfd/b/10.0.1.1 e1 - 50/50/3"])
  t.same(sessions(lab([{ to: "10.9.0.0/16", via: "c", bfd: true }])), ["bfd/a/10.0.0.3 e0 - 50/50/3"], "a container has its own")
  t.same(sessions(lab([{ to: "10.9.0.0/16", via: "b:e1" }])), [])
  t.same(sessions(lab([{ to: "10.9.0.0/16", via: "b:e1", bfd: false }])), [])
})

t.test("several routes by one next hop share its session, with the shortest times", async (t) => {
  const routes = [
    { to: "10.8.0.0/16", via: ["b:e1", { to: "b:e0", bfd: { interval: "20ms" } }], bfd: { interval: "100ms", multiplier: 5 } },
    { to: "10.9.0.0/16", via: "b:e1", bfd: { "min-tx": "30ms", "min-rx": "200ms" } }
  ]
  t.same(sessions(lab(routes)).filter((line) => line.startsWith("bfd/a")), [
    "bfd/a/10.0.1.2 e1 - 30/100/3",
    "bfd/a/10.0.0.2 e0 - 20/20/3"
  ])
})

t.test("peers that a node names", async (t) => {
  const peers = [
    "10.0.1.2", "fd00::2", { address: "10.255.0.1", multihop: true, local: "10.0.1.1", interval: "300ms" },
    { address: "fe80::7", dev: "e1" }
  ]
  t.same(sessions(lab([], { bfd: { peers } })), [
    "bfd/a/10.0.1.2 e1 - 50/50/3",
    "bfd/a/fd00::2 e0 - 50/50/3",
    "bfd/a/10.255.0.1 - 10.0.1.1 300/300/3 multihop",
    "bfd/a/fe80::7%e1 e1 - 50/50/3"
  ])
})

t.test("what cannot be watched is refused, with what to do", async (t) => {
  const refusal = (topology: object): string => JSON.stringify(compiled(topology))
  t.match(refusal(lab([], { bfd: { peers: "10.7.0.1" } })), /a cannot watch 10\.7\.0\.1 by BFD: .*multihop: true/)
  t.match(refusal(lab([], { bfd: { peers: "fe80::1" } })), /needs .*dev/)
  t.match(refusal(lab([], { bfd: { peers: [{ address: "10.0.1.2", dev: "e7" }] } })), /no port .*e7/)
  t.match(refusal(lab([], { bfd: { peers: "b" } })), /expected an address/)
  t.match(refusal(lab([{ to: "10.9.0.0/16", via: "b:e1", bfd: { interval: "5ms" } }])), /10ms|10 ms|60000/)
  t.match(refusal(lab([{ to: "10.9.0.0/16", dev: "e1", bfd: true }])), /BFD watches a next hop/)
})
