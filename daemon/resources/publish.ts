/** Published ports of containers (stub). */
import type { Handler } from "./handler.ts"

export const handler: Handler<"publish"> = { kind: "publish", observe: () => [], converge: () => [], remove: () => [] }
