// weft-enter: runs one program inside a node.
//
//   weft-enter --netns PATH [--etc DIR] [--hostname NAME] [--user NAME|UID] [--directory DIR] [--tty] [--hang-up]
//              -- PROGRAM ARGUMENT...
//
// What `ip netns exec` does (iproute2: lib/namespace.c), and a little more: the network namespace, a mount namespace of its
// own with the node's /sys and /etc files, the node's host name, a terminal, a user. It forks nothing and stays no
// longer than it must: the program takes its place and keeps its process id.
//
// Exit codes before the program runs, as a shell and env(1) have them: 125 weft-enter itself failed, 126 the program
// cannot be executed, 127 there is no such program. Every failure prints `weft: cannot ...: reason` on stderr.
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int exitFailed = 125;
constexpr int exitNotExecutable = 126;
constexpr int exitNotFound = 127;

struct Options {
  const char* netns = nullptr;
  const char* etc = nullptr;
  const char* hostname = nullptr;
  const char* user = nullptr;
  const char* directory = nullptr;
  bool tty = false;
  // SIGHUP when the process that has started us dies.
  bool hangUp = false;
  char** command = nullptr;
};

__attribute__((format(printf, 1, 2))) void complain(const char* format, ...) {
  const int error = errno;
  char text[PATH_MAX + 256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  dprintf(STDERR_FILENO, "weft: cannot %s: %s\n", text, strerror(error));
}

#define FAIL(...)         \
  do {                    \
    complain(__VA_ARGS__); \
    _exit(exitFailed);    \
  } while (0)

Options parse(int count, char** values) {
  Options options;
  for (int i = 1; i < count; i++) {
    const char* name = values[i];
    if (strcmp(name, "--") == 0) {
      options.command = values + i + 1;
      break;
    }
    if (strcmp(name, "--tty") == 0) {
      options.tty = true;
      continue;
    }
    if (strcmp(name, "--hang-up") == 0) {
      options.hangUp = true;
      continue;
    }
    const char** value = strcmp(name, "--netns") == 0       ? &options.netns
                         : strcmp(name, "--etc") == 0       ? &options.etc
                         : strcmp(name, "--hostname") == 0  ? &options.hostname
                         : strcmp(name, "--user") == 0      ? &options.user
                         : strcmp(name, "--directory") == 0 ? &options.directory
                                                            : nullptr;
    errno = EINVAL;
    if (value == nullptr || i + 1 == count) FAIL("understand argument \"%s\"", name);
    *value = values[++i];
  }
  errno = EINVAL;
  if (options.netns == nullptr || options.command == nullptr || options.command[0] == nullptr) {
    FAIL("start: usage is weft-enter --netns PATH [options] -- PROGRAM ARGUMENT...");
  }
  return options;
}

void enterNetwork(const char* path) {
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) FAIL("open network namespace %s", path);
  if (setns(descriptor, CLONE_NEWNET) != 0) FAIL("enter network namespace %s", path);
  close(descriptor);
}

// A sysfs mount shows the network namespace of whoever mounted it: without a new one, /sys/class/net would list the
// host's interfaces. What was mounted below /sys (bpffs, cgroups) stays outside, as with `ip netns exec`.
void mountSys() {
  struct statvfs status;
  const bool readOnly = statvfs("/sys", &status) == 0 && (status.f_flag & ST_RDONLY) != 0;
  umount2("/sys", MNT_DETACH);
  const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | (readOnly ? MS_RDONLY : 0);
  if (mount("sysfs", "/sys", "sysfs", flags, nullptr) != 0) FAIL("mount the node's /sys");
}

// Each file of the directory takes the place of the one in /etc, for this program only. A file that /etc does not have
// has no place to be bound to: that is said, and the program runs without it.
void bindEtc(const char* directory) {
  DIR* entries = opendir(directory);
  if (entries == nullptr) {
    if (errno == ENOENT) return;
    FAIL("read %s", directory);
  }
  while (const dirent* entry = readdir(entries)) {
    if (entry->d_name[0] == '.') continue;
    char source[PATH_MAX], target[PATH_MAX];
    snprintf(source, sizeof source, "%s/%s", directory, entry->d_name);
    snprintf(target, sizeof target, "/etc/%s", entry->d_name);
    if (mount(source, target, "none", MS_BIND, nullptr) != 0) complain("put %s in the place of %s", source, target);
  }
  closedir(entries);
}

// Slave, not private: when the host removes a namespace's name, the copy of that mount here must not keep it alive.
void enterMounts(const Options& options) {
  if (unshare(CLONE_NEWNS | CLONE_NEWUTS) != 0) FAIL("make a mount namespace");
  if (mount("", "/", "none", MS_SLAVE | MS_REC, nullptr) != 0) FAIL("separate the mounts from the host's");
  mountSys();
  if (options.etc != nullptr) bindEtc(options.etc);
  if (options.hostname != nullptr && sethostname(options.hostname, strlen(options.hostname)) != 0) {
    FAIL("set the host name \"%s\"", options.hostname);
  }
}

void takeTerminal() {
  // The parent may have made this process a session leader already: then EPERM is good news.
  if (setsid() < 0 && getsid(0) != getpid()) FAIL("start a session");
  if (ioctl(STDIN_FILENO, TIOCSCTTY, 0) != 0) FAIL("take the terminal");
}

void become(const char* user) {
  char* rest = nullptr;
  const unsigned long number = strtoul(user, &rest, 10);
  const bool numeric = *user >= '0' && *user <= '9' && *rest == '\0';
  errno = 0;
  const passwd* entry = numeric ? getpwuid(static_cast<uid_t>(number)) : getpwnam(user);
  if (entry == nullptr && (!numeric || number > UINT_MAX - 1)) {
    if (errno != 0) FAIL("look up user \"%s\"", user);
    dprintf(STDERR_FILENO, "weft: cannot become user \"%s\": there is no such user\n", user);
    _exit(exitFailed);
  }
  const uid_t uid = entry != nullptr ? entry->pw_uid : static_cast<uid_t>(number);
  const gid_t gid = entry != nullptr ? entry->pw_gid : static_cast<gid_t>(number);
  // A terminal belongs to who uses it, or programs that open it by name are refused.
  if (isatty(STDIN_FILENO) != 0 && fchown(STDIN_FILENO, uid, static_cast<gid_t>(-1)) != 0) FAIL("hand over the terminal");
  if (entry != nullptr) {
    if (initgroups(entry->pw_name, gid) != 0) FAIL("take the groups of user \"%s\"", user);
    setenv("HOME", entry->pw_dir, 1);
    setenv("USER", entry->pw_name, 1);
    setenv("LOGNAME", entry->pw_name, 1);
    if (*entry->pw_shell != '\0') setenv("SHELL", entry->pw_shell, 1);
  } else {
    if (setgroups(0, nullptr) != 0) FAIL("drop the groups");
    setenv("HOME", "/", 1);
  }
  if (setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0) FAIL("become user \"%s\"", user);
}

// The program starts as from a login shell: nothing ignored or blocked, no descriptor but the three, and the usual soft
// limit of open files (Node raises its own to the hard limit, which makes programs that close "all" descriptors crawl).
void resetProcess() {
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  close_range(3, ~0U, 0);
  umask(022);
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > 1024) {
    files.rlim_cur = 1024;
    setrlimit(RLIMIT_NOFILE, &files);
  }
}

void changeDirectory(const char* directory) {
  if (directory != nullptr) {
    if (chdir(directory) != 0) FAIL("change to directory %s", directory);
    return;
  }
  const char* home = getenv("HOME");
  if ((home == nullptr || chdir(home) != 0) && chdir("/") != 0) FAIL("change to directory /");
}

}  // namespace

int main(int count, char** values) {
  const Options options = parse(count, values);
  enterNetwork(options.netns);
  enterMounts(options);
  if (options.tty) takeTerminal();
  if (options.user != nullptr) become(options.user);
  changeDirectory(options.directory);
  resetProcess();
  // Only now: a change of the user takes it back (prctl(2)). The program keeps it; what it starts does not get it.
  if (options.hangUp && prctl(PR_SET_PDEATHSIG, SIGHUP) != 0) FAIL("ask for the end of weftd");
  execvp(options.command[0], options.command);
  const int error = errno;
  complain("run %s", options.command[0]);
  return error == ENOENT || error == ENOTDIR ? exitNotFound : exitNotExecutable;
}
