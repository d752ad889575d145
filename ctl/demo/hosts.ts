/**
 * The ground of `weft demo --hosts N`: N hosts that are network namespaces of this machine (underlay.ts), on each a weftd
 * that serves the others with mutual TLS, and etcd beside the first. All its files are in one folder, which is its lock too:
 *
 *     /var/lib/weft/demo-hosts/   end        ends all of it: sh /var/lib/weft/demo-hosts/end
 *                                 pki/       an authority of its own, and a certificate for each host
 *                                 hostN.log, hostN/state
 */

import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { setTimeout as wait } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as Authority from "../authority.ts"
import type { Client } from "../client.ts"
import { pathOf } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import { requireEtcd } from "./etcd.ts"
import type { Own } from "./ground.ts"
import { addressOf, existingOf, makeHosts, namespaceOf, pathOfNamespace, removeHosts, underlayName } from "./underlay.ts"
import { startWeftd } from "./weftd.ts"
import type { Weftd } from "./weftd.ts"

const directory = "/var/lib/weft/demo-hosts"
const endScript = join(directory, "end")
const listenPort = 7443
const etcdPort = 2379
const gatherPatienceMs = 90_000

const instanceOf = (host: string): string => `demo-${host}`
const socketOf = (host: string): string => `unix:/run/weft/${instanceOf(host)}/weftd.sock`
export const fabricOf = (host: string): string => `weft.fabric.${instanceOf(host)}`

/** Made, and still without daemons. */
export interface Hosts extends Own {
  readonly names: ReadonlyArray<string>
  /** Where the first one's daemon answers, once it does. */
  readonly address: string
  /** Starts a daemon on each and waits until all know of each other. */
  readonly start: () => Promise<Client>
}

/**
 * Makes the hosts, with certificates.
 *
 * @param onMade called as soon as there is something to end
 * @throws {Failure} when this user may not, there is no etcd, or such a demo runs already
 */
export const prepareHosts = async (names: ReadonlyArray<string>, onMade: (own: Own) => void): Promise<Hosts> => {
  if (process.getuid?.() !== 0) {
    throw new Failure(
      Exit.failed,
      "Cannot make hosts: that takes network namespaces and eBPF programs, which need root",
      `Type: sudo bin/weft demo --hosts ${names.length}`
    )
  }
  await requireEtcd()
  claim()
  const daemons: Array<Weftd> = []
  const making: Array<Promise<unknown>> = []
  const hosts: Hosts = {
    names,
    address: socketOf(names[0]!),
    ending: `Stop etcd and ${names.length} weftd, remove the hosts, verify: nothing is left`,
    start: () => start(names, daemons),
    stop: async () => {
      // After Ctrl-C they may still be in the making.
      await Promise.allSettled(making)
      // The one with etcd last: the others take their leave from it.
      await Promise.all(daemons.slice(1).map((daemon) => daemon.stop()))
      await daemons[0]?.stop()
      await removeHosts(names)
      rmSync(directory, { recursive: true, force: true })
      removeIfEmpty(dirname(directory))
    },
    leave: () => daemons.forEach((daemon) => daemon.leave()),
    leftovers: () => leftovers(names, daemons),
    tail: () => daemons[0]?.tail() ?? "",
    end: `sh ${endScript}`
  }
  onMade(hosts)
  writeFileSync(endScript, endOf(names), { mode: 0o700 })
  making.push(makeHosts(names), certify(names))
  await Promise.all(making)
  return hosts
}

/** Makes the folder. What a demo that was killed has left is removed when nothing of it lives any more. */
const claim = (): void => {
  mkdirSync(dirname(directory), { recursive: true })
  for (;;) {
    try {
      mkdirSync(directory, { mode: 0o700 })
      writeFileSync(join(directory, "pid"), String(process.pid))
      return
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== "EEXIST") throw new Failure(Exit.failed, `Cannot make the folder "${directory}": ${code}`)
    }
    refuseSecond()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** @throws {Failure} when there is another such demo on this machine */
export const refuseSecond = (): void => {
  if (!existsSync(directory) || (existingOf([underlayName]).length === 0 && !isAlive(ownerPid()))) return
  throw new Failure(
    Exit.failed,
    "A demo of many hosts runs already, or one was left with --keep",
    `To end it, type: sudo sh ${endScript}`
  )
}

/** 0: unknown, which also is so in the moment in which another demo makes the folder. */
const ownerPid = (): number => {
  try {
    return Number(readFileSync(join(directory, "pid"), "utf8"))
  } catch {
    return 0
  }
}

const isAlive = (pid: number): boolean => pid > 0 && existsSync(`/proc/${pid}`)

const certify = async (names: ReadonlyArray<string>): Promise<void> => {
  const pki = join(directory, "pki")
  await Authority.init(pki)
  const issue = (name: string, index: number): Promise<string> =>
    Authority.issue(pki, name, { client: true, server: true, hosts: [addressOf(index + 1), name], role: "daemon" }, 30)
  await Promise.all(names.map(issue))
}

const start = async (names: ReadonlyArray<string>, daemons: Array<Weftd>): Promise<Client> => {
  for (const [index, name] of names.entries()) {
    const file = (kind: string): string => join(directory, "pki", name, `${kind}.pem`)
    const etcd = index === 0 ? "new" : `https://${addressOf(1)}:${etcdPort}`
    const address = addressOf(index + 1)
    daemons.push(
      startWeftd({
        instance: instanceOf(name),
        address: socketOf(name),
        netns: pathOfNamespace(namespaceOf(name)),
        stateDirectory: join(directory, name, "state"),
        logFile: join(directory, `${name}.log`),
        words: [
          ...["--etcd", etcd, "--host", name, "--underlay", address, "--listen", `${address}:${listenPort}`],
          ...["--tls-ca", file("ca"), "--tls-cert", file("cert"), "--tls-key", file("key")]
        ]
      })
    )
  }
  const clients = await Promise.all(daemons.map((daemon) => daemon.answering()))
  for (const client of clients.slice(1)) client.close()
  const [client] = clients
  await gathered(client!, names)
  return client!
}

/** Waits until every host has made itself known. */
const gathered = async (client: Client, names: ReadonlyArray<string>): Promise<void> => {
  const deadline = performance.now() + gatherPatienceMs
  for (;;) {
    const { error, hosts } = await client.hosts()
    const missing = names.filter((name) => !hosts.some((host) => host.name === name && host.state === "ready"))
    if (missing.length === 0) return
    if (performance.now() > deadline) {
      const reason = error === "" ? "" : `: ${error}`
      throw new Failure(Exit.failed, `${missing.join(", ")} did not register within ${gatherPatienceMs / 1000} s${reason}`)
    }
    await wait(40)
  }
}

const leftovers = (names: ReadonlyArray<string>, daemons: ReadonlyArray<Weftd>): ReadonlyArray<string> => {
  const ofHost = (name: string): ReadonlyArray<string> =>
    [pathOfNamespace(fabricOf(name)), pathOf(socketOf(name)), dirname(pathOf(socketOf(name)))].filter((path) => existsSync(path))
  return [
    ...existingOf([underlayName, ...names.map(namespaceOf)]).map(pathOfNamespace),
    ...names.flatMap(ofHost),
    ...daemons.filter((daemon) => daemon.isAlive()).map(({ pid }) => `process ${pid}`),
    ...processesIn(directory).map((pid) => `process ${pid}`)
  ]
}

/** Processes that name a folder on their command line: etcd's, whose parent may be gone. */
const processesIn = (folder: string): ReadonlyArray<string> =>
  execFileSync("ps", ["-eo", "pid,args"], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes(`${folder}/`) && !line.includes(" ps "))
    .map((line) => line.trim().split(" ")[0]!)

const removeIfEmpty = (folder: string): void => {
  try {
    rmdirSync(folder)
  } catch {
    // Other daemons keep their state there.
  }
}

/** What `--keep` leaves to type. Names are ours, so none needs quoting. */
const endOf = (names: ReadonlyArray<string>): string => {
  const weft = fileURLToPath(new URL("../../bin/weft", import.meta.url))
  // Those that come first lose etcd last.
  const namespaces = [...names.toReversed().map(namespaceOf), underlayName]
  return `#!/bin/sh
# Ends the demo of ${names.length} hosts.
'${weft.replaceAll("'", "'\\''")}' destroy demo --daemon ${socketOf(names[0]!)}
for name in ${namespaces.join(" ")}; do
  ip -n $name link show dev lo 2>/dev/null | grep -q 'altname weft-demo' || continue
  pids=$(ip netns pids $name)
  [ -z "$pids" ] || kill $pids 2>/dev/null
  tries=0
  while [ -n "$(ip netns pids $name)" ] && [ $tries -lt 200 ]; do sleep 0.1; tries=$((tries + 1)); done
done
for name in ${namespaces.join(" ")}; do ip -n $name link show dev lo 2>/dev/null | grep -q 'altname weft-demo' && ip netns del $name; done
rm -rf ${directory}
`
}
