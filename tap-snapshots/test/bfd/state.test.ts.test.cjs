/* IMPORTANT
 * This snapshot file is auto-generated, but designed for humans.
 * It should be checked into source control and tracked carefully.
 * Re-generate by setting TAP_SNAPSHOT=1 and running tests.
 * Make sure to inspect the output below.  Do not ignore changes!
 */
'use strict'
exports[`test/bfd/state.test.ts > TAP > transition, all states and events > must match snapshot 1`] = `
admin-down receivedAdminDown -> admin-down
admin-down receivedDown -> admin-down
admin-down receivedInit -> admin-down
admin-down receivedUp -> admin-down
admin-down detectionTimeExpired -> admin-down
admin-down disable -> admin-down
admin-down enable -> down
down receivedAdminDown -> down
down receivedDown -> init
down receivedInit -> up
down receivedUp -> down
down detectionTimeExpired -> down
down disable -> admin-down, diagnostic administratively down
down enable -> down
init receivedAdminDown -> down, diagnostic neighbor signaled session down
init receivedDown -> init
init receivedInit -> up
init receivedUp -> up
init detectionTimeExpired -> down, diagnostic control detection time expired
init disable -> admin-down, diagnostic administratively down
init enable -> init
up receivedAdminDown -> down, diagnostic neighbor signaled session down
up receivedDown -> down, diagnostic neighbor signaled session down
up receivedInit -> up
up receivedUp -> up
up detectionTimeExpired -> down, diagnostic control detection time expired
up disable -> admin-down, diagnostic administratively down
up enable -> up
`
