// Sockets made inside a network namespace and used outside: what probes need. A socket keeps the namespace that it was
// made in, so only its birth happens there. All are close-on-exec and never block.
#include <arpa/inet.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "addon.h"

namespace weft {
namespace {

// An IPv4 or IPv6 address as the kernel wants it: the number of octets given says which.
struct Address {
  sockaddr_storage storage = {};
  socklen_t length = 0;

  Address(const uint8_t* octets, size_t count, uint16_t port) {
    if (count == 4) {
      auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
      v4->sin_family = AF_INET;
      v4->sin_port = htons(port);
      memcpy(&v4->sin_addr, octets, 4);
      length = sizeof *v4;
    } else if (count == 16) {
      auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(port);
      memcpy(&v6->sin6_addr, octets, 16);
      length = sizeof *v6;
    }
  }

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

void enable(int descriptor, int level, int option) {
  const int on = 1;
  setsockopt(descriptor, level, option, &on, sizeof on);
}

// A socket in the namespace; on failure `error` is set and -1 returned.
int socketIn(int netns, int family, int type, int protocol, const char** failed, int* error) {
  InNamespace inside(netns);
  if (inside.error != 0) {
    *failed = "setns";
    *error = inside.error;
    return -1;
  }
  const int descriptor = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  *failed = "socket";
  *error = errno;
  return descriptor;
}

// echoOpen(netns, address): a raw ICMP socket that hears echo replies from that address only, and what ICMP errors say
// about packets sent to it (as the errno of the next call).
napi_value echoOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t count = 0;
  const uint8_t* octets = arguments.octets(1, &count);
  const Address address(octets, count, 0);
  const bool v4 = address.family() == AF_INET;
  const char* failed = nullptr;
  int error = 0;
  const int protocol = v4 ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6);
  const int descriptor = socketIn(arguments.integer(0), address.family(), SOCK_RAW, protocol, &failed, &error);
  if (descriptor < 0) return throwErrno(env, error, failed, "ICMP");
  if (v4) {
    icmp_filter filter = {~(1U << ICMP_ECHOREPLY)};
    setsockopt(descriptor, SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
    enable(descriptor, SOL_IP, IP_RECVERR);
  } else {
    icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
    setsockopt(descriptor, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
    enable(descriptor, SOL_IPV6, IPV6_RECVERR);
  }
  enable(descriptor, SOL_SOCKET, SO_TIMESTAMPNS);
  if (connect(descriptor, address.get(), address.length) != 0) {
    error = errno;
    close(descriptor);
    return throwErrno(env, error, "connect", "ICMP");
  }
  return fromInteger(env, descriptor);
}

double milliseconds(const timespec& time) { return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6; }

// sendStamped(descriptor, packet, stamp): octets sent or a negative errno. stamp[0] becomes the time before the send, in
// milliseconds of CLOCK_REALTIME: the clock of the kernel's receive stamps, so a busy event loop does not count as
// network.
napi_value sendStamped(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0, stampLength = 0;
  const uint8_t* packet = arguments.octets(1, &length);
  void* stamp = arguments.octets(2, &stampLength);
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const ssize_t sent = send(arguments.integer(0), packet, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  const int error = errno;
  *static_cast<double*>(stamp) = milliseconds(now);
  return fromInteger(env, sent < 0 ? -error : sent);
}

// receiveStamped(descriptor, target, stamp): octets received or a negative errno. stamp[0] becomes the time at which the
// kernel received the packet.
napi_value receiveStamped(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0, stampLength = 0;
  uint8_t* target = arguments.octets(1, &length);
  void* stamp = arguments.octets(2, &stampLength);
  alignas(cmsghdr) char control[256];
  iovec part = {target, length};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t received = recvmsg(arguments.integer(0), &message, MSG_DONTWAIT);
  if (received < 0) return fromInteger(env, -errno);
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_TIMESTAMPNS) memcpy(&time, CMSG_DATA(item), sizeof time);
  }
  *static_cast<double*>(stamp) = milliseconds(time);
  return fromInteger(env, received);
}

// tcpBind(netns, address): a TCP socket bound to the address and a free port; not listening yet.
napi_value tcpBind(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t count = 0;
  const uint8_t* octets = arguments.octets(1, &count);
  const Address address(octets, count, 0);
  const char* failed = nullptr;
  int error = 0;
  const int descriptor = socketIn(arguments.integer(0), address.family(), SOCK_STREAM, 0, &failed, &error);
  if (descriptor < 0) return throwErrno(env, error, failed, "TCP");
  if (address.family() == AF_INET6) enable(descriptor, SOL_IPV6, IPV6_V6ONLY);
  if (bind(descriptor, address.get(), address.length) != 0) {
    error = errno;
    close(descriptor);
    return throwErrno(env, error, "bind", "TCP");
  }
  return fromInteger(env, descriptor);
}

// tcpConnect(netns, address, port): a TCP socket that is connecting: writable when done, and socketError says how. It
// closes with a reset, so that probes leave no connection in TIME_WAIT behind.
napi_value tcpConnect(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t count = 0;
  const uint8_t* octets = arguments.octets(1, &count);
  const Address address(octets, count, static_cast<uint16_t>(arguments.integer(2)));
  const char* failed = nullptr;
  int error = 0;
  const int descriptor = socketIn(arguments.integer(0), address.family(), SOCK_STREAM, 0, &failed, &error);
  if (descriptor < 0) return throwErrno(env, error, failed, "TCP");
  const linger reset = {1, 0};
  setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  enable(descriptor, IPPROTO_TCP, TCP_NODELAY);
  if (connect(descriptor, address.get(), address.length) != 0 && errno != EINPROGRESS) {
    error = errno;
    close(descriptor);
    return throwErrno(env, error, "connect", "TCP");
  }
  return fromInteger(env, descriptor);
}

// relayConnect(netns, address, port, datagrams): a TCP socket that is connecting, or a UDP socket that is connected. Closes as
// any socket does.
napi_value relayConnect(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t count = 0;
  const uint8_t* octets = arguments.octets(1, &count);
  const Address address(octets, count, static_cast<uint16_t>(arguments.integer(2)));
  const int type = arguments.flag(3) ? SOCK_DGRAM : SOCK_STREAM;
  const char* failed = nullptr;
  int error = 0;
  const int descriptor = socketIn(arguments.integer(0), address.family(), type, 0, &failed, &error);
  if (descriptor < 0) return throwErrno(env, error, failed, "relay");
  if (type == SOCK_STREAM) enable(descriptor, IPPROTO_TCP, TCP_NODELAY);
  if (connect(descriptor, address.get(), address.length) != 0 && errno != EINPROGRESS) {
    error = errno;
    close(descriptor);
    return throwErrno(env, error, "connect", "relay");
  }
  return fromInteger(env, descriptor);
}

// socketError(descriptor): the errno of what went wrong since the last call, or 0.
napi_value socketError(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(arguments.integer(0), SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  return fromInteger(env, error);
}

// localAddress(descriptor): the octets of the socket's own address; localPort(descriptor): its port.
napi_value localAddress(napi_env env, napi_callback_info info) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof storage;
  if (getsockname(Arguments(env, info).integer(0), reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
    return throwErrno(env, errno, "getsockname", "");
  }
  if (storage.ss_family == AF_INET) return fromOctets(env, &reinterpret_cast<sockaddr_in*>(&storage)->sin_addr, 4);
  return fromOctets(env, &reinterpret_cast<sockaddr_in6*>(&storage)->sin6_addr, 16);
}

napi_value localPort(napi_env env, napi_callback_info info) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof storage;
  if (getsockname(Arguments(env, info).integer(0), reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
    return throwErrno(env, errno, "getsockname", "");
  }
  // sin_port and sin6_port lie at the same place.
  return fromInteger(env, ntohs(reinterpret_cast<sockaddr_in*>(&storage)->sin_port));
}

}  // namespace

void registerSocket(napi_env env, napi_value exports) {
  define(env, exports, "echoOpen", echoOpen);
  define(env, exports, "sendStamped", sendStamped);
  define(env, exports, "receiveStamped", receiveStamped);
  define(env, exports, "tcpBind", tcpBind);
  define(env, exports, "tcpConnect", tcpConnect);
  define(env, exports, "relayConnect", relayConnect);
  define(env, exports, "socketError", socketError);
  define(env, exports, "localAddress", localAddress);
  define(env, exports, "localPort", localPort);
}

}  // namespace weft
