/**
 * Splits a command line into words as a POSIX shell does (quotes and backslash, 2.2 of the Shell Command Language), and
 * does nothing else that a shell does: no variables, no globs, no pipes. The words go to execve as they are.
 */
export type Words =
  | { readonly ok: true; readonly words: ReadonlyArray<string> }
  | { readonly ok: false; readonly message: string }

export const splitWords = (line: string): Words => {
  const words: Array<string> = []
  let word: string | undefined
  for (let i = 0; i < line.length; i++) {
    const character = line[i]!
    if (character === " " || character === "\t" || character === "\n") {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (character === "'") {
      const end = line.indexOf("'", i + 1)
      if (end < 0) return { ok: false, message: "a single quote is not closed" }
      word = (word ?? "") + line.slice(i + 1, end)
      i = end
    } else if (character === '"') {
      word ??= ""
      for (i++; i < line.length && line[i] !== '"'; i++) {
        // Inside double quotes a backslash is special only before these characters.
        if (line[i] === "\\" && '"\\$`'.includes(line[i + 1] ?? " ")) i++
        word += line[i]
      }
      if (i >= line.length) return { ok: false, message: "a double quote is not closed" }
    } else if (character === "\\") {
      if (i + 1 >= line.length) return { ok: false, message: "a backslash has nothing after it" }
      word = (word ?? "") + line[++i]!
    } else {
      word = (word ?? "") + character
    }
  }
  if (word !== undefined) words.push(word)
  return words.length === 0 ? { ok: false, message: "the command is empty" } : { ok: true, words }
}
