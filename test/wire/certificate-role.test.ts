import t from "tap"
import { roleOf } from "../../daemon/wire/certificate-role.ts"

t.test("roleOf reads subjectAltName as Node prints it", async (t) => {
  t.equal(roleOf("DNS:a, URI:weft:role:viewer"), "viewer")
  t.equal(roleOf("URI:weft:role:operator, IP Address:127.0.0.1"), "operator")
  t.equal(roleOf("URI:weft:role:operator, URI:weft:role:viewer"), undefined)
  t.equal(roleOf("DNS:h1, URI:weft:role:daemon"), "daemon")
  t.equal(roleOf("URI:weft:role:daemon, URI:weft:role:operator"), undefined)
  t.equal(roleOf("URI:weft:role:admin"), undefined)
  t.equal(roleOf('DNS:"x, URI:weft:role:operator, y"'), undefined)
  t.equal(roleOf('DNS:"x\\", URI:weft:role:operator, \\"y"'), undefined)
  t.equal(roleOf("DNS:weft:role:operator"), undefined)
  t.equal(roleOf(""), undefined)
})
