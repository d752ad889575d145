/**
 * nftables rule sets in a namespace, through `nft -j`: libnftables's JSON (libnftables-json(5)) in and out, no shell and
 * no text syntax.
 */
import { KernelError } from "./errors.ts"
import * as Netns from "./netns.ts"
import { runInNetns } from "./process.ts"

/** One element of libnftables's `nftables` array. */
export type NftObject = Readonly<Record<string, unknown>>

const timeoutMs = 20_000

const nft = (name: string, argv: ReadonlyArray<string>, stdin: string): ReturnType<typeof runInNetns> =>
  runInNetns({ netnsPath: Netns.path(name), argv: ["nft", ...argv] }, { timeoutMs, stdin, outputOctets: 4 << 20 })

/** Applies commands in one transaction: all or none. Throws KernelError with nft's own message. */
export const apply = async (name: string, commands: ReadonlyArray<NftObject>): Promise<void> => {
  const { code, stderr, stdout } = await nft(name, ["-j", "-f", "-"], JSON.stringify({ nftables: commands }))
  if (code === 0) return
  const detail = `${stderr}${stdout}`.trim().split("\n")[0] ?? ""
  throw new KernelError({ operation: "apply nftables rules", object: name, code: code === 127 ? "ENOENT" : "EINVAL", detail })
}

/** The objects of one table, without what the kernel numbers by itself; undefined when there is no such table. */
export const listTable = async (name: string, family: string, table: string): Promise<ReadonlyArray<NftObject> | undefined> => {
  const { code, stdout, stderr } = await nft(name, ["-j", "list", "table", family, table], "")
  if (code !== 0) {
    if (stderr.includes("No such file or directory")) return undefined
    const detail = stderr.trim().split("\n")[0] ?? ""
    throw new KernelError({ operation: "list nftables table", object: `${table} in ${name}`, code: "EINVAL", detail })
  }
  const { nftables } = JSON.parse(stdout) as { nftables: ReadonlyArray<NftObject> }
  return nftables.filter((object) => !("metainfo" in object)).map((object) => withoutHandles(object) as NftObject)
}

/** Handles are the kernel's numbering and say nothing about what a rule does. */
const withoutHandles = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutHandles)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== "handle").map(([key, inner]) => [key, withoutHandles(inner)]))
}
