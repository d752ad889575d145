/**
 * The epochs of the data path: the map `epoch`. The program remembers for a moment which way frames went (bpf/lib/recent.h);
 * another epoch makes it forget that. It begins after each change that we make to what the program looks up.
 */
import { addon } from "../native/index.ts"
import * as Layout from "./bpf-layout.ts"
import { attempt } from "./errors.ts"

/** Ours of the two numbers, which only we write. */
const ours = Layout.keys32(1)

/** `map`: its descriptor. The number is the time: it grows, whoever wrote the one before. */
export const begin = (map: number): void =>
  attempt("begin epoch", "eBPF map", () => addon.bpfUpdate(map, ours, new Uint8Array(BigUint64Array.of(process.hrtime.bigint()).buffer), 1))
