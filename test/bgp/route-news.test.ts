import { mock } from "node:test"
import t from "tap"
import { describeBest, RouteNews } from "../../daemon/bgp/route-news.ts"
import { attributes } from "./rib/rib-harness.ts"

const path = (nextHop: string, peer: string | undefined, isBest: boolean, reason: string) =>
  ({ attributes: attributes({ nextHop }), peer, isBest, reason })

t.test("describeBest says where a prefix leads and why", (t) => {
  const [best, other] = [path("192.0.2.1", "192.0.2.1", true, "shortest AS path"), path("192.0.2.2", "192.0.2.2", false, "lost")]
  t.equal(describeBest([best, other], "default", "10.0.0.0/8"), "10.0.0.0/8 goes via 192.0.2.1: shortest AS path (2 paths)")
  t.equal(describeBest([best], "red", "10.0.0.0/8"), "10.0.0.0/8 in red goes via 192.0.2.1: shortest AS path")
  const unnumbered = path("fe80::1", "eth0", true, "the only path")
  t.equal(describeBest([unnumbered], "default", "::/0"), "::/0 goes via fe80::1 from eth0: the only path")
  const own = path("0.0.0.0", undefined, true, "the only path")
  t.equal(describeBest([own], "default", "10.0.0.0/8"), "10.0.0.0/8 is this router's own: the only path")
  t.equal(describeBest([other], "default", "10.0.0.0/8"), "10.0.0.0/8 has no usable path: lost")
  t.equal(describeBest([], "default", "10.0.0.0/8"), "10.0.0.0/8 has no path any more")
  t.end()
})

t.test("RouteNews tells few changes one by one, each prefix once, and many as a number", (t) => {
  mock.timers.enable({ apis: ["setInterval"] })
  t.teardown(() => mock.timers.reset())
  const told: string[] = []
  const news = new RouteNews({ tell: (message) => void told.push(message), describe: (table, prefix) => `${table} ${prefix}` })
  const change = (first: number): void => news.changed("red", 4, Uint8Array.of(first), 0, 8)
  for (const first of [10, 11, 10]) change(first)
  mock.timers.tick(2000)
  t.strictSame(told.splice(0), ["red 10.0.0.0/8; red 11.0.0.0/8"])
  for (let first = 1; first < 100; first++) change(first)
  mock.timers.tick(2000)
  t.strictSame(told, ["best paths changed 99 times"])
  news.close()
  t.end()
})
