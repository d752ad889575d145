/** What tunnels of the engine send, as tshark reads it, and what becomes of packets that somebody else made. */
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { refusalReasons } from "../../daemon/datapath/tunnel.ts"
import { checkout, isRoot, until } from "./harness.ts"
import { defaultPort, Hosts, id, inner, type Tunnel, underlay } from "./tunnel-harness.ts"

const needs = (file: string, from: string): string | false =>
  !isRoot ? "needs root: makes network namespaces" : existsSync(file) ? false : `needs ${file}: apt-get install ${from}`
const scapy = "/usr/lib/python3/dist-packages/scapy/__init__.py"
const encapsulations = ["vxlan", "geneve", "gre"] as const
/** epan/proto.h: PI_WARN; errors are more. */
const warning = 0x600000
/** One critical, with 8 octets, and one without data: what the receiving tunnel knows. */
const known = "0102810200c0ffee00c0ffee01020200"
const shown = ["flags.critical", "option.class", "option.type", "option.type.critical", "option.length", "option.unknown.data"]
  .map((name) => `geneve.${name}`)
const complaints = ["_ws.malformed", "_ws.expert.severity", "tcp.analysis.flags", "tcp.flags.reset"]

const transferOctets = 1_000_000
const port = 5001
/** Takes a connection's octets to their end, and says how many there were. */
const taking = `require("net").createServer({ allowHalfOpen: true }, (socket) => {
  let count = 0
  socket.on("data", ({ length }) => count += length).on("end", () => socket.end(String(count)))
}).listen(${port}, () => console.log("up"))`
/** Sends so many, and tells what the other end says of them. */
const giving = `require("net").connect(${port}, process.argv[1]).end(Buffer.alloc(${transferOctets})).pipe(process.stdout)`

for (const encapsulation of encapsulations) {
  const tunnel: Tunnel = { encapsulation, family: 4, port: defaultPort[encapsulation], vni: 0x10203 }

  t.test(`Engine.addTunnel delivers or counts what scapy sends in ${encapsulation}`, { skip: needs(scapy, "python3-scapy") }, async (t) => {
    const hosts = new Hosts(`packets-${encapsulation}`)
    t.teardown(() => hosts.close())
    const engine = await hosts.start(hosts.a, encapsulation === "geneve" ? { ...tunnel, options: known } : tunnel)
    const [local, , other] = underlay[4]
    const argv = ["/usr/bin/python3", join(checkout, "test/root/native/send-tunnels.py"), encapsulation, local]
    const sent = await hosts.world.run(hosts.b.underlay, [...argv, String(tunnel.port), String(tunnel.vni), other])
    t.equal(sent.code, 0, sent.stderr)
    const verdicts = sent.stdout.trim().split("\n").map((line) => line.split(" ")[0]!)
    const expected = (verdict: string): number => verdicts.filter((one) => one === verdict).length
    const seen = async () => {
      const { refusals, tunnels } = await engine.allStats()
      return { refused: refusals[encapsulation], received: tunnels.get(id)!.received, ignored: refusals.optionsIgnored }
    }
    await until("all have arrived", async () => {
      const { refused, received } = await seen()
      return Object.values(refused).reduce((sum, count) => sum + count, received.packets) >= verdicts.length
    })
    const { ignored, received, refused } = await seen()
    t.equal(received.packets, expected("delivered"), "delivered")
    for (const reason of refusalReasons) t.equal(refused[reason], expected(reason), reason)
    t.equal(ignored, encapsulation === "geneve" ? 1 : 0, "with options")
  })

  const skip = needs("/usr/bin/tshark", "tshark")
  t.test(`tshark finds nothing wrong with ${encapsulation} packets of the engine`, { skip }, async (t) => {
    for (const family of [4, 6] as const) {
      const hosts = new Hosts(`tshark-${encapsulation}-${family}`)
      const folder = mkdtempSync(join(tmpdir(), "weft-tshark-"))
      try {
        const { a, b, world } = hosts
        const file = join(folder, "capture.pcap")
        // Packets as a real wire has them: cut, and with all checksums.
        for (const host of [a, b]) await world.run(host.underlay, ["ethtool", "-K", "u0", "tx", "off", "gso", "off", "tso", "off"])
        const capture = world.start(b.underlay, ["tcpdump", "-i", "u0", "--immediate-mode", "-U", "-w", file, "-s", "2000", "-B", "8192"])
        await new Promise<void>((ready) => capture.stderr!.on("data", (text: Buffer) => text.includes("listening") && ready()))
        const ends = { ...tunnel, family, ...(encapsulation === "geneve" ? { options: known } : {}) }
        const engine = await hosts.start(a, ends, 1400)
        await hosts.start(b, ends, 1400)
        await until("the other node answers", async () => (await world.run(a.node, ["ping", "-c1", "-W1", "-s1372", inner[1]])).code === 0)
        // Super-frames of TCP, cut by us.
        const server = world.start(b.node, [process.execPath, "-e", taking])
        await new Promise<void>((listening) => server.stdout!.once("data", () => listening()))
        const given = await world.run(a.node, [process.execPath, "-e", giving, inner[1]])
        t.equal(given.stdout, String(transferOctets), given.stderr)
        const holds = () => `${statSync(file).size} octets, exit ${capture.exitCode}`
        await until("the capture has it all", () => statSync(file).size > 300_000).catch((error) => t.fail(`${error} (${holds()})`))
        capture.kill("SIGINT")
        if (capture.exitCode === null) await new Promise((ended) => capture.on("close", ended))
        // What is sent is no protocol, whatever port the kernel chose for the client.
        const decode = ["-d", "tcp.port==0-65535,data", ...(encapsulation === "vxlan" ? ["-d", `udp.port==${tunnel.port},vxlan`] : [])]
        const checks = ["tcp", "ip", "udp"].flatMap((protocol) => ["-o", `${protocol}.check_checksum:TRUE`])
        const identifier = { vxlan: "vxlan.vni", geneve: "geneve.vni", gre: "gre.key" }[encapsulation]
        const fields = [identifier, "tcp.seq", "ip.flags.df", "tcp.checksum.status", "udp.checksum.status", ...complaints, ...shown]
        const columns = fields.flatMap((field) => ["-e", field])
        const { code, stderr, stdout } = await world.run(b.underlay, [
          "tshark", "-n", "-r", file, ...decode, ...checks, "-T", "fields", ...columns
        ])
        t.equal(code, 0, stderr)
        const packets = stdout.split("\n").filter((line) => line !== "").map((line) => line.split("\t"))
        const tcp = packets.filter(([, sequence]) => sequence !== "")
        t.ok(tcp.length > 100, `IPv${family}: ${tcp.length} packets of TCP`)
        t.strictSame([...new Set(tcp.map(([name]) => Number(name)))], [tunnel.vni])
        // 0: bad, 1: good; the outer header is the first one.
        const damaged = packets.filter((values) => values.slice(3, 5).some((status) => status.includes("0")))
        t.strictSame(damaged, [], "checksums are right")
        const [lost] = damaged
        if (lost !== undefined) {
          const look = ["tshark", "-n", "-r", file, ...decode, ...checks, "-Y", `tcp.seq==${lost[1]?.split(",")[0]}`, "-V", "-x", "-c", "2"]
          t.comment((await world.run(b.underlay, look)).stdout)
        }
        if (family === 4) t.notOk(tcp.some(([, , df]) => df?.startsWith("1") || df?.startsWith("True")), "no DF outside")
        // What TCP itself repeats, loses or resets is its own.
        const wrong = packets.filter(([, , , , , malformed, severity, analysis, reset]) => {
          const isTcp = analysis !== "" || reset?.startsWith("1") || reset?.startsWith("True")
          return malformed !== "" || (!isTcp && (severity ?? "").split(",").some((one) => Number(one) >= warning))
        })
        t.strictSame(wrong, [], "no complaint")
        if (encapsulation !== "geneve") continue
        const options = new Set(packets.filter(([name]) => name !== "").map((values) => values.slice(-shown.length).join(" ")))
        t.strictSame([...options], ["1 0x0102,0x0102 0x81,0x02 1,0 16,12,4 00c0ffee00c0ffee,<MISSING>"], "every packet has the options")
        t.equal((await engine.allStats()).refusals.optionsIgnored, 0, "which are known at the far end")
      } finally {
        await hosts.close()
        rmSync(folder, { recursive: true, force: true })
      }
    }
  })
}
