/** Every kind of fault, by the key that names it in a file and on the command line. To add one: a file in `kinds/`, a line here. */
import type { FaultKind } from "./kind.ts"

export const kinds: Readonly<Record<string, FaultKind<never>>> = {}

export const kindNames: ReadonlyArray<string> = Object.keys(kinds)

/** A kind whose spec is not known any more: what it takes has been checked by its own schema. */
export const kindOf = (name: string): FaultKind<unknown> | undefined => kinds[name] as FaultKind<unknown> | undefined
