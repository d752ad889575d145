/**
 * Speakers that end under traffic, weft's and FRR's, each with the other as helper: graceful restart, long-lived stale routes, BFD.
 * Pings go from weft's loopback to FRR's, so that the routes of both kernels are needed for each answer.
 */
import type { ChildProcess } from "node:child_process"
import t, { type Test } from "tap"
import { FrrLab, family, neighbor, router } from "./bgp-frr-lab.ts"
import { missingPeers } from "./bgp-peers.ts"
import { sh } from "./daemon-harness.ts"
import { needsRoot, until } from "./harness.ts"

const [f1, w1] = ["10.0.1.2", "10.0.1.1"]
const patienceMs = 120_000
const [here, there] = ["10.255.0.1", "10.255.1.1"]

const restarting = ["bgp graceful-restart", "bgp graceful-restart preserve-fw-state"]
const frr = (
  more: ReadonlyArray<string> = restarting,
  networks: ReadonlyArray<string> = ["10.2.0.0/24"],
  lines: ReadonlyArray<string> = []
): string =>
  // Graceful restart after the neighbour, for only then does bgpd ask zebra to keep its routes; and before the first OPEN.
  router(65002, 1, neighbor(w1, 65001, "shutdown", ...lines), ...more,
    family("ipv4", `neighbor ${w1} activate`, ...[`${there}/32`, ...networks].map((prefix) => `network ${prefix}`)),
    `no neighbor ${w1} shutdown`)

const weft = (session: object = {}) => ({ as: 65001, networks: [`${here}/32`], neighbors: [{ peer: f1, as: 65002, ...session }] })

class Pings {
  #text = ""
  readonly #child: ChildProcess

  constructor(lab: FrrLab) {
    this.#child = lab.weftd.startIn(lab.name, "weft", ["ping", "-i", "0.02", "-O", "-I", here, there])
    this.#child.stdout!.setEncoding("utf8").on("data", (text: string) => (this.#text += text))
  }

  async flow(): Promise<void> {
    const seen = this.#text.length
    await until("pings are answered", () => this.#text.slice(seen).includes("bytes from"), patienceMs)
  }

  stop(t: Test): void {
    this.#child.kill("SIGINT")
    t.notMatch(this.#text, /no answer yet|Unreachable|unreachable/, "not one ping was lost")
  }
}

t.test("restarts with FRR", { skip: needsRoot || missingPeers("frr") }, async (t) => {
  const lab = await FrrLab.start(t, "restart", 1, { daemons: ["bfdd"] })
  sh("ip", "-n", `weft.${lab.name}.f1`, "addr", "add", `${there}/32`, "dev", "lo")
  /** All has been told in both directions, and nothing of an earlier session is left. */
  const exchanged = async (): Promise<void> => {
    await until("the session is complete", async () => {
      const neighbor = await lab.neighbor(f1).catch(() => undefined)
      return neighbor?.state === "Established" && neighbor.families[0]!.complete
    }, patienceMs)
    await lab.paths(`${there}/32`, ([path]) => path?.stale === false)
    await lab.frrPath("f1", `${here}/32`, ({ stale }) => stale !== true)
    await lab.inKernel("weft", there, /via 10\.0\.1\.2/)
    await lab.inKernel("f1", here, /via 10\.0\.1\.1/)
  }
  const gracefully = async () => (await lab.frrNeighbor("f1", w1))["gracefulRestartInfo"] as Record<string, unknown>

  await t.test("bgpd is killed: weft keeps its routes until it is back, and drops what it does not tell again", async (t) => {
    await lab.set(weft(), { f1: frr(restarting, ["10.2.0.0/24", "10.2.1.0/24"]) })
    await exchanged()
    await lab.inKernel("weft", "10.2.1.0/24", /via/)
    const pings = new Pings(lab)
    await pings.flow()
    const revive = await lab.frr("f1").crashBgpd!()
    await lab.paths("10.2.0.0/24", ([path]) => path?.stale === true)
    t.match((await lab.weftd.weft(["bgp", `${lab.name}/weft`, "rib"])).stdout, /^S> +10\.2\.0\.0\/24/m, "marked as stale")
    await lab.inKernel("weft", "10.2.0.0/24", /via/)
    await revive(frr())
    await lab.up(f1)
    await lab.paths("10.2.0.0/24", ([path]) => path?.stale === false)
    await lab.inKernel("weft", "10.2.1.0/24", /^$/)
    await exchanged()
    await pings.flow()
    pings.stop(t)
  })

  await t.test("bgpd does not come back: its routes go when its time is over", async (t) => {
    await lab.set(weft(), { f1: frr([...restarting, "bgp graceful-restart restart-time 3"]) })
    await exchanged()
    const revive = await lab.frr("f1").crashBgpd!()
    await lab.paths("10.2.0.0/24", ([path]) => path?.stale === true)
    await lab.inKernel("weft", "10.2.0.0/24", /^$/)
    t.same(await lab.paths("10.2.0.0/24", () => true), [])
    await revive(frr())
    await exchanged()
  })

  await t.test("weftd is killed: FRR keeps its routes, and not one packet is lost", async (t) => {
    await lab.set(weft(), { f1: frr(["bgp graceful-restart"]) })
    await exchanged()
    const pings = new Pings(lab)
    await pings.flow()
    await lab.weftd.kill()
    await lab.frrPath("f1", `${here}/32`, ({ stale }) => stale === true)
    await lab.inKernel("weft", there, /via 10\.0\.1\.2/)
    await lab.inKernel("f1", here, /via 10\.0\.1\.1/)
    await pings.flow()
    await lab.weftd.start()
    await until("weft is up", async () => (await lab.neighbor(f1).catch(() => undefined))?.state === "Established", patienceMs)
    await lab.frrPath("f1", `${here}/32`, ({ stale }) => stale !== true)
    await until("the restart is over", async () => !(await lab.weftd.client.bgp(`${lab.name}/weft`)).restarting, patienceMs)
    t.match(await gracefully(), { rBit: true, endOfRibRecv: { ipv4Unicast: true } }, "FRR was told of a restart, and of its end")
    await exchanged()
    await pings.flow()
    pings.stop(t)
  })

  await t.test("weftd does not come back in time: FRR drops its routes, and takes them again later", async (t) => {
    await lab.set(weft({ "graceful-restart": { "restart-time": "3s" } }), { f1: frr(["bgp graceful-restart"]) })
    await exchanged()
    await lab.weftd.kill()
    await lab.frrPath("f1", `${here}/32`, ({ stale }) => stale === true)
    await lab.frrLacks("f1", `${here}/32`)
    await lab.weftd.start()
    await exchanged()
  })

  await t.test("without graceful restart routes go with the session", async (t) => {
    // FRR tells no End-of-RIB to who does not restart gracefully.
    const bothKernels = async (): Promise<void> => {
      await lab.inKernel("weft", there, /via 10\.0\.1\.2/)
      await lab.inKernel("f1", here, /via 10\.0\.1\.1/)
    }
    await lab.set(weft({ "graceful-restart": false }), { f1: frr() })
    await lab.up(f1)
    await bothKernels()
    const revive = await lab.frr("f1").crashBgpd!()
    await lab.inKernel("weft", "10.2.0.0/24", /^$/)
    await revive(frr(["bgp graceful-restart-disable"]))
    await bothKernels()
  })

  await t.test("long-lived: after the restart time routes stay as a last resort, on both sides", async (t) => {
    const longLived = ["bgp graceful-restart restart-time 2", "bgp long-lived-graceful-restart stale-time 100"]
    await lab.set(weft({ "graceful-restart": { "restart-time": "2s", "long-lived": "100s" } }), { f1: frr([...restarting, ...longLived]) })
    await exchanged()
    const revive = await lab.frr("f1").crashBgpd!()
    await lab.paths("10.2.0.0/24", ([path]) => path?.communities.includes("llgr-stale") ?? false)
    await lab.inKernel("weft", "10.2.0.0/24", /via/)
    await revive(frr([...restarting, ...longLived]))
    await lab.paths("10.2.0.0/24", ([path]) => path?.communities.length === 0 && !path.stale)
    await exchanged()
    await lab.weftd.kill()
    await lab.frrPath("f1", `${here}/32`, ({ community }) => community?.string.includes("llgr-stale") ?? false)
    await lab.inKernel("f1", here, /via 10\.0\.1\.1/)
    await lab.weftd.start()
    await lab.frrPath("f1", `${here}/32`, ({ community, stale }) => community === undefined && stale !== true)
    await exchanged()
  })

  await t.test("BFD ends the session of either at once, and it comes back", async (t) => {
    const profile = ["bfd", "profile fast", "detect-multiplier 3", "receive-interval 50", "transmit-interval 50", "exit", "exit"].join("\n")
    await lab.set(weft({ bfd: { interval: "50ms" }, timers: { hold: "90s", "connect-retry": "1s" } }),
      { f1: `${profile}\n${frr(restarting, ["10.2.0.0/24"], ["bfd", "bfd profile fast", "timers 30 90"])}` })
    await exchanged()
    const isUp = async (): Promise<boolean> => (await lab.neighbor(f1))!.bfd === "up"
    await until("BFD is up", isUp, patienceMs)
    const peers = (await lab.frr("f1").ask("show bfd peers json")) as ReadonlyArray<Record<string, unknown>>
    t.match(peers, [{ peer: w1, status: "up", "remote-receive-interval": 50, "remote-detect-multiplier": 3 }])
    const began = performance.now()
    const nft = (node: string, words: string): string => sh("ip", "netns", "exec", `weft.${lab.name}.${node}`, "nft", words)
    const cut = (node: string): string => nft(node, "table ip cut { chain out { type filter hook output priority 0; policy drop; }; }")
    const mend = (node: string): string => nft(node, "delete table ip cut")
    cut("f1")
    await until("weft's session ends", async () => (await lab.neighbor(f1))!.state !== "Established", patienceMs)
    t.ok(performance.now() - began < 30_000, "long before the hold timer")
    t.match((await lab.neighbor(f1))!.lastReset, /BFD/i)
    await lab.inKernel("weft", "10.2.0.0/24", /^$/)
    await until("FRR's, too", async () => (await lab.frrNeighbor("f1", w1)).bgpState !== "Established", patienceMs)
    mend("f1")
    await exchanged()
    await until("BFD is up", isUp, patienceMs)
    // The other way: weft's packets do not arrive.
    cut("weft")
    await until("FRR's session ends", async () => (await lab.frrNeighbor("f1", w1)).bgpState !== "Established", patienceMs)
    mend("weft")
    await exchanged()
    await until("BFD is up", isUp, patienceMs)
    // FRR comes back without BFD: a path that the session came up on is good, whatever BFD said before (RFC 5882 4.3).
    cut("f1")
    await until("weft's session ends", async () => (await lab.neighbor(f1))!.state !== "Established", patienceMs)
    await lab.frr("f1").configure(`router bgp 65002\nno neighbor ${w1} bfd profile fast\nno neighbor ${w1} bfd`)
    mend("f1")
    await exchanged()
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2/)
    t.match(await lab.neighbor(f1), { bfd: "down", state: "Established" })
  })
})
