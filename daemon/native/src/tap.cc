// TAP interfaces: a network device whose other side is a descriptor that reads and writes frames.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "addon.h"
#include "segment.h"
#include "tap.h"

// Since Linux 6.2; missing from the headers of older distributions.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace weft {
namespace {

// Set when a TAP is opened; all TAPs of a machine are alike.
std::atomic<bool> isUdpTaken{false};

// Frames that may wait for the reader, and octets that may wait inside the kernel after a write.
constexpr int queueLength = 2000;
constexpr int sendBuffer = 8 << 20;

// Runs `request` on an interface by a socket of the current namespace. Returns 0 or an errno.
int configure(int socket, unsigned long request, ifreq& interface) {
  return ioctl(socket, request, &interface) == 0 ? 0 : errno;
}

// Queue, MTU and state of an interface that is there. Returns the name of what failed, or nullptr.
const char* bringUp(const std::string& name, int mtu, int* index, int* error) {
  const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) {
    *error = errno;
    return "socket";
  }
  ifreq interface{};
  strncpy(interface.ifr_name, name.c_str(), IFNAMSIZ - 1);
  const char* failed = nullptr;
  interface.ifr_qlen = queueLength;
  if ((*error = configure(control, SIOCSIFTXQLEN, interface)) != 0) failed = "SIOCSIFTXQLEN";
  interface.ifr_mtu = mtu;
  if (failed == nullptr && (*error = configure(control, SIOCSIFMTU, interface)) != 0) failed = "SIOCSIFMTU";
  if (failed == nullptr && (*error = configure(control, SIOCGIFFLAGS, interface)) != 0) failed = "SIOCGIFFLAGS";
  interface.ifr_flags |= IFF_UP;
  if (failed == nullptr && (*error = configure(control, SIOCSIFFLAGS, interface)) != 0) failed = "SIOCSIFFLAGS";
  if (failed == nullptr && (*error = configure(control, SIOCGIFINDEX, interface)) != 0) failed = "SIOCGIFINDEX";
  *index = interface.ifr_ifindex;
  close(control);
  return failed;
}

// tapOpen(netns, name, mtu, persistent, offloads): [descriptor, ifindex, uso] of the TAP of that name, which is made if it is not
// there. Frames begin with a virtio-net header of 10 octets. With `offloads` the kernel leaves checksums to the reader and
// hands out TCP super-frames of both families, UDP ones too if `uso`. Never blocks. EBUSY: somebody else reads it.
napi_value tapOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::string name = arguments.text(1);
  if (name.empty() || name.size() >= IFNAMSIZ) return throwErrno(env, EINVAL, "TUNSETIFF", name);
  const InNamespace inside(arguments.integer(0));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", name);
  const int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap < 0) return throwErrno(env, errno, "open", "/dev/net/tun");
  const auto fail = [&](int error, const char* syscall) {
    close(tap);
    return throwErrno(env, error, syscall, name);
  };

  ifreq interface{};
  strncpy(interface.ifr_name, name.c_str(), IFNAMSIZ - 1);
  interface.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(tap, TUNSETIFF, &interface) != 0) return fail(errno, "TUNSETIFF");
  const int header = vnetLength;
  if (ioctl(tap, TUNSETVNETHDRSZ, &header) != 0) return fail(errno, "TUNSETVNETHDRSZ");
  if (ioctl(tap, TUNSETSNDBUF, &sendBuffer) != 0) return fail(errno, "TUNSETSNDBUF");
  const unsigned long tcp = arguments.flag(4) ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN : 0;
  const bool uso = tcp != 0 && ioctl(tap, TUNSETOFFLOAD, tcp | TUN_F_USO4 | TUN_F_USO6) == 0;
  if (uso) isUdpTaken = true;
  if (!uso && ioctl(tap, TUNSETOFFLOAD, tcp) != 0) return fail(errno, "TUNSETOFFLOAD");
  if (arguments.flag(3) && ioctl(tap, TUNSETPERSIST, 1) != 0) return fail(errno, "TUNSETPERSIST");
  int index = 0;
  int error = 0;
  const char* failed = bringUp(name, arguments.integer(2), &index, &error);
  if (failed != nullptr) return fail(error, failed);

  napi_value result, isUso;
  napi_create_array_with_length(env, 3, &result);
  napi_get_boolean(env, uso, &isUso);
  napi_set_element(env, result, 0, fromInteger(env, tap));
  napi_set_element(env, result, 1, fromInteger(env, index));
  napi_set_element(env, result, 2, isUso);
  return result;
}

}  // namespace

bool takesUdpSuperFrames() { return isUdpTaken; }

void registerTap(napi_env env, napi_value exports) { define(env, exports, "tapOpen", tapOpen); }

}  // namespace weft
