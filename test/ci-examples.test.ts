/**
 * What docs/ci.md and its examples tell people to type: workflows are YAML of the right shape, every weft command in them exists with
 * these words and flags, and the image is made of what is there.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { accessSync, constants, existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import t, { type Test } from "tap"
import { parse as parseYaml } from "yaml"
import { parse } from "../ctl/cli.ts"
import { checkout } from "./sources.ts"

const read = (path: string): string => readFileSync(join(checkout, path), "utf8")

/** Commands of a script as words; quotes are enough of a shell for what stands in examples. */
const commandsOf = (script: string): ReadonlyArray<ReadonlyArray<string>> =>
  script.replaceAll("\\\n", " ").split(/\n|&&|;|\|/).map((line) =>
    [...line.replace(/\s#.*$/, "").matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, bare]) => double ?? single ?? bare!))

/** The words behind each `weft` or `bin/weft`, without what the shell takes for itself. */
const weftCommands = (script: string): ReadonlyArray<ReadonlyArray<string>> =>
  commandsOf(script).flatMap((words) => {
    const at = words.findIndex((word) => /(^|\/)weft$/.test(word))
    if (at === -1 || /^(ln|cp|COPY|docker)$/.test(words[0] ?? "")) return []
    const rest = words.slice(at + 1)
    const redirected = rest.findIndex((word) => /^\d?>/.test(word))
    return [redirected === -1 ? rest : rest.slice(0, redirected)]
  })

const understood = async (t: Test, commands: ReadonlyArray<ReadonlyArray<string>>, atLeast: number): Promise<void> => {
  t.ok(commands.length >= atLeast, `${commands.length} commands`)
  for (const words of commands) t.match(await parse(words), { kind: "run" }, `weft ${words.join(" ")}`)
}

t.test("commandsOf and weftCommands", async (t) => {
  t.same(weftCommands("sudo a/with-weftd.sh b/weft check x.yaml --junit r.xml > out # why\nls weft-x"),
    [["check", "x.yaml", "--junit", "r.xml"]])
  t.match(await parse(["check", "x.yaml", "--no-such-flag"]), { kind: "wrong" }, "a flag that is not there is found")
})

t.test("the workflow of GitHub Actions", async (t) => {
  const workflow = parseYaml(read("docs/examples/github-actions.yml"))
  t.ok(workflow.on.pull_request, "`on` is a key, not a boolean")
  const jobs: ReadonlyArray<any> = Object.values(workflow.jobs)
  t.ok(jobs.every((job) => typeof job["runs-on"] === "string" && job.steps.every((step: any) => ("run" in step) !== ("uses" in step))))
  const scripts = jobs.flatMap((job) => job.steps.flatMap((step: any) => step.run ?? []))
  await understood(t, scripts.flatMap(weftCommands), 5)
  for (const [, path] of scripts.join("\n").matchAll(/\.weft-tool\/(\S+)/g)) accessSync(join(checkout, path!), constants.X_OK)
  const kept = jobs.flatMap((job) => job.steps).find((step: any) => String(step.uses).startsWith("actions/upload-artifact"))
  t.equal(kept.if, "always()", "reports of what failed, above all")
})

t.test("the pipeline of GitLab", async (t) => {
  const { default: defaults, stages, ...jobs } = parseYaml(read("docs/examples/gitlab-ci.yml"))
  t.same(defaults.image.entrypoint, [""])
  t.ok(Object.values<any>(jobs).every(({ script, stage }) => stages.includes(stage) && script
    .every((line: unknown) => typeof line === "string")))
  const scripts: ReadonlyArray<string> = Object.values<any>(jobs).flatMap(({ script }) => script)
  await understood(t, scripts.flatMap(weftCommands), 4)
  const reports = Object.values<any>(jobs).flatMap(({ artifacts }) => Object.values<string>(artifacts?.reports ?? {}))
  for (const file of reports) t.ok(scripts.some((line) => line.includes(` ${file}`)), `${file} is written by a script`)
})

t.test("docs/ci.md", async (t) => {
  const text = read("docs/ci.md")
  const blocks = [...text.matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => block!)
  await understood(t, blocks.flatMap(weftCommands), 1)
  for (const [, path] of text.matchAll(/\]\(([^)#]+)\)/g)) t.ok(existsSync(join(checkout, "docs", path!)), `${path} is there`)
})

/** Instructions of a Dockerfile, continued lines joined. */
const instructions = (text: string): ReadonlyArray<readonly [string, string]> =>
  text.replace(/^#.*\n/gm, "").replaceAll("\\\n", " ").split("\n").filter((line) => line.trim() !== "").map((line) => {
    const [, word = "", rest = ""] = /^(\S+)\s*(.*)$/.exec(line)!
    return [word, rest] as const
  })

t.test("docker/weft is made of what is there", async (t) => {
  const image = instructions(read("docker/weft/Dockerfile"))
  t.same([...new Set(image.map(([word]) => word))].sort(), ["ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "WORKDIR"])
  for (const [, rest] of image) {
    for (const [path] of rest.matchAll(/\/opt\/weft\/(?:bin|scripts|docker)\/[\w./-]+/g)) {
      t.ok(existsSync(join(checkout, path.slice("/opt/weft/".length))), path)
    }
  }
  const entrypoint = JSON.parse(image.find(([word]) => word === "ENTRYPOINT")![1])
  const command = JSON.parse(image.find(([word]) => word === "CMD")![1])
  t.ok(image.some(([, rest]) => rest.includes(`/usr/local/bin/${entrypoint[0]}`)), "the entrypoint is linked")
  t.match(await parse(command), { kind: "run" })
  // Both images run the same programs.
  const packages = (path: string): ReadonlyArray<string> => {
    const [, list = ""] = /install -y --no-install-recommends ([^&]+?)\s*&&\s*rm/.exec(read(path).replaceAll("\\\n", " ")) ?? []
    return list.trim().split(/\s+/)
  }
  const own = packages("docker/weft/Dockerfile")
  t.same(packages("docker/weftd/Dockerfile").filter((name) => !own.includes(name)), ["etcd-client", "etcd-server"], "but for etcd")
})

/** Building fetches packages: only where there is an engine that has the image to begin with. */
const canBuild = ((): boolean => {
  const engine = spawnSync("docker", ["image", "inspect", "debian:bookworm-slim"], { stdio: "ignore", timeout: 10_000 })
  return engine.status === 0 && process.env["WEFT_TEST_IMAGES"] === "1"
})()

t.test("docker/weft is built", { skip: canBuild ? false : "no Docker engine with debian:bookworm-slim, or WEFT_TEST_IMAGES is not 1",
  timeout: 1_200_000 },
  async (t) => {
    execFileSync("docker", ["build", "-q", "-t", "weft/weft:test", "-f", "docker/weft/Dockerfile", "."],
      { cwd: checkout, timeout: 1_100_000 })
    const said = execFileSync("docker", ["run", "--rm", "--entrypoint", "weft", "weft/weft:test", "version"], { encoding: "utf8" })
    t.match(said, /^weft /)
  })
