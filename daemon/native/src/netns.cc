// Network namespaces with a name: files under /run/netns that hold a namespace by a bind mount, as ip-netns(8) makes
// them, so that `ip netns exec NAME` works on ours.
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "addon.h"
#include "netlink.h"

namespace weft {
namespace {

// netnsPrepare(directory): makes the directory a shared mount point, as iproute2 does (ip/ipnetns.c), so that removing a
// name is seen in every mount namespace. Harmless when it is one already.
napi_value netnsPrepare(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::string directory = arguments.text(0);
  if (mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) return throwErrno(env, errno, "mkdir", directory);
  if (mount("", directory.c_str(), "none", MS_SHARED | MS_REC, nullptr) == 0) return undefinedValue(env);
  if (errno != EINVAL) return throwErrno(env, errno, "mount --make-shared", directory);
  if (mount(directory.c_str(), directory.c_str(), "none", MS_BIND | MS_REC, nullptr) != 0) {
    return throwErrno(env, errno, "mount --bind", directory);
  }
  if (mount("", directory.c_str(), "none", MS_SHARED | MS_REC, nullptr) != 0) {
    return throwErrno(env, errno, "mount --make-shared", directory);
  }
  return undefinedValue(env);
}

// netnsCreate(path, setup): makes a namespace, applies the netlink messages `setup` inside it, and only then gives it
// its name: a namespace that has a name is marked as ours, whenever the daemon dies.
napi_value netnsCreate(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::string path = arguments.text(0);
  size_t length = 0;
  const uint8_t* setup = arguments.octets(1, &length);

  const int file = open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
  if (file < 0) return throwErrno(env, errno, "open", path);
  close(file);

  const int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0) return throwErrno(env, errno, "open", "/proc/thread-self/ns/net");
  const char* failed = nullptr;
  int error = 0;
  {
    // InNamespace(home) enters where we are already; its destructor brings the thread back from the new namespace.
    const InNamespace restore(home);
    if (restore.error != 0) {
      failed = "setns";
      error = restore.error;
    } else if (unshare(CLONE_NEWNET) != 0) {
      failed = "unshare";
      error = errno;
    } else if (length > 0 && (error = netlinkApply(setup, length)) != 0) {
      failed = "netlink";
    } else if (mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr) != 0) {
      failed = "mount --bind";
      error = errno;
    }
  }
  close(home);
  if (failed == nullptr) return undefinedValue(env);
  unlink(path.c_str());
  return throwErrno(env, error, failed, path);
}

// netnsRemove(path): takes the name away; the kernel frees the namespace when nothing uses it any more.
napi_value netnsRemove(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::string path = arguments.text(0);
  // EINVAL: the file is there but nothing is mounted on it (a create that was cut short).
  if (umount2(path.c_str(), MNT_DETACH) != 0 && errno != EINVAL && errno != ENOENT) {
    return throwErrno(env, errno, "umount", path);
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return throwErrno(env, errno, "unlink", path);
  return undefinedValue(env);
}

// netnsOpen(path): a descriptor; the caller closes it. ENOTTY-like surprises are the caller's: a name without a
// namespace behind it is an ordinary file, and setns on it fails with EINVAL.
napi_value netnsOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::string path = arguments.text(0);
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return throwErrno(env, errno, "open", path);
  return fromInteger(env, descriptor);
}

// netnsAnonymous(): a descriptor of a new namespace without a name: it is gone when the caller closes it.
napi_value netnsAnonymous(napi_env env, napi_callback_info) {
  const int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0) return throwErrno(env, errno, "open", "/proc/thread-self/ns/net");
  // As in netnsCreate: its destructor brings the thread back.
  const InNamespace restore(home);
  close(home);
  if (restore.error != 0) return throwErrno(env, restore.error, "setns", "network namespace");
  if (unshare(CLONE_NEWNET) != 0) return throwErrno(env, errno, "unshare", "network namespace");
  const int descriptor = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return throwErrno(env, errno, "open", "/proc/thread-self/ns/net");
  return fromInteger(env, descriptor);
}

// inode(descriptor): what identifies a namespace.
napi_value inode(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  struct stat status;
  if (fstat(arguments.integer(0), &status) != 0) return throwErrno(env, errno, "fstat", "namespace");
  return fromInteger(env, static_cast<int64_t>(status.st_ino));
}

napi_value closeDescriptor(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  forgetRouteSocket(arguments.integer(0));
  close(arguments.integer(0));
  return undefinedValue(env);
}

// elideGro(netns, name): turns generic receive offload of an interface off.
napi_value elideGro(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::string name = arguments.text(1);
  const InNamespace inside(arguments.integer(0));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", name);
  const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) return throwErrno(env, errno, "socket", name);
  ethtool_value off = {ETHTOOL_SGRO, 0};
  ifreq interface{};
  strncpy(interface.ifr_name, name.c_str(), IFNAMSIZ - 1);
  interface.ifr_data = reinterpret_cast<char*>(&off);
  const int error = ioctl(control, SIOCETHTOOL, &interface) == 0 ? 0 : errno;
  close(control);
  return error == 0 ? undefinedValue(env) : throwErrno(env, error, "ETHTOOL_SGRO", name);
}

}  // namespace

void registerNetns(napi_env env, napi_value exports) {
  define(env, exports, "elideGro", elideGro);
  define(env, exports, "netnsPrepare", netnsPrepare);
  define(env, exports, "netnsCreate", netnsCreate);
  define(env, exports, "netnsRemove", netnsRemove);
  define(env, exports, "netnsOpen", netnsOpen);
  define(env, exports, "netnsAnonymous", netnsAnonymous);
  define(env, exports, "inode", inode);
  define(env, exports, "close", closeDescriptor);
}

}  // namespace weft
