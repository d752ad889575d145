// Small files whose content depends on the network namespace of the thread that opens them (/proc/sys/net), and locks.
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>

#include "addon.h"

namespace weft {
namespace {

// A procfs of our own, mounted nowhere, for /proc/sys. Looking up a sysctl walks the dentries of the same name of every
// namespace that was ever looked at through the same procfs (fs/proc/proc_sysctl.c: proc_sys_compare), which makes a
// thousand namespaces quadratic: 1 to 2 ms for ten sysctls, against 0.3 ms through one that is thrown away in time.
class PrivateProc {
 public:
  // Its root, or AT_FDCWD where the kernel refuses the mount.
  int descriptor() {
    if (mount >= 0 && uses++ < maxUses) return mount;
    if (mount >= 0) close(mount);
    uses = 0;
    mount = make();
    return mount >= 0 ? mount : AT_FDCWD;
  }

 private:
  static constexpr int maxUses = 32;
  int mount = -1;
  int uses = 0;

  static int make() {
    const int context = fsopen("proc", FSOPEN_CLOEXEC);
    if (context < 0) return -1;
    const bool made = fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0;
    const int result = made ? fsmount(context, FSMOUNT_CLOEXEC, 0) : -1;
    close(context);
    return result;
  }
};

PrivateProc privateProc;

constexpr char procPrefix[] = "/proc/";

// Opens `path`; what lies below /proc through `proc`.
int openBelow(int proc, const std::string& path, int flags) {
  const bool below = proc != AT_FDCWD && path.starts_with(procPrefix);
  return openat(proc, below ? path.c_str() + sizeof procPrefix - 1 : path.c_str(), flags | O_CLOEXEC);
}

int writeFile(int proc, const std::string& path, const std::string& content) {
  const int file = openBelow(proc, path, O_WRONLY);
  if (file < 0) return errno;
  const ssize_t written = write(file, content.data(), content.size());
  const int error = written < 0 ? errno : 0;
  close(file);
  return error;
}

int readFile(int proc, const std::string& path, std::string& content) {
  const int file = openBelow(proc, path, O_RDONLY);
  if (file < 0) return errno;
  char buffer[4096];
  const ssize_t received = read(file, buffer, sizeof buffer);
  const int error = received < 0 ? errno : 0;
  if (received > 0) content.assign(buffer, static_cast<size_t>(received));
  close(file);
  return error;
}

// writeFiles(namespaceFd, paths, contents): [[index, errno], ...] of those that failed.
napi_value writeFiles(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::vector<std::string> paths = arguments.texts(1), contents = arguments.texts(2);
  napi_value result;
  napi_create_array(env, &result);
  uint32_t failures = 0;
  const InNamespace inside(arguments.integer(0));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", "");
  const int proc = privateProc.descriptor();
  for (size_t i = 0; i < paths.size() && i < contents.size(); i++) {
    const int error = writeFile(proc, paths[i], contents[i]);
    if (error == 0) continue;
    napi_value entry;
    napi_create_array_with_length(env, 2, &entry);
    napi_set_element(env, entry, 0, fromInteger(env, static_cast<int64_t>(i)));
    napi_set_element(env, entry, 1, fromText(env, errnoName(error)));
    napi_set_element(env, result, failures++, entry);
  }
  return result;
}

napi_value readAll(napi_env env, const std::vector<std::string>& paths) {
  napi_value result;
  napi_create_array_with_length(env, paths.size(), &result);
  const int proc = privateProc.descriptor();
  for (size_t i = 0; i < paths.size(); i++) {
    std::string content;
    const int error = readFile(proc, paths[i], content);
    napi_set_element(env, result, static_cast<uint32_t>(i), error == 0 ? fromText(env, content) : undefinedValue(env));
  }
  return result;
}

// readFiles(namespaceFd, paths): the content of each (first 4096 octets), undefined where it cannot be read.
napi_value readFiles(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::vector<std::string> paths = arguments.texts(1);
  const InNamespace inside(arguments.integer(0));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", "");
  return readAll(env, paths);
}

// readFilesOfNewNamespace(paths): the same in a namespace made for this call: what the kernel starts a namespace with.
napi_value readFilesOfNewNamespace(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::vector<std::string> paths = arguments.texts(0);
  const int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0) return throwErrno(env, errno, "open", "/proc/thread-self/ns/net");
  const InNamespace restore(home);
  close(home);
  if (restore.error != 0) return throwErrno(env, restore.error, "setns", "");
  if (unshare(CLONE_NEWNET) != 0) return throwErrno(env, errno, "unshare", "");
  return readAll(env, paths);
}

// lockFile(path): a descriptor that holds an exclusive lock until it is closed or the process ends, or -1 when another
// process holds it.
napi_value lockFile(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::string path = arguments.text(0);
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return throwErrno(env, errno, "open", path);
  if (flock(file, LOCK_EX | LOCK_NB) == 0) return fromInteger(env, file);
  const int error = errno;
  close(file);
  if (error == EWOULDBLOCK) return fromInteger(env, -1);
  return throwErrno(env, error, "flock", path);
}

// trimMemory(): gives freed memory back to the system.
napi_value trimMemory(napi_env env, napi_callback_info) {
  malloc_trim(0);
  return undefinedValue(env);
}

}  // namespace

void registerFiles(napi_env env, napi_value exports) {
  define(env, exports, "writeFiles", writeFiles);
  define(env, exports, "readFiles", readFiles);
  define(env, exports, "readFilesOfNewNamespace", readFilesOfNewNamespace);
  define(env, exports, "lockFile", lockFile);
  define(env, exports, "trimMemory", trimMemory);
}

}  // namespace weft
