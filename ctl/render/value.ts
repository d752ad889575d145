/** Results as JSON or YAML. Octets never occur in results; keys keep the names of the API in camelCase. */

import { print } from "../terminal.ts"

export type Format = "table" | "json" | "yaml"

/** Prints a value in a machine's format; the YAML library is loaded only when asked for. */
export const printValue = async (format: "json" | "yaml", value: unknown): Promise<void> => {
  const sorted = plainFirst(value)
  if (format === "json") return print(JSON.stringify(sorted, null, 2))
  const { stringify } = await import("yaml")
  print(stringify(sorted, { lineWidth: 0 }))
}

/** gRPC's decoder puts lists before everything else; a person wants the name of a node before the list of its ports. */
const plainFirst = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(plainFirst)
  if (typeof value !== "object" || value === null) return value
  const isNested = ([, of]: readonly [string, unknown]): boolean => typeof of === "object" && of !== null
  const entries = Object.entries(value).map(([key, of]) => [key, plainFirst(of)] as const)
  return Object.fromEntries([...entries.filter((entry) => !isNested(entry)), ...entries.filter(isNested)])
}
