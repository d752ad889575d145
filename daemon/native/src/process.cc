// What it takes to run a program with pipes or a terminal, and to end programs without hitting a stranger.
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "addon.h"

namespace weft {
namespace {

napi_value pairOf(napi_env env, int first, int second) {
  napi_value result;
  napi_create_array_with_length(env, 2, &result);
  napi_set_element(env, result, 0, fromInteger(env, first));
  napi_set_element(env, result, 1, fromInteger(env, second));
  return result;
}

// pipeOpen(reading): [our end, the program's end] of a new pipe, both close-on-exec. We read from it or write to it, and
// our end does not block.
napi_value pipeOpen(napi_env env, napi_callback_info info) {
  const bool reading = Arguments(env, info).flag(0);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return throwErrno(env, errno, "pipe2", "");
  const int ours = ends[reading ? 0 : 1];
  fcntl(ours, F_SETFL, fcntl(ours, F_GETFL) | O_NONBLOCK);
  return pairOf(env, ours, ends[reading ? 1 : 0]);
}

// terminalOpen(columns, rows): [our side, the program's side] of a new pseudo terminal, both close-on-exec. Ours does not
// block: a program that does not read its terminal must not stop the daemon.
napi_value terminalOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const int ours = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (ours < 0) return throwErrno(env, errno, "open", "/dev/ptmx");
  winsize size = {};
  size.ws_col = static_cast<unsigned short>(arguments.integer(0));
  size.ws_row = static_cast<unsigned short>(arguments.integer(1));
  int locked = 0;
  // TIOCGPTPEER opens the other side without its name: right even where /dev/pts is another mount.
  if (ioctl(ours, TIOCSPTLCK, &locked) == 0 && ioctl(ours, TIOCSWINSZ, &size) == 0) {
    const int theirs = ioctl(ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (theirs >= 0) return pairOf(env, ours, theirs);
  }
  const int error = errno;
  close(ours);
  return throwErrno(env, error, "open", "pseudo terminal");
}

// terminalResize(ours, columns, rows): the kernel sends SIGWINCH to the programs in the foreground.
napi_value terminalResize(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  winsize size = {};
  size.ws_col = static_cast<unsigned short>(arguments.integer(1));
  size.ws_row = static_cast<unsigned short>(arguments.integer(2));
  if (ioctl(arguments.integer(0), TIOCSWINSZ, &size) != 0) return throwErrno(env, errno, "ioctl TIOCSWINSZ", "pseudo terminal");
  return undefinedValue(env);
}

// terminalForeground(ours): the process group that the terminal's signals go to, or 0 when there is none.
napi_value terminalForeground(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  pid_t group = 0;
  if (ioctl(arguments.integer(0), TIOCGPGRP, &group) != 0 || group < 0) group = 0;
  return fromInteger(env, group);
}

// duplicate(descriptor): another descriptor of the same file, close-on-exec.
napi_value duplicate(napi_env env, napi_callback_info info) {
  const int copy = fcntl(Arguments(env, info).integer(0), F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return throwErrno(env, errno, "fcntl F_DUPFD_CLOEXEC", "");
  return fromInteger(env, copy);
}

// read(descriptor, target) and write(descriptor, source, at): octets moved, or a negative errno.
napi_value readInto(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0;
  uint8_t* target = arguments.octets(1, &length);
  const ssize_t octets = read(arguments.integer(0), target, length);
  return fromInteger(env, octets < 0 ? -errno : octets);
}

napi_value writeFrom(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0;
  const uint8_t* source = arguments.octets(1, &length);
  const size_t at = static_cast<size_t>(arguments.integer(2));
  if (at > length) return fromInteger(env, -EINVAL);
  const ssize_t octets = write(arguments.integer(0), source + at, length - at);
  return fromInteger(env, octets < 0 ? -errno : octets);
}

// signalInNetns(pid, inode, signal): signals the process if it is in the network namespace with that inode; true when it
// was. The pidfd is opened before the look, so a process id that was given to another process in between is harmless.
napi_value signalInNetns(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const pid_t pid = arguments.integer(0);
  const auto inode = static_cast<ino_t>(arguments.number(1));
  bool sent = false;
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (process >= 0) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    struct stat status;
    if (stat(path, &status) == 0 && status.st_ino == inode) {
      sent = syscall(SYS_pidfd_send_signal, process, arguments.integer(2), nullptr, 0) == 0;
    }
    close(process);
  }
  napi_value result;
  napi_get_boolean(env, sent, &result);
  return result;
}

}  // namespace

void registerProcess(napi_env env, napi_value exports) {
  define(env, exports, "pipeOpen", pipeOpen);
  define(env, exports, "terminalOpen", terminalOpen);
  define(env, exports, "terminalResize", terminalResize);
  define(env, exports, "terminalForeground", terminalForeground);
  define(env, exports, "duplicate", duplicate);
  define(env, exports, "read", readInto);
  define(env, exports, "write", writeFrom);
  define(env, exports, "signalInNetns", signalInNetns);
}

}  // namespace weft
