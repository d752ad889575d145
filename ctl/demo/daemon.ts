/** The daemon that the demo talks to: one that runs already, or its own, started here and stopped at the end. */

import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect, defaultAddress, pathOf } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import { lackHere, rightsAdvice, sentence } from "../rights.ts"
import type { Ground, Own } from "./ground.ts"
import { startWeftd } from "./weftd.ts"

const instance = "demo"
export const ownAddress = `unix:/run/weft/${instance}/weftd.sock`

/**
 * Finds or starts a daemon.
 *
 * @param address what the user asked for; a daemon is started only when that is the default address
 * @param onStart called as soon as there is something to stop, before it is known to work
 */
export const useDaemon = async (address: string, onStart: (own: Own) => void): Promise<Ground> => {
  for (const candidate of address === defaultAddress ? [address, ownAddress] : [address]) {
    try {
      return {
        client: await connect(candidate),
        address: candidate,
        description: `Use the weftd at ${candidate}`,
        own: undefined
      }
    } catch (error) {
      const none = error instanceof Failure && error.exitCode === Exit.unreachable
      if (!none || address !== defaultAddress) throw error
    }
  }
  if (process.getuid?.() !== 0) {
    throw new Failure(
      Exit.failed,
      "Cannot start a daemon: it makes network namespaces and loads eBPF programs, which needs root",
      "Type: sudo bin/weft demo"
    )
  }
  const lack = lackHere()
  if (lack !== undefined) throw new Failure(Exit.failed, `Cannot start a daemon: this is ${lack}`, sentence(rightsAdvice))
  const directory = mkdtempSync(join(tmpdir(), "weft-demo-"))
  const weftd = startWeftd({
    instance,
    address: ownAddress,
    stateDirectory: join(directory, "state"),
    logFile: join(directory, "weftd.log")
  })
  const own: Own = {
    ending: "Stop weftd, verify: no namespace, process or socket is left",
    leave: weftd.leave,
    stop: async () => {
      await weftd.stop()
      rmSync(directory, { recursive: true, force: true })
    },
    leftovers: () => [
      ...[`/run/netns/weft.fabric.${instance}`, pathOf(ownAddress), `/run/weft/${instance}`].filter((path) => existsSync(path)),
      ...(weftd.isAlive() ? [`process ${weftd.pid}`] : [])
    ],
    tail: weftd.tail,
    end: `bin/weft destroy demo && kill ${weftd.pid} && rm -r ${directory}`
  }
  onStart(own)
  return { client: await weftd.answering(), address: ownAddress, description: `Start weftd (instance ${instance})`, own }
}
