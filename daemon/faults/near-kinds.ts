/** A word that is no kind of fault, and the kinds that may have been meant. Pure. */
import { closest } from "../topology/diagnostic.ts"
import { kindNames } from "./kinds.ts"

const mostShown = 3
/** Of all pairs of letters: below it, two words have nothing to do with each other. */
const leastShare = 0.35

/** Each two letters beside each other; hyphens count for nothing. */
const pairsOf = (word: string): ReadonlySet<string> => {
  const letters = word.toLowerCase().replaceAll(/[^a-z0-9]/g, "").slice(0, 40)
  return new Set(Array.from({ length: Math.max(0, letters.length - 1) }, (_, at) => letters.slice(at, at + 2)))
}

/** The kinds that look most like the word: of the same letters in another order, or of the same family. The nearest first. */
export const nearKinds = (word: string): ReadonlyArray<string> => {
  const pairs = pairsOf(word)
  const shared = (name: string): number => {
    const those = pairsOf(name)
    const both = [...pairs].filter((pair) => those.has(pair)).length
    return both === 0 ? 0 : Math.max((2 * both) / (pairs.size + those.size), name.startsWith(`${word}-`) ? 1 : 0)
  }
  return kindNames.map((name) => ({ name, share: shared(name) })).filter(({ share }) => share >= leastShare)
    .toSorted((a, b) => b.share - a.share).slice(0, mostShown).map(({ name }) => name)
}

/** What is said of the word, without the word; a typing error is a suggestion of its own (`meant`). */
export const unknownKind = (word: string): string => {
  const near = closest(word, kindNames) === undefined ? nearKinds(word) : []
  const last = near.at(-1)
  const list = near.length > 1 ? `; ${near.slice(0, -1).join(", ")} and ${last} are near` : near.length > 0 ? `; ${last} is near` : ""
  return `${list}; weft inject --list shows all ${kindNames.length}`
}
