import { execFile, execFileSync, spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import t from "tap"
import { candidatesFor } from "../../ctl/complete.ts"
import type { Source } from "../../ctl/complete.ts"
import { startFakeDaemon } from "./fake-daemon.ts"
import { main, weft } from "./weft.ts"

const source: Source = async (kind, prefix) => [{ value: `${kind}:${prefix}`, about: "" }]
const values = async (...words: ReadonlyArray<string>) => (await candidatesFor(words, source)).map(({ value }) => value)

t.test("candidatesFor offers commands, flags, choices and what only the daemon knows", async (t) => {
  t.strictSame(await values("de"), ["demo", "deploy", "destroy"])
  t.strictSame(await values("deploy", "--ro"), ["--rollback"])
  t.strictSame(await values("list", "-o", "j"), ["json"])
  t.strictSame(await values("list", "--output=j"), ["--output=json"])
  t.strictSame(await values("list", "--output", "=", "y"), ["yaml"], "bash cuts words at =")
  t.strictSame(await values("completion", ""), ["bash", "zsh", "fish"])
  t.strictSame(await values("deploy", "top"), ["file:top"])
  t.strictSame(await values("deploy", "-f", "x"), ["file:x"])
  t.strictSame(await values("check", "to"), ["suite:to"])
  t.strictSame(await values("check", "x", "--junit", ""), ["path:"])
  t.strictSame(await values("destroy", ""), ["lab:"])
  t.strictSame(await values("exec", "-it", "--user", "nobody", "p"), ["node:p"])
  t.strictSame(await values("--daemon", "unix:/x", "inspect", "h"), ["lab:h"])
  t.strictSame(await values("graph", "-w", ""), ["path:"])
  t.strictSame(await values("probe", "p", "--spacing", "1ms", "d"), ["node:d"])
  t.strictSame(await values("capture", "a:eth0", "-w", "-", "b"), ["port:b"])
  t.strictSame(await values("exec", "pc", "--", "-"), [], "what stands behind -- is not ours")
  t.strictSame(await values("events", "-f", ""), ["lab:"], "-f of events takes no value")
  t.strictSame(await values("nonsense", "-f", ""), [
    "demo",
    "validate",
    "plan",
    "deploy",
    "destroy",
    "check",
    "scenario",
    "rehearse",
    "inject",
    "heal",
    "faults",
    "list",
    "hosts",
    "evpn",
    "drain",
    "inspect",
    "exec",
    "routes",
    "bfd",
    "bgp",
    "probe",
    "capture",
    "graph",
    "events",
    "doctor",
    "pki",
    "completion",
    "version"
  ])
})

t.test("__complete asks the daemon for nodes and is silent without one", async (t) => {
  const daemon = await startFakeDaemon()
  t.teardown(() => daemon.stop())
  t.match((await weft(["__complete", "exec", "idc-d"], daemon)).stdout, "idc-db\thost 10.20.0.10/24\n")
  t.equal((await weft(["__complete", "exec", "hybrid/idc-d"], daemon)).stdout, "hybrid/idc-db\thost 10.20.0.10/24\n")
  t.equal((await weft(["__complete", "destroy", ""], daemon)).stdout, "hybrid\tready, 15 nodes\n")
  t.strictSame(await weft(["__complete", "exec", ""]), { code: 0, stdout: "", stderr: "" })
})

const has = (program: string): boolean => spawnSync(program, ["-c", "true"]).status === 0

t.test("the scripts complete in real shells", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "weft-complete-"))
  t.teardown(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, "bin"))
  writeFileSync(join(folder, "bin/weft"), `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`)
  chmodSync(join(folder, "bin/weft"), 0o755)
  writeFileSync(join(folder, "a.weft.yaml"), "name: a\n")
  const env = {
    ...process.env,
    NODE_OPTIONS: "",
    PATH: `${join(folder, "bin")}:${process.env["PATH"]}`,
    WEFT_DAEMON: "unix:/nonexistent/weftd.sock",
    HOME: folder
  }
  for (const shell of ["bash", "zsh", "fish"])
    writeFileSync(join(folder, `_weft.${shell}`), execFileSync(join(folder, "bin/weft"), ["completion", shell], { env }))

  t.test("bash", { skip: !has("bash") && "bash is not installed" }, async (t) => {
    const complete = (...words: ReadonlyArray<string>) =>
      execFileSync(
        "bash",
        [
          "--norc",
          "-c",
          `source _weft.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weft; printf '%s\\n' "\${COMPREPLY[@]}"`,
          "bash",
          "weft",
          ...words
        ],
        { cwd: folder, env, encoding: "utf8" }
      ).trim()
    /** The same while this process serves. */
    const completeAside = async (...words: ReadonlyArray<string>) => {
      const script = `source _weft.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weft; printf '%s\\n' "\${COMPREPLY[@]}"`
      return (await promisify(execFile)("bash", ["--norc", "-c", script, "bash", "weft", ...words], { cwd: folder, env })).stdout.trim()
    }
    t.equal(complete("ver"), "version")
    t.equal(complete("deploy", "a"), "a.weft.yaml")
    t.equal(complete("deploy", "--rol"), "--rollback")
    t.equal(complete("destroy", ""), "")
    const daemon = await startFakeDaemon()
    t.teardown(() => daemon.stop())
    // These are the words that bash makes of `--daemon unix:PATH capture idc-db:`.
    const words = ["--daemon", "unix", ":", daemon.address.slice("unix:".length), "capture", "idc-db", ":"]
    t.equal(await completeAside(...words, "e"), "eth0")
    t.equal(await completeAside(...words), "eth0")
  })
  t.test("fish", { skip: !has("fish") && "fish is not installed" }, async (t) => {
    const complete = (line: string) =>
      execFileSync("fish", ["--no-config", "-c", `source _weft.fish; complete -C '${line}'`], {
        cwd: folder,
        env,
        encoding: "utf8"
      }).trim()
    t.match(complete("weft ver"), /^version\tShow the versions/)
    t.equal(complete("weft deploy a"), "a.weft.yaml")
    t.match(complete("weft deploy --rol"), /^--rollback\t/)
  })
  t.test("zsh", { skip: !has("zsh") && "zsh is not installed" }, async (t) => {
    // zsh completes only at a prompt: zpty gives it one, and a word with a single candidate is finished by Tab.
    const finish = (line: string, wanted: string) =>
      execFileSync(
        "zsh",
        [
          "-f",
          "-c",
          `
        zmodload zsh/zpty
        zpty z "zsh -f -i"
        zpty -w z "unsetopt zle_bracketed_paste; autoload -Uz compinit && compinit -u -D; source ./_weft.zsh; PS1='<READY'; PS1+='>'"
        zpty -r -m z out '*<READY>*'
        zpty -w -n z $'${line}\t'
        zpty -r -m z out '*${wanted}*'
        print -r -- "$out"
      `
        ],
        { cwd: folder, env: { ...env, TERM: "vt100" }, encoding: "utf8", timeout: 20_000 }
      )
    t.match(finish("weft ver", "weft version"), /weft version/)
    t.match(finish("weft deploy a", "a.weft.yaml"), /weft deploy a\.weft\.yaml/)
  })
})
