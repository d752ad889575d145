/**
 * Labs with BGP: what deploy waits for, what a change disturbs and what it does not, what a daemon that is killed leaves
 * and finds again, and `weft bgp` against it all. Speakers of others are in bgp-interop-frr.test.ts.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import type { BgpNeighbor } from "../../ctl/messages.ts"
import * as Mrt from "../../daemon/wire/mrt.ts"
import { sh, type TopologyObject, Weftd } from "./daemon-harness.ts"
import { needsRoot, until } from "./harness.ts"

const peer = "203.0.113.2"

type Bgp = Readonly<Record<string, unknown>>

/** `pc1 - r1 - r2 - pc2` */
const line = (name: string, r1: Bgp = {}, r2: Bgp = {}): TopologyObject => ({
  name,
  nodes: {
    pc1: { kind: "host" },
    pc2: { kind: "host" },
    r1: { kind: "router", bgp: { as: 65001, networks: ["10.1.0.0/24"], ...r1 } },
    r2: { kind: "router", bgp: { as: 65002, networks: ["10.2.0.0/24"], ...r2 } }
  },
  networks: { lan1: { cidr: "10.1.0.0/24", ports: ["pc1:eth0", "r1:lan"] }, lan2: { cidr: "10.2.0.0/24", ports: ["pc2:eth0", "r2:lan"] } },
  links: [{ endpoints: ["r1:wan", "r2:wan"], cidr: "203.0.113.0/30" }]
})

/** Two spines, three leaves, no IPv4 address on any link. */
const fabric = (name: string): TopologyObject => {
  const router = (asn: number, networks: ReadonlyArray<string>): object => ({
    kind: "router",
    bgp: { as: asn, "router-id": `10.255.0.${asn % 100}`, unnumbered: true, networks, multipath: { ebgp: 4, "as-path-relax": true } }
  })
  const leaves = [1, 2, 3].map((leaf) => [`leaf${leaf}`, router(65100 + leaf, [`10.${leaf}.0.0/24`])] as const)
  const hosts = [1, 2, 3].map((leaf) => [`pc${leaf}`, { kind: "host" }] as const)
  return {
    name,
    nodes: { spine1: router(65011, []), spine2: router(65012, []), ...Object.fromEntries([...leaves, ...hosts]) },
    networks: Object.fromEntries(
      [1, 2, 3].map((leaf) => [`lan${leaf}`, { cidr: `10.${leaf}.0.0/24`, ports: [`pc${leaf}:eth0`, `leaf${leaf}:lan`] }])
    ),
    links: [1, 2, 3].flatMap((leaf) => [1, 2].map((spine) => ({ endpoints: [`leaf${leaf}:up${spine}`, `spine${spine}:down${leaf}`] })))
  }
}

const routesOf = (lab: string, node: string): ReadonlyArray<string> => {
  const text = sh("ip", "-n", `weft.${lab}.${node}`, "route", "show", "proto", "95")
  return text.split("\n").filter((word) => /^\d/.test(word)).map((word) => word.split(" ")[0]!)
}

const neighborOf = async (weftd: Weftd, lab: string, node: string, name = peer): Promise<BgpNeighbor | undefined> =>
  (await weftd.client.bgp(`${lab}/${node}`)).neighbors.find((one) => one.name === name)

t.test("bgp labs", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("bgp-lab")
  t.teardown(() => weftd.close())

  t.test("a deploy ends when sessions are up and routes are in the kernel", async (t) => {
    const lab = weftd.name("line")
    await weftd.make(line(lab))
    t.same(routesOf(lab, "r1"), ["10.2.0.0/24"])
    t.same(routesOf(lab, "r2"), ["10.1.0.0/24"])
    t.ok(await weftd.pings(lab, "pc1", "10.2.0.1"), "at once")
    const neighbor = await neighborOf(weftd, lab, "r1")
    t.match(neighbor, { state: "Established", remoteAs: 65002, description: "r2", establishedCount: 1 })
    t.match(neighbor!.families, [{ family: "ipv4", received: 1, accepted: 1, sent: 1, complete: true }])
    t.same((await weftd.make(line(lab))).changed, 0, "the same file changes nothing")
    t.same(await weftd.drift(lab), [])
  })

  t.test("weft bgp shows neighbors and routes as routers do", async (t) => {
    const lab = weftd.name("line")
    const summary = await weftd.weft(["bgp", `${lab}/r1`])
    t.match(summary.stdout, /AS 65001, router id/)
    t.match(summary.stdout, /203\.0\.113\.2 +65002 +\d+ +\d+ +00:0\d:\d\d +1 +1 +r2/)
    const rib = await weftd.weft(["bgp", `${lab}/r1`, "rib"])
    t.match(rib.stdout, /^\*> {2}10\.2\.0\.0\/24 +203\.0\.113\.2 +0 65002 i$/m)
    t.match(rib.stdout, /^\*> {2}10\.1\.0\.0\/24 +0\.0\.0\.0 +32768 i$/m)
    const why = await weftd.weft(["bgp", `${lab}/r1`, "rib", "10.2.0.77"])
    t.match(why.stdout, /10\.2\.0\.0\/24: 1 path/)
    t.match(why.stdout, /the only path/)
    const sent = await weftd.weft(["bgp", `${lab}/r1`, "advertised", "r2", "-o", "json"])
    t.match(JSON.parse(sent.stdout), [{ prefix: "10.1.0.0/24", asPath: "65001", nextHop: "203.0.113.1" }])
    const file = join(weftd.directory, "r1.mrt")
    t.equal((await weftd.weft(["bgp", `${lab}/r1`, "dump", "-w", file])).code, 0)
    const kinds: string[] = []
    for (let [bytes, at] = [readFileSync(file), 0]; at < bytes.length;) {
      const record = Mrt.decode(bytes, at)
      if (!record.ok) throw new Error(JSON.stringify(record.error))
      const { body } = record.value
      kinds.push(body.kind === "rib" ? `${body.prefix} ${body.entries.length}` : body.kind)
      at += 12 + bytes.readUInt32BE(at + 8)
    }
    t.same(kinds.toSorted(), ["10.1.0.0/24 1", "10.2.0.0/24 1", "peerIndexTable"], "the dump has both prefixes")
    const nobody = await weftd.weft(["bgp", `${lab}/r1`, "received", "r9"])
    t.equal(nobody.code, 1)
    t.match(nobody.stderr, /has no BGP neighbor "r9" \(it has: 203\.0\.113\.2\)/)
    t.match((await weftd.weft(["bgp", `${lab}/pc1`])).stderr, /Node "pc1" has no BGP speaker/)
  })

  t.test("a change disturbs no session that it does not concern", async (t) => {
    const lab = weftd.name("line")
    t.equal((await weftd.plan(line(lab, {}, { networks: ["10.2.0.0/24", "10.9.0.0/16"] }))).length, 1, "one speaker changes")
    await weftd.make(line(lab, {}, { networks: ["10.2.0.0/24", "10.9.0.0/16"] }))
    await until("the new network is there", () => routesOf(lab, "r1").includes("10.9.0.0/16"))
    await weftd.make(line(lab, { timers: { hold: 30, keepalive: 10 } }))
    await until("the network is withdrawn", () => !routesOf(lab, "r1").includes("10.9.0.0/16"))
    t.match(await neighborOf(weftd, lab, "r1"), { establishedCount: 1, holdTimeS: 90 }, "the same session, with its timers")
    const picky = { neighbors: [{ peer: "r2", import: "none" }], policies: { none: ["deny"] } }
    await weftd.make(line(lab, picky))
    await until("the policy has taken effect on what was there", () => routesOf(lab, "r1").length === 0)
    await weftd.make(line(lab))
    await until("and so has its end", () => routesOf(lab, "r1").length === 1)
    t.match(await neighborOf(weftd, lab, "r1"), { establishedCount: 1 }, "still the same session")
  })

  t.test("what neighbors send is written as it comes", async (t) => {
    const lab = weftd.name("line")
    const file = join(weftd.directory, "updates.mrt")
    let stop = (): void => {}
    let isWriting = false
    const writing = weftd.weft(["bgp", `${lab}/r1`, "dump", "r2", "--updates", "-w", file], {
      onStart: (child) => {
        stop = () => void child.kill("SIGINT")
        child.stderr!.on("data", () => (isWriting = true))
      }
    })
    await until("it writes", () => isWriting)
    await weftd.make(line(lab, {}, { networks: ["10.2.0.0/24", "10.7.0.0/16"] }))
    await weftd.make(line(lab))
    const shown = (): string => sh("sh", "-c", `bgpdump -m ${file} 2>&1 || true`)
    await until("both messages are there", () => /\|W\|203\.0\.113\.2\|65002\|10\.7\.0\.0\/16/.test(shown()))
    t.match(shown(), /^BGP4MP_ET\|[\d.]+\|A\|203\.0\.113\.2\|65002\|10\.7\.0\.0\/16\|65002\|IGP\|203\.0\.113\.2/m)
    stop()
    t.strictSame([(await writing).code, (await writing).stderr], [0, "Writing what r2 sends (Ctrl-C ends it)\n"], "Ctrl-C ends it in order")
    const nobody = await weftd.weft(["bgp", `${lab}/r1`, "dump", "r9", "--updates", "-w", file])
    t.match(nobody, { code: 1, stderr: /has no BGP neighbor "r9"/ })
    t.match(await weftd.weft(["bgp", `${lab}/r1`, "dump", "r2", "-w", file]), { code: 2, stderr: /are for --updates/ })
  })

  t.test("reset ends a session, soft does not", async (t) => {
    const lab = weftd.name("line")
    await weftd.make(line(lab, { timers: { hold: 30, keepalive: 10 } }))
    t.equal((await weftd.weft(["bgp", `${lab}/r1`, "reset", "r2", "soft"])).code, 0)
    t.match(await neighborOf(weftd, lab, "r1"), { establishedCount: 1 })
    t.match((await weftd.weft(["bgp", `${lab}/r1`, "reset", "r2"])).stdout, /Reset 1 session/)
    await until("it is back", async () => (await neighborOf(weftd, lab, "r1"))?.establishedCount === 2)
    const again = await neighborOf(weftd, lab, "r1")
    t.match(again, { holdTimeS: 30, keepaliveS: 10 }, "with the timers that it was given meanwhile")
    t.ok(again!.capabilities.includes("enhanced route refresh"))
    await weftd.make(line(lab))
    const events: string[] = []
    for await (const { type } of weftd.client.events({ lab, follow: false, last: 0 })) events.push(type)
    t.ok(events.includes("bgp.down") && events.includes("bgp.established"))
  })

  t.test("a daemon that is killed leaves routes, and comes back without a gap", async (t) => {
    const lab = weftd.name("line")
    await until("the routes are there", () => routesOf(lab, "r1").length === 1 && routesOf(lab, "r2").length === 1)
    const ping = weftd.startIn(lab, "pc1", ["ping", "-i", "0.02", "-O", "10.2.0.1"])
    let said = ""
    ping.stdout!.setEncoding("utf8").on("data", (text: string) => (said += text))
    await until("pings go", () => said.includes("bytes from"))
    await weftd.kill()
    t.same(routesOf(lab, "r1"), ["10.2.0.0/24"], "the kernel goes on")
    await weftd.start()
    await until("the session is up", async () => (await neighborOf(weftd, lab, "r1").catch(() => undefined))?.state === "Established")
    await until("the restart is over", async () => !(await weftd.client.bgp(`${lab}/r1`)).restarting, 120_000)
    t.same(routesOf(lab, "r1"), ["10.2.0.0/24"])
    ping.kill("SIGINT")
    t.notMatch(said, /no answer yet|Unreachable/, "not one ping was lost")
  })

  t.test("an AS that changes, and bgp that goes", async (t) => {
    const lab = weftd.name("line")
    await weftd.make(line(lab, {}, { as: 65003 }))
    await until("the path has the new AS", async () => {
      const { stdout } = await weftd.weft(["bgp", `${lab}/r1`, "rib", "10.2.0.0/24"])
      return stdout.includes("65003")
    })
    const { nodes, ...rest } = line(lab) as TopologyObject & { nodes: Readonly<Record<string, object>> }
    await weftd.make({ ...rest, nodes: { ...nodes, r2: { kind: "router" } } })
    t.same(routesOf(lab, "r2"), [], "the kernel has none of its routes")
    t.equal(sh("ip", "-n", `weft.${lab}.r2`, "nexthop").trim(), "")
    await until("the other side loses them, too", () => routesOf(lab, "r1").length === 0)
    await weftd.destroy(lab)
  })

  t.test("a fabric of unnumbered links routes over all of its spines", async (t) => {
    const lab = weftd.name("fabric")
    await weftd.make(fabric(lab))
    t.ok(await weftd.pings(lab, "pc1", "10.3.0.1"))
    t.match(sh("ip", "-n", `weft.${lab}.leaf1`, "route", "show", "10.3.0.0/24"), /via inet6 fe80.* dev up1[^]*via inet6 fe80.* dev up2/)
    const { stdout } = await weftd.weft(["bgp", `${lab}/leaf1`, "rib", "10.3.0.0/24"])
    t.match(stdout, /2 paths/)
    sh("ip", "-n", `weft.${lab}.leaf1`, "link", "set", "up1", "down")
    // A packet that is under way while routers hear of it from each other may be lost.
    await until("packets go by the other spine", () => weftd.pings(lab, "pc1", "10.3.0.1"))
    sh("ip", "-n", `weft.${lab}.leaf1`, "link", "set", "up1", "up")
    await weftd.destroy(lab)
  })

  t.test("a neighbor that never comes does not hold a deploy up", async (t) => {
    const lab = weftd.name("alone")
    const began = Date.now()
    const outcome = await weftd.make({
      name: lab,
      nodes: { r: { kind: "router", bgp: { as: 65001, neighbors: [{ peer: "192.0.2.9", as: 65009 }] } }, pc: { kind: "host" } },
      networks: { lan: { cidr: "192.0.2.0/24", ports: ["r:lan", "pc:eth0"] } }
    })
    t.ok(outcome.changed > 0)
    t.ok(Date.now() - began < 29_000)
    t.match(await neighborOf(weftd, lab, "r", "192.0.2.9"), { establishedCount: 0 })
    await weftd.destroy(lab)
  })
})
