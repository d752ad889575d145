/** Labs over two hosts on the kernel's path: links and networks through `vxlan external` and the port program. */
import t from "tap"
import { HostPair } from "./host-pair.ts"
import { needsRoot } from "./harness.ts"

const link = (more: Readonly<Record<string, unknown>> = {}) => ({
  nodes: { a: { kind: "host", host: "h1" }, b: { kind: "host", host: "h2" } },
  links: [{ name: "wire", endpoints: ["a:e1", "b:e1"], cidr: "10.9.0.0/24", ...more }]
})

for (const underlay of ["ipv4", "ipv6"] as const) {
  t.test(`a link over ${underlay}`, { skip: needsRoot }, async (t) => {
    const pair = await HostPair.make(`link${underlay}`, { underlay })
    t.teardown(() => pair.close())
    await pair.deploy(link())
    t.ok(await pair.ping("a", "10.9.0.2"))
    t.strictSame(await pair.drift(), [])
    t.strictSame(await pair.deploy(link()), [], "the same again changes nothing")
  })
}
