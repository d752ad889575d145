/** Who may be killed and started again: nobody whom something else would start. */
import t from "tap"
import { supervisorOf } from "../../daemon/linux/restart.ts"

t.equal(supervisorOf({ pid: 4711, ppid: process.pid, env: {} }), undefined)
t.match(supervisorOf({ pid: 1, ppid: 0, env: {} }), /process 1 of its container/)
t.match(supervisorOf({ pid: 4711, ppid: 1, env: { SYSTEMD_EXEC_PID: "4711" } }), /systemd would start weftd again/)
t.equal(supervisorOf({ pid: 4711, ppid: 1, env: { SYSTEMD_EXEC_PID: "42" } }), undefined, "started from a shell of a service")
