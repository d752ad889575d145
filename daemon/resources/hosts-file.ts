/** The lab's `/etc/hosts`: one file, which each node's `/etc/netns/<name>/hosts` links to. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { basename, dirname } from "node:path"
import { KernelError } from "../linux/errors.ts"
import * as Netns from "../linux/netns.ts"
import type { HostsFileSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { each, type Handler } from "./handler.ts"
import type { Lab } from "./lab.ts"

const preamble = [
  "# Made by weft for the nodes of this lab; changes are lost.",
  "127.0.0.1 localhost",
  "::1 localhost ip6-localhost ip6-loopback",
  ""
].join("\n")

export const hostsPath = (lab: Lab): string => `${lab.directory}/hosts`

/**
 * Whether `/etc/netns` has files of a node, and they are this lab's. Another instance may have, or be making, a node of the
 * same name: its files link to other places.
 */
export const hasOwnEtc = (lab: Lab, node: string): boolean => {
  const name = Netns.nodeName(lab.name, node)
  return Netns.hasEtc(name) && ["", hostsPath(lab)].includes(Netns.hostsLink(name))
}

/** Where the files of a node's container are: its own copies, because a container has a file and not its name. */
export const containerDirectory = (lab: Lab, node: string): string => `${lab.directory}/containers/${node}`

/** Writes one of the files of a node's container in place, if it has one. */
export const refreshCopy = (lab: Lab, node: string, name: "hosts" | "resolv.conf", content: string): void => {
  const path = `${containerDirectory(lab, node)}/${name}`
  if (existsSync(path)) writeFileSync(path, content)
}

const render = (spec: HostsFileSpec): string =>
  preamble + spec.entries.map((entry) => `${entry.address} ${entry.names.join(" ")}\n`).join("")

/** Without the preamble the file is somebody else's work: then every line counts, so that it differs from what we want. */
const parse = (content: string): HostsFileSpec => ({
  entries: (content.startsWith(preamble) ? content.slice(preamble.length) : content)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split(/\s+/))
    .map(([address, ...names]) => ({ address: address!, names }))
})

/** A file system failure as our own error. */
export const fileError = (operation: string, path: string, error: unknown): KernelError => {
  const code = (error as NodeJS.ErrnoException).code ?? "EIO"
  return new KernelError({ operation, object: path, code, detail: error instanceof Error ? error.message : String(error) })
}

/**
 * Replaces a file's content in one step: readers see the old or the new, never half. `unfinished`: the name it has until
 * it is whole, on the same file system.
 */
export const writeWhole = (path: string, content: string, unfinished = `${dirname(path)}/.${basename(path)}.new`): void => {
  try {
    writeFileSync(unfinished, content)
    renameSync(unfinished, path)
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true })
    throw fileError("write", path, error)
  }
}

function* observe(lab: Lab): Generator<readonly [string, HostsFileSpec]> {
  try {
    yield [id.hostsFile(), parse(readFileSync(hostsPath(lab), "utf8"))]
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw fileError("read", hostsPath(lab), error)
  }
}

export const handler: Handler<"hosts-file"> = {
  kind: "hosts-file",
  observe,
  converge: (lab, steps) =>
    each(steps, (step) => {
      mkdirSync(lab.directory, { recursive: true })
      const content = render(step.after!.spec)
      // The copies first: when the file itself is right, so are they.
      for (const { spec } of lab.knownOf("container")) refreshCopy(lab, spec.node, "hosts", content)
      writeWhole(hostsPath(lab), content)
    }),
  remove: (lab, steps) => each(steps, () => rmSync(lab.directory, { recursive: true, force: true }))
}
