/**
 * Hosts that are network namespaces of this machine, joined by a bridge in one more:
 *
 *     weft-demo-host1  eth0 10.99.0.1 --+
 *     weft-demo-host2  eth0 10.99.0.2 --+-- weft-demo-underlay  br0
 *     weft-demo-host3  eth0 10.99.0.3 --+
 *
 * Each bears our mark, an alternative name of its loopback interface; what bears none is not ours and is not touched.
 */

import { execFileSync, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { Exit, Failure } from "../command.ts"

const mark = "weft-demo"
export const underlayName = "weft-demo-underlay"
export const namespaceOf = (host: string): string => `weft-demo-${host}`
export const pathOfNamespace = (name: string): string => `/run/netns/${name}`
export const addressOf = (number: number): string => `10.99.0.${number}`
export const prefix = "10.99.0.0/24"

/** Makes the hosts and their wires. @throws {Failure} with what ip(8) said */
export const makeHosts = async (hosts: ReadonlyArray<string>): Promise<void> => {
  for (const name of [underlayName, ...hosts.map(namespaceOf)]) {
    await ip(["netns", "add", name])
    await ip(["-n", name, "-batch", "-"], [`link property add dev lo altname ${mark}`, "link set lo up"])
  }
  const wires = hosts.flatMap((host) => [
    `link add ${host} type veth peer name eth0 netns ${namespaceOf(host)}`,
    `link set ${host} master br0 up`
  ])
  await ip(["-n", underlayName, "-batch", "-"], ["link add br0 type bridge", "link set br0 up", ...wires])
  for (const [index, host] of hosts.entries()) {
    const lines = ["link set eth0 up", `address add ${addressOf(index + 1)}/24 dev eth0`]
    await ip(["-n", namespaceOf(host), "-batch", "-"], lines)
  }
}

/** Those of the names that exist and are ours. */
export const existingOf = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.filter((name) => existsSync(pathOfNamespace(name)) && isOurs(name))

const isOurs = (name: string): boolean => {
  try {
    return execFileSync("ip", ["-n", name, "link", "show", "dev", "lo"], { encoding: "utf8", stdio: "pipe" }).includes(`altname ${mark}`)
  } catch {
    return false
  }
}

/** Removes those that are ours; what their processes do is not looked at. */
export const removeHosts = async (hosts: ReadonlyArray<string>): Promise<void> => {
  for (const name of existingOf([...hosts.map(namespaceOf), underlayName])) await ip(["netns", "del", name])
}

/**
 * Runs ip(8), with `lines` on its standard input. In a process group of its own: Ctrl-C is for the demo, and a namespace
 * without its mark would stay for ever.
 */
const ip = async (words: ReadonlyArray<string>, lines: ReadonlyArray<string> = []): Promise<void> => {
  const child = spawn("ip", words, { detached: true, stdio: ["pipe", "ignore", "pipe"] })
  let said = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text))
  child.stdin.on("error", () => {}).end(lines.map((line) => `${line}\n`).join(""))
  const code = await new Promise<number | null>((resolve) => {
    child.once("error", (error) => (said += error.message)).once("close", resolve)
  })
  if (code !== 0) throw new Failure(Exit.failed, `Cannot make the demo's hosts: ip ${words.join(" ")}: ${said.trim()}`)
}
