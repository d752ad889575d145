/**
 * The container that runs what the topology says of a node: making it, starting it until it stands, saying how it is.
 *
 * What it was made of is kept with it, as a label; of its files the label has digests. A container that has just been
 * started has no restart policy until it has run for a moment: one that cannot run says so, once, instead of trying
 * for ever. From then on Docker starts it again when it crashes, with its own patience (`unless-stopped`).
 */
import { createHash } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { KernelError } from "../linux/errors.ts"
import type { ContainerSpec, HealthcheckSpec } from "../plan/resource.ts"
import { archive } from "./archive.ts"
import {
  ask, type Engine, idOfImage, inspect, type Inspected, inspectOurs, labels, marksOf, nameOf, type Place, removeContainer
} from "./engine.ts"
import { ensureHolder, isIn } from "./holder.ts"

/** What the state is called of one that stands still, by hand or because a fault wants it. */
const pausedState = "paused"

/** How long a container must run after its start to count as running. */
const settleMs = 1000
const pollMs = 50
const policy = "unless-stopped"
/** Every node may set up its own interfaces and send what it likes: the namespace is its own. */
const ownCapabilities = ["NET_ADMIN", "NET_RAW"]
const logLines = 5

/** Where in the machine the container's own /etc/hosts and resolv.conf are. */
export interface Etc {
  readonly hosts: string
  readonly resolver: string
}

const digestOf = (content: string): string => `sha256:${createHash("sha256").update(content).digest("hex")}`

/** What the label keeps: files by digest, and nothing that is looked up elsewhere. */
const labelOf = ({ files, state: _, waitFor: __, ...spec }: ContainerSpec): string =>
  JSON.stringify({
    ...spec,
    files: Object.fromEntries(Object.entries(files).map(([path, { content, mode }]) => [path, { content: digestOf(content), mode }]))
  })

/**
 * What a container was made of, by its label. `known`: what it may have been made of; gives back the contents of files
 * whose digest fits.
 */
export const specOf = (container: Inspected, node: string, known: ContainerSpec | undefined): Omit<ContainerSpec, "state"> => {
  let label: Partial<ContainerSpec> = {}
  try {
    label = JSON.parse(container.Config.Labels?.[labels.spec] ?? "{}") as Partial<ContainerSpec>
  } catch {
    // Somebody else's work: then it differs from whatever is wanted.
  }
  const files = Object.entries(label.files ?? {}).map(([path, { content, mode }]) => {
    const same = known?.files[path]
    return [path, { content: same !== undefined && digestOf(same.content) === content ? same.content : content, mode }] as const
  })
  const base = { image: container.Config.Image, env: {}, binds: [], capAdd: [] }
  return { ...base, ...label, node, files: Object.fromEntries(files), ...(known?.waitFor === undefined ? {} : { waitFor: known.waitFor }) }
}

/** `running`, or what is wrong. `inode`: of the node's namespace. */
export const stateOf = (container: Inspected, inode: number | undefined, waitFor: ContainerSpec["waitFor"]): string => {
  const { Error: error, ExitCode: code, Health: health, OOMKilled: oom } = container.State
  const { Paused: paused, Restarting: restarting, Running: running } = container.State
  if (restarting) return `restarting after exit code ${code}`
  if (!running) {
    if (container.State.Status === "created") return error === "" ? "not started" : `not started: ${error}`
    return oom ? "out of memory" : `exited with code ${code}`
  }
  if (paused) return pausedState
  if (inode === undefined || !isIn(container, inode)) return "in another network namespace"
  if (container.HostConfig.RestartPolicy?.Name !== policy) return "just started"
  if (waitFor === "healthy" && health?.Status !== "healthy") return health?.Status ?? "without a health check"
  return "running"
}

const nanoseconds = (ms: number): number => Math.round(ms * 1e6)

const healthcheckOf = (healthcheck: HealthcheckSpec | "none") =>
  healthcheck === "none"
    ? { Test: ["NONE"] }
    : {
        Test: ["CMD", ...healthcheck.test],
        Interval: nanoseconds(healthcheck.intervalMs),
        Timeout: nanoseconds(healthcheck.timeoutMs),
        Retries: healthcheck.retries,
        StartPeriod: nanoseconds(healthcheck.startPeriodMs)
      }

/** `HOST-PATH:CONTAINER-PATH[:ro|rw]` */
const mountOf = (bind: string) => {
  const [source = "", target = "", mode] = bind.split(":")
  return { Type: "bind" as const, Source: source, Target: target, ReadOnly: mode === "ro" }
}

const optionsOf = (engine: Engine, place: Place, spec: ContainerSpec, etc: Etc) => {
  const { cmd, cpu, entrypoint, healthcheck, memory, user } = spec
  return {
    name: nameOf(engine, place, "node"),
    Image: spec.image,
    Labels: { ...marksOf(engine, place, "node"), [labels.spec]: labelOf(spec) },
    Env: Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
    ...(cmd === undefined ? {} : { Cmd: [...cmd] }),
    ...(entrypoint === undefined ? {} : { Entrypoint: [...entrypoint] }),
    ...(user === undefined ? {} : { User: user }),
    ...(healthcheck === undefined ? {} : { Healthcheck: healthcheckOf(healthcheck) }),
    HostConfig: {
      NetworkMode: `container:${nameOf(engine, place, "holder")}`,
      UsernsMode: "host",
      // As mounts, not binds: Docker makes a bind's source where there is none.
      Mounts: [mountOf(`${etc.hosts}:/etc/hosts`), mountOf(`${etc.resolver}:/etc/resolv.conf`), ...spec.binds.map(mountOf)],
      CapAdd: [...new Set([...ownCapabilities, ...spec.capAdd])],
      ...(cpu === undefined ? {} : { NanoCpus: Math.round(cpu * 1e9) }),
      // Without swap of its own: what is too much ends it, as on a machine of this size.
      ...(memory === undefined ? {} : { Memory: memory, MemorySwap: memory })
    }
  }
}

const adviceFor = (image: string, host: string): string =>
  image.startsWith("weft/")
    ? `on ${host} type docker/build.sh ${image.slice("weft/".length).replace(/:.*/, "")}`
    : `on ${host} type docker pull ${image} (weft pulls nothing by itself)`

const requireImage = async (engine: Engine, place: Place, image: string): Promise<void> => {
  if ((await idOfImage(engine, image)) !== undefined) return
  const detail = `${engine.host} has no image "${image}": ${adviceFor(image, engine.host)}`
  throw new KernelError({ operation: "make container", object: nameOf(engine, place, "node"), code: "no such image", detail })
}

/** Makes the node's container and its files, not started. Replaces one that is there. */
const make = async (engine: Engine, place: Place, spec: ContainerSpec, etc: Etc): Promise<void> => {
  const name = nameOf(engine, place, "node")
  const old = await inspectOurs(engine, place, "node")
  if (old !== undefined) await removeContainer(engine, old.Id)
  await ask(engine, "make container", name, (docker) => docker.createContainer(optionsOf(engine, place, spec, etc)))
  const files = Object.entries(spec.files)
  if (files.length === 0) return
  const asArchived = ([path, { content, mode }]: (typeof files)[number]) =>
    ({ path, content: Buffer.from(content), mode: Number.parseInt(mode, 8) })
  const bundle = archive(files.map(asArchived))
  await ask(engine, "write files into container", name, (docker) => docker.getContainer(name).putArchive(bundle, { path: "/" }))
}

/** The last lines that the container wrote, joined; empty when it wrote nothing. */
const lastLines = async (engine: Engine, id: string): Promise<string> => {
  const wanted = { stdout: true, stderr: true, tail: logLines }
  const raw = await ask(engine, "read the log of", id, (docker) => docker.getContainer(id).logs(wanted))
  return unframed(raw).map((line) => line.trimEnd()).filter((line) => line !== "").slice(-logLines).join(" | ")
}

/** Lines of a log in Docker's frames: 1 octet which stream, 3 octets 0, 4 octets length. */
const unframed = (raw: Buffer): ReadonlyArray<string> => {
  const parts: Buffer[] = []
  for (let at = 0; at + 8 <= raw.length; ) {
    const length = raw.readUInt32BE(at + 4)
    parts.push(raw.subarray(at + 8, at + 8 + length))
    at += 8 + length
  }
  return Buffer.concat(parts).toString("utf8").split("\n")
}

const ended = async (engine: Engine, name: string, container: Inspected): Promise<KernelError> => {
  const { Error: error, ExitCode: code, OOMKilled: oom } = container.State
  const output = await lastLines(engine, container.Id)
  const said = output === "" ? "it wrote nothing" : `its last output: ${output}`
  const detail = [error, said].filter((text) => text !== "").join("; ")
  return new KernelError({ operation: "keep container running", object: name, code: oom ? "out of memory" : `exit code ${code}`, detail })
}

const healthPatienceMs = (container: Inspected): number => {
  const { Interval = 30e9, Retries = 3, StartPeriod = 0, Timeout = 30e9 } = container.Config.Healthcheck ?? {}
  return 10_000 + (StartPeriod + (Retries + 1) * (Interval + Timeout)) / 1e6
}

/** Waits until the container has stood for a moment, and is healthy if that is asked for. Throws when it does not. */
const settled = async (engine: Engine, name: string, waitFor: ContainerSpec["waitFor"]): Promise<Inspected> => {
  const begin = performance.now()
  const fail = (code: string, detail: string): KernelError =>
    new KernelError({ operation: "wait for container", object: name, code, detail })
  for (;;) {
    const container = await inspect(engine, name)
    if (container === undefined) throw fail("ENOENT", "somebody removed it")
    if (!container.State.Running) throw await ended(engine, name, container)
    const waited = performance.now() - begin
    if (waitFor === undefined) {
      if (waited >= settleMs) return container
    } else {
      const health = container.State.Health
      if (health === undefined || health.Status === "none") {
        throw fail("no health check", "neither the topology nor the image has one: add healthcheck")
      }
      if (health.Status === "healthy") return container
      const last = health.Log?.at(-1)
      const end = last === undefined ? "did not end yet" : `ends with code ${last.ExitCode}: ${last.Output.trim()}`
      const said = `its health check ${end}`
      if (health.Status === "unhealthy") throw fail("unhealthy", said)
      if (waited > healthPatienceMs(container)) throw fail("not healthy in time", said)
    }
    await sleep(pollMs)
  }
}

/**
 * Makes the node's container run: made anew when `anew`, else started again if it stands still. Throws KernelError when it
 * cannot be made, or ends right after its start, with the last lines that it wrote.
 *
 * @param inode of the node's network namespace
 */
export const run = async (
  engine: Engine,
  place: Place,
  options: { readonly spec: ContainerSpec; readonly inode: number; readonly etc: Etc; readonly anew: boolean }
): Promise<void> => {
  const { etc, inode, spec } = options
  const name = nameOf(engine, place, "node")
  const found = await inspectOurs(engine, place, "node")
  const pause = (id: string): Promise<unknown> => ask(engine, "pause container", name, (docker) => docker.getContainer(id).pause())
  const isPaused = spec.state === pausedState
  if (isPaused && !options.anew && found?.State.Running === true && isIn(found, inode)) {
    return void (found.State.Paused || (await pause(found.Id)))
  }
  if (options.anew || found === undefined) await requireImage(engine, place, spec.image)
  const holder = await ensureHolder(engine, place, inode)
  // A container is bound to one holder by its id.
  if (options.anew || holder.anew || found === undefined) await make(engine, place, spec, etc)
  await start(engine, place, inode)
  const running = await settled(engine, name, spec.waitFor)
  if (running.HostConfig.RestartPolicy?.Name !== policy) {
    await ask(engine, "change container", name, (docker) => docker.getContainer(running.Id).update({ RestartPolicy: { Name: policy } }))
  }
  if (isPaused) await pause(running.Id)
}

/** Starts the container if it is not running in the node's namespace already; returns whether there was something to do. */
export const start = async (engine: Engine, place: Place, inode: number): Promise<boolean> => {
  const name = nameOf(engine, place, "node")
  const found = await inspectOurs(engine, place, "node")
  if (found === undefined || (isIn(found, inode) && !found.State.Paused)) return false
  await ask(engine, "start container", name, async (docker) => {
    const container = docker.getContainer(found.Id)
    if (found.State.Paused) await container.unpause()
    if (found.State.Running && !isIn(found, inode)) await container.restart({ t: 0 })
    else if (!found.State.Running) await container.start()
  })
  return true
}
