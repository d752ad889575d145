/**
 * What may be called what. A name ends up in a namespace's path, in an interface name or in /etc/hosts, so everything
 * that a shell, a path or a terminal could misread is refused here, once.
 */

/** Labs, nodes, networks, links and groups. */
export const namePattern = "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
const nameRegExp = new RegExp(namePattern)

/** Why `name` cannot name a lab, node, network, link or group; `undefined` if it can. */
export const nameProblem = (name: string): string | undefined => {
  if (nameRegExp.test(name)) return undefined
  if (name === "") return "the name is empty"
  const octets = Buffer.byteLength(name)
  if (octets > 32) return `the name has ${octets} octets, at most 32 are allowed`
  return "a name has small letters, digits and inner hyphens only, 1 to 32 of them"
}

/** The nearest valid spelling of a refused name, for the suggestion. */
export const nameSuggestion = (name: string): string | undefined => {
  if (name.length > 32) return undefined
  const spelling = name.toLowerCase().replace(/[^a-z0-9-]+/g, "-").replace(/^-+|-+$/g, "")
  return spelling !== name && nameRegExp.test(spelling) ? spelling : undefined
}

/** Printable ASCII without space, `/`, `:` and, to stay clear of `%d` templates, `%`. */
export const ifnamePattern = "^(?!\\.{1,2}$)(?!lo$)[!-$&-.0-9;-~]{1,15}$"
const ifnameRegExp = new RegExp(ifnamePattern)

/** Why the kernel, or weft, refuses this interface name (dev_valid_name in net/core/dev.c); `undefined` if it is fine. */
export const ifnameProblem = (name: string): string | undefined => {
  if (ifnameRegExp.test(name)) return undefined
  if (name === "") return "the interface name is empty"
  if (name === "lo") return '"lo" is the loopback interface, which every node has: use "loopback:" for its addresses'
  const octets = Buffer.byteLength(name)
  if (octets > 15) return `the interface name has ${octets} octets, the kernel allows at most 15`
  return 'an interface name is printable ASCII without space, "/", ":" and "%", and not "." or ".."'
}

/** A sysctl by its dotted path: only those of a network namespace can be set per node. */
export const sysctlPattern = "^net(\\.[A-Za-z0-9_-]+)+$"
const sysctlRegExp = new RegExp(sysctlPattern)

export const sysctlProblem = (name: string): string | undefined => {
  if (sysctlRegExp.test(name)) return undefined
  if (!name.startsWith("net.")) return 'only sysctls of a network namespace can be set: the name must begin with "net."'
  return 'a sysctl is letters, digits, "_" and "-" between single dots, such as net.ipv4.ip_forward'
}

/** A unicast MAC address, six pairs of hex digits; `undefined` if it is fine. */
export const macProblem = (text: string): string | undefined => {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text)) return "expected a MAC address such as 02:00:00:00:00:01"
  if ((Number.parseInt(text.slice(0, 2), 16) & 1) === 1) return "is a group (multicast) MAC address: the first octet must be even"
  return /^[0:]+$/.test(text) ? "the all-zero MAC address is no station's" : undefined
}
