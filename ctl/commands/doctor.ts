/** `weft doctor`: the daemon's findings; without a daemon, what can be seen from here. */

import { release } from "node:os"
import { withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import type { Finding } from "../messages.ts"
import { lackHere, rightsAdvice } from "../rights.ts"
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
    if (answer instanceof Failure) printError(`${answer.message}\nWhat can be seen without it:\n`)
    print(findingLines(findings, { width: widthOf(process.stdout), style: styleOf(process.stdout) }).join("\n"))
  }
  if (answer instanceof Failure) return Exit.unreachable
  return findings.some(({ verdict }) => verdict === "MISSING") ? Exit.failed : Exit.done
}

/** Node's version, rights and the kernel's version. */
const localFindings = (reason: Failure): ReadonlyArray<Finding> => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
  const node = major > 22 || (major === 22 && minor >= 19)
  const isRoot = process.getuid?.() === 0
  const lack = lackHere()
  const root = isRoot && lack === undefined
  const [kernelMajor = 0, kernelMinor = 0] = release().split(".").map(Number)
  const kernel = kernelMajor > 5 || (kernelMajor === 5 && kernelMinor >= 15)
  return [
    {
      subject: "weftd",
      verdict: "MISSING",
      detail: "does not answer",
      neededFor: "everything but validate and completion",
      remedy: lack === undefined ? (reason.hint ?? "").split("\n")[0]?.replace("Start it with: ", "") ?? "" : rightsAdvice
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
      verdict: root ? "OK" : isRoot ? "MISSING" : "WARNING",
      detail: lack ?? (root ? "root" : `uid ${process.getuid?.() ?? "?"}`),
      neededFor: "starting weftd",
      remedy: root ? "" : isRoot ? rightsAdvice : "sudo bin/weftd"
    },
    {
      subject: "kernel",
      verdict: kernel ? "OK" : "MISSING",
      detail: `Linux ${release()}`,
      neededFor: "the fast path, >= 5.15",
      remedy: kernel ? "" : "a newer kernel: Debian 12 has 6.1"
    }
  ]
}
