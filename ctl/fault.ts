/** A fault in force, as the daemon tells of it: `message Fault` of `proto/weft/v1/weft.proto`. */
export interface Fault {
  readonly id: string
  readonly kind: string
  readonly title: string
  /** JSON */
  readonly spec: string
  readonly injectedAt: string
  /** Empty: until somebody heals it. */
  readonly until: string
  readonly by: string
  readonly lease: string
  readonly phase: number
  readonly nodes: ReadonlyArray<string>
  readonly segments: ReadonlyArray<string>
  readonly lab: string
}
