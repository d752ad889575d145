/** The kinds as users are told of them: plain data, the same for a daemon's answer and for who has none. */
import type { FaultKind } from "./kind.ts"
import { kinds } from "./kinds.ts"
import { happensOnce } from "./read.ts"

/** `files`: keys whose values name files. */
export const toldKinds =
  Object.entries(kinds as unknown as Readonly<Record<string, FaultKind<unknown>>>)
    .map(([name, { files = {}, summary, usage, words }]) =>
      ({ name, summary, usage, once: happensOnce(name), words, files: Object.keys(files) }))
