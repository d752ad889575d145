import t from "tap"
import { splitWords } from "../../daemon/topology/words.ts"

t.test("splitWords splits as sh does", async (t) => {
  const vectors: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
    ["ip link", ["ip", "link"]],
    ["  ip \t link \n", ["ip", "link"]],
    ["echo 'a b' \"c d\"", ["echo", "a b", "c d"]],
    ["echo a'b'\"c\"d", ["echo", "abcd"]],
    ["echo '' \"\"", ["echo", "", ""]],
    ["echo a\\ b \\'", ["echo", "a b", "'"]],
    ['echo "a\\"b\\$c\\d"', ["echo", 'a"b$c\\d']],
    ["echo 'a\\b'", ["echo", "a\\b"]],
    ["echo $HOME `id` * | ;", ["echo", "$HOME", "`id`", "*", "|", ";"]]
  ]
  for (const [line, words] of vectors) t.same(splitWords(line), { ok: true, words }, line)
})

t.test("splitWords refuses what is not closed", async (t) => {
  for (const line of ["'a", '"a', '"a\\"', "a\\", "", "  "]) t.equal(splitWords(line).ok, false, JSON.stringify(line))
})
