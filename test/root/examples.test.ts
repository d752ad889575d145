/** Every topology in `topologies/`: deployed, looked at, deployed again, tried with pings, destroyed. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import t, { type Test } from "tap"
import { checkout, needsRoot } from "./harness.ts"
import { identities, run, sh, Weftd } from "./daemon-harness.ts"
import type { InspectResponse, ReachResult } from "../../ctl/messages.ts"

const folder = join(checkout, "topologies")

interface Example {
  /** Who does not reach whom; everybody else does. */
  readonly unreachable: (from: string, to: string) => boolean
  readonly nodes: number
  readonly ipv6?: true
}

const examples: Readonly<Record<string, Example>> = {
  bastion: {
    nodes: 6,
    // Servers inside have no gateway, and the first address of the bastion is in another network; private addresses lead
    // nowhere on the internet.
    unreachable: (from, to) => from === "admin" || (["vault", "build"].includes(from) && ["admin", "bastion"].includes(to))
  },
  "hybrid-idc-aws-office": { nodes: 12, unreachable: (from) => from === "www" },
  "hybrid-static": { nodes: 12, unreachable: (from) => from === "www" },
  // Six nodes; the service address moves, everybody's own stay.
  "idc-move": { nodes: 6, unreachable: () => false },
  "idc-move-both": { nodes: 6, unreachable: () => false },
  "idc-move-done": { nodes: 6, unreachable: () => false },
  "narrow-link": { nodes: 4, unreachable: () => false },
  // Nobody calls the office: its firewall lets answers in only.
  "site-to-site": { nodes: 8, unreachable: (from, to) => from === "www" || to.startsWith("pc") && !from.startsWith("pc") },
  "site-to-site-two-tunnels": { nodes: 8, unreachable: (from, to) => from === "www" || to.startsWith("pc") && !from.startsWith("pc") },
  "spine-leaf": { nodes: 44, ipv6: true, unreachable: () => false },
  "three-tier": {
    nodes: 9,
    // The internet has no route to private addresses; web and data are apart.
    unreachable: (from, to) =>
      from === "client" || (from.startsWith("web") && to === "db1") || (from === "db1" && (to.startsWith("web") || to === "client"))
  },
  // The firewalls know who began.
  "two-firewalls": { nodes: 5, unreachable: (from) => from === "srv" },
  // Behind NAT: the internet has no route to the branch.
  wan: { nodes: 5, unreachable: (from) => from === "www" }
}

const gather = async <A>(stream: AsyncIterable<A>): Promise<ReadonlyArray<A>> => Array.fromAsync(stream)

/** The pairs that were not as they should be. */
const surprises = (results: ReadonlyArray<ReachResult>, { unreachable }: Example): ReadonlyArray<string> =>
  results.flatMap(({ error, from, icmp, tcp, to }) => {
    const should = !unreachable(from, to)
    return icmp === should && tcp === should ? [] : [`${from} -> ${to}: icmp ${icmp}, tcp ${tcp} ${error}`]
  })

/** What a person needs to know of each port. */
const incomplete = ({ nodes }: InspectResponse): ReadonlyArray<string> =>
  nodes.flatMap(({ host, name, netns, ports, state }) => [
    ...(host !== "" && netns !== "" && state === "ready" ? [] : [`node ${name}: ${state} on "${host}"`]),
    ...ports.flatMap((port) => {
      const whole = port.state === "up" && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(port.mac) && port.ifindex > 0 && port.mtu > 0
      const wired = port.name === "lo" || (port.fabricName !== "" && port.segment !== "" && port.counters !== null)
      return whole && wired ? [] : [`port ${name}:${port.name}: ${JSON.stringify(port)}`]
    })
  ])

t.test("examples", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("examples")
  t.teardown(() => weftd.close())

  t.test("the list is complete", async (t) => {
    const files = readdirSync(folder).filter((name) => name.endsWith(".weft.yaml"))
    // The lab of containers has a test of its own, with a Docker engine: frr-containers.test.ts.
    t.same(files.map((name) => name.replace(".weft.yaml", "")).sort(), [...Object.keys(examples), "frr-containers"].sort())
  })

  for (const [example, about] of Object.entries(examples)) {
    await t.test(example, async (t) => {
      const file = join(folder, `${example}.weft.yaml`)
      const lab = weftd.name(example.slice(0, 9).replace(/-$/, ""))
      const deployed = await weftd.weft(["deploy", file, "--name", lab])
      t.equal(deployed.code, 0, deployed.stderr)

      const shown = await weftd.weft(["inspect", lab, "-o", "json"])
      const inspected = JSON.parse(shown.stdout) as InspectResponse
      t.equal(inspected.nodes.length, about.nodes)
      t.same(incomplete(inspected), [], "each node and port is there, up and described")
      t.same(inspected.drift, [])
      for (const node of inspected.nodes) {
        const addresses = sh("ip", "-n", node.netns, "-o", "address")
        const missing = node.ports.flatMap((port) => port.addresses).filter((address) => !addresses.includes(` ${address} `))
        t.same(missing, [], `${node.name} has the addresses that inspect says`)
      }

      const again = await weftd.weft(["deploy", file, "--name", lab])
      t.match(again.stdout, /nothing changed/)
      t.same(identities(await weftd.inspect(lab)), identities(inspected), "the second deploy makes nothing anew")
      t.equal((await weftd.weft(["plan", file, "--name", lab, "--detailed-exitcode"])).code, 0)

      const hosts = inspected.nodes.filter(({ kind }) => kind === "host").map(({ name }) => name)
      for (const ipv6 of about.ipv6 === true ? [false, true] : [false]) {
        const results = await gather(weftd.client.reach({ lab, nodes: [], timeoutMs: 2000, ipv6 }))
        t.equal(results.length, hosts.length * (hosts.length - 1))
        t.same(surprises(results, about), [], ipv6 ? "IPv6" : "IPv4")
      }
      if (example === "spine-leaf") await spreads(t, weftd, lab)
      if (example.startsWith("hybrid-")) await translates(t, weftd, lab)

      const destroyed = await weftd.weft(["destroy", lab])
      t.equal(destroyed.code, 0, destroyed.stderr)
      t.same(
        sh("ip", "netns")
          .split("\n")
          .filter((line) => line.startsWith(`weft.${lab}.`)),
        []
      )
      t.equal(sh("ip", "-n", weftd.fabric, "-o", "link").trim().split("\n").length, 1, "the fabric holds its loopback only")
    })
  }
})

/** Flows that differ by port only take different spines, there and back, and traceroute shows it. */
const spreads = async (t: Test, weftd: Weftd, lab: string): Promise<void> => {
  const spines = (command: string): ReadonlySet<string> => new Set(command.match(/dev spine\d/g))
  for (const [family, source, target] of [
    ["-4", "10.1.1.2", "10.1.8.2"],
    ["-6", "2001:db8:1:1::2", "2001:db8:1:8::2"]
  ] as const) {
    const chosen = Array.from({ length: 40 }, (_, i) =>
      sh(
        "ip",
        "-n",
        `weft.${lab}.leaf1`,
        family,
        "route",
        "get",
        target,
        "from",
        source,
        "iif",
        "rack",
        "ipproto",
        "tcp",
        "sport",
        String(2000 + 7 * i),
        "dport",
        "80"
      )
    )
    t.equal(spines(chosen.join("")).size, 4, `all four spines carry flows (${family})`)
  }
  const before = await uplinks(weftd, lab)
  const script =
    `const net = require("net"); let left = 40;` +
    `for (let i = 0; i < 40; i++) net.connect(9, "10.1.8.3").on("error", () => --left || process.exit(0))`
  t.equal((await weftd.inNode(lab, "h1-1", process.execPath, "-e", script)).code, 0)
  const after = await uplinks(weftd, lab)
  t.ok(
    [...after].every(([port, packets]) => packets > (before.get(port) ?? 0)),
    "every uplink's counter grows",
    { before: [...before], after: [...after] }
  )
  const trace = await weftd.inNode(lab, "h1-1", "traceroute", "-n", "-q", "1", "-w", "2", "10.1.8.3")
  // The wires have no addresses: routers answer with those of their loopbacks.
  t.match(trace.stdout, /^ *1 +10\.1\.1\.1 [^]*^ *2 +10\.255\.0\.[1-4] [^]*^ *3 +10\.255\.1\.8 [^]*^ *4 +10\.1\.8\.3 /m)
}

/** Packets that leaf1 has sent to each spine. */
const uplinks = async (weftd: Weftd, lab: string): Promise<ReadonlyMap<string, number>> => {
  const leaf = (await weftd.inspect(lab)).nodes.find(({ name }) => name === "leaf1")!
  return new Map(leaf.ports.filter(({ name }) => name.startsWith("spine")).map(({ counters, name }) => [name, counters!.fromPackets]))
}

/** Between the sites addresses stay; towards the internet they become the site's. */
const translates = async (t: Test, weftd: Weftd, lab: string): Promise<void> => {
  const results = await gather(weftd.client.reach({ lab, nodes: ["pc1", "app", "web", "batch", "www"], timeoutMs: 2000, ipv6: false }))
  const seen = (from: string, to: string): string => results.find((one) => one.from === from && one.to === to)!.seenAs
  t.equal(seen("pc1", "app"), "10.10.0.2")
  t.equal(seen("app", "web"), "10.20.0.3")
  t.equal(seen("batch", "pc1"), "10.30.2.2")
  t.equal(seen("pc1", "www"), "203.0.113.1")
  t.equal(seen("web", "www"), "203.0.113.14", "the elastic IP")
  t.equal(seen("batch", "www"), "203.0.113.9", "the NAT gateway")
  t.equal((await run(["ip", "netns", "exec", `weft.${lab}.www`, "ping", "-c1", "-W2", "203.0.113.14"])).code, 0, "and in")
  t.match(readFileSync(`/etc/netns/weft.${lab}.pc1/hosts`, "utf8"), /10\.20\.0\.\d+ db /)
}
