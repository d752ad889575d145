/** `weft doctor`: the daemon's findings; without a daemon, what can be seen from here. */

import { existsSync } from "node:fs"
import { withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import type { Finding } from "../messages.ts"
import { findingLines } from "../render/findings.ts"
import { printValue } from "../render/value.ts"
import { print, printError, styleOf, widthOf } from "../terminal.ts"
import type { specs } from "./table.ts"

export const run = async (input: InputOf<typeof specs.doctor>, context: Context): Promise<number> => {
  const answer = await withClient(context.daemon, (client) => client.doctor()).catch((error: unknown) => {
    if (error instanceof Failure && error.exitCode === Exit.unreachable) return error
    throw error
  })
  const findings = answer instanceof Failure ? localFindings(answer) : answer
  if (input.output !== "table")
    await printValue(input.output, { daemon: answer instanceof Failure ? null : context.daemon, findings })
  else {
    if (answer instanceof Failure) printError(`${answer.message}. These are only the checks that need no daemon:\n`)
    print(findingLines(findings, { width: widthOf(process.stdout), style: styleOf(process.stdout) }).join("\n"))
  }
  if (answer instanceof Failure) return Exit.unreachable
  return findings.some(({ verdict }) => verdict === "MISSING") ? Exit.failed : Exit.done
}

/** Node's version, rights and the kernel's bpf file system. */
const localFindings = (reason: Failure): ReadonlyArray<Finding> => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
  const node = major > 22 || (major === 22 && minor >= 19)
  const root = process.getuid?.() === 0
  const bpffs = existsSync("/sys/fs/bpf")
  return [
    {
      subject: "weftd",
      verdict: "MISSING",
      detail: "does not answer",
      neededFor: "everything but validate and completion",
      remedy: (reason.hint ?? "").split("\n")[0] ?? ""
    },
    {
      subject: "Node",
      verdict: node ? "OK" : "MISSING",
      detail: process.version,
      neededFor: "weft itself, >= 22.19",
      remedy: node ? "" : "run bin/weft: it brings its own"
    },
    {
      subject: "rights",
      verdict: root ? "OK" : "WARNING",
      detail: root ? "root" : `uid ${process.getuid?.() ?? "?"}`,
      neededFor: "starting weftd",
      remedy: root ? "" : "sudo bin/weftd"
    },
    {
      subject: "bpf file system",
      verdict: bpffs ? "OK" : "MISSING",
      detail: bpffs ? "/sys/fs/bpf" : "no /sys/fs/bpf",
      neededFor: "the fast path",
      remedy: bpffs ? "" : "mount -t bpf bpf /sys/fs/bpf"
    }
  ]
}
