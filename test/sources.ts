/**
 * Reads the checkout for the tests that look at the source itself: which files there are and what each one imports.
 */

import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"

export const checkout = resolve(import.meta.dirname, "..")

/** One file: path from the root of the checkout, and text. */
export interface Source {
  readonly path: string
  readonly text: string
}

/** One `import` or `export ... from`, also `import type` and `import()`. */
export interface Import {
  /** Counts from 1. */
  readonly line: number
  /** As written: `../plan/resource.ts`, `effect`, `node:fs`. */
  readonly specifier: string
  /** Path from the root of the checkout for a relative import, nothing for a package. */
  readonly target: string | undefined
  /** Names between the braces, before any `as`; empty for a namespace, a default and a bare import. */
  readonly names: ReadonlyArray<string>
}

/** Every file below the given folders whose name ends in one of `endings`, in order of its path. A folder may be absent. */
export const read = (folders: ReadonlyArray<string>, endings: ReadonlyArray<string>): ReadonlyArray<Source> =>
  folders
    .filter((folder) => existsSync(join(checkout, folder)))
    .flatMap((folder) =>
      readdirSync(join(checkout, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
        .map((entry) => join(entry.parentPath, entry.name).slice(checkout.length + 1))
    )
    .sort()
    .map((path) => ({ path, text: readFileSync(join(checkout, path), "utf8") }))

/** Line of an offset in a text, from 1. */
export const lineOf = (text: string, offset: number): number => text.slice(0, offset).split("\n").length

// A statement starts its line, so a code example inside a comment (` * import ...`) is not taken for one.
const statement = /^(?:import|export)\b([^"';]*?)\bfrom\s*["']([^"']+)["']|^import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/gm

/** The imports of a source in order of appearance. */
export const importsOf = (source: Source): ReadonlyArray<Import> =>
  [...source.text.matchAll(statement)].map((match) => {
    const specifier = match[2] ?? match[3] ?? match[4] ?? ""
    const braces = /\{([^}]*)\}/.exec(match[1] ?? "")?.[1] ?? ""
    return {
      line: lineOf(source.text, match.index),
      specifier,
      target: specifier.startsWith(".") ? join(dirname(source.path), specifier) : undefined,
      names: braces
        .split(",")
        .map((name) => name.trim().replace(/^type\s+/, "").replace(/\s+as\s.*$/, ""))
        .filter((name) => name !== ""),
    }
  })
