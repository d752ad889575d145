// Sockets that ask about a path, made inside a network namespace and used outside: UDP with a chosen TTL and "don't
// fragment", which hears from the error queue which router answered, and TCP listeners on a port that a check names.
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "addon.h"

namespace weft {
namespace {

socklen_t fill(sockaddr_storage& storage, const uint8_t* octets, size_t count, uint16_t port) {
  storage = {};
  if (count == 4) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    memcpy(&v4->sin_addr, octets, 4);
    return sizeof *v4;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(port);
  memcpy(&v6->sin6_addr, octets, std::min<size_t>(count, 16));
  return sizeof *v6;
}

int socketIn(int netns, int family, int type, const char** failed) {
  const InNamespace inside(netns);
  *failed = inside.error != 0 ? "setns" : "socket";
  if (inside.error != 0) {
    errno = inside.error;
    return -1;
  }
  return socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

void set(int descriptor, int level, int option, int value) { setsockopt(descriptor, level, option, &value, sizeof value); }

// pathOpen(netns, address, port): a UDP socket connected to the address; what ICMP says about its packets waits for
// pathReceive. Packets are never fragmented, and no remembered path MTU keeps one from leaving.
napi_value pathOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t count = 0;
  const uint8_t* octets = arguments.octets(1, &count);
  const bool v6 = count == 16;
  const char* failed = nullptr;
  const int descriptor = socketIn(arguments.integer(0), v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, &failed);
  if (descriptor < 0) return throwErrno(env, errno, failed, "UDP");
  set(descriptor, v6 ? SOL_IPV6 : SOL_IP, v6 ? IPV6_RECVERR : IP_RECVERR, 1);
  set(descriptor, v6 ? SOL_IPV6 : SOL_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, v6 ? IPV6_PMTUDISC_PROBE : IP_PMTUDISC_PROBE);
  sockaddr_storage address;
  const socklen_t length = fill(address, octets, count, static_cast<uint16_t>(arguments.integer(2)));
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    const int error = errno;
    close(descriptor);
    return throwErrno(env, error, "connect", "UDP");
  }
  return fromInteger(env, descriptor);
}

// pathSend(descriptor, hops, packet): octets sent or a negative errno. hops 0: as many as usual.
napi_value pathSend(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const int descriptor = arguments.integer(0);
  size_t length = 0;
  const uint8_t* packet = arguments.octets(2, &length);
  sockaddr_storage self;
  socklen_t size = sizeof self;
  getsockname(descriptor, reinterpret_cast<sockaddr*>(&self), &size);
  const bool v6 = self.ss_family == AF_INET6;
  const int hops = arguments.integer(1);
  set(descriptor, v6 ? SOL_IPV6 : SOL_IP, v6 ? IPV6_UNICAST_HOPS : IP_TTL, hops == 0 ? (v6 ? -1 : 64) : hops);
  ssize_t sent = send(descriptor, packet, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  // An ICMP error about an earlier packet may be told here once; it stays in the error queue.
  if (sent < 0 && errno != EMSGSIZE && errno != EAGAIN) sent = send(descriptor, packet, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  return fromInteger(env, sent < 0 ? -errno : sent);
}

// pathReceive(descriptor, target, numbers, address): octets in `target` or a negative errno. numbers[0]: 0 for an answer,
// 1 for ICMP about the packet whose first octets are in `target`, 2 for what this node's kernel has to say about it;
// then ICMP type, code, errno, MTU, and length of the `address` that it came from.
napi_value pathReceive(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0, ignored = 0;
  uint8_t* target = arguments.octets(1, &length);
  auto* numbers = reinterpret_cast<int32_t*>(arguments.octets(2, &ignored));
  uint8_t* from = arguments.octets(3, &ignored);
  std::fill(numbers, numbers + 6, 0);
  alignas(cmsghdr) char control[512];
  iovec part = {target, length};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t received = recvmsg(arguments.integer(0), &message, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (received < 0) {
    received = recv(arguments.integer(0), target, length, MSG_DONTWAIT);
    // Of an error that has been read from the queue, the number may be left.
    if (received < 0 && errno != EAGAIN) received = recv(arguments.integer(0), target, length, MSG_DONTWAIT);
    return fromInteger(env, received < 0 ? -errno : received);
  }
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    const bool v4 = item->cmsg_level == SOL_IP && item->cmsg_type == IP_RECVERR;
    if (!v4 && !(item->cmsg_level == SOL_IPV6 && item->cmsg_type == IPV6_RECVERR)) continue;
    auto* error = reinterpret_cast<sock_extended_err*>(CMSG_DATA(item));
    const sockaddr* offender = SO_EE_OFFENDER(error);
    numbers[0] = error->ee_origin == SO_EE_ORIGIN_LOCAL ? 2 : 1;
    numbers[1] = error->ee_type;
    numbers[2] = error->ee_code;
    numbers[3] = static_cast<int32_t>(error->ee_errno);
    numbers[4] = static_cast<int32_t>(error->ee_info);
    if (offender->sa_family == AF_INET) {
      memcpy(from, &reinterpret_cast<const sockaddr_in*>(offender)->sin_addr, 4);
      numbers[5] = 4;
    } else if (offender->sa_family == AF_INET6) {
      memcpy(from, &reinterpret_cast<const sockaddr_in6*>(offender)->sin6_addr, 16);
      numbers[5] = 16;
    }
  }
  return fromInteger(env, received);
}

// doorOpen(netns, octets of the family's any address, port): a TCP socket bound to that port on all addresses, not
// listening yet. EADDRINUSE: the node itself serves there.
napi_value doorOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t count = 0;
  const uint8_t* octets = arguments.octets(1, &count);
  const char* failed = nullptr;
  const int descriptor = socketIn(arguments.integer(0), count == 16 ? AF_INET6 : AF_INET, SOCK_STREAM, &failed);
  if (descriptor < 0) return throwErrno(env, errno, failed, "TCP");
  set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
  if (count == 16) set(descriptor, SOL_IPV6, IPV6_V6ONLY, 1);
  sockaddr_storage address;
  const socklen_t length = fill(address, octets, count, static_cast<uint16_t>(arguments.integer(2)));
  if (bind(descriptor, reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    const int error = errno;
    close(descriptor);
    return throwErrno(env, error, "bind", "TCP port " + std::to_string(arguments.integer(2)));
  }
  return fromInteger(env, descriptor);
}

}  // namespace

void registerPathProbe(napi_env env, napi_value exports) {
  define(env, exports, "pathOpen", pathOpen);
  define(env, exports, "pathSend", pathSend);
  define(env, exports, "pathReceive", pathReceive);
  define(env, exports, "doorOpen", doorOpen);
}

}  // namespace weft
