/**
 * Open vSwitch in user space as a user-space reference: a bridge and a VXLAN port on each of two hosts, started by hand in
 * folders of its own, beside whatever Open vSwitch the machine runs.
 *
 *   node == [int: netdev datapath] == vxlan == [phy] == u0 == underlay == u0 == [phy] == vxlan == [int] == node
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ipBatch, type Namespace, type World } from "../test/root/harness.ts"
import type { Path } from "./traffic.ts"

const schema = "/usr/share/openvswitch/vswitch.ovsschema"
const vswitchd = "/usr/sbin/ovs-vswitchd"
const vni = 42

export interface OvsPath extends Path {
  readonly close: () => void
}

export interface OvsOptions {
  /** Of the hosts. */
  readonly addresses: ReadonlyArray<string>
  /** Of the nodes. */
  readonly mtu: number
}

/** Undefined where Open vSwitch is not installed. */
export const ovs = (world: World, { addresses, mtu }: OvsOptions): OvsPath | undefined => {
  if (!existsSync(schema) || !existsSync(vswitchd)) return undefined
  const hosts = [0, 1].map((i) => world.namespace(`ovs-host${i}`))
  const nodes = [world.namespace("ovs-a"), world.namespace("ovs-b")] as const
  ipBatch(hosts[0]!, [`link add u0 type veth peer name u0 netns ${hosts[1]!.name}`])
  const started = hosts.map((host, i) => {
    const port = world.veth(host, { node: nodes[i]!, name: "eth0", mac: `02:00:00:00:01:0${i + 1}`, mtu })
    // The user-space datapath wants whole checksums.
    inside(nodes[i]!, ["ethtool", "-K", "eth0", "tx", "off"])
    ipBatch(host, ["link set u0 up"])
    inside(host, ["ethtool", "-K", "u0", "tx", "off"])
    ipBatch(nodes[i]!, [`addr add 10.99.0.${i + 1}/24 dev eth0`])
    return start(host, { port: `p${port}`, local: addresses[i]!, remote: addresses[1 - i]! })
  })
  const close = (): void => started.forEach((stop) => stop())
  return { name: "ovs-userspace", sender: nodes[0], receiver: nodes[1], address: "10.99.0.2", close }
}

const inside = (namespace: Namespace, argv: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}): void => {
  const argumentsOf = [`--net=${namespace.path}`, "--", ...argv]
  execFileSync("nsenter", argumentsOf, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ...env }, timeout: 20_000 })
}

interface Ends {
  readonly port: string
  /** Addresses in the underlay. */
  readonly local: string
  readonly remote: string
}

/** Starts both daemons in the host; returns what ends them. */
const start = (host: Namespace, { local, port, remote }: Ends): (() => void) => {
  const directory = mkdtempSync(join(tmpdir(), "weft-bench-ovs-"))
  const at = (name: string): string => join(directory, name)
  const env = { OVS_RUNDIR: directory, OVS_LOGDIR: directory, OVS_DBDIR: directory }
  const daemon = (name: string) => {
    const files = [`--pidfile=${at(`${name}.pid`)}`, `--unixctl=${at(`${name}.ctl`)}`, `--log-file=${at(`${name}.log`)}`]
    return [...files, "--detach", "--no-chdir"]
  }
  const stop = (): void => {
    for (const name of ["vswitchd", "ovsdb"]) {
      if (existsSync(at(`${name}.pid`))) process.kill(Number(readFileSync(at(`${name}.pid`), "utf8")), "SIGKILL")
    }
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    inside(host, ["ovsdb-tool", "create", at("conf.db"), schema], env)
    inside(host, ["ovsdb-server", at("conf.db"), `--remote=punix:${at("db.sock")}`, ...daemon("ovsdb")], env)
    const db = `unix:${at("db.sock")}`
    inside(host, ["ovs-vsctl", `--db=${db}`, "--no-wait", "init"], env)
    inside(host, [vswitchd, db, ...daemon("vswitchd")], env)
    const bridge = (name: string) => ["--", "add-br", name, "--", "set", "bridge", name, "datapath_type=netdev"]
    const tunnel = ["type=vxlan", `options:remote_ip=${remote}`, `options:key=${vni}`]
    const vxlan = ["--", "add-port", "int", "vx0", "--", "set", "interface", "vx0", ...tunnel]
    const ports = ["--", "add-port", "phy", "u0", "--", "add-port", "int", port, ...vxlan]
    inside(host, ["ovs-vsctl", `--db=${db}`, "--timeout=10", ...bridge("phy").slice(1), ...bridge("int"), ...ports], env)
    ipBatch(host, [`addr add ${local}/24 dev phy`, "link set phy up", "link set int up"])
    return stop
  } catch (error) {
    stop()
    throw error
  }
}
