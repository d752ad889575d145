/**
 * The keys that only nodes of `kind: container` have: the image, what runs in it, and what it may use.
 *
 * They stand on the node, on a group, or under `defaults: container:`. What they come to together is read in `container.ts`.
 */
import { Schema } from "effect"
import { capabilities, portProblem } from "./container-words.ts"
import { closest } from "./diagnostic.ts"
import { Command, integer, oneOrMore, optional, text } from "./schema-parts.ts"
import { parseMemory, parseTime } from "./units.ts"

const imageProblem = (value: string): string | undefined =>
  /^[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,254}$/.test(value) ? undefined : "expected the name of an image such as weft/frr or debian:12"
const Image = text({ description: "the name of an image such as weft/frr", problem: imageProblem })

const environmentNameProblem = (env: Readonly<Record<string, unknown>>): string | undefined => {
  const bad = Object.keys(env).find((name) => !/^[^=\0]+$/.test(name))
  return bad === undefined ? undefined : `"${bad}" is no name for an environment variable`
}
const Env = Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Finite, Schema.Boolean]).annotate({
  expected: "text, a number or a boolean"
})).annotate({ expected: "a map from name to value", description: "Environment of the container, added to the image's own" })
  .check(Schema.makeFilter(environmentNameProblem))

/** An absolute path without `..`, as the container or its host has it. */
const pathProblem = (path: string): string | undefined => {
  if (!path.startsWith("/")) return "expected an absolute path: it begins with /"
  if (path.includes("\0") || path.includes("\n")) return "a path contains a NUL character or a line break"
  return path.split("/").some((part) => part === ".." || part === ".") ? "expected a path without . and .." : undefined
}

const bindProblem = (value: string): string | undefined => {
  const [from, to, mode, ...rest] = value.split(":")
  if (to === undefined || rest.length > 0) return "expected HOST-PATH:CONTAINER-PATH, or HOST-PATH:CONTAINER-PATH:ro"
  if (mode !== undefined && mode !== "ro" && mode !== "rw") return `"${mode}": expected ro or rw after the second colon`
  if (from === "" || !from!.startsWith("/")) {
    return "expected an absolute path of the host that runs the container, which need not have this file beside it: for content use files"
  }
  return pathProblem(from!) ?? pathProblem(to)
}
const Bind = text({ description: "a bind mount such as /srv/data:/data:ro", problem: bindProblem })

const Mode = text({
  description: 'an octal file mode such as "0640"',
  problem: (value) => (/^0?[0-7]{3,4}$/.test(value) ? undefined : 'expected an octal file mode in quotes such as "0640"')
})
const fileLimit = 1 << 20
const Content = Schema.String.annotate({ expected: "text" }).check(
  Schema.makeFilter((value: string) => Buffer.byteLength(value) <= fileLimit ? undefined : "a file of more than 1 MiB: use binds")
)
const File = Schema.Union([Content, Schema.Struct({ content: Content, mode: optional(Mode) })])
  .annotate({ expected: "the file's content, or {content, mode}" })
const filePathProblem = (files: Readonly<Record<string, unknown>>): string | undefined => {
  for (const path of Object.keys(files)) {
    const problem = pathProblem(path) ?? (path.endsWith("/") ? "expected the path of a file, not of a folder" : undefined)
    if (problem !== undefined) return `"${path}": ${problem}`
    if (["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"].includes(path)) return `"${path}" is made by weft: see dns and loopback`
  }
  return undefined
}
const Files = Schema.Record(Schema.String, File).annotate({
  expected: "a map from path to content",
  description: "Files written into the container before it starts: path: content, or path: {content, mode}"
}).check(Schema.makeFilter(filePathProblem))

const User = text({
  description: "a user such as frr, 1000 or 1000:1000",
  problem: (value) =>
    /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?$/.test(value)
      ? undefined
      : "expected a user of the image such as frr, 1000 or 1000:1000"
})

const capabilityProblem = (value: string): string | undefined => {
  const name = value.toUpperCase().replace(/^CAP_/, "")
  if (capabilities.has(name)) return undefined
  const meant = closest(name, capabilities)
  return `there is no such capability (capabilities(7))${meant === undefined ? "" : `; did you mean "${meant}"?`}`
}
const Capability = text({ description: "a capability such as NET_ADMIN", problem: capabilityProblem })

const Cpu = Schema.Finite.annotate({ expected: "a number of CPUs such as 0.5", description: "How many CPUs it may use" }).check(
  Schema.makeFilter((value: number) => value >= 0.01 && value <= 1024 ? undefined : "expected a number of CPUs from 0.01 to 1024")
)

const [minMemory, maxMemory] = [6 * 2 ** 20, 2 ** 50]
const memoryProblem = (value: string): string | undefined => {
  const octets = parseMemory(value)
  if (octets === undefined) return "expected a size with its unit such as 256m or 1g"
  return octets < minMemory || octets > maxMemory ? "expected 6m or more" : undefined
}
const Memory = text({ description: "a size such as 256m or 1g", problem: memoryProblem })

const healthTimeProblem = (value: string): string | undefined => {
  const ms = parseTime(value)
  if (ms === undefined) return "expected a time with its unit such as 2s or 500ms"
  return ms < 1 || ms > 3_600_000 ? "expected 1ms to 3600s" : undefined
}
const HealthTime = text({ description: "a time such as 2s", problem: healthTimeProblem })
const Healthcheck = Schema.Union([
  Command,
  Schema.Struct({
    test: Command,
    interval: optional(HealthTime.annotate({ description: "Between two tests: 1s unless given" })),
    timeout: optional(HealthTime.annotate({ description: "Of one test: 5s unless given" })),
    retries: optional(integer(1, 1000, "So many failures in a row mean unhealthy: 3 unless given")),
    "start-period": optional(HealthTime.annotate({ description: "Failures do not count for so long after the start: 0 unless given" }))
  })
]).annotate({
  expected: '"none", a command, or {test, interval, timeout, retries, start-period}',
  description: "Command run in the container whose exit code 0 means healthy; none: not even the image's own"
})

const Role = Schema.Literals(["host", "router"]).annotate({
  description: "router: it forwards packets; host (unless given): it does not, and gets a default gateway"
})

export const containerKeys = {
  image: optional(Image),
  cmd: optional(Command.annotate({ description: "Arguments of the entrypoint, or the command; the image's own unless given" })),
  entrypoint: optional(Command.annotate({ description: "What is run; the image's own unless given" })),
  env: optional(Env),
  binds: optional(Schema.Array(Bind).annotate({ expected: "a list such as [/srv/data:/data:ro]" })),
  files: optional(Files),
  user: optional(User),
  "cap-add": optional(oneOrMore(Capability, "a capability such as NET_ADMIN", "Besides what Docker grants, and NET_ADMIN and NET_RAW")),
  cpu: optional(Cpu),
  memory: optional(Memory),
  healthcheck: optional(Healthcheck),
  "wait-for": optional(Schema.Literals(["healthy"]).annotate({ description: "The deploy waits until the health check passes" })),
  role: optional(Role)
}

/** A port of the container on the machine that runs it. */
export const Published = text({ description: "a published port such as 8080:80", problem: portProblem })

const Container = Schema.Struct(containerKeys)
export type RawContainer = typeof Container.Type
