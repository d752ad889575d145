/**
 * Killing this daemon hard and starting it again: what `weft inject daemon-down` rehearses.
 *
 * A shell of its own session waits and becomes the daemon again, with the same program, arguments, environment, folder and
 * output; its words are arguments, none is interpreted. Where a supervisor would start another one meanwhile, or the machine
 * would end with us, it is refused.
 */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"

/** Time for whoever asked to hear that it happens. */
const lastWordsMs = 100

/** Programs that start again what has died. */
const supervisors = new Set(["runsv", "s6-supervise", "supervise", "supervisord", "monit", "pm2", "nodemon"])

const nameOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim()
  } catch {
    return ""
  }
}

/** Why this daemon must not be killed to be started again; undefined: it may. */
export const supervisorOf = (
  self: { readonly pid: number; readonly ppid: number; readonly env: Readonly<Record<string, string | undefined>> } = process
): string | undefined => {
  if (self.pid === 1) return "weftd is process 1 of its container, which would end with it: restart the container"
  // systemd.exec(5): $SYSTEMD_EXEC_PID is the process that systemd started.
  if (self.env["SYSTEMD_EXEC_PID"] === String(self.pid)) {
    return "systemd would start weftd again at once, and there would be two: use systemctl kill -s KILL and its RestartSec="
  }
  const parent = nameOf(self.ppid)
  return supervisors.has(parent) ? `${parent} would start weftd again, and there would be two: kill it by its own means` : undefined
}

/**
 * Kills this daemon as `kill -9` does, a moment from now, and has it started again after `downMs`.
 *
 * @throws Error when something else would start it again
 */
export const killAndRestart = (downMs: number): void => {
  const reason = supervisorOf()
  if (reason !== undefined) throw new Error(`Cannot kill weftd and start it again: ${reason}`)
  const seconds = ((downMs + lastWordsMs) / 1000).toFixed(3)
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const waiting = spawn("/bin/sh", ["-c", 'sleep "$1"; shift; exec "$@"', "weftd-again", seconds, ...again], {
    detached: true,
    stdio: ["ignore", "inherit", "inherit"]
  })
  if (waiting.pid === undefined) throw new Error("Cannot kill weftd and start it again: /bin/sh does not start")
  waiting.unref()
  setTimeout(() => process.kill(process.pid, "SIGKILL"), lastWordsMs)
}
