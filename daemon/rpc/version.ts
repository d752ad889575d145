/** `Host.Version`: which weftd answers, and on what. */
import { readFileSync } from "node:fs"
import { release } from "node:os"
import { unary } from "./server.ts"
import { toStatus } from "./status.ts"

/** Of this weft. */
export const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }

export const versionHandler = (about: { readonly instance: string; readonly host: string }) =>
  unary(toStatus, () => ({ version, ...about, kernel: release(), node: process.version, pid: process.pid }))
