/**
 * Real etcd members on free ports of loopback, in a temporary folder; ended, and looked after, with the test.
 *
 *   const etcd = await Members.start(t)                  one member
 *   const etcd = await Members.start(t, { count: 3 })
 *   const store = await etcd.open(t)
 *   await etcd.kill(0); await etcd.run(0); etcd.freeze(0); etcd.thaw(0)
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Test } from "tap"
import * as Etcd from "../../daemon/store/etcd.ts"
import type { FleetLab, FleetListener, FleetStore, HostRecord, HostState, PartReport, Versioned } from "../../daemon/store/fleet.ts"

export const needsEtcd = "needs etcd: apt-get install etcd-server etcd-client"
export const isEtcdInstalled = ((): boolean => {
  try {
    for (const program of ["etcd --version", "etcdctl version"]) execFileSync("/bin/sh", ["-c", program], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
})()

export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await new Promise((resolve) => server.once("listening", resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Resolves when `holds`, rejects after `deadlineMs`. */
export const until = async (what: string, holds: () => boolean | Promise<boolean>, deadlineMs = 60_000): Promise<void> => {
  const end = performance.now() + deadlineMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`Waited ${deadlineMs} ms in vain until ${what}`)
    await new Promise((next) => setTimeout(next, 10))
  }
}

const etcdctl = (endpoints: string, words: ReadonlyArray<string>): string => {
  const env = { ...process.env, ETCDCTL_API: "3" }
  return execFileSync("etcdctl", [`--endpoints=${endpoints}`, ...words], { encoding: "utf8", env, stdio: ["ignore", "pipe", "pipe"] })
}

export interface MembersOptions {
  readonly count?: 1 | 3
}

export class Members {
  readonly endpoints: ReadonlyArray<string>
  readonly #directory = mkdtempSync(join(tmpdir(), "weft-etcd-test-"))
  readonly #words: ReadonlyArray<ReadonlyArray<string>>
  readonly #children: Array<ChildProcess | undefined> = []

  static async start(t: Test, options: MembersOptions = {}): Promise<Members> {
    const ports = await Promise.all(Array.from({ length: 2 * (options.count ?? 1) }, freePort))
    const members = new Members(ports)
    t.teardown(() => members.close())
    await Promise.all(members.endpoints.map((_, index) => members.run(index)))
    const probe = await members.open(t)
    await until("etcd serves", () => probe.labs().then(() => true, () => false))
    return members
  }

  private constructor(ports: ReadonlyArray<number>) {
    const count = ports.length / 2
    const urlOf = (index: number): string => `http://127.0.0.1:${ports[index]}`
    const peerOf = (index: number): string => `http://127.0.0.1:${ports[count + index]}`
    const cluster = Array.from({ length: count }, (_, index) => `m${index}=${peerOf(index)}`).join(",")
    this.endpoints = Array.from({ length: count }, (_, index) => urlOf(index))
    this.#words = this.endpoints.map((url, index) => [
      `--name=m${index}`,
      `--data-dir=${join(this.#directory, `m${index}`)}`,
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      `--listen-peer-urls=${peerOf(index)}`,
      `--initial-advertise-peer-urls=${peerOf(index)}`,
      `--initial-cluster=${cluster}`,
      "--initial-cluster-token=weft-test"
    ])
  }

  async run(index: number): Promise<void> {
    const child = spawn("etcd", [...this.#words[index]!], { stdio: "ignore" })
    this.#children[index] = child
    await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject))
  }

  async kill(index: number): Promise<void> {
    const child = this.#children[index]
    if (child === undefined) return
    this.#children[index] = undefined
    const ended = new Promise((resolve) => child.once("exit", resolve))
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill("SIGKILL")
    await ended
  }

  freeze(index: number): void {
    this.#children[index]?.kill("SIGSTOP")
  }

  thaw(index: number): void {
    this.#children[index]?.kill("SIGCONT")
  }

  async open(t: Test, more: { readonly log?: (line: string) => void; readonly prefix?: string } = {}): Promise<FleetStore> {
    const store = await Etcd.open({ endpoints: this.endpoints, log: () => {}, ...more })
    t.teardown(() => store.close())
    return store
  }

  /** What a person types. */
  control(...words: ReadonlyArray<string>): string {
    return etcdctl(this.endpoints.join(","), words)
  }

  isHealthy(index: number): boolean {
    try {
      etcdctl(this.endpoints[index]!, ["endpoint", "health", "--command-timeout=1s"])
      return true
    } catch {
      return false
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.map((_, index) => this.kill(index)))
    rmSync(this.#directory, { recursive: true })
  }
}

export const record = (name: string, more: Partial<HostRecord> = {}): HostRecord => ({
  name, underlay: `192.0.2.${Number(/\d+$/.exec(name)?.[0] ?? 99) + 1}`,
  endpoint: "", capacity: 2, labels: {}, instance: name, version: "1", kernel: "6.1", ...more
})

/** A lab with a segment for each VNI. */
export const lab = (name: string, vnis: ReadonlyArray<number>, more: Partial<FleetLab> = {}): FleetLab => ({
  name,
  filename: `${name}.weft.yaml`,
  wanted: "present",
  plan: {
    lab: name,
    nodes: [],
    segments: [],
    resources: vnis.map((vni, index) => ({
      kind: "segment",
      id: `segment/l${index}`,
      spec: { segmentKind: "p2p", name: `l${index}`, vni, ports: [`a${index}:eth0`, `b${index}:eth0`], ageingS: 300 },
      dependsOn: []
    }))
  },
  generation: 1,
  deployedAt: "2026-01-01T00:00:00.000Z",
  hosts: ["h1"],
  ...more
})

export const report = (host: string, more: Partial<PartReport> = {}): PartReport => ({
  host, generation: 1, state: "ready", done: 1, total: 1, failures: [], at: "2026-01-01T00:00:00.000Z", ...more
})

/** What a watch has told, as it stands. */
export class Heard {
  readonly labs = new Map<string, Versioned>()
  readonly reports = new Map<string, PartReport>()
  readonly connections: Array<string> = []
  hosts: ReadonlyArray<HostState> = []
  readonly gone: Array<string> = []
  /** Generations of each lab in the order of telling. */
  readonly generations: Array<number> = []

  constructor(t: Test, store: FleetStore) {
    const listener: FleetListener = {
      lab: (name, found) => {
        if (found === undefined) {
          this.labs.delete(name)
          this.gone.push(name)
        } else {
          this.labs.set(name, found)
          this.generations.push(found.lab.generation)
        }
      },
      report: (name, told) => this.reports.set(`${name}/${told.host}`, told),
      hosts: (hosts) => (this.hosts = hosts),
      connection: (connected, reason) => this.connections.push(connected ? "connected" : `lost: ${reason}`)
    }
    t.teardown(store.watch(listener))
  }
}
