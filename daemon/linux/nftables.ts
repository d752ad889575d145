/**
 * nftables rule sets in a namespace, through `nft -j`: libnftables's JSON (libnftables-json(5)) in and out, no shell and
 * no text syntax.
 */
import * as Nfnetlink from "../wire/nfnetlink.ts"
import { KernelError } from "./errors.ts"
import * as Netns from "./netns.ts"
import { type Finished, runInNetns } from "./process.ts"
import { dump } from "./rtnetlink.ts"

/** One element of libnftables's `nftables` array. */
export type NftObject = Readonly<Record<string, unknown>>

const timeoutMs = 20_000

const nft = (name: string, argv: ReadonlyArray<string>, stdin: string): ReturnType<typeof runInNetns> =>
  runInNetns({ netnsPath: Netns.path(name), argv: ["nft", ...argv] }, { timeoutMs, stdin, outputOctets: 4 << 20 })

/** A command that failed. nft itself ends with 1: other codes are weft-enter's, which could not run it. */
const failure = (operation: string, object: string, { code, stderr, stdout, timedOut }: Finished): KernelError => {
  const fail = (reason: string, detail: string) => new KernelError({ operation, object, code: reason, detail })
  if (timedOut) return fail("ETIMEDOUT", `nft was still running after ${timeoutMs / 1000} s`)
  if (code === 127) return fail("ENOENT", "there is no program nft here: install nftables")
  const detail = `${stderr}${stdout}`.trim().split("\n")[0] ?? ""
  return fail(code === 1 ? "EINVAL" : `exit code ${code}`, detail)
}

/** Applies commands in one transaction: all or none. Throws KernelError with nft's own message. */
export const apply = async (name: string, commands: ReadonlyArray<NftObject>): Promise<void> => {
  const finished = await nft(name, ["-j", "-f", "-"], JSON.stringify({ nftables: commands }))
  if (finished.code !== 0) throw failure("apply nftables rules", name, finished)
}

/**
 * The objects of one table, without what the kernel numbers by itself; undefined when there is no such table. Throws
 * KernelError when it cannot be told.
 */
export const listTable = async (name: string, family: string, table: string): Promise<ReadonlyArray<NftObject> | undefined> => {
  const finished = await nft(name, ["-j", "list", "table", family, table], "")
  if (finished.code === 1 && finished.stderr.includes("No such file or directory")) return undefined
  if (finished.code !== 0) throw failure("list nftables table", `${table} in ${name}`, finished)
  const { nftables } = JSON.parse(finished.stdout) as { nftables: ReadonlyArray<NftObject> }
  return nftables.filter((object) => !("metainfo" in object)).map((object) => withoutHandles(object) as NftObject)
}

/** The tables of a namespace, by netlink: that is done in no time, where nft takes milliseconds. Throws KernelError. */
export const tablesIn = (netns: number): ReadonlyArray<Nfnetlink.Table> =>
  [...dump(netns, Nfnetlink.dumpTables, Nfnetlink.netfilter)].flatMap((message) => Nfnetlink.decodeTable(message) ?? [])

/** Handles are the kernel's numbering and say nothing about what a rule does. */
const withoutHandles = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutHandles)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== "handle").map(([key, inner]) => [key, withoutHandles(inner)]))
}
