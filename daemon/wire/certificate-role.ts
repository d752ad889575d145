/**
 * The role in a certificate: one URI of its subjectAltName, `weft:role:viewer`, `weft:role:operator` or
 * `weft:role:daemon`. Whoever signs a certificate decides by it what its owner may do; rpc/access.ts has what that is.
 */

export const roles = ["viewer", "operator", "daemon"] as const

/** Each may do what those before it may. */
export type Role = (typeof roles)[number]

/**
 * The role in a subjectAltName as Node prints it: `DNS:a, URI:weft:role:viewer`. Two different roles are none. Names
 * with a comma or a quote in them come as JSON strings, and what is inside such a string is no entry.
 */
export const roleOf = (subjectAltName: string): Role | undefined => {
  const entries = new Set(subjectAltName.replace(/"(?:[^"\\]|\\.)*"/g, '""').split(", "))
  const found = roles.filter((role) => entries.has(`URI:weft:role:${role}`))
  return found.length === 1 ? found[0] : undefined
}
