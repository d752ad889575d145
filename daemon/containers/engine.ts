/**
 * Docker on this machine, as `containers/` sees it: a connection, calls that fail with a reason and a remedy, and the
 * marks that say which containers are ours.
 *
 *     engine.ts      connection, errors, labels and names
 *     holder.ts      the second container of each node, which keeps its namespace within Docker's reach
 *     node.ts        the container that runs what the topology says: made, mended, removed
 *     watch.ts       what happens to containers while weftd runs
 *     command.ts     commands in containers
 *     archive.ts     files as Docker takes them
 *     containers.ts  all of it together
 *
 * Only an engine on this machine serves: a container enters a network namespace of the machine. What is not marked as
 * this instance's is never touched, whatever its name.
 */
import { request } from "node:http"
import type Docker from "dockerode"
import { KernelError, reasonOf } from "../linux/errors.ts"

/** The code of a KernelError that says that there is no engine to be asked. */
export const noEngine = "no Docker engine"

/** Where the engine of this machine listens: what `DOCKER_HOST` says unless that is another machine's, else Docker's usual place. */
export const socketPathOf = (dockerHost: string | undefined): string =>
  dockerHost?.startsWith("unix:///") === true ? dockerHost.slice("unix://".length) : "/var/run/docker.sock"

export interface Engine {
  /** dockerode, loaded when it is needed for the first time: it takes 30 MB, and most labs have no containers. */
  readonly docker: () => Promise<Docker>
  readonly socketPath: string
  /** Of weftd, and of the machine. */
  readonly instance: string
  readonly host: string
}

export const connectTo = (socketPath: string, instance: string, host: string): Engine => {
  let docker: Promise<Docker> | undefined
  const load = async (): Promise<Docker> => new (await import("dockerode")).default({ socketPath })
  return { docker: () => (docker ??= load()), socketPath, instance, host }
}

/** What all our containers are marked with. */
export const labels = {
  instance: "io.weft.instance",
  host: "io.weft.host",
  lab: "io.weft.lab",
  node: "io.weft.node",
  /** `node` or `holder`. */
  part: "io.weft.part",
  /** What it was made of. */
  spec: "io.weft.spec"
} as const

export type Part = "node" | "holder"

/** A node, by lab and name. */
export interface Place {
  readonly lab: string
  readonly node: string
}

/** Names have no dots, so these are unique; `docker logs weft-main.LAB.NODE`. */
export const nameOf = ({ instance }: Engine, { lab, node }: Place, part: Part): string =>
  `weft-${instance}.${lab}.${node}${part === "holder" ? ".net" : ""}`

export const marksOf = (engine: Engine, { lab, node }: Place, part: Part): Record<string, string> => ({
  [labels.instance]: engine.instance,
  [labels.host]: engine.host,
  [labels.lab]: lab,
  [labels.node]: node,
  [labels.part]: part
})

/** What dockerode throws. */
interface Refusal {
  readonly statusCode?: number
  readonly code?: string
  readonly json?: { readonly message?: string } | null
}

const layers = /^(failed to create (shim )?task(?: for container)?: )?OCI runtime \w+ failed: (\w+ \w+ failed: )?/

/** Docker's own words, without what its layers put around them. */
const wordsOf = (error: unknown): string => {
  const { json } = error as Refusal
  const text = json?.message ?? reasonOf(error)
  return text.trim().replace(/: unknown$/, "").replace(layers, "")
}

const unreachable = new Set(["ENOENT", "ECONNREFUSED", "EACCES", "ECONNRESET", "EPIPE", "ETIMEDOUT"])

/** HTTP status of a refusal, or 0. */
export const statusOf = (error: unknown): number => (error as Refusal).statusCode ?? 0

/** Any failure of a call as an error that says what was done, to what, why it failed, and what to do. */
export const explain = (engine: Engine, operation: string, object: string, error: unknown): KernelError => {
  if (error instanceof KernelError) return error
  const { code } = error as Refusal
  if (statusOf(error) === 0 && code !== undefined && unreachable.has(code)) {
    const { host, socketPath } = engine
    const detail = `nothing answers at ${socketPath} on ${host}: start Docker there (apt install docker.io), then deploy again`
    return new KernelError({ operation, object, code: noEngine, detail })
  }
  const status = statusOf(error)
  return new KernelError({ operation, object, code: status === 0 ? "no answer" : "Docker refuses", detail: wordsOf(error) })
}

const askPatienceMs = 120_000

/** An engine that hangs must not make us hang, too. */
const inTime = async <A>(answer: Promise<A>): Promise<A> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const error = Object.assign(new Error(`no answer in ${askPatienceMs / 1000} s`), { code: "ETIMEDOUT" })
    timer = setTimeout(() => reject(error), askPatienceMs)
  })
  return Promise.race([answer, late]).finally(() => clearTimeout(timer))
}

/** Asks the engine; failures come as KernelError. */
export const ask = async <A>(engine: Engine, operation: string, object: string, call: (docker: Docker) => Promise<A>): Promise<A> => {
  try {
    return await inTime(call(await engine.docker()))
  } catch (error) {
    throw explain(engine, operation, object, error)
  }
}

/** Like `ask`; undefined when what is asked for is not there. */
export const askFor = async <A>(
  engine: Engine,
  operation: string,
  object: string,
  call: (docker: Docker) => Promise<A>
): Promise<A | undefined> => {
  try {
    return await inTime(call(await engine.docker()))
  } catch (error) {
    if (statusOf(error) === 404) return undefined
    throw explain(engine, operation, object, error)
  }
}

export type Inspected = Docker.ContainerInspectInfo

/** A container by name or id; undefined when there is none. */
export const inspect = (engine: Engine, name: string): Promise<Inspected | undefined> =>
  askFor(engine, "look at container", name, (docker) => docker.getContainer(name).inspect())

/** The id of the image that has this name now; undefined when none has. */
export const idOfImage = async (engine: Engine, name: string): Promise<string | undefined> =>
  (await askFor(engine, "look at image", name, (docker) => docker.getImage(name).inspect()))?.Id

/** The container of ours with this name. Throws KernelError EPERM when somebody else's has the name. */
export const inspectOurs = async (engine: Engine, place: Place, part: Part): Promise<Inspected | undefined> => {
  const name = nameOf(engine, place, part)
  const found = await inspect(engine, name)
  if (found === undefined || found.Config.Labels?.[labels.instance] === engine.instance) return found
  const detail = "it was not made by this weftd: remove or rename it"
  throw new KernelError({ operation: "use container", object: name, code: "EPERM", detail })
}

/** A container of ours, as lists have it. */
export interface Listed extends Place {
  readonly id: string
  readonly part: Part
  readonly running: boolean
}

const listPatienceMs = 30_000

/** A GET that needs no dockerode: a weftd without containers does not load it. */
const get = (engine: Engine, path: string): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const asking = request({ socketPath: engine.socketPath, path, timeout: listPatienceMs }, (answer) => {
      const chunks: Buffer[] = []
      answer.on("data", (chunk: Buffer) => chunks.push(chunk))
      answer.on("error", reject)
      answer.on("end", () => {
        try {
          const json = JSON.parse(Buffer.concat(chunks).toString("utf8")) as unknown
          if (answer.statusCode === 200) resolve(json)
          else reject(Object.assign(new Error(`HTTP ${answer.statusCode}`), { statusCode: answer.statusCode, json }))
        } catch (error) {
          reject(error as Error)
        }
      })
    })
    asking.on("timeout", () => asking.destroy(Object.assign(new Error("no answer in time"), { code: "ETIMEDOUT" })))
    asking.on("error", reject)
    asking.end()
  })

interface ListItem {
  readonly Id: string
  readonly State: string
  readonly Labels: Readonly<Record<string, string>>
}

/** All of this instance's containers, of one lab or of all. */
export const list = async (engine: Engine, lab?: string): Promise<ReadonlyArray<Listed>> => {
  const label = [`${labels.instance}=${engine.instance}`, ...(lab === undefined ? [] : [`${labels.lab}=${lab}`])]
  let found: ReadonlyArray<ListItem>
  try {
    const query = new URLSearchParams({ all: "1", filters: JSON.stringify({ label }) })
    found = (await get(engine, `/containers/json?${query.toString()}`)) as ReadonlyArray<ListItem>
  } catch (error) {
    throw explain(engine, "list containers of", engine.instance, error)
  }
  return found.map((one) => ({
    id: one.Id,
    lab: one.Labels[labels.lab] ?? "",
    node: one.Labels[labels.node] ?? "",
    part: one.Labels[labels.part] === "holder" ? "holder" : "node",
    running: one.State === "running"
  }))
}

/** Removes a container and its anonymous volumes, running or not. Fine when it is gone already. */
export const removeContainer = async (engine: Engine, id: string): Promise<void> => {
  try {
    await (await engine.docker()).getContainer(id).remove({ force: true, v: true })
  } catch (error) {
    // 409: somebody else removes it right now, which is waited for below.
    if (statusOf(error) !== 404 && statusOf(error) !== 409) throw explain(engine, "remove container", id, error)
    if (statusOf(error) === 409) await gone(engine, id)
  }
}

const removalPatienceMs = 30_000

const gone = async (engine: Engine, id: string): Promise<void> => {
  const deadline = performance.now() + removalPatienceMs
  while ((await inspect(engine, id)) !== undefined) {
    if (performance.now() > deadline) {
      throw new KernelError({ operation: "remove container", object: id, code: "EBUSY", detail: "its removal does not come to an end" })
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
