/** Sessions between weft and GoBGP: how they are protected and limited, and what survives a restart of either. */
import t from "tap"
import { gobgpd, neighbor } from "./bgp-gobgp.ts"
import { addressesOf, PeerLab, told } from "./bgp-peer-lab.ts"
import { missingPeers, type Peer, startGobgp } from "./bgp-peers.ts"
import { needsRoot } from "./harness.ts"

const one = addressesOf(1)

t.test("sessions with GoBGP", { skip: needsRoot || missingPeers("gobgp"), timeout: 600_000 }, async (t) => {
  const lab = await PeerLab.start(t, "gobgpsess", 1)
  let peer: Peer | undefined
  const run = async (text: string, ...more: ReadonlyArray<string>): Promise<Peer> => {
    if (peer !== undefined) await lab.stop(peer)
    peer = await lab.run("p1", (world, namespace) => startGobgp(world, namespace, text, more))
    return peer
  }
  const has = (prefix: string, pattern: RegExp) => {
    let last = ""
    return told(`GoBGP has ${pattern} for ${prefix}`, () => last, async () => {
      last = String(await peer!.ask(`global rib ${prefix}`).catch((error: Error) => error.message))
      return pattern.test(last)
    })
  }

  const nearby = "[neighbors.ttl-security.config]\n    enabled = true\n    ttl-min = 255"
  const kinds: ReadonlyArray<readonly [string, object, object]> = [
    ["a password", { password: "secret" }, { config: 'auth-password = "secret"' }],
    ["packets from one hop away only", { "ttl-security": 1 }, { more: nearby }],
    ["a passive weft", { passive: true }, {}],
    ["a passive GoBGP", {}, { more: "[neighbors.transport.config]\n    passive-mode = true" }]
  ]
  for (const [what, ours, theirs] of kinds) {
    await t.test(what, async () => {
      await lab.weft({ networks: ["10.1.0.0/24"], neighbors: [{ peer: one.peer, as: 65002, ...ours }] })
      const gobgp = await run(gobgpd(1, 65002, neighbor({ address: one.weft, ...theirs })))
      await lab.up(one.peer)
      await gobgp.ask("global rib add 10.2.0.0/24")
      await lab.paths("10.2.0.0/24")
      await has("10.1.0.0/24", /65001/)
    })
  }

  await t.test("more prefixes than weft takes", async (t) => {
    await lab.weft({ neighbors: [{ peer: one.peer, as: 65002, "max-prefix": { count: 1, restart: 60 } }] })
    const gobgp = await run(gobgpd(1, 65002, neighbor({ address: one.weft })))
    await lab.up(one.peer)
    await gobgp.ask("global rib add 10.2.0.0/24")
    await gobgp.ask("global rib add 10.2.1.0/24")
    await lab.is(one.peer, ({ lastReset, state }) => state === "Idle" && /we sent: Cease, Maximum Number/.test(lastReset))
    await lab.lacks("10.2.0.0/24", "10.2.1.0/24")
    t.match(gobgp.log(), /notification/i)
  })

  const graceful = {
    more: "[neighbors.graceful-restart.config]\n    enabled = true\n    restart-time = 4\n    long-lived-enabled = true",
    perFamily: "[neighbors.afi-safis.mp-graceful-restart.config]\n      enabled = true\n" +
      "    [neighbors.afi-safis.long-lived-graceful-restart.config]\n      enabled = true\n      restart-time = 60"
  }
  const text = gobgpd(1, 65002, neighbor({ address: one.weft, ...graceful }))

  await t.test("GoBGP ends as in a crash: its routes stay, become a last resort, and are its own again", async (t) => {
    const times = { "restart-time": 60, "long-lived": 60 }
    await lab.weft({ networks: ["10.1.0.0/24"], neighbors: [{ peer: one.peer, as: 65002, "graceful-restart": times }] })
    const gobgp = await run(text)
    await lab.up(one.peer)
    await gobgp.ask("global rib add 10.2.0.0/24")
    await lab.paths("10.2.0.0/24")
    await lab.stop(gobgp, true)
    peer = undefined
    await lab.paths("10.2.0.0/24", ([path]) => path?.stale === true)
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2/)
    await lab.paths("10.2.0.0/24", ([path]) => path?.communities.includes("llgr-stale") === true)
    const again = await run(text, "-r")
    await again.ask("global rib add 10.2.0.0/24")
    await lab.up(one.peer)
    t.match(await lab.paths("10.2.0.0/24", ([path]) => path?.stale === false), [{ best: true, communities: [] }])
  })

  await t.test("weft ends as in a crash: GoBGP keeps its routes, and has them again", async () => {
    await has("10.1.0.0/24", /65001/)
    await lab.weftd.kill()
    await told("GoBGP has lost the session", () => "", async () => !/Establ/.test(String(await peer!.ask("neighbor"))))
    await has("10.1.0.0/24", /65001/)
    await lab.weftd.start()
    await lab.up(one.peer)
    await has("10.1.0.0/24", /65001/)
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2/)
  })
})
