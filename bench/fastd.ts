/**
 * fastd as a user-space reference: an Ethernet tunnel that neither encrypts nor authenticates (method "null"), for which Debian
 * has a package. Its TAP is the node's own interface: a shorter way than any other here has.
 *
 *   node == [TAP] ~~ fastd ~~ underlay ~~ fastd ~~ [TAP] == node
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ipBatch, until, type World } from "../test/root/harness.ts"
import type { Path } from "./traffic.ts"

const program = "/usr/bin/fastd"
const port = 10_000
const tap = "fd0"

export interface FastdPath extends Path {
  readonly close: () => void
}

export interface FastdOptions {
  /** Of the hosts. */
  readonly addresses: ReadonlyArray<string>
  /** Of the nodes. */
  readonly mtu: number
}

/** Undefined where fastd is not installed. */
export const fastd = async (world: World, { addresses, mtu }: FastdOptions): Promise<FastdPath | undefined> => {
  if (!existsSync(program)) return undefined
  const hosts = [0, 1].map((i) => world.namespace(`fastd-host${i}`))
  const nodes = [world.namespace("fastd-a"), world.namespace("fastd-b")] as const
  ipBatch(hosts[0]!, [`link add u0 type veth peer name u0 netns ${hosts[1]!.name}`])
  const directory = mkdtempSync(join(tmpdir(), "weft-bench-fastd-"))
  const keys = hosts.map(newKey)
  const children: ChildProcess[] = []
  const close = (): void => {
    for (const child of children) child.kill("SIGKILL")
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    for (const [i, host] of hosts.entries()) {
      ipBatch(host, [`addr add ${addresses[i]}/24 dev u0`, "link set u0 up"])
      const file = join(directory, `${i}.conf`)
      const other = 1 - i
      const peer = `peer "other" { key "${keys[other]!.public}"; remote ${addresses[other]}:${port}; }`
      const own = [`interface "${tap}";`, "mode tap;", `mtu ${mtu};`, 'method "null";', `bind ${addresses[i]}:${port};`]
      writeFileSync(file, [...own, `secret "${keys[i]!.secret}";`, peer, ""].join("\n"), { mode: 0o600 })
      const argv = [`--net=${host.path}`, "--", program, "--log-level", "warn", "--config", file]
      children.push(spawn("nsenter", argv, { stdio: ["ignore", "ignore", "inherit"] }))
      const isThere = async () => (await world.run(host, ["ip", "link", "show", tap])).code === 0
      await until(`fastd has made ${tap}`, isThere, 20_000)
      ipBatch(host, [`link set ${tap} netns ${nodes[i]!.name}`])
      ipBatch(nodes[i]!, [`link set ${tap} mtu ${mtu} up`, `addr add 10.99.0.${i + 1}/24 dev ${tap}`])
    }
  } catch (error) {
    close()
    throw error
  }
  return { name: "fastd-null", sender: nodes[0], receiver: nodes[1], address: "10.99.0.2", close }
}

const newKey = (): { readonly secret: string; readonly public: string } => {
  const said = execFileSync(program, ["--generate-key"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
  const [, secret, shown] = /Secret: (\w+)\s+Public: (\w+)/.exec(said) ?? []
  if (secret === undefined || shown === undefined) throw new Error(`fastd --generate-key said something else: ${said}`)
  return { secret, public: shown }
}
