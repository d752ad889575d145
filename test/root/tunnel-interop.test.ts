/** Tunnels of the engine with others at the far end: the kernel's VXLAN device and Open vSwitch without its kernel module. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t, { type Test } from "tap"
import { ipBatch, isRoot, until } from "./harness.ts"
import { defaultPort, Hosts, id, inner, type Tunnel, underlay } from "./tunnel-harness.ts"

const needs = (program: string, from: string): string | false =>
  !isRoot ? "needs root: makes network namespaces" : existsSync(program) ? false : `needs ${program}: apt-get install ${from}`

/** Both directions, small and full packets, and a stream each way. */
const exchange = async (t: Test, { a, b, world }: Hosts): Promise<void> => {
  const ping = async (...options: string[]) => (await world.run(a.node, ["ping", "-c", "1", "-W", "1", ...options, inner[1]])).code === 0
  await until("the far end answers", () => ping())
  t.ok(await ping("-s", "1372"), "a full packet")
  const server = world.start(b.node, ["iperf3", "-s", "-1", "--forceflush"])
  await new Promise<void>((listening) => server.stdout!.on("data", (text: Buffer) => text.includes("listening") && listening()))
  const { stdout } = await world.run(a.node, ["iperf3", "-c", inner[1], "--bidir", "-t", "1", "-J"])
  const { end } = JSON.parse(stdout) as { end: Record<"sum_received" | "sum_received_bidir_reverse", { bytes: number }> }
  for (const [name, { bytes }] of Object.entries({ out: end.sum_received, back: end.sum_received_bidir_reverse })) {
    t.ok(bytes > 1e6, `${name}: ${(bytes / 1e6).toFixed(0)} MB of TCP in a second`)
  }
}

for (const family of [4, 6] as const) {
  const skip = needs("/usr/bin/iperf3", "iperf3")
  t.test(`Engine.addTunnel works with the kernel's VXLAN device over IPv${family}`, { skip }, async (t) => {
    const hosts = new Hosts(`interop-kernel-${family}`)
    t.teardown(() => hosts.close())
    const tunnel: Tunnel = { encapsulation: "vxlan", family, port: 4789, vni: 4242 }
    const { b } = hosts
    const [remote, local] = underlay[family]
    ipBatch(b.underlay, [
      `link add vx0 type vxlan id ${tunnel.vni} remote ${remote} local ${local} dstport ${tunnel.port}`,
      `link set vx0 mtu 1400 netns ${b.node.name}`
    ])
    ipBatch(b.node, [`addr add ${inner[1]}/24 dev vx0`, "link set vx0 up"])
    const engine = await hosts.start(hosts.a, tunnel, 1400)
    await exchange(t, hosts)
    const { refusals, tunnels } = await engine.allStats()
    t.equal(refusals.vxlan.unknownVni + refusals.vxlan.source + refusals.vxlan.flags, 0)
    t.equal(tunnels.get(id)!.sent.drops.error, 0)
  })
}

/** Open vSwitch in a host's underlay namespace, all in user space and in a folder of its own. */
class OpenVswitch {
  private readonly hosts: Hosts
  private readonly folder = mkdtempSync(join(tmpdir(), "weft-ovs-"))

  constructor(hosts: Hosts) {
    this.hosts = hosts
  }

  async start(): Promise<void> {
    const { folder, hosts } = this
    const base = "/usr/share/openvswitch/vswitch.ovsschema"
    execFileSync("ovsdb-tool", ["create", join(folder, "conf.db"), base])
    const own = (name: string) => [`--unixctl=${folder}/${name}.ctl`, `--pidfile=${folder}/${name}.pid`, `--log-file=${folder}/${name}.log`]
    const environment = ["env", `OVS_RUNDIR=${folder}`, `OVS_LOGDIR=${folder}`, `OVS_DBDIR=${folder}`]
    const run = (argv: ReadonlyArray<string>) => {
      const child = hosts.world.start(hosts.b.underlay, [...environment, ...argv])
      // It writes much, and stops when nobody reads.
      child.stdout!.resume()
      child.stderr!.resume()
    }
    run(["ovsdb-server", `${folder}/conf.db`, `--remote=punix:${folder}/db.sock`, ...own("ovsdb")])
    await until("ovsdb-server listens", () => existsSync(join(folder, "db.sock")))
    this.set("--no-wait", "init")
    run(["ovs-vswitchd", `unix:${folder}/db.sock`, "--disable-system", ...own("vswitchd")])
  }

  set(...argv: ReadonlyArray<string>): void {
    execFileSync("ovs-vsctl", [`--db=unix:${this.folder}/db.sock`, "--timeout=20", ...argv], { stdio: ["ignore", "pipe", "inherit"] })
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

for (const encapsulation of ["vxlan", "geneve", "gre"] as const) {
  const skip = needs("/usr/sbin/ovs-vswitchd", "openvswitch-switch")
  t.test(`Engine.addTunnel works with a ${encapsulation} port of Open vSwitch`, { skip }, async (t) => {
    const hosts = new Hosts(`interop-ovs-${encapsulation}`)
    const ovs = new OpenVswitch(hosts)
    t.teardown(async () => {
      await hosts.close()
      ovs.close()
    })
    const { a, b } = hosts
    const tunnel: Tunnel = { encapsulation, family: 4, port: encapsulation === "vxlan" ? 4789 : defaultPort[encapsulation], vni: 99 }
    // It reads frames without their checksums' state: everything that sends to it fills them in.
    const pair = `link add p0 mtu 1400 type veth peer name eth0 mtu 1400 netns ${b.node.name}`
    ipBatch(b.underlay, [pair, "link set p0 up", "addr flush dev u0"])
    ipBatch(b.node, ["link set eth0 up", `addr add ${inner[1]}/24 dev eth0`])
    for (const [namespace, name] of [[a.underlay, "u0"], [b.underlay, "u0"], [b.underlay, "p0"], [b.node, "eth0"]] as const) {
      await hosts.world.run(namespace, ["ethtool", "-K", name, "tx", "off", "gso", "off", "tso", "off", "gro", "off"])
    }
    await ovs.start()
    const bridge = (name: string) => ["--may-exist", "add-br", name, "--", "set", "bridge", name, "datapath_type=netdev"]
    ovs.set(...bridge("phy"), "--", "add-port", "phy", "u0")
    ovs.set(...bridge("int"), "--", "add-port", "int", "p0")
    ipBatch(b.underlay, [`addr add ${underlay[4][1]}/24 dev phy`, "link set phy up", "link set int up"])
    const options = [`options:remote_ip=${underlay[4][0]}`, `options:key=${tunnel.vni}`, "options:csum=true"]
    ovs.set("add-port", "int", "t0", "--", "set", "interface", "t0", `type=${encapsulation}`, ...options)
    const engine = await hosts.start(a, tunnel, 1400)
    await exchange(t, hosts)
    t.equal((await engine.allStats()).tunnels.get(id)!.sent.drops.error, 0)
  })
}
