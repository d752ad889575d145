/** The daemon's socket: whose it replaces, and whose it removes. */
import { spawnSync } from "node:child_process"
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { serve } from "../../daemon/rpc/server.ts"
import { needsRoot } from "./harness.ts"

const services = { Labs: {}, Nodes: {}, Host: {} }

t.test("serve", { skip: needsRoot }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "weft-test-socket-"))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const path = join(directory, "s")

  await t.test("refuses what is not a socket, and leaves it", async (t) => {
    writeFileSync(path, "precious")
    await t.rejects(serve(path, services), { message: /is not a socket: remove it/ })
    t.equal(readFileSync(path, "utf8"), "precious")
    rmSync(path)
  })

  await t.test("refuses a socket that somebody serves, and leaves it", async (t) => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(path, resolve))
    await t.rejects(serve(path, services), { message: /another weftd serves on / })
    t.ok(lstatSync(path).isSocket())
    await new Promise((resolve) => other.close(resolve))
  })

  await t.test("replaces a dead one's, and removes its own", async (t) => {
    const script = "require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))"
    t.equal(spawnSync(process.execPath, ["-e", script, path]).signal, "SIGKILL")
    const dead = lstatSync(path).ino
    const serving = await serve(path, services)
    t.not(lstatSync(path).ino, dead)
    t.equal(lstatSync(path).mode & 0o777, 0o660)
    await serving.close(100)
    t.strictSame(readdirSync(directory), [])
  })

  await t.test("leaves the socket of who came after it", async (t) => {
    const serving = await serve(path, services)
    rmSync(path)
    const later = await serve(path, services)
    await serving.close(100)
    t.ok(lstatSync(path).isSocket())
    await later.close(100)
    t.strictSame(readdirSync(directory), [])
  })
})
