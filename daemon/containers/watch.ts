/**
 * What happens to our containers while weftd runs: told as events, and mended where Docker alone does not.
 *
 * Docker starts a crashed container again by itself, and it finds its interfaces. What is left for us is a holder that
 * ended, and what stands still after Docker itself was started again. Whoever stops or kills a container by hand means it:
 * that stays as it is until it is started again, by hand or by a deploy.
 */
import type { Readable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import type Docker from "dockerode"
import { KernelError, reasonOf } from "../linux/errors.ts"
import * as Netns from "../linux/netns.ts"
import { type Engine, labels, list, type Listed, noEngine, type Part, type Place, removeContainer } from "./engine.ts"
import { ensureHolder } from "./holder.ts"
import { start } from "./node.ts"

export interface Happening extends Place {
  /** `container.started` `container.ended` `container.unhealthy` `container.healthy` `container.mended` `container.failed` */
  readonly type: string
  readonly message: string
}

export interface Watch {
  /** Ends it; nothing is mended after it. */
  readonly close: () => Promise<void>
}

/** An event of `GET /events`, as far as it is of interest. */
interface DockerEvent {
  readonly Action: string
  readonly id: string
  readonly Actor: { readonly Attributes: Readonly<Record<string, string>> }
}

const firstPauseMs = 100
const longestPauseMs = 2000

/** Docker ends its containers with the same signals when it ends itself: what came so shortly before is not by hand. */
const shutDownMs = 20_000

/** Work on one node at a time; what throws is the worker's to tell. */
export type InTurn = (place: Place, work: () => Promise<void>) => Promise<void>

export interface WatchOptions {
  readonly inTurn: InTurn
  readonly tell: (happening: Happening) => void
  /** An engine answers that did not before, and what could be mended has been. */
  readonly onReturn: () => void
}

export const watch = (engine: Engine, { inTurn, onReturn, tell }: WatchOptions): Watch => {
  /** Containers that somebody stopped or killed, by id, and when (performance.now). */
  const byHand = new Map<string, number>()
  let closed = false
  let lostAt = 0
  let stream: Readable | undefined

  const onEvent = (event: DockerEvent): void => {
    const marks = event.Actor.Attributes
    const place = { lab: marks[labels.lab] ?? "", node: marks[labels.node] ?? "" }
    const part: Part = marks[labels.part] === "holder" ? "holder" : "node"
    const say = (type: string, message: string): void => tell({ ...place, type: `container.${type}`, message })
    const [action, detail] = event.Action.split(": ")
    if (action === "kill") byHand.set(event.id, performance.now())
    else if (action === "start") {
      byHand.delete(event.id)
      if (part === "node") say("started", `the container of ${place.node} runs`)
    } else if (action === "die" && part === "node") {
      say("ended", `the container of ${place.node} ended with exit code ${marks["exitCode"] ?? "?"}`)
    } else if (action === "die") void mendHolder(place)
    else if (action === "oom") say("ended", `the container of ${place.node} wants more memory than it may have`)
    else if (action === "health_status" && part === "node") {
      const health = detail ?? "healthy"
      say(health, `the container of ${place.node} is ${health}`)
    } else if (action === "destroy") byHand.delete(event.id)
  }

  /** Undefined when the node is not there (any more). */
  const inodeOf = ({ lab, node }: Place): number | undefined => {
    const name = Netns.nodeName(lab, node)
    return Netns.owner(name) === engine.instance ? Netns.within(name, (netns) => netns.inode) : undefined
  }

  /** Runs `mend` with the node's namespace when it has a container of this part: else it is gone, or going. */
  const mending = (place: Place, part: Part, mend: (inode: number) => Promise<string | undefined>): Promise<void> =>
    inTurn(place, async () => {
      const inode = inodeOf(place)
      if (closed || inode === undefined) return
      try {
        if (!(await list(engine, place.lab)).some((one) => one.node === place.node && one.part === part)) return
        const message = await mend(inode)
        if (message !== undefined) tell({ ...place, type: "container.mended", message })
      } catch (error) {
        // When Docker itself goes, this is the last of what it says; it is looked at again when it is back.
        if (error instanceof KernelError && error.code === noEngine) return
        tell({ ...place, type: "container.failed", message: reasonOf(error) })
      }
    })

  const mendHolder = (place: Place): Promise<void> =>
    mending(place, "holder", async (inode) => {
      if ((await ensureHolder(engine, place, inode)).mended) return `the holder of the network of ${place.node} runs again`
      return undefined
    })

  const mendNode = (place: Place): Promise<void> =>
    mending(place, "node", async (inode) => {
      if (await start(engine, place, inode)) return `the container of ${place.node} stood still after Docker was away: started`
      return undefined
    })

  /**
   * After Docker was away: what has lost its node meanwhile goes; then holders, then what was joined to them and was not
   * stopped on purpose.
   */
  const mendAll = async (): Promise<void> => {
    const all = await list(engine)
    for (const one of all) if (inodeOf(one) === undefined) await inTurn(one, () => removeContainer(engine, one.id)).catch(() => undefined)
    const still = all.filter((one) => !one.running && inodeOf(one) !== undefined)
    const meant = ({ id }: Listed): boolean => (byHand.get(id) ?? Infinity) < lostAt - shutDownMs
    await Promise.all(still.filter(({ part }) => part === "holder").map(mendHolder))
    await Promise.all(still.filter((one) => one.part === "node" && !meant(one)).map(mendNode))
    onReturn()
  }

  const follow = async (docker: Docker): Promise<void> => {
    const filters = { type: ["container" as const], label: [`${labels.instance}=${engine.instance}`] }
    stream = (await docker.getEvents({ filters })) as unknown as Readable
    let rest = ""
    for await (const chunk of stream.setEncoding("utf8")) {
      const lines = (rest + String(chunk)).split("\n")
      rest = lines.pop()!
      for (const line of lines) if (line !== "") onEvent(JSON.parse(line) as DockerEvent)
    }
  }

  const watching = (async () => {
    let pauseMs = firstPauseMs
    let wasAway = false
    while (!closed) {
      const since = performance.now()
      try {
        const docker = await engine.docker()
        await docker.ping()
        if (wasAway) mendAll().catch(() => undefined)
        wasAway = false
        await follow(docker)
      } catch {
        // Not there, or gone: tried again.
      }
      wasAway = true
      lostAt = performance.now()
      pauseMs = performance.now() - since > longestPauseMs ? firstPauseMs : Math.min(longestPauseMs, pauseMs * 2)
      if (!closed) await sleep(pauseMs, undefined, { ref: false })
    }
  })()

  return {
    close: async () => {
      closed = true
      stream?.destroy()
      // A pause between two attempts needs no waiting for.
      await Promise.race([watching, sleep(100, undefined, { ref: false })])
    }
  }
}
