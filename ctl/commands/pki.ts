/** `weft pki`: certificates for daemons that listen on the network, and for those who talk to them. */

import { issue, init, list } from "../authority.ts"
import type { Entry, Purpose, Role } from "../authority.ts"
import { Exit, Failure } from "../command.ts"
import { revoke } from "../revocation.ts"
import type { Context, InputOf } from "../command.ts"
import { table } from "../render/table.ts"
import { printValue } from "../render/value.ts"
import { print, styleOf, widthOf } from "../terminal.ts"
import type { Style } from "../terminal.ts"
import type { specs } from "./table.ts"

type Input = InputOf<typeof specs.pki>

const defaultDirectory = "/etc/weft/pki"

export const run = async (input: Input, _context: Context): Promise<number> => {
  const directory = (input.dir ?? defaultDirectory).replace(/(?<=.)\/+$/, "")
  switch (input.action) {
    case "init":
      return runInit(input, directory)
    case "issue":
      return runIssue(input, directory)
    case "show":
      return show(input, directory)
    case "revoke":
      return runRevoke(input, directory)
    default:
      throw new Failure(Exit.usage, `Unknown action "${input.action}": init, issue, revoke or show`)
  }
}

const runInit = async (input: Input, directory: string): Promise<number> => {
  if (input.name !== undefined) throw new Failure(Exit.usage, `weft pki init takes no name, but got "${input.name}"`)
  await init(directory)
  print(`Certificate authority in ${directory}, good for 10 years. Keep ${directory}/ca-key.pem to yourself.`)
  print(`Next, for this machine's daemon: weft pki issue weftd --server --host NAME-OR-ADDRESS${dirFlag(directory)}`)
  return Exit.done
}

const runIssue = async (input: Input, directory: string): Promise<number> => {
  if (input.name === undefined) {
    throw new Failure(Exit.usage, "Cannot issue a certificate without a name", "Example: weft pki issue alice --role operator")
  }
  const purpose = purposeOf(input)
  const folder = await issue(directory, input.name, purpose, Number(input.days ?? 365))
  const what = purpose.client ? `${purpose.role}${purpose.server ? " and server" : ""}` : "server"
  print(`Issued "${input.name}" (${what}) into ${folder}: cert.pem, key.pem, ca.pem`)
  if (purpose.server) {
    const named = ["ca", "cert", "key"].map((each) => ` --tls-${each} ${folder}/${each}.pem`).join("")
    print(`Start the daemon with: sudo weftd --listen 0.0.0.0:7443${folder === `${defaultDirectory}/weftd` ? "" : named}`)
  }
  if (purpose.client && purpose.role !== "daemon") {
    print(`Its user copies the three files to ~/.weft/pki and types: weft --daemon HOST:7443 list`)
  }
  return Exit.done
}

const runRevoke = async ({ name }: Input, directory: string): Promise<number> => {
  if (name === undefined) throw new Failure(Exit.usage, "Cannot revoke a certificate without a name", "Example: weft pki revoke alice")
  const { again, lists } = await revoke(directory, name)
  print(`${again ? "It was revoked before" : `Revoked "${name}"`}: ${lists.join(", ")}`)
  print("A daemon reads the list beside its ca.pem, or --tls-crl FILE, within half a minute. Other hosts need a copy of it.")
  return Exit.done
}

/** A daemon among others answers them and asks them: its certificate is good for both. */
const purposeOf = ({ client, host, role, server }: Input): Purpose => {
  const isDaemon = role === "daemon"
  return { client: isDaemon || client || !server, server: isDaemon || server, hosts: host, role: role as Role }
}

const dirFlag = (directory: string): string => (directory === defaultDirectory ? "" : ` --dir ${directory}`)

const show = async (input: Input, directory: string): Promise<number> => {
  const entries = list(directory).filter(({ name }) => input.name === undefined || name === input.name)
  if (entries.length === 0) throw new Failure(Exit.failed, `There is no certificate "${input.name}" in ${directory}`)
  if (input.output !== "table") {
    await printValue(input.output, entries)
    return Exit.done
  }
  const style = styleOf(process.stdout)
  const columns = [{ title: "NAME" }, { title: "USE" }, { title: "ROLE" }, { title: "HOSTS", folds: true }, { title: "EXPIRES" }] as const
  const rows = entries.map((entry) => [entry.name, entry.use, entry.role, entry.hosts.join(", "), expiryOf(entry, style)])
  print(table(columns, rows, { width: widthOf(process.stdout), style }).join("\n"))
  for (const { name, problem } of entries) if (problem !== "") print(`${style.red(`${name}:`)} ${problem}`)
  return Exit.done
}

/** `2027-11-21 (in 365 days)`, in red when it is over and in yellow in its last month. */
const expiryOf = ({ validTo }: Entry, style: Style): string => {
  const days = Math.round((Date.parse(validTo) - Date.now()) / 86_400_000)
  const date = validTo.slice(0, 10)
  if (Date.parse(validTo) < Date.now()) return style.red(`${date} (expired)`)
  const text = `${date} (in ${days} ${days === 1 ? "day" : "days"})`
  return days < 30 ? style.yellow(text) : text
}
