/** Per-namespace sysctls, read and written through /proc/sys inside the namespace. */
import { addon } from "../native/index.ts"
import { attempt, KernelError } from "./errors.ts"

/**
 * The file of a sysctl. Dots separate, and an interface name may hold dots itself: as in sysctl(8), a slash in the name
 * stands for such a dot (`net.ipv4.conf.eth0/100.forwarding`).
 */
const fileOf = (name: string): string =>
  `/proc/sys/${name.replace(/[./]/g, (separator) => (separator === "." ? "/" : "."))}`

/** Writes all; returns what could not be written. Throws KernelError when the namespace cannot be entered, as `read` does. */
export const write = (netns: number, values: Readonly<Record<string, string>>): ReadonlyArray<KernelError> => {
  const names = Object.keys(values)
  const write = () => addon.writeFiles(netns, names.map(fileOf), names.map((name) => values[name]!))
  return attempt("set sysctls", names.join(" "), write).map(([index, code]) => {
    const name = names[index]!
    const detail = code === "ENOENT" ? "this kernel has no such setting in a network namespace" : `value "${values[name]!}"`
    return new KernelError({ operation: "set sysctl", object: name, code, detail })
  })
}

/** Fields separated by single blanks, as people write them; the kernel separates by tabs. */
const normalise = (content: string): string => content.trim().replace(/\s+/g, " ")

const collect = (names: ReadonlyArray<string>, contents: ReadonlyArray<string | undefined>): Record<string, string> => {
  const values: Record<string, string> = {}
  names.forEach((name, i) => {
    const content = contents[i]
    if (content !== undefined) values[name] = normalise(content)
  })
  return values
}

/** The values of those that exist. */
export const read = (netns: number, names: ReadonlyArray<string>): Record<string, string> =>
  names.length === 0 ? {} : collect(names, attempt("read sysctls", names.join(" "), () => addon.readFiles(netns, names.map(fileOf))))

/** What the kernel gives a new namespace: where a setting goes back to when nobody sets it any more. */
export const initialValues = (names: ReadonlyArray<string>): Record<string, string> =>
  collect(names, attempt("read sysctls of a new namespace", names.join(" "), () => addon.readFilesOfNewNamespace(names.map(fileOf))))
