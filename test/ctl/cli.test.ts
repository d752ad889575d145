import t from "tap"
import { parse } from "../../ctl/cli.ts"

t.test("parse gives every flag and argument of a command under its name", async (t) => {
  t.strictSame(await parse(["exec", "n1", "-it", "-e", "A=b", "-e", "C=d", "--", "ls", "-l", "--", "x"]), {
    kind: "run",
    verb: "exec",
    daemon: undefined,
    pki: undefined,
    input: { node: "n1", interactive: true, tty: true, user: undefined, env: ["A=b", "C=d"], command: ["ls", "-l", "--", "x"] }
  })
  t.strictSame(await parse(["plan", "--detailed-exitcode", "-o", "json", "-f", "a.weft.yaml"]), {
    kind: "run",
    verb: "plan",
    daemon: undefined,
    pki: undefined,
    input: { file: "a.weft.yaml", name: undefined, output: "json", "detailed-exitcode": true }
  })
})

t.test("parse takes --daemon before and behind the command", async (t) => {
  t.match(await parse(["--daemon", "unix:/x", "list"]), { verb: "list", daemon: "unix:/x" })
  t.match(await parse(["list", "--daemon=unix:/x"]), { verb: "list", daemon: "unix:/x" })
  t.match(await parse(["list", "--daemon", "h:1", "--pki", "d"]), { verb: "list", daemon: "h:1", pki: "d" })
})

t.test("parse shows help for no words, --help and -h", async (t) => {
  t.strictSame(await parse([]), { kind: "help", verb: undefined })
  t.strictSame(await parse(["--help"]), { kind: "help", verb: undefined })
  t.strictSame(await parse(["deploy", "-h"]), { kind: "help", verb: "deploy" })
})

t.test("parse says what is wrong and what was probably meant", async (t) => {
  const errorOf = async (...words: ReadonlyArray<string>) => {
    const request = await parse(words)
    return request.kind === "wrong" ? request.errors : request
  }
  t.strictSame(await errorOf("deplo"), ['unknown command "deplo" (did you mean deploy?)'])
  t.strictSame(await errorOf("apply"), ['unknown command "apply" (did you mean deploy?)'], "a word of other tools")
  t.strictSame(await errorOf("list", "-o", "xml"), ['bad value "xml" for --output: expected table, json or yaml'])
  t.strictSame(await errorOf("deploy", "--rolback"), ["unknown flag --rolback (did you mean --rollback?)"])
  t.strictSame(await errorOf("deploy", "-f"), ["flag --file needs a value"])
  t.strictSame(await errorOf("deploy", "a", "-f", "b"), ["FILE is given twice: as an argument and as --file"])
  t.strictSame(await errorOf("validate", "a", "b"), ['unexpected argument "b"'])
  t.strictSame(await errorOf("exec"), ["missing argument NODE"])
  t.match(await errorOf("list", "-o", "xml"), [/bad value "xml" for --output/])
})
