/** The containers of this weftd's nodes, all in one: what the resources, the start-up, `weft exec` and `doctor` need. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { KernelError } from "../linux/errors.ts"
import type { RunningCommand } from "../linux/process.ts"
import type { ContainerSpec } from "../plan/resource.ts"
import { type ContainerCommand, runInContainer } from "./command.ts"
import { type Engine, idOfImage, inspect, type Inspected, list, noEngine, type Part, type Place, removeContainer } from "./engine.ts"
import * as NodeContainer from "./node.ts"
import { type Happening, type Watch, watch } from "./watch.ts"

export interface Found {
  readonly id: string
  readonly spec: ContainerSpec
}

const keyOf = ({ lab, node }: Place): string => `${lab}/${node}`

export class Containers {
  private readonly engine: Engine
  private readonly tell: (happening: Happening) => void
  private readonly turns = new Map<string, Promise<void>>()
  private watching: Watch | undefined
  /** Called when an engine answers that did not before. */
  onReturn: () => void = () => undefined

  constructor(engine: Engine, tell: (happening: Happening) => void) {
    this.engine = engine
    this.tell = tell
  }

  /** Work on one node's containers at a time. */
  private inTurn<A>(place: Place, work: () => Promise<A>): Promise<A> {
    const key = keyOf(place)
    const turn = (this.turns.get(key) ?? Promise.resolve()).then(work)
    const done = turn.then(
      () => undefined,
      () => undefined
    )
    this.turns.set(key, done)
    void done.then(() => this.turns.get(key) === done && this.turns.delete(key))
    return turn
  }

  /** From the first lab with containers on: an engine that nobody needs is not asked. */
  private follow(): void {
    this.watching ??= watch(this.engine, {
      inTurn: (place, work) => this.inTurn(place, work),
      tell: this.tell,
      onReturn: () => this.onReturn()
    })
  }

  /**
   * The containers of a lab by node, as they are. One without its other half is there in part, and says so in its state.
   *
   * @param known what a node's container may have been made of, and whether the node shall have one
   * @param inode of a node's namespace
   * @returns undefined when no engine answers
   */
  async find(
    lab: string,
    known: (node: string) => { readonly spec: ContainerSpec; readonly isWanted: boolean } | undefined,
    inode: (node: string) => number | undefined
  ): Promise<ReadonlyMap<string, Found> | undefined> {
    this.follow()
    const listed = await this.unlessAway(() => list(this.engine, lab))
    if (listed === undefined) return undefined
    const found = new Map<string, Found>()
    const images = new Map<string, Promise<string | undefined>>()
    const isOutdated = async ({ Config: { Image: name }, Image: madeOf }: Inspected): Promise<boolean> => {
      const current = images.get(name) ?? idOfImage(this.engine, name)
      images.set(name, current)
      return ((await current) ?? madeOf) !== madeOf
    }
    const has = (node: string, part: Part): boolean => listed.some((one) => one.node === node && one.part === part)
    await Promise.all(
      listed.map(async (one) => {
        const { id, node, part } = one
        const { isWanted = false, spec } = known(node) ?? {}
        if (part === "holder") {
          // Alone it is worth nothing, unless nobody wants it: then it is there to be removed.
          if (!has(node, "node") && !isWanted) {
            found.set(node, { id, spec: { node, image: "", env: {}, binds: [], files: {}, capAdd: [], state: "without its container" } })
          }
          return
        }
        const container = await inspect(this.engine, id)
        if (container === undefined) return
        const state = has(node, "holder") ? NodeContainer.stateOf(container, inode(node), spec?.waitFor) : "without its holder"
        const made = NodeContainer.specOf(container, node, spec)
        const image = (await isOutdated(container)) ? `${made.image} as it was before` : made.image
        found.set(node, { id, spec: { ...made, image, state } })
      })
    )
    return found
  }

  private async unlessAway<A>(call: () => Promise<A>): Promise<A | undefined> {
    try {
      return await call()
    } catch (error) {
      if (error instanceof KernelError && error.code === noEngine) return undefined
      throw error
    }
  }

  /** See `run` in node.ts. `etc`: what /etc/hosts and /etc/resolv.conf hold; `directory`: where they are kept. */
  run(
    place: Place,
    options: {
      readonly spec: ContainerSpec
      readonly inode: number
      readonly directory: string
      readonly etc: { readonly hosts: string; readonly resolver: string }
      readonly anew: boolean
    }
  ): Promise<void> {
    const { anew, directory, etc, inode, spec } = options
    const files = { hosts: `${directory}/hosts`, resolver: `${directory}/resolv.conf` }
    return this.inTurn(place, async () => {
      mkdirSync(directory, { recursive: true })
      // In place: a container has the file itself, not its name.
      writeFileSync(files.hosts, etc.hosts)
      writeFileSync(files.resolver, etc.resolver)
      await NodeContainer.run(this.engine, place, { spec, inode, etc: files, anew })
    })
  }

  /** Removes a node's containers and their files. Fine when they are gone already. */
  remove(place: Place, directory: string): Promise<void> {
    return this.inTurn(place, async () => {
      const listed = (await list(this.engine, place.lab)).filter(({ node }) => node === place.node)
      for (const part of ["node", "holder"] as const) {
        await Promise.all(listed.filter((one) => one.part === part).map(({ id }) => removeContainer(this.engine, id)))
      }
      rmSync(directory, { recursive: true, force: true })
    })
  }

  /** Removes all containers of labs that are not among these; says which. Nothing when no engine answers. */
  async sweep(labs: ReadonlySet<string>): Promise<ReadonlyArray<string>> {
    const strays = await this.unlessAway(() => list(this.engine))
    const leaving = (strays ?? []).filter(({ lab }) => !labs.has(lab))
    for (const part of ["node", "holder"] as const) {
      await Promise.all(leaving.filter((one) => one.part === part).map(({ id }) => removeContainer(this.engine, id)))
    }
    return leaving.map((one) => `container of ${keyOf(one)}`)
  }

  /** The id of the node's container, or undefined when there is none or no engine. */
  async idOf(place: Place): Promise<string | undefined> {
    const listed = await this.unlessAway(() => list(this.engine, place.lab))
    return listed?.find(({ node, part }) => node === place.node && part === "node")?.id
  }

  /** Starts a command in the node's container. */
  command(place: Place, command: ContainerCommand): Omit<RunningCommand, "pid"> {
    return runInContainer(this.engine, place, command)
  }

  async close(): Promise<void> {
    await this.watching?.close()
    await Promise.all(this.turns.values())
  }
}
