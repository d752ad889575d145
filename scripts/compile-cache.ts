/**
 * Loaded before the entry file by the launchers: keeps what V8 compiles, and the stripped TypeScript, in .weft/ for the
 * next start. It is done here and not with NODE_COMPILE_CACHE, which every process that weft starts would inherit. Where
 * the folder cannot be written, Node goes on without.
 */

import { enableCompileCache } from "node:module"
import { join } from "node:path"

enableCompileCache(join(import.meta.dirname, "../.weft/compile-cache"))
