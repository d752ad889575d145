/**
 * What becomes of sessions and routes when a link between two routers fails: carrier, address, silence. Only what happens, not
 * how fast: that is `npm run bench -- failover`.
 */
import t from "tap"
import type { BfdSession, BgpNeighbor } from "../../ctl/messages.ts"
import { sh, type TopologyObject, Weftd } from "./daemon-harness.ts"
import { needsRoot, until } from "./harness.ts"

interface Detection {
  readonly bfd?: object
  readonly timers?: object
}

/** `src - r1 = r2 - dst`, over `left` as long as it is there. `more`: of r1's neighbour on `left`. */
const lab = (name: string, detection: Detection, more: object = {}): TopologyObject => {
  const bgp = (as: number, left: string, right: string, ofLeft: object = {}): object => ({
    as,
    ...detection,
    redistribute: ["connected"],
    policies: { preferred: [{ permit: "any", set: { "local-preference": 200 } }] },
    neighbors: [{ peer: left, import: "preferred", ...ofLeft }, { peer: right }]
  })
  return {
    name,
    nodes: {
      src: { kind: "host" },
      dst: { kind: "host" },
      r1: { kind: "router", bgp: bgp(65001, "10.0.1.2", "10.0.2.2", more) },
      r2: { kind: "router", bgp: bgp(65002, "10.0.1.1", "10.0.2.1") }
    },
    links: [
      { endpoints: ["src:eth0", "r1:src"], cidr: "10.1.0.0/24" },
      { endpoints: ["r1:left", "r2:left"], cidr: "10.0.1.0/24" },
      { endpoints: ["r1:right", "r2:right"], cidr: "10.0.2.0/24" },
      { endpoints: ["r2:dst", "dst:eth0"], cidr: "10.2.0.0/24" }
    ]
  }
}

t.setTimeout(600_000)

t.test("a link between two routers fails", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("bgp-failover")
  t.teardown(() => weftd.close())

  const open = async (name: string, detection: Detection) => {
    const full = weftd.name(name)
    await weftd.make(lab(full, detection))
    const netns = (node: string): string => `weft.${full}.${node}`
    const neighbor = async (node: string, address: string): Promise<BgpNeighbor> =>
      (await weftd.client.bgp(`${full}/${node}`)).neighbors.find((one) => one.name === address)!
    const goesBy = (node: string, address: string, dev: string): boolean =>
      sh("ip", "-n", netns(node), "route", "get", address).includes(`dev ${dev} `)
    const isUp = async (): Promise<boolean> => {
      const [here, there] = [await neighbor("r1", "10.0.1.2"), await neighbor("r2", "10.0.1.1")]
      const isThere = here.state === "Established" && there.state === "Established"
      return isThere && goesBy("r1", "10.2.0.1", "left") && goesBy("r2", "10.1.0.1", "left")
    }
    const silence = (): void => {
      const rules = "table netdev cut { chain left { type filter hook ingress device left priority 0; policy drop; }; }"
      for (const node of ["r1", "r2"]) sh("ip", "netns", "exec", netns(node), "nft", rules)
    }
    const noise = (): void => {
      for (const node of ["r1", "r2"]) sh("ip", "netns", "exec", netns(node), "nft", "delete table netdev cut")
    }
    const pass = (): Promise<void> => until("packets pass", () => weftd.pings(full, "src", "10.2.0.1"))
    const downs = async (node: string): Promise<ReadonlyArray<string>> => {
      const found: string[] = []
      for await (const { message, subject, type } of weftd.client.events({ lab: full, follow: false, last: 0 })) {
        if (type === "bgp.down" && subject.startsWith(`${node} `)) found.push(message)
      }
      return found
    }
    await until("both sessions are up, and left is preferred", isUp)
    return { full, netns, neighbor, goesBy, isUp, silence, noise, pass, downs }
  }

  t.test("carrier: the session of this link ends with it, no other does, and it comes back", async (t) => {
    const { downs, full, goesBy, isUp, neighbor, netns, pass } = await open("carrier", { bfd: { interval: "50ms" } })
    for (const round of [1, 2, 3]) {
      sh("ip", "-n", netns("r1"), "link", "set", "left", "down")
      await until("r1 has no session by this link", async () => (await neighbor("r1", "10.0.1.2")).state === "Idle")
      await until("nor has r2, which has no carrier", async () => (await neighbor("r2", "10.0.1.1")).state === "Idle")
      const { lastReset, bfd } = await neighbor("r1", "10.0.1.2")
      t.equal(lastReset, "no connected route to 10.0.1.2: left is down or has no carrier")
      t.equal(bfd, "down", "nor is it watched")
      t.ok(goesBy("r1", "10.2.0.1", "right") && goesBy("r2", "10.1.0.1", "right"))
      await pass()
      const { stdout } = await weftd.weft(["bgp", `${full}/r1`])
      t.match(stdout, /10\.0\.1\.2: no connected route to 10\.0\.1\.2: left is down or has no carrier/)
      sh("ip", "-n", netns("r1"), "link", "set", "left", "up")
      await until("it is back", isUp)
      t.match(await neighbor("r1", "10.0.1.2"), { establishedCount: round + 1 })
    }
    t.match(await neighbor("r1", "10.0.2.2"), { state: "Established", establishedCount: 1 }, "the other never went down")
    t.match(await neighbor("r2", "10.0.2.1"), { state: "Established", establishedCount: 1 })
    t.equal((await downs("r1")).length, 3, "once for each time")
    await until("it is watched again", async () => (await neighbor("r1", "10.0.1.2")).bfd === "up")
    await weftd.destroy(full)
  })

  t.test("address: without it in the neighbour's network there is no session, and nobody is let in", async (t) => {
    const { full, goesBy, isUp, neighbor, netns, pass } = await open("address", { timers: { hold: "3s", keepalive: "1s" } })
    sh("ip", "-n", netns("r1"), "addr", "del", "10.0.1.1/24", "dev", "left")
    await until("the session is down", async () => (await neighbor("r1", "10.0.1.2")).state === "Idle")
    t.equal((await neighbor("r1", "10.0.1.2")).lastReset, "no connected route to 10.0.1.2: no interface has an address in its network")
    // Who has lost its address cannot say so: the other side hears nothing more.
    await until("the way back is changed, too", () => goesBy("r2", "10.1.0.1", "right"))
    await pass()
    // The address on another interface, so that the neighbour's connections arrive; its own network is not there.
    sh("ip", "-n", netns("r1"), "addr", "add", "10.0.1.1/32", "dev", "lo")
    sh("ip", "-n", netns("r1"), "route", "add", "10.0.1.2/32", "via", "10.0.2.2")
    const knock = "import socket\ns=socket.create_connection(('10.0.1.1',179),5,('10.0.1.2',0))\ns.settimeout(5)\nprint(len(s.recv(100)))"
    const { stdout } = await weftd.inNode(full, "r2", "/usr/bin/python3", "-c", knock)
    t.equal(stdout.trim(), "0", "it is closed without an OPEN")
    sh("ip", "-n", netns("r1"), "route", "del", "10.0.1.2/32")
    sh("ip", "-n", netns("r1"), "addr", "del", "10.0.1.1/32", "dev", "lo")
    sh("ip", "-n", netns("r1"), "addr", "add", "10.0.1.1/24", "dev", "left")
    await until("it is back", isUp)
    t.match(await neighbor("r1", "10.0.2.2"), { establishedCount: 1 }, "the other never went down")
    await weftd.destroy(full)
  })

  t.test("silence: BFD ends the session, and each session of BFD is bound to its link", async (t) => {
    const { full, goesBy, isUp, neighbor, noise, pass, silence } = await open("bfd", { bfd: { interval: "50ms" } })
    const sessions = async (): Promise<ReadonlyArray<BfdSession>> => (await weftd.client.bfd(`${full}/r1`)).sessions
    await until("BFD is up", async () => (await sessions()).filter(({ state }) => state === "up").length === 2)
    t.match(
      (await sessions()).toSorted((a, b) => a.peer.localeCompare(b.peer)),
      [{ peer: "10.0.1.2", local: "10.0.1.1", ifname: "left" }, { peer: "10.0.2.2", local: "10.0.2.1", ifname: "right" }]
    )
    silence()
    await until("the session is down", async () => (await neighbor("r1", "10.0.1.2")).state !== "Established")
    t.ok(goesBy("r1", "10.2.0.1", "right"))
    await pass()
    t.match((await neighbor("r1", "10.0.1.2")).lastReset, /BFD/)
    noise()
    await until("it is back", isUp)
    t.match(await neighbor("r1", "10.0.2.2"), { establishedCount: 1, bfd: "up" })
    await weftd.destroy(full)
  })

  t.test("a neighbour that is shut down while it runs is not watched any more", async (t) => {
    const { full, isUp, neighbor } = await open("shut", { bfd: { interval: "50ms" } })
    const peers = async (): Promise<ReadonlyArray<string>> =>
      (await weftd.client.bfd(`${full}/r1`)).sessions.map(({ peer }) => peer).toSorted()
    await until("BFD is up", async () => (await neighbor("r2", "10.0.1.1")).bfd === "up")
    t.strictSame(await peers(), ["10.0.1.2", "10.0.2.2"])
    await weftd.make(lab(full, { bfd: { interval: "50ms" } }, { shutdown: true }))
    await until("it is not watched", async () => (await peers()).join() === "10.0.2.2")
    t.match(await neighbor("r1", "10.0.1.2"), { state: "Shutdown" })
    t.match((await neighbor("r2", "10.0.1.1")).lastReset, /Administrative Shutdown/)
    await weftd.make(lab(full, { bfd: { interval: "50ms" } }))
    await until("it is back", isUp)
    await until("it is watched again", async () => (await neighbor("r1", "10.0.1.2")).bfd === "up")
    await weftd.destroy(full)
  })

  t.test("silence without BFD: the hold timer ends the session, and routes go with it", async (t) => {
    const { full, goesBy, isUp, neighbor, noise, pass, silence } = await open("hold", { timers: { hold: "3s", keepalive: "1s" } })
    silence()
    await until("the session is down", async () => (await neighbor("r1", "10.0.1.2")).state !== "Established")
    await until("routes have gone the other way", () => goesBy("r1", "10.2.0.1", "right") && goesBy("r2", "10.1.0.1", "right"))
    await pass()
    const { stdout } = await weftd.weft(["bgp", `${full}/r1`, "rib", "10.2.0.0/24"])
    t.match(stdout, /1 path/, "nothing of it is kept as stale")
    noise()
    await until("it is back", isUp)
    await weftd.destroy(full)
  })
})
