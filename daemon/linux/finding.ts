/** What `doctor` says about one thing that it looked at. */
export interface Finding {
  readonly subject: string
  readonly verdict: "OK" | "WARNING" | "MISSING"
  /** What was found. */
  readonly detail: string
  readonly neededFor: string
  /** What to type, or empty. */
  readonly remedy: string
}

/** What is as it should be, or what weft does without. */
export const fine = (subject: string, detail: string, neededFor: string): Finding => ({
  subject,
  verdict: "OK",
  detail,
  neededFor,
  remedy: ""
})
