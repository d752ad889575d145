/** What weft and FRR tell each other of a route: every attribute, in both directions, over external and internal sessions. */
import t from "tap"
import { FrrLab, family, neighbor, router } from "./bgp-frr-lab.ts"
import { missingPeers } from "./bgp-peers.ts"
import { needsRoot } from "./harness.ts"

const [f1, f2, f1six] = ["10.0.1.2", "10.0.2.2", "2001:db8:1::2"]
/** weft, as FRR sees it. */
const [w1, w2, w1six] = ["10.0.1.1", "10.0.2.1", "2001:db8:1::1"]

t.test("attributes with FRR", { skip: needsRoot || missingPeers("frr") }, async (t) => {
  const lab = await FrrLab.start(t, "attributes", 2)

  await t.test("IPv4 and IPv6, external and internal", async (t) => {
    await lab.set(
      {
        as: 65001,
        networks: ["10.1.0.0/24", "2001:db8:a::/48"],
        neighbors: [{ peer: f1, as: 65002 }, { peer: f1six, as: 65002 }, { peer: f2, as: 65001, "next-hop-self": true }]
      },
      {
        f1: router(65002, 1, neighbor(w1, 65001), neighbor(w1six, 65001),
          family("ipv4", `neighbor ${w1} activate`, "network 10.2.0.0/24"),
          family("ipv6", `neighbor ${w1six} activate`, "network 2001:db8:b::/48")),
        f2: router(65001, 2, neighbor(w2, 65001),
          family("ipv4", `neighbor ${w2} activate`, `neighbor ${w2} next-hop-self`, "network 10.3.0.0/24"))
      }
    )
    await lab.up(f1, f1six, f2)
    t.match(await lab.frrPath("f1", "10.1.0.0/24"), { aspath: { string: "65001" }, origin: "IGP", valid: true, nexthops: [{ ip: w1 }] })
    t.match(await lab.frrPath("f1", "2001:db8:a::/48"), { aspath: { string: "65001" }, valid: true })
    t.match(await lab.frrPath("f2", "10.1.0.0/24"), { aspath: { string: "Local" }, locPrf: 100, valid: true })
    t.match(await lab.frrPath("f2", "10.2.0.0/24"), { aspath: { string: "65002" }, locPrf: 100, nexthops: [{ ip: w2 }] })
    t.match(await lab.frrPath("f1", "10.3.0.0/24"), { aspath: { string: "65001" }, nexthops: [{ ip: w1 }] })
    t.match(await lab.paths("10.2.0.0/24"), [{ asPath: "65002", nextHop: f1, kind: "external", best: true, from: f1 }])
    t.match(await lab.paths("2001:db8:b::/48"), [{ asPath: "65002", nextHop: f1six, best: true }])
    t.match(await lab.paths("10.3.0.0/24"), [{ asPath: "", nextHop: f2, kind: "internal", localPref: 100 }])
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2 dev f1 .*metric 20/)
    await lab.inKernel("weft", "10.3.0.0/24", /via 10\.0\.2\.2 dev f2 .*metric 200/)
    await lab.inKernel("weft", "2001:db8:b::/48", /via \S+ dev f1/)
    await lab.inKernel("f1", "10.1.0.0/24", /via 10\.0\.1\.1 dev weft proto bgp/)
    await lab.inKernel("f1", "2001:db8:a::/48", /via \S+ dev weft proto bgp/)
    await lab.inKernel("f2", "10.2.0.0/24", /via 10\.0\.2\.1 dev weft proto bgp/)
    t.match(await lab.neighbor(f1), { families: [{ family: "ipv4", received: 1, accepted: 1, sent: 2, complete: true }] })
    const summary = (await lab.frr("f1").ask("show bgp ipv4 unicast summary json")) as { peers: Record<string, object> }
    t.match(summary.peers[w1], { pfxRcd: 2, pfxSnt: 3, state: "Established" }, "FRR sends ours back, and counts it")
  })

  await t.test("communities of every sort, MED, origin, prepended paths, local preference and weight", async (t) => {
    const sets = {
      med: 77, origin: "incomplete", prepend: { as: 65001, times: 2 },
      community: ["65001:42", "no-peer", "65001:1:2", "rt:65001:7", "soo:10.0.0.1:8"]
    }
    const map = [
      "route-map mark permit 10", "set metric 88", "set origin egp", "set as-path prepend 65002 65009",
      "set community 65002:42 no-peer", "set large-community 65002:1:2",
      "set extcommunity rt 65002:7", "set extcommunity soo 10.0.0.2:8", "exit"
    ]
    await lab.set(
      {
        as: 65001,
        networks: ["10.1.0.0/24"],
        policies: {
          marked: [{ permit: "any", set: sets }],
          preferred: [{
            permit: { community: ["65002:42", "65002:1:2", "rt:65002:7"], "as-path": "_65009$" },
            set: { "local-preference": 300, weight: 9 }
          }]
        },
        neighbors: [{ peer: f1, as: 65002, export: "marked", import: "preferred" }, { peer: f2, as: 65001, "next-hop-self": true }]
      },
      {
        f1: [...map, router(65002, 1, neighbor(w1, 65001),
          family("ipv4", `neighbor ${w1} activate`, `neighbor ${w1} route-map mark out`, "network 10.2.0.0/24"))].join("\n"),
        f2: router(65001, 2, neighbor(w2, 65001), family("ipv4", `neighbor ${w2} activate`))
      }
    )
    t.match(await lab.frrPath("f1", "10.1.0.0/24"), {
      aspath: { string: "65001 65001 65001" }, metric: 77, origin: "incomplete", community: { string: "65001:42 no-peer" },
      largeCommunity: { string: "65001:1:2" }, extendedCommunity: { string: "RT:65001:7 SoO:10.0.0.1:8" }
    })
    const [path] = await lab.paths("10.2.0.0/24")
    t.match(path, { asPath: "65002 65002 65009", med: 88, origin: "egp", localPref: 300, weight: 9 })
    t.same([...path!.communities].sort(), ["65002:1:2", "65002:42", "no-peer", "rt:65002:7", "soo:10.0.0.2:8"])
    t.match(await lab.frrPath("f2", "10.2.0.0/24"), {
      aspath: { string: "65002 65002 65009" }, locPrf: 300, metric: 88, origin: "EGP", community: { string: "65002:42 no-peer" },
      largeCommunity: { string: "65002:1:2" }, extendedCommunity: { string: "RT:65002:7 SoO:10.0.0.2:8" }
    }, "through weft nothing is lost")
  })

  await t.test("communities by expression, any of them, exactly these: weft and FRR judge alike, and delete alike", async (t) => {
    const bear = (asn: number): ReadonlyArray<ReadonlyArray<string>> =>
      [[`${asn}:11`, `${asn}:2`], [`${asn}:2`], [`${asn}:2:12`, `${asn}:3`], [`${asn}:111`, "no-peer"]]
    const isLarge = (text: string): boolean => text.split(":").length === 3
    const map = bear(65002).flatMap((texts, i) => [
      `route-map own${i} permit 10`, `set community ${texts.filter((one) => !isLarge(one)).join(" ")}`,
      ...texts.filter(isLarge).map((one) => `set large-community ${one}`), "exit"
    ])
    const lists = [
      "bgp community-list expanded tens permit _65001:1[0-9]_", "bgp community-list standard two permit 65001:2",
      "bgp community-list standard any permit 65001:3", "bgp community-list standard any permit 65001:111",
      "bgp large-community-list expanded tens permit _65001:2:1[0-9]_"
    ]
    const judge = [
      "route-map judge permit 10", "match community tens", "set local-preference 210", "exit",
      "route-map judge permit 20", "match community two exact-match", "set local-preference 220", "exit",
      "route-map judge permit 30", "match large-community tens", "set local-preference 230", "exit",
      "route-map judge permit 40", "match community any", "set local-preference 240", "exit",
      "route-map cut permit 10", "set comm-list tens2 delete", "set large-comm-list tens2 delete", "exit",
      "bgp community-list expanded tens2 permit _65002:1[0-9]_", "bgp large-community-list expanded tens2 permit _65002:2:1[0-9]_"
    ]
    const cut = [{ permit: "any", set: { "remove-community": ["/^65001:1[0-9]$/", "/^65001:2:1/"] } }]
    const tens = [
      { permit: { community: "/_65002:1[0-9]_/" }, set: { "local-preference": 210 } },
      { permit: { "exact-community": "65002:2", prefix: "10.2.1.0/24" }, set: { "local-preference": 220 } },
      { permit: { community: "/^65002:2:1[0-9]$/" }, set: { "local-preference": 230 } },
      { permit: { "any-community": ["65002:3", "65002:111"] }, set: { "local-preference": 240 } }
    ]
    const weft = (more: object) => ({
      as: 65001,
      networks: bear(65001).map((_, i) => ({ prefix: `10.1.${i}.0/24`, policy: `own${i}` })),
      policies: { tens, cut, ...Object.fromEntries(bear(65001).map((texts, i) =>
        [`own${i}`, [{ permit: "any", set: { community: texts } }]])) },
      neighbors: [{ peer: f1, as: 65002, import: "tens", ...more }]
    })
    const networks = bear(65002).map((_, i) => `network 10.2.${i}.0/24 route-map own${i}`)
    await lab.set(weft({}), { f1: [...map, ...lists, ...judge, router(65002, 1, neighbor(w1, 65001),
      family("ipv4", `neighbor ${w1} activate`, `neighbor ${w1} route-map judge in`, ...networks))].join("\n") })
    for (const [i, locPrf] of [210, 220, 230, 240].entries()) {
      t.match(await lab.frrPath("f1", `10.1.${i}.0/24`), { locPrf }, `FRR of 10.1.${i}.0/24`)
      t.match(await lab.paths(`10.2.${i}.0/24`), [{ localPref: locPrf }], `weft of 10.2.${i}.0/24`)
    }
    await lab.weft(weft({ import: undefined, export: "cut" }))
    await lab.frr("f1").configure(`router bgp 65002\naddress-family ipv4 unicast\nneighbor ${w1} route-map cut out`)
    t.match(await lab.frrPath("f1", "10.1.0.0/24", ({ community }) => community?.string === "65001:2"), { valid: true })
    t.equal((await lab.frrPath("f1", "10.1.2.0/24", ({ largeCommunity }) => largeCommunity === undefined)).community?.string, "65001:3")
    t.equal((await lab.frrPath("f1", "10.1.3.0/24")).community?.string, "65001:111 no-peer", "which is none of the tens")
    await lab.paths("10.2.0.0/24", ([path]) => path?.communities.join() === "65002:2")
    await lab.paths("10.2.2.0/24", ([path]) => path?.communities.join() === "65002:3")
  })

  await t.test("no-export, no-advertise and no-export of what weft bears itself", async (t) => {
    const maps = ["no-export", "no-advertise"].map((name, i) =>
      [`route-map wk permit ${10 * (i + 1)}`, `match ip address prefix-list wk${i}`, `set community ${name}`, "exit"].join("\n"))
    const lists = [0, 1].map((i) => `ip prefix-list wk${i} permit 10.2.${i}.0/24`)
    const f1text = router(65002, 1, neighbor(w1, 65001),
      family("ipv4", `neighbor ${w1} activate`, `neighbor ${w1} route-map wk out`,
        ...[0, 1, 2].map((i) => `network 10.2.${i}.0/24`)))
    await lab.set(
      {
        as: 65001,
        networks: [{ prefix: "10.1.0.0/24", policy: "kept" }, "10.1.1.0/24"],
        policies: { kept: [{ permit: "any", set: { community: "no-export" } }] },
        neighbors: [{ peer: f1, as: 65002 }, { peer: f2, as: 65003 }]
      },
      {
        f1: [...lists, ...maps, "route-map wk permit 30", "exit", f1text].join("\n"),
        f2: router(65003, 2, neighbor(w2, 65001), family("ipv4", `neighbor ${w2} activate`))
      }
    )
    await lab.frrPath("f2", "10.2.2.0/24")
    t.match(await lab.paths("10.2.0.0/24"), [{ communities: ["no-export"] }])
    t.match(await lab.paths("10.2.1.0/24"), [{ communities: ["no-advertise"] }])
    t.match(await lab.neighbor(f2), { families: [{ sent: 2 }] }, "10.1.1.0/24 and 10.2.2.0/24")
    await lab.frrLacks("f2", "10.2.0.0/24")
    await lab.frrLacks("f2", "10.2.1.0/24")
    await lab.frrLacks("f2", "10.1.0.0/24")
    await lab.weft({ as: 65001, neighbors: [{ peer: f1, as: 65002 }, { peer: f2, as: 65001, "next-hop-self": true }] })
    const internal = router(65001, 2, neighbor(w2, 65001), family("ipv4", `neighbor ${w2} activate`))
    await lab.frr("f2").configure(`no router bgp\n${internal}`)
    await lab.frrPath("f2", "10.2.2.0/24")
    t.match(await lab.frrPath("f2", "10.2.0.0/24"), { community: { string: "no-export" } }, "it may stay within the AS")
    await lab.frrLacks("f2", "10.2.1.0/24")
  })

  await t.test("the same path wins on both sides: what weft bgp says is what FRR says", async (t) => {
    // weft and f2 are in one AS and hear f1's prefixes by two ways each; each prefix is decided by another step.
    const lists = [0, 1, 2, 3].map((i) => `ip prefix-list step${i} permit 10.2.${i}.0/24`)
    const changes = ["set as-path prepend 65002 65002", "set origin incomplete", "set metric 500", "set metric 0"]
    const worse = changes.flatMap((change, i) =>
      [`route-map worse permit ${i + 1}0`, `match ip address prefix-list step${i}`, change, "exit"])
    const lan = "10.0.100.2"
    await lab.set(
      { as: 65001, neighbors: [{ peer: f1, as: 65002 }, { peer: lan, as: 65002 }, { peer: f2, as: 65001, "next-hop-self": true }] },
      {
        f1: [...lists, ...worse, router(65002, 1, neighbor(w1, 65001), neighbor("10.0.100.1", 65001), neighbor("10.0.100.3", 65001),
          family("ipv4", ...[w1, "10.0.100.1", "10.0.100.3"].map((address) => `neighbor ${address} activate`),
            "neighbor 10.0.100.1 route-map worse out", ...[0, 1, 2, 3].map((i) => `network 10.2.${i}.0/24`)))].join("\n"),
        f2: router(65001, 2, neighbor(w2, 65001), neighbor(lan, 65002),
          family("ipv4", `neighbor ${w2} activate`, `neighbor ${lan} activate`))
      }
    )
    const reasons = [/AS-path length/i, /origin/i, /MED/i]
    for (const [i, reason] of reasons.entries()) {
      const paths = await lab.paths(`10.2.${i}.0/24`, (all) => [f1, lan].every((one) => all.some(({ from }) => from === one)))
      t.match(paths.find(({ best }) => best), { from: f1 }, `10.2.${i}.0/24`)
      t.match(paths.find(({ from }) => from === lan)!.why, reason)
    }
    // FRR in the same AS prefers what it has heard itself to what weft tells it, as weft says of its own, the other way round.
    const seen = await lab.frrPaths("f2", "10.2.0.0/24", (all) =>
      all.some(({ bestpath, peer }) => bestpath?.overall === true && peer?.peerId === lan))
    t.equal(seen.length, 2)
    const mine = await lab.paths("10.2.0.0/24", (all) => all.some(({ kind }) => kind === "internal"))
    t.match(mine.find(({ kind }) => kind === "internal"), { best: false, from: f2 })
  })
})
