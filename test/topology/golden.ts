/** Golden files: what a test produced when a person last looked at it. `UPDATE_GOLDENS=1` rewrites them for review. */
import type { Test } from "tap"
import { existsSync, readFileSync, writeFileSync } from "node:fs"

/** Compares `actual` with the file's content, or makes it the content. */
export const matchesGolden = (t: Test, file: URL, actual: string): void => {
  if (process.env["UPDATE_GOLDENS"] === "1") writeFileSync(file, actual)
  const golden = existsSync(file) ? readFileSync(file, "utf8") : "(there is no golden file: run with UPDATE_GOLDENS=1)"
  t.equal(actual, golden)
}
