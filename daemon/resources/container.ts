/** Containers of nodes (stub). */
import type { Handler } from "./handler.ts"

export const handler: Handler<"container"> = { kind: "container", observe: () => [], converge: () => [], remove: () => [] }
