/**
 * What a container node comes to: the keys of `defaults`, its groups and itself, put together.
 *
 * Of single values the nearest wins; `env` and `files` are merged key by key; `binds` and `cap-add` are joined.
 */
import type { RawContainer } from "./container-schema.ts"
import { parsePublished, type PublishedPort } from "./container-words.ts"
import { type Path, quote, type Reporter } from "./diagnostic.ts"
import { parseAddress } from "./ip.ts"
import type { Container, Healthcheck, Located } from "./model.ts"
import { parseMemory, parseTime } from "./units.ts"
import { splitWords } from "./words.ts"

/** The container keys of one place in the file. */
export interface ContainerLayer {
  readonly raw: RawContainer
  readonly path: Path
}

const keys: ReadonlyArray<keyof RawContainer> = [
  "image", "cmd", "entrypoint", "env", "binds", "files", "user", "cap-add", "cpu", "memory", "healthcheck", "wait-for", "role"
]

/** Complains about container keys on a node that is none. */
export const refuseContainerKeys = (
  node: RawContainer & { readonly ports?: unknown },
  kind: string,
  path: Path,
  reporter: Reporter
): void => {
  for (const key of keys) {
    const message = `a ${kind} has no ${key}: only nodes of kind container have it`
    if (node[key] !== undefined) reporter.error([...path, key], message, { at: "key" })
  }
  if (Array.isArray(node.ports)) {
    const message = `a ${kind} publishes no ports: only nodes of kind container do; here, give a map of interfaces`
    reporter.error([...path, "ports"], message, { at: "key" })
  }
}

const words = (command: string | ReadonlyArray<string>): ReadonlyArray<string> => {
  if (typeof command !== "string") return command
  const split = splitWords(command)
  return split.ok ? split.words : []
}

const asList = <T>(value: T | ReadonlyArray<T> | undefined): ReadonlyArray<T> =>
  value === undefined ? [] : Array.isArray(value) ? value : [value as T]

const readHealthcheck = (raw: NonNullable<RawContainer["healthcheck"]>): Healthcheck | "none" => {
  if (raw === "none") return "none"
  const { test, interval, timeout, retries, "start-period": startPeriod } =
    typeof raw === "object" && "test" in raw ? raw : { test: raw as string | ReadonlyArray<string> }
  return {
    test: words(test),
    intervalMs: parseTime(interval ?? "1s")!,
    timeoutMs: parseTime(timeout ?? "5s")!,
    retries: retries ?? 3,
    startPeriodMs: parseTime(startPeriod ?? 0)!
  }
}

const readFiles = (raw: NonNullable<RawContainer["files"]>): Container["files"] =>
  new Map(Object.entries(raw).map(([path, file]) => {
    const { content, mode = "0644" } = typeof file === "string" ? { content: file } : file
    return [path, { content, mode: Number.parseInt(mode, 8).toString(8).padStart(4, "0") }]
  }))

const readPublished = (ports: unknown, path: Path, reporter: Reporter): ReadonlyArray<Located<PublishedPort>> => {
  const seen = new Set<string>()
  return (Array.isArray(ports) ? (ports as ReadonlyArray<string>) : []).flatMap((text, index) => {
    const value = parsePublished(text)
    if (value === undefined) return []
    const at = [...path, index]
    if (value.address !== undefined && parseAddress(value.address) === undefined) {
      reporter.error(at, `${quote(value.address)} is no IP address of the host`)
      return []
    }
    const key = `${value.address ?? ""} ${value.hostPort}/${value.protocol}`
    if (seen.has(key)) reporter.error(at, `port ${value.hostPort}/${value.protocol} of the host is published twice`)
    seen.add(key)
    return [{ value, path: at }]
  })
}

/** Puts the layers together, the most general first; undefined (and a diagnostic) when there is no image. */
export const readContainer = (
  layers: ReadonlyArray<ContainerLayer>,
  node: { readonly ports?: unknown },
  path: Path,
  reporter: Reporter
): Container | undefined => {
  const nearest = <K extends keyof RawContainer>(key: K): Located<NonNullable<RawContainer[K]>> | undefined => {
    const layer = layers.findLast(({ raw }) => raw[key] !== undefined)
    return layer === undefined ? undefined : { value: layer.raw[key]!, path: [...layer.path, key] }
  }
  const image = nearest("image")
  if (image === undefined) {
    reporter.error(path, "a container needs an image: image: weft/frr (docker/build.sh makes some)", { at: "key" })
    return undefined
  }
  const [cmd, entrypoint, user, cpu, memory] =
    [nearest("cmd"), nearest("entrypoint"), nearest("user"), nearest("cpu"), nearest("memory")] as const
  const healthcheck = nearest("healthcheck")
  const wait = nearest("wait-for")
  if (wait !== undefined && healthcheck?.value === "none") {
    reporter.error(wait.path, "the node waits to be healthy and has healthcheck: none")
  }
  const env = Object.fromEntries(layers.flatMap(({ raw }) => Object.entries(raw.env ?? {}).map(([key, value]) => [key, String(value)])))
  const capabilities = layers.flatMap(({ raw }) => asList(raw["cap-add"])).map((name) => name.toUpperCase().replace(/^CAP_/, ""))
  return {
    image,
    ...(cmd === undefined ? {} : { cmd: words(cmd.value) }),
    ...(entrypoint === undefined ? {} : { entrypoint: words(entrypoint.value) }),
    env,
    binds: [...new Set(layers.flatMap(({ raw }) => raw.binds ?? []))],
    files: new Map(layers.flatMap(({ raw }) => (raw.files === undefined ? [] : [...readFiles(raw.files)]))),
    ...(user === undefined ? {} : { user: user.value }),
    capAdd: [...new Set(capabilities)].sort(),
    ...(cpu === undefined ? {} : { cpu: cpu.value }),
    ...(memory === undefined ? {} : { memory: parseMemory(memory.value)! }),
    ...(healthcheck === undefined ? {} : { healthcheck: readHealthcheck(healthcheck.value) }),
    ...(wait === undefined ? {} : { waitFor: wait.value }),
    published: readPublished(node.ports, [...path, "ports"], reporter),
    roleGiven: roleOf(layers) !== undefined
  }
}

/** Whether the container forwards packets, where the file says so. */
export const roleOf = (layers: ReadonlyArray<ContainerLayer>): "host" | "router" | undefined =>
  layers.findLast(({ raw }) => raw.role !== undefined)?.raw.role
