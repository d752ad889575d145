/**
 * A Docker engine of a test's own: dockerd with its data, socket and pid file in a temporary folder, without a bridge and
 * without a firewall rule, stopped by its pid at the end.
 *
 *   const docker = await DockerEngine.start()       DOCKER_HOST points to it, for weftd, too
 *   docker.importBusybox("weft-test/box")
 *   t.teardown(() => docker.close())
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { closeSync, cpSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { until } from "./harness.ts"

const startPatienceMs = 120_000

export class DockerEngine {
  readonly directory: string
  readonly host: string
  private child: ChildProcess | undefined

  private constructor() {
    this.directory = mkdtempSync(join(tmpdir(), "weft-docker-"))
    this.host = `unix://${this.directory}/docker.sock`
    process.env["DOCKER_HOST"] = this.host
  }

  static async start(): Promise<DockerEngine> {
    const engine = new DockerEngine()
    await engine.start()
    return engine
  }

  /** Starts it (again) and waits until it answers. */
  async start(): Promise<void> {
    const { directory } = this
    const log = openSync(join(directory, "log"), "a")
    const words = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--data-root", join(directory, "data"), "--host", this.host]
    const child = spawn("dockerd", [...words, "--exec-root", join(directory, "exec"), "--pidfile", join(directory, "pid")], {
      stdio: ["ignore", log, log]
    })
    closeSync(log)
    child.unref()
    this.child = child
    await until(
      "dockerd answers",
      () => {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(`dockerd ended:\n${this.log.slice(-2000)}`)
        return this.answers()
      },
      startPatienceMs
    )
  }

  private answers(): boolean {
    try {
      this.run("version")
      return true
    } catch {
      return false
    }
  }

  get log(): string {
    return readFileSync(join(this.directory, "log"), "utf8")
  }

  /** Ends the engine, and with it what runs in it. */
  async stop(): Promise<void> {
    const { child } = this
    this.child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    // Nothing else may keep the test alive until it has ended.
    child.ref()
    const gone = once(child, "exit")
    child.kill("SIGTERM")
    await gone
  }

  /** The engine's own program, not whatever else is called docker: its output. Throws with what it said. */
  run(...words: ReadonlyArray<string>): string {
    return execFileSync("/usr/bin/docker", words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim()
  }

  /** One field of `docker inspect`, by its Go template. */
  ask(container: string, template: string): string {
    return this.run("inspect", "-f", template, container)
  }

  /** All containers, running or not, by name. */
  containers(): ReadonlyArray<string> {
    return this.run("ps", "-a", "--format", "{{.Names}}").split("\n").filter((name) => name !== "").toSorted()
  }

  /** An image of 2 MB: busybox and its applets. */
  importBusybox(name: string): void {
    const root = join(this.directory, "busybox")
    for (const folder of ["bin", "etc", "tmp", "root"]) mkdirSync(join(root, folder), { recursive: true })
    cpSync("/bin/busybox", join(root, "bin/busybox"))
    execFileSync("chroot", [root, "/bin/busybox", "--install", "-s", "/bin"])
    const archive = join(this.directory, "busybox.tar")
    execFileSync("tar", ["-c", "-f", archive, "-C", root, "."])
    this.run("import", archive, name)
  }

  /** Removes all containers, stops the engine, removes its data. */
  async close(): Promise<void> {
    if (this.child !== undefined) {
      for (const name of this.containers()) this.run("rm", "-f", "-v", name)
      await this.stop()
    }
    const netns = join(this.directory, "exec/netns")
    // An engine that was cut short leaves mounts.
    if (existsSync(netns)) for (const name of readdirSync(netns)) spawnSync("umount", ["-l", join(netns, name)])
    rmSync(this.directory, { recursive: true, force: true })
    delete process.env["DOCKER_HOST"]
  }
}
