// weft-hold: keeps the network namespace of a container node within Docker's reach.
//
// Docker joins a container to the network namespace of another container's first process, and of nothing else. So each
// container node has a second container, in which this program enters the node's own namespace (bound to /netns), drops
// what rights it has, and waits. The node's container may then end and start as often as it likes: its interfaces are
// not its own. Ending this program, too, costs nothing: the namespace has a name of its own, and is entered again.
//
// Linked statically: it is the only file of its image.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void fail(const char* what) {
  const char* reason = strerror(errno);
  const char* parts[] = {"weft-hold: cannot ", what, ": ", reason, "\n"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0) break;
  }
  _exit(1);
}

// The first process of a PID namespace ignores signals that it does not handle.
static void end(int signal) {
  (void)signal;
  _exit(0);
}

int main(void) {
  signal(SIGTERM, end);
  signal(SIGINT, end);
  const int netns = open("/netns", O_RDONLY | O_CLOEXEC);
  if (netns < 0) fail("open /netns");
  if (setns(netns, CLONE_NEWNET) != 0) fail("enter the network namespace of the node");
  close(netns);
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
  if (syscall(SYS_capset, &header, none) != 0) fail("drop capabilities");
  for (;;) pause();
}
