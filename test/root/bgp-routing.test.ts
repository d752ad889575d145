/** The handle on the routing thread: the process goes on when the thread ends, and so do speakers while others come and go. */
import t from "tap"
import type { Place } from "../../daemon/bgp/messages.ts"
import { Routing, type NodeNamespace } from "../../daemon/bgp/routing.ts"
import * as Netns from "../../daemon/linux/netns.ts"
import type { BgpSpec } from "../../daemon/plan/bgp.ts"
import { needsRoot, until, World } from "./harness.ts"

const specOf = (node: string, asn: number): BgpSpec => ({
  node,
  asn,
  routerId: "10.0.0.1",
  vrfs: [
    { name: "default", table: 254, ifnames: [], networks: [], aggregates: [], redistribute: [], exportTargets: [], importTargets: [] }
  ],
  neighbors: [],
  policies: {},
  prefixLists: {},
  multipath: { ebgp: 16, ibgp: 16, asPathRelax: false },
  alwaysCompareMed: false,
  gracefulShutdown: false,
  state: "running"
})

t.test("speakers outlive their thread, and each runs once", { skip: needsRoot }, async (t) => {
  // The thread keeps no process alive; weftd has others that do.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(alive))
  const world = new World("bgp-routing")
  t.teardown(() => world.close())
  const places = Object.fromEntries(["a", "b", "c"].map((node) => [node, { lab: "lab", node }])) as Record<"a" | "b" | "c", Place>
  const netnsOf = (name: string): NodeNamespace => {
    const { path } = world.namespace(name)
    const { fd, inode } = Netns.open(path.slice(path.lastIndexOf("/") + 1))!
    return { fd, inode, path }
  }
  const [forA, forB, forC] = [netnsOf("a"), netnsOf("b"), netnsOf("c")]
  const log: string[] = []
  const routing = new Routing({ tell: () => {}, log: (text) => void log.push(text) })
  t.teardown(() => routing.close())
  const load = async (): Promise<number> => {
    const answer = await routing.ask({ kind: "load" })
    return answer.kind === "load" ? answer.speakers : -1
  }
  const asnOf = async (place: Place): Promise<number | string> => {
    const answer = await routing.ask({ kind: "speaker", ...place })
    return answer.kind === "speaker" ? answer.speaker.asn : answer.kind === "nothing" ? answer.reason : answer.kind
  }
  await routing.add(places.a, forA, specOf("a", 65001))
  await routing.add(places.b, forB, specOf("b", 65002))

  await t.test("a question that cannot be answered says why", async (t) => {
    const answer = await routing.ask({ kind: "routes", table: "rib", vrf: "", prefix: "nonsense", limit: 10, ...places.a })
    t.match(answer, { kind: "nothing", reason: /nonsense.* no address and no prefix/ })
  })

  await t.test("after the end of the thread, one goes, one changes and one comes", async (t) => {
    const killed = performance.now()
    await routing.kill()
    await Promise.all([
      routing.remove(places.a, { flush: false }),
      routing.change(places.b, specOf("b", 65022)),
      routing.add(places.c, forC, specOf("c", 65003))
    ])
    await until("the thread runs again with all", async () => (await load()) === 2)
    t.strictSame([await asnOf(places.b), await asnOf(places.c)], [65022, 65003])
    t.match(await asnOf(places.a), /no BGP speaker/)
    // The restart comes a tenth of a second after the end and finds that nothing is left to do.
    await until("the restart is through", () => log.length > 0 && performance.now() > killed + 200)
    t.equal(await load(), 2)
    t.strictSame([...routing.running("lab")].map(([node, { spec }]) => [node, spec.state]), [["b", "running"], ["c", "running"]])
  })

  await t.test("what has not become what it should be has a fault, and is started anew", async (t) => {
    const refused = { ...specOf("c", 65003), policies: { broken: [{ match: { asPath: "(" } }] } } as unknown as BgpSpec
    await t.rejects(routing.change(places.c, refused))
    t.not([...routing.running("lab")].find(([node]) => node === "c")?.[1].spec.state, "running")
    await routing.change(places.c, specOf("c", 65033))
    t.equal(await asnOf(places.c), 65033)
  })

  await routing.remove(places.b, { flush: true })
  await routing.remove(places.c, { flush: true })
})
