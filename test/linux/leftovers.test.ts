import { join } from "node:path"
import t from "tap"
import { isLocked } from "../../daemon/linux/leftovers.ts"
import { addon } from "../../daemon/native/index.ts"

t.test("isLocked says whether a file is locked, and leaves the lock alone", async (t) => {
  const directory = t.testdir({ other: "" })
  const path = join(directory, "lock")
  t.equal(isLocked(path), false, "there is no such file")
  const lock = addon.lockFile(path)
  t.equal(isLocked(path), true)
  t.equal(isLocked(join(directory, "other")), false, "another file of the same folder")
  t.equal(addon.lockFile(path), -1, "it is still locked")
  addon.close(lock)
  t.equal(isLocked(path), false, "the file is there, the lock is not")
})
