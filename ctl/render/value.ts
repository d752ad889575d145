/** Results as JSON or YAML. Octets never occur in results; keys keep the names of the API in camelCase. */

import { print } from "../terminal.ts"

export type Format = "table" | "json" | "yaml"

/** Prints a value in a machine's format; the YAML library is loaded only when asked for. */
export const printValue = async (format: "json" | "yaml", value: unknown): Promise<void> => {
  if (format === "json") return print(JSON.stringify(value, null, 2))
  const { stringify } = await import("yaml")
  print(stringify(value, { lineWidth: 0 }))
}
