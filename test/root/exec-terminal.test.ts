import t from "tap"
import { processesIn } from "../../daemon/linux/process.ts"
import { collect, makeNamespace, serveExec } from "./exec-harness.ts"
import { descriptorCount, needsRoot, until } from "./harness.ts"

const tty = { tty: true, size: { columns: 100, rows: 30 } }

t.test("exec on a terminal", { skip: needsRoot }, async (t) => {
  const namespace = makeNamespace("tty")
  const before = descriptorCount()
  const server = await serveExec(namespace)

  /** A session whose next step waits for the output that it expects, as a person would. */
  const converse = (argv: ReadonlyArray<string>) => {
    // A dumb terminal: no bracketed paste, no colours.
    const call = server.start({ argv, ...tty, env: { TERM: "dumb" } })
    let output = ""
    const outcome = collect(call, (all) => (output = all))
    return {
      call,
      outcome,
      type: (text: string) => call.write({ stdin: Buffer.from(text) }),
      see: (pattern: RegExp) => until(`${pattern} in ${JSON.stringify(output)}`, () => pattern.test(output)),
      text: () => output
    }
  }

  t.test("the terminal has the given size and is all three streams", async (t) => {
    const session = converse(["sh", "-c", "stty size; test -t 0 && test -t 1 && test -t 2 && echo all; echo $TERM"])
    const { stdout, exit } = await session.outcome
    t.equal(stdout, "30 100\r\nall\r\ndumb\r\n")
    t.equal(exit?.code, 0)
  })

  t.test("a resize reaches the program as SIGWINCH", async (t) => {
    const session = converse(["bash", "-c", "trap 'stty size; exit 0' WINCH; echo ready; while :; do read -t 1; done"])
    await session.see(/ready/)
    session.call.write({ resize: { columns: 132, rows: 43 } })
    const { stdout, exit } = await session.outcome
    t.match(stdout, /43 132/)
    t.equal(exit?.code, 0)
  })

  t.test("an interactive shell has a prompt with the node's name, job control, Ctrl-C and an exit code", async (t) => {
    const session = converse(["bash", "--norc", "--noprofile", "-i"])
    session.type("PS1='\\u@\\h> '\r")
    await session.see(/root@pc> $/)
    t.notMatch(session.text(), /no job control|cannot set terminal process group/)
    session.type("sleep 1000\r")
    await until("sleep runs", () => processesIn(namespace.inode).length === 2)
    session.type("\x03")
    await session.see(/\^C\r\nroot@pc> $/)
    session.type("echo code=$?\r")
    await session.see(/code=130\r\n/)
    session.type("sleep 1000\r")
    await until("sleep runs", () => processesIn(namespace.inode).length === 2)
    session.type("\x1a")
    await session.see(/Stopped\s+sleep 1000/)
    session.type("kill %1; fg; exit 42\r")
    t.equal((await session.outcome).exit?.code, 42)
    await until("the shell's jobs are gone", () => processesIn(namespace.inode).length === 0)
  })

  t.test("a cancelled call takes the shell and its background jobs along", async (t) => {
    const session = converse(["bash", "--norc", "-i"])
    session.type("sleep 1000 & sleep 1001\r")
    await until("both run", () => processesIn(namespace.inode).length === 3)
    session.call.cancel()
    await session.outcome
    await until("all are gone", () => processesIn(namespace.inode).length === 0)
  })

  t.test("the end of stdin is an end of file", async (t) => {
    // Often and side by side: a terminal that is closed too early hangs up a program that is about to exit.
    for (const text of ["line\n", "no newline"]) {
      const outcomes = Array.from({ length: 20 }, () => {
        const session = converse(["cat"])
        session.type(text)
        session.call.write({ stdinEof: true })
        return session.outcome
      })
      for (const { exit } of await Promise.all(outcomes)) t.same(exit, { code: 0, signal: "" }, JSON.stringify(text))
    }
  })

  t.test("a program that does not read its terminal blocks nobody", async (t) => {
    const session = converse(["bash", "-c", "stty raw -echo; echo ready; exec sleep 1000"])
    await session.see(/ready/)
    session.type("x".repeat(300_000))
    const other = server.start({ argv: ["echo", "alive"] })
    t.equal((await collect(other)).stdout, "alive\n")
    session.call.cancel()
    await session.outcome
    await until("it is gone", () => processesIn(namespace.inode).length === 0)
  })

  t.test("all output arrives before the exit", async (t) => {
    for (let i = 0; i < 10; i++) {
      const { stdout } = await converse(["seq", "1", "5000"]).outcome
      t.match(stdout, /^1\r\n[^]*\n5000\r\n$/)
    }
  })

  t.test("another user owns the terminal", async (t) => {
    const call = server.start({ argv: ["sh", "-c", "echo hello > $(tty)"], ...tty, user: "nobody" })
    t.equal((await collect(call)).stdout, "hello\r\n")
  })

  t.test("nothing is left when the service has stopped", async (t) => {
    await server.stop()
    await until("no process is left", () => processesIn(namespace.inode).length === 0)
    await until("no descriptor is left", () => descriptorCount() <= before).catch(() => undefined)
    t.equal(descriptorCount(), before)
    namespace.remove()
  })
})
