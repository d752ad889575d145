/** Holds a JUnit report against test/vectors/junit.xsd, with libxml2. */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"

const schema = fileURLToPath(new URL("../vectors/junit.xsd", import.meta.url))

const validator = `
import sys
from lxml import etree
schema = etree.XMLSchema(etree.parse(sys.argv[1]))
document = etree.fromstring(sys.stdin.buffer.read())
schema.validate(document)
print("\\n".join(str(error) for error in schema.error_log))
# Sums that a schema cannot say.
def count(element, tag): return len(element.findall(tag))
for suite in document.findall("testsuite"):
    cases = suite.findall("testcase")
    if len(cases) != int(suite.get("tests")): print("tests of", suite.get("name"))
    for tag, key in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        if sum(count(case, tag) for case in cases) != int(suite.get(key)): print(key, "of", suite.get("name"))
for key in ("tests", "failures", "errors"):
    if sum(int(suite.get(key)) for suite in document.findall("testsuite")) != int(document.get(key)): print(key)
`

/** @returns what is wrong with it, a line each; empty: nothing */
export const junitProblems = (xml: string): string =>
  execFileSync("/usr/bin/python3", ["-c", validator, schema], { input: xml, encoding: "utf8" }).trim()
