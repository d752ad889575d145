/** etcd, in which the daemons of many hosts keep what they share: found, or installed as the set-up does. */

import { spawn } from "node:child_process"
import { accessSync, constants } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Exit, Failure } from "../command.ts"

const isInstalled = (): boolean =>
  `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/bin:/usr/local/bin`.split(":").some((folder) => {
    try {
      accessSync(join(folder, "etcd"), constants.X_OK)
      return true
    } catch {
      return false
    }
  })

/** @throws {Failure} with what to type when there is no etcd and it cannot be installed */
export const requireEtcd = async (): Promise<void> => {
  if (isInstalled()) return
  const setup = fileURLToPath(new URL("../../scripts/setup.sh", import.meta.url))
  const child = spawn(setup, ["--fleet"], { stdio: ["ignore", "inherit", "inherit"] })
  const code = await new Promise<number | null>((resolve) => child.once("error", () => resolve(null)).once("close", resolve))
  if (code === 0 && isInstalled()) return
  throw new Failure(
    Exit.failed,
    "Many hosts share their labs through etcd, which is not installed",
    "Type: sudo apt-get install etcd-server"
  )
}
