import t from "tap"
import { parsePublished } from "../../daemon/topology/container-words.ts"
import { parseTopology } from "../../daemon/topology/parse.ts"
import { parseMemory } from "../../daemon/topology/units.ts"

const containerOf = (text: string) => {
  const result = parseTopology({ filename: "x.yaml", content: Buffer.from(text) })
  if (!result.ok) throw new Error(result.diagnostics.map(({ message }) => message).join("\n"))
  return result.topology.nodes.get("r1")!
}

t.test("parsePublished reads what Docker's users type", async (t) => {
  t.same(parsePublished("8080:80"), { protocol: "tcp", hostPort: 8080, port: 80 })
  t.same(parsePublished("127.0.0.1:53:5353/udp"), { protocol: "udp", address: "127.0.0.1", hostPort: 53, port: 5353 })
  t.same(parsePublished("[::1]:1:65535/tcp"), { protocol: "tcp", address: "::1", hostPort: 1, port: 65535 })
  for (const wrong of ["80", "0:80", "80:65536", "80:80/sctp", "a:80:80", "80:80:80:80", ""]) {
    t.equal(parsePublished(wrong), undefined, wrong)
  }
})

t.test("parseMemory wants a unit", async (t) => {
  t.same(["64m", "1.5g", "512kb", "1G"].map(parseMemory), [64 * 2 ** 20, 1.5 * 2 ** 30, 512 * 2 ** 10, 2 ** 30])
  t.same(["64", "m", "64t", "-1m"].map(parseMemory), [undefined, undefined, undefined, undefined])
})

t.test("defaults, groups and the node make a container together", async (t) => {
  const node = containerOf(`
name: lab
defaults:
  container: { image: weft/frr, env: { A: 1, B: x }, cap-add: cap_sys_admin, role: router }
groups:
  site: { env: { B: y }, files: { /etc/one: "1", /etc/two: "2" }, binds: ["/srv:/srv:ro"], memory: 64m }
nodes:
  r1:
    kind: container
    group: site
    cmd: "sh -c 'sleep 1'"
    files: { /etc/two: { content: two, mode: "600" } }
    cap-add: [SYS_TIME]
    healthcheck: "vtysh -c 'show version'"
    ports: ["8080:80"]
`)
  t.equal(node.role, "router")
  t.match(node.container, {
    image: { value: "weft/frr" },
    cmd: ["sh", "-c", "sleep 1"],
    env: { A: "1", B: "y" },
    binds: ["/srv:/srv:ro"],
    capAdd: ["SYS_ADMIN", "SYS_TIME"],
    memory: 64 * 2 ** 20,
    healthcheck: { test: ["vtysh", "-c", "show version"], intervalMs: 1000, timeoutMs: 5000, retries: 3, startPeriodMs: 0 },
    published: [{ value: { hostPort: 8080 } }]
  })
  t.same([...node.container!.files], [["/etc/one", { content: "1", mode: "0644" }], ["/etc/two", { content: "two", mode: "0600" }]])
})

t.test("container keys of a group that hosts share mean its containers", async (t) => {
  const group = "groups: { all: { image: weft/frr } }"
  const topology = `name: lab\n${group}\nnodes:\n  r1: { kind: host, group: all }\n  r2: { kind: container, group: all }\n`
  t.equal(containerOf(topology).container, undefined)
})
