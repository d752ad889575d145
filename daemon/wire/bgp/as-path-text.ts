/** An AS path as routers print it: `65000 65001 {1,2}`; a confederation's sequence in parentheses, its set in brackets. */
import { SegmentType } from "./iana.ts"
import type { AsPath } from "./path-attributes.ts"

/** Empty for a path without AS numbers. */
export const asPathText = (path: AsPath): string =>
  path
    .map(({ asns, type }) => {
      if (type === SegmentType.asSet) return `{${asns.join(",")}}`
      if (type === SegmentType.confedSequence) return `(${asns.join(" ")})`
      return type === SegmentType.confedSet ? `[${asns.join(",")}]` : asns.join(" ")
    })
    .join(" ")
