/** What is asked of one daemon about nodes of another: probes, captures of several hosts at once, tunnels, and who is let in. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t, { type Test } from "tap"
import { run, type Output } from "./daemon-harness.ts"
import { Fleet, matrixOf } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"

t.setTimeout(600_000)

const hasTshark = spawnSync("tshark", ["--version"]).status === 0

/** a on h1, b and d on h2, c on h3; b's neighbour is behind a router that hides it. */
const topology = (name: string) => ({
  name,
  nodes: {
    a: { kind: "host", host: "h1" },
    b: { kind: "host", host: "h2" },
    c: { kind: "host", host: "h3" },
    d: { kind: "host", host: "h2" }
  },
  networks: { lan: { cidr: "10.1.0.0/24", ports: ["a", "b", "c"] } },
  links: [{ name: "local", endpoints: ["b:local", "d:local"], cidr: "10.2.0.0/30" }]
})

const addresses = { a: "10.1.0.1", b: "10.1.0.2", c: "10.1.0.3" } as const

interface Place {
  readonly fleet: Fleet
  readonly lab: string
  readonly folder: string
}

t.test("nodes of other hosts", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("forward", { hosts: 3 })
  t.teardown(() => fleet.close())
  const folder = mkdtempSync(join(tmpdir(), "weft-fleet-forward-"))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const place = { fleet, lab: fleet.name("forward"), folder }
  await fleet.make(topology(place.lab))
  t.test("reach each other", (t) => reaches(t, place))
  t.test("are captured together", (t) => captures(t, place))
  t.test("have tunnels that can be looked into", (t) => tunnels(t, place))
  t.test("are nobody's who has no right", (t) => outsiders(t, place))
  t.test("on a host that is gone", (t) => gone(t, place))
})

const reaches = async (t: Test, { fleet, lab }: Place): Promise<void> => {
  const nodes = ["a", "b", "c"]
  const expected = Object.fromEntries(
    nodes.flatMap((from) => nodes.filter((to) => to !== from).map((to) => [`${from} -> ${to}`, from] as const))
      .map(([pair, from]) => [pair, `icmp true, tcp true, seen as ${addresses[from as "a"]}`])
  )
  for (const via of [1, 2, 3]) t.strictSame(matrixOf(await fleet.reach(lab, { via, nodes })), expected, `asked of h${via}`)
  t.match(fleet.weftd(2).log, /access\.granted weft\.v1\.Peers\/Listen "t\d+-forward b" to "h[13]" \(daemon/)
  const missing = await fleet.reach(lab, { nodes: ["a", "nobody"] }).then(() => "", (error: Error) => error.message)
  t.match(missing, 'No node "nobody"')
}

/** Pings from a to b and b to c until `isOver`. */
const traffic = async (fleet: Fleet, lab: string, isOver: () => boolean): Promise<void> => {
  await until("enough has been captured", async () => {
    await Promise.all([fleet.pings(lab, "a", addresses.b), fleet.pings(lab, "b", addresses.c)])
    return isOver()
  }, 120_000)
}

const capture = async ({ fleet, lab }: Place, via: number, words: ReadonlyArray<string>): Promise<Output> => {
  let over = false
  const capturing = fleet.weft(via, ["capture", ...words], { timeoutMs: 300_000 }).finally(() => (over = true))
  const [output] = await Promise.all([capturing, traffic(fleet, lab, () => over)])
  return output
}

const tshark = async (file: string, fields: ReadonlyArray<string>, filter = ""): Promise<ReadonlyArray<ReadonlyArray<string>>> => {
  const words = ["-n", "-r", file, "-T", "fields", ...fields.flatMap((field) => ["-e", field]), ...(filter === "" ? [] : ["-Y", filter])]
  const { stdout } = await run(["tshark", ...words])
  return stdout.trim().split("\n").map((line) => line.split("\t"))
}

const captures = async (t: Test, place: Place): Promise<void> => {
  const { folder, lab } = place
  const lines = await capture(place, 3, ["a:eth0", "b:eth0", `${lab}/b:eth0`, "--filter", "icmp and host 10.1.0.1", "-c", "8"])
  t.equal(lines.code, 0, lines.stderr)
  const packets = lines.stdout.trim().split("\n").map((line) => line.split(/ {2,}/))
  t.equal(packets.length, 8)
  // One host may have begun a little earlier.
  const way = packets.map(([, port, direction]) => `${port} ${direction}`).join(", ")
  t.match(way, "a:eth0 out, b:eth0 in, b:eth0 out, a:eth0 in")
  const counts = [...lines.stderr.matchAll(/\/([ab]):eth0: (\d+) packets? captured/g)]
  t.strictSame(counts.map(([, node]) => node), ["a", "b"])
  t.equal(counts.reduce((sum, [, , count]) => sum + Number(count), 0), 8)

  if (!hasTshark) return
  const file = join(folder, "three.pcapng")
  const words = ["a:eth0", "b:eth0", "c:eth0", "-w", file, "--duration", "3", "--filter", "icmp"]
  const written = await capture(place, 2, words)
  t.equal(written.code, 0, written.stderr)
  const seen = await tshark(file, ["frame.time_epoch", "frame.interface_name", "frame.interface_id", "ip.src"])
  const times = seen.map(([time]) => Number(time))
  t.ok(seen.length >= 8, `${seen.length} packets`)
  t.strictSame(times, times.toSorted((x, y) => x - y), "in the order of their times")
  const interfaces = new Set(seen.map(([, name, id]) => `${id} ${name}`))
  t.strictSame([...interfaces].sort(), [`0 ${lab}/b:eth0`, `1 ${lab}/a:eth0`, `2 ${lab}/c:eth0`], "the asked host's first")

  const both = ["capture", "a:eth0"]
  const noInterface = /No interface "eth9" in node "b".*did you mean/
  t.match(await place.fleet.weft(1, [...both, "b:eth9"]), { code: 1, stderr: noInterface })
  const noFilter = /Cannot use "icmp and" as a filter/
  t.match(await place.fleet.weft(1, [...both, "b:eth0", "--filter", "icmp and"]), { code: 2, stderr: noFilter })
}

const tunnels = async (t: Test, place: Place): Promise<void> => {
  const { fleet, folder, lab } = place
  const file = join(folder, "tunnel.pcapng")
  const { code, stderr } = await capture(place, 1, ["a:eth0", "b:eth0", "--tunnel", "-w", file, "--duration", "3"])
  t.equal(code, 0, stderr)
  t.match(stderr, new RegExp(`${lab}/a:eth0@underlay: \\d+ packets captured\n${lab}/b:eth0@underlay: \\d+ packets captured`))
  if (hasTshark) {
    const vni = (await fleet.inspect(lab)).segments.find(({ name }) => name === "lan")!.vni
    const fields = ["frame.interface_name", "ip.src", "ip.dst", "vxlan.vni", "icmp.type"]
    const seen = await tshark(file, fields, "icmp")
    const [h1, h2] = [fleet.address(1), fleet.address(2)]
    t.ok(seen.some(([name, from]) => name === `${lab}/a:eth0@underlay` && from === `${h1},${addresses.a}`), "a's echo leaves h1")
    t.ok(seen.some(([name, from]) => name === `${lab}/b:eth0@underlay` && from === `${h1},${addresses.a}`), "and arrives at h2")
    t.ok(seen.some(([, from]) => from === `${h2},${addresses.b}`))
    t.strictSame([...new Set(seen.map(([, , , id]) => id))], [String(vni)], "of this segment alone")
  }
  const filtered = await capture(place, 1, ["a:eth0", "--tunnel", "--filter", `src host ${fleet.address(2)}`, "-c", "2"])
  t.equal(filtered.stdout.match(/ in {3}10\.99\.0\.2:\d+ > 10\.99\.0\.1:4789 UDP/g)?.length, 2, filtered.stdout)
  const none = /Cannot capture on the tunnel side of "t\d+-forward\/d:local": it has none, nothing of its segment is on another host/
  t.match(await fleet.weft(1, ["capture", "d:local", "--tunnel"]), { code: 1, stderr: none })
}

const outsiders = async (t: Test, { fleet }: Place): Promise<void> => {
  const target = `${fleet.address(2)}:7443`
  const { ca, cert, key } = fleet.pki("operator")
  const connect = ["openssl", "s_client", "-ign_eof", "-connect", target, "-alpn", "h2", "-CAfile", ca]
  t.match((await fleet.onHost(1, ...connect)).stderr, /alert certificate required/)
  const weft = (folder: string, ...words: ReadonlyArray<string>) =>
    fleet.onHost(1, "env", `WEFT_PKI=${folder}`, "bin/weft", "--daemon", target, ...words)
  const folderOf = (file: string): string => file.slice(0, file.lastIndexOf("/"))
  const answered = { code: 0, stdout: "from afar\n" }
  t.match(await weft(folderOf(cert), "exec", "a", "--", "echo", "from afar"), answered, "an operator, through another host")
  t.match(fleet.weftd(1).log, /Nodes\/Exec "t\d+-forward\/a echo from afar" to operator \(operator, certificate [0-9A-F]+\) through "h2"/)
  const script = `
    import { readFileSync } from "node:fs"
    import { PeerClients } from "./daemon/fleet/peer-clients.ts"
    const [ca, cert, key] = ${JSON.stringify([ca, cert, key])}.map((path) => readFileSync(path))
    const peers = new PeerClients({ hosts: () => [{ name: "h2", endpoint: "${target}" }], material: { ca, cert, key }, self: "h1" })
    for (const method of ["InspectPart", "PlanPart"]) {
      await peers.unary("h2", "Peers", method, { lab: "x" }).catch((error) => console.log(error.message))
    }
    peers.close()`
  const asked = await fleet.onHost(1, process.execPath, "--input-type=module-typescript", "-e", script)
  t.equal(asked.stdout.match(/it is an operator, and this needs a daemon/g)?.length, 2, asked.stdout + asked.stderr)
}

const gone = async (t: Test, { fleet, lab }: Place): Promise<void> => {
  let killed: Promise<void> | undefined
  const running = fleet.weft(1, ["exec", "b", "--", "sh", "-c", "echo ready; exec sleep 60012"], {
    onStart: (child) => child.stdout!.once("data", () => (killed = fleet.kill(2)))
  })
  const ended = await running
  await killed
  const reason = /Cannot reach the weftd of host "h2" at 10\.99\.0\.2:7443: nobody listens there/
  t.match(ended, { code: 3, stdout: "ready\n", stderr: reason }, "a command that runs there")
  t.match(ended.stderr, /^error: Cannot reach/)
  await until("the command has ended with its daemon", async () => (await run(["pgrep", "-fx", "sleep 60012"])).code === 1)
  t.match(await fleet.weft(1, ["exec", "b", "--", "true"]), { code: 3, stderr: reason })
  t.match(await fleet.weft(1, ["capture", "a:eth0", "b:eth0"]), { code: 3, stderr: reason })
  const matrix = await fleet.reach(lab, { nodes: ["a", "b", "c"] })
  t.equal(matrix.length, 6, "every pair is there")
  const byPair = new Map(matrix.map((result) => [`${result.from} ${result.to}`, result]))
  t.match(byPair.get("a c"), { icmp: true, tcp: true, error: "" })
  t.match(byPair.get("b a"), { icmp: false, tcp: false, error: reason }, "nobody asks from there")
  const unheard = /tcp: cannot listen in b: Cannot reach the weftd of host "h2"/
  t.match(byPair.get("a b"), { icmp: true, tcp: false, error: unheard }, "its nodes live on")
  await fleet.restart(2)
  await until("b can be asked again", async () => (await fleet.weft(1, ["exec", "b", "--", "true"])).code === 0)

  let over = false
  const capturing = fleet.weft(1, ["capture", "a:eth0", "b:eth0", "--filter", "icmp"], {
    onStart: (child) => child.stdout!.once("data", () => void fleet.kill(2))
  }).finally(() => (over = true))
  const [cut] = await Promise.all([capturing, traffic(fleet, lab, () => over)])
  t.match(cut, { code: 1, stderr: /The capture ended early: Cannot reach the weftd of host "h2"/ })
  t.match(cut.stderr, new RegExp(`${lab}/a:eth0: \\d+ packets? captured`), "what there was is counted")
  await until("its daemon has ended", () => !fleet.weftd(2).isRunning)
  await fleet.restart(2)
}
