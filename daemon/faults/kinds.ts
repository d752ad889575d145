/** Every kind of fault, by the key that names it in a file and on the command line. To add one: a file in `kinds/`, a line here. */
import type { FaultKind } from "./kind.ts"
import { linkDown } from "./kinds/link-down.ts"

export const kinds = {
  "link-down": linkDown
} as const

export const kindNames: ReadonlyArray<string> = Object.keys(kinds)

/** A kind whose spec is not known any more: what it takes has been checked by its own schema. */
export const kindOf = (name: string): FaultKind<unknown> | undefined =>
  Object.hasOwn(kinds, name) ? (kinds[name as keyof typeof kinds] as unknown as FaultKind<unknown>) : undefined
