/**
 * Style that is executed: each rule of CONTRIBUTING.md that a program can check is a line in the table below, with an
 * example that breaks it. A rule that hinders good code is changed here, with a reason, not worked around.
 */

import { basename } from "node:path"
import t from "tap"
import { importsOf, lineOf, read, type Source } from "./sources.ts"

interface Rule {
  readonly name: string
  /** Which files it is about. */
  readonly applies: (path: string) => boolean
  /** Lines, from 1, that break it. */
  readonly check: (source: Source) => ReadonlyArray<number>
  /** Breaks the rule; keeps the rule itself from rotting. */
  readonly example: Source
}

const maxColumns = 140
const maxLines = 600

const isTypeScript = (path: string): boolean => path.endsWith(".ts")
const isNative = (path: string): boolean => /\.(c|cc|h)$/.test(path)
const isCode = (path: string): boolean => isTypeScript(path) || isNative(path) || path.endsWith(".sh")
// This file quotes what it forbids.
const isOther = (path: string): boolean => path !== "test/tidy.test.ts"

/** Lines on which a pattern with the flag `g` matches. */
const matches = (pattern: RegExp) => (source: Source): ReadonlyArray<number> =>
  [...source.text.matchAll(pattern)].map((match) => lineOf(source.text, match.index))

const linesWhere = (breaks: (line: string) => boolean) => (source: Source): ReadonlyArray<number> =>
  source.text.split("\n").flatMap((line, index) => (breaks(line) ? [index + 1] : []))

const importsWhere = (breaks: (found: ReturnType<typeof importsOf>[number]) => boolean) => (source: Source): ReadonlyArray<number> =>
  importsOf(source).filter(breaks).map(({ line }) => line)

/** Shells are where names that users choose become commands; only the calls that take a list of arguments are left. */
const isShellCall = (name: string): boolean => name === "exec" || name === "execSync"

const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9-]+)*$/
const snakeOrKebab = /^[a-z0-9]+([-_][a-z0-9]+)*(\.[a-z0-9-]+)*$/

const rules: ReadonlyArray<Rule> = [
  {
    name: "no default export: a name is the same wherever it is used",
    applies: isTypeScript,
    check: matches(/^export default\b|^export\s*\{[^}]*\bas default\b/gm),
    example: { path: "daemon/a.ts", text: "export default 1" },
  },
  {
    name: "no barrel: import from the file that defines",
    applies: isTypeScript,
    check: matches(/^export (type )?\*(?! as \w+ from "\.)/gm),
    example: { path: "daemon/a.ts", text: 'export * from "./b.ts"' },
  },
  {
    name: "relative imports name the file, with its ending",
    applies: isTypeScript,
    check: importsWhere(({ specifier }) => specifier.startsWith(".") && !/\.(ts|json|node|mjs)$/.test(specifier)),
    example: { path: "daemon/a.ts", text: 'import { b } from "./b"' },
  },
  {
    name: "no shell: execFile and spawn with a list of arguments",
    applies: (path) => isTypeScript(path) && isOther(path),
    check: importsWhere(({ names, specifier }) => /^(node:)?child_process$/.test(specifier) && names.some(isShellCall)),
    example: { path: "daemon/a.ts", text: 'import { exec } from "node:child_process"' },
  },
  {
    name: "no shell option",
    applies: (path) => isTypeScript(path) && isOther(path),
    check: matches(/\bshell:\s*(true|["'`])|\bchild_process\w*\.exec(Sync)?\(|\bChildProcess\.exec(Sync)?\(/g),
    example: { path: "daemon/a.ts", text: 'spawn("ip", { shell: true })' },
  },
  {
    name: "no system() or popen()",
    applies: isNative,
    check: matches(/\b(system|popen)\s*\(/g),
    example: { path: "daemon/native/src/a.cc", text: 'system("ip link")' },
  },
  {
    name: "file names are kebab-case (C: snake_case too)",
    applies: (path) => isTypeScript(path) || isNative(path),
    check: ({ path }) => ((isNative(path) ? snakeOrKebab : kebab).test(basename(path)) ? [] : [1]),
    example: { path: "daemon/wire/arpPacket.ts", text: "" },
  },
  {
    name: "no utils, common, helpers, misc: name what it is about",
    applies: () => true,
    check: ({ path }) => (/(^|\/)(utils?|common|helpers?|misc)(\.|\/|$)/.test(path) ? [1] : []),
    example: { path: "daemon/utils/ip.ts", text: "" },
  },
  {
    name: "no TODO without an issue",
    applies: (path) => isCode(path) && isOther(path),
    check: matches(/\b(TODO|FIXME|XXX)\b(?!\(#\d+\))/g),
    example: { path: "daemon/a.ts", text: "// TODO: later" },
  },
  {
    name: `lines have at most ${maxColumns} columns`,
    applies: isCode,
    check: linesWhere((line) => line.length > maxColumns),
    example: { path: "daemon/a.ts", text: "x".repeat(maxColumns + 1) },
  },
  {
    name: `files have at most ${maxLines} lines`,
    applies: (path) => isTypeScript(path) || isNative(path),
    check: ({ text }) => (text.split("\n").length > maxLines + 1 ? [maxLines + 1] : []),
    example: { path: "daemon/a.ts", text: "\n".repeat(maxLines + 1) },
  },
  {
    name: "no tabs (but in bpf/, which looks like the kernel's own code)",
    applies: (path) => isCode(path) && !path.startsWith("bpf/"),
    check: linesWhere((line) => line.includes("\t")),
    example: { path: "daemon/a.ts", text: "\tx" },
  },
  {
    name: "no spaces at the end of a line",
    applies: () => true,
    check: linesWhere((line) => /[ \r]$/.test(line)),
    example: { path: "daemon/a.ts", text: "x " },
  },
  {
    name: "files end with one line end",
    applies: isCode,
    check: ({ text }) => (/[^\n]\n$/.test(text) ? [] : [text.split("\n").length]),
    example: { path: "daemon/a.ts", text: "x\n\n" },
  },
  {
    name: "files of the daemon open with a comment that says what they are about",
    applies: (path) => path.startsWith("daemon/") && (isTypeScript(path) || isNative(path)),
    check: ({ text }) => (/^(\/\*|\/\/)/.test(text) ? [] : [1]),
    example: { path: "daemon/a.ts", text: 'import t from "tap"' },
  },
  {
    name: "eBPF sources carry both licences that bpf/LICENSE grants",
    applies: (path) => path.startsWith("bpf/") && isNative(path),
    check: ({ text }) => (/^(\/\/|\/\*) SPDX-License-Identifier: GPL-2\.0-only OR BSD-2-Clause( \*\/)?\n/.test(text) ? [] : [1]),
    example: { path: "bpf/port.bpf.c", text: "#include <linux/bpf.h>\n" },
  },
  {
    name: "no test that is run alone or left out for good",
    applies: (path) => path.endsWith(".test.ts") && isOther(path),
    check: matches(/\b(t|test)\.only\(|\bonly: true\b|\bskip: true\b/g),
    example: { path: "test/a.test.ts", text: 't.only("a", async () => {})' },
  },
]

const folders = ["bench", "bin", "bpf", "ctl", "daemon", "proto", "scripts", "test", "timing", "topologies"]
const sources = read(folders, [".ts", ".c", ".cc", ".h", ".sh", ".proto", ".yaml", ".yml"])
// Recorded from elsewhere and compared octet by octet.
const isOurs = ({ path }: Source): boolean => !/^test\/(vectors|corpus|golden)\//.test(path)

t.ok(sources.length > 0, "found sources")

for (const rule of rules) {
  t.test(rule.name, async (t) => {
    t.ok(rule.applies(rule.example.path) && rule.check(rule.example).length > 0, "the rule finds its own example")
    const broken = sources
      .filter((source) => isOurs(source) && rule.applies(source.path))
      .flatMap((source) => rule.check(source).map((line) => `${source.path}:${line}`))
    t.equal(broken.join("\n"), "", "no file breaks it")
  })
}
