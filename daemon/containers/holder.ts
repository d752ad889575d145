/**
 * The holder: a second container of each node, whose only process (native/src/hold) sits in the node's network namespace.
 *
 *     /run/netns/weft.LAB.NODE    made by weft as for any node, with its interfaces, addresses and routes
 *          ^ bound to /netns, entered by weft-hold
 *     weft-main.LAB.NODE.net      the holder
 *          ^ network mode container:
 *     weft-main.LAB.NODE          what the topology says; joins again whenever it starts
 *
 * Docker itself connects the two, so a container that ends and starts again, by whatever cause, finds its interfaces
 * without weftd. And the namespace is not the holder's: when that ends, nothing is lost but the way in for the next start.
 */
import { createHash } from "node:crypto"
import { readFileSync, readlinkSync } from "node:fs"
import { Readable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { KernelError } from "../linux/errors.ts"
import * as Netns from "../linux/netns.ts"
import { archive } from "./archive.ts"
import {
  ask, type Engine, idOfImage, inspect, type Inspected, inspectOurs, marksOf, nameOf, noEngine, type Place, removeContainer
} from "./engine.ts"

const program = fileURLToPath(new URL("../../.weft/native/weft-hold", import.meta.url))
const enterPatienceMs = 30_000

const readProgram = (): Buffer => {
  try {
    return readFileSync(program)
  } catch {
    throw new KernelError({ operation: "read", object: program, code: "ENOENT", detail: "it was not built, type: npm run build" })
  }
}

/** The name of the image that holds this version of the program, which is made where it is not there. */
const image = async (engine: Engine): Promise<string> => {
  const content = readProgram()
  const repository = "weft/hold"
  const tag = createHash("sha256").update(content).digest("hex").slice(0, 12)
  const name = `${repository}:${tag}`
  if ((await idOfImage(engine, name)) !== undefined) return name
  const files = archive([{ path: "weft-hold", content, mode: 0o755 }, { path: "netns", content: Buffer.alloc(0), mode: 0o444 }])
  await ask(engine, "make image", name, async (docker) => {
    const answer = await docker.importImage(Readable.from([files]), { repo: repository, tag, changes: ['ENTRYPOINT ["/weft-hold"]'] })
    for await (const _ of answer) void _
  })
  return name
}

/** The inode of the network namespace of a process, or undefined when it has ended. */
export const netnsOf = (pid: number): number | undefined => {
  try {
    // `net:[4026531840]`
    return pid === 0 ? undefined : Number(readlinkSync(`/proc/${pid}/ns/net`).slice(5, -1))
  } catch {
    return undefined
  }
}

/** Whether the container runs, and in the namespace with this inode. */
export const isIn = (container: Inspected | undefined, inode: number): boolean =>
  container?.State.Running === true && netnsOf(container.State.Pid) === inode

const entered = async (engine: Engine, name: string, inode: number): Promise<void> => {
  const deadline = performance.now() + enterPatienceMs
  while (performance.now() < deadline) {
    const found = await inspect(engine, name)
    if (isIn(found, inode)) return
    if (found?.State.Running !== true) break
    await sleep(5)
  }
  const wanted = { stdout: true, stderr: true, tail: 3 }
  const log = await ask(engine, "read the log of", name, (docker) => docker.getContainer(name).logs(wanted))
  const detail = log.subarray(8).toString("utf8").trim() || "it does not enter the namespace of its node"
  throw new KernelError({ operation: "start container", object: name, code: "no holder", detail })
}

const make = async (engine: Engine, place: Place): Promise<void> => {
  const name = nameOf(engine, place, "holder")
  const options = {
    name,
    Image: await image(engine),
    Hostname: place.node,
    Labels: marksOf(engine, place, "holder"),
    Healthcheck: { Test: ["NONE"] },
    HostConfig: {
      NetworkMode: "none",
      UsernsMode: "host",
      Mounts: [{ Type: "bind" as const, Source: Netns.path(Netns.nodeName(place.lab, place.node)), Target: "/netns", ReadOnly: true }],
      ReadonlyRootfs: true,
      // setns(2) wants it; weft-hold drops it right after.
      CapDrop: ["ALL"],
      CapAdd: ["SYS_ADMIN"],
      SecurityOpt: ["apparmor=unconfined", "seccomp=unconfined", "label=disable"],
      // After Docker itself was started again; weftd sees to the rest.
      RestartPolicy: { Name: "always" },
      LogConfig: { Type: "json-file", Config: { "max-size": "64k" } }
    }
  }
  await ask(engine, "make container", name, (docker) => docker.createContainer(options))
}

/**
 * Makes sure that the node's holder runs in the namespace with this inode. What is there and right stays.
 *
 * @returns `anew`: it is another container than before, and what was joined to the old one cannot start again; `mended`: there was
 *   something to do.
 */
export const ensureHolder = async (
  engine: Engine,
  place: Place,
  inode: number
): Promise<{ readonly anew: boolean; readonly mended: boolean }> => {
  const name = nameOf(engine, place, "holder")
  const found = await inspectOurs(engine, place, "holder")
  if (isIn(found, inode)) return { anew: false, mended: false }
  if (found !== undefined) {
    try {
      await ask(engine, "start container", name, (docker) => docker.getContainer(found.Id).restart({ t: 0 }))
      await entered(engine, name, inode)
      return { anew: false, mended: true }
    } catch (error) {
      if (!(error instanceof KernelError) || error.code === noEngine) throw error
      await removeContainer(engine, found.Id)
    }
  }
  await make(engine, place)
  await ask(engine, "start container", name, (docker) => docker.getContainer(name).start())
  await entered(engine, name, inode)
  return { anew: true, mended: true }
}
