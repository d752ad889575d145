// A netlink socket that stays: requests by the million without acknowledgements, dumps that are read bit by bit, and what
// others do in the same namespace without the echo of what we do.
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <set>

#include "addon.h"

namespace weft {
namespace {

// Sockets of this thread that are open: a thread that ends without a word leaves none behind.
thread_local std::set<int> opened;

void closeOpened(void*) {
  for (const int descriptor : opened) close(descriptor);
  opened.clear();
}

// routeSocketOpen(namespaceFd, groups, receiveOctets): a descriptor that never blocks and receives the multicast groups of
// the bit mask `groups`; strict about dumps (filters work), errors without the request that failed.
napi_value routeSocketOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const InNamespace inside(arguments.integer(0));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", "");
  const int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (descriptor < 0) return throwErrno(env, errno, "socket", "netlink");
  const int one = 1, octets = arguments.integer(2);
  setsockopt(descriptor, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
  setsockopt(descriptor, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
  setsockopt(descriptor, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof one);
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = static_cast<uint32_t>(static_cast<int64_t>(arguments.number(1)));
  if (bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    close(descriptor);
    return throwErrno(env, error, "bind", "netlink");
  }
  opened.insert(descriptor);
  return fromInteger(env, descriptor);
}

// routeSocketPort(descriptor): the number by which notifications say that this socket asked for the change.
napi_value routeSocketPort(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  sockaddr_nl address{};
  socklen_t length = sizeof address;
  if (getsockname(arguments.integer(0), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return throwErrno(env, errno, "getsockname", "netlink");
  }
  return fromInteger(env, address.nl_pid);
}

// routeSocketFilter(descriptor, port, protocol): leaves out notifications of what the socket `port` asked for, and those of
// routes of `protocol` that nobody asked for: the kernel flushes a route for each notification when an interface goes.
napi_value routeSocketFilter(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  // Classic BPF loads words in network order; netlink's are in the host's.
  const uint32_t port = __builtin_bswap32(static_cast<uint32_t>(static_cast<int64_t>(arguments.number(1))));
  const auto protocol = static_cast<uint32_t>(arguments.integer(2));
  constexpr uint32_t senderAt = offsetof(nlmsghdr, nlmsg_pid), typeAt = offsetof(nlmsghdr, nlmsg_type);
  constexpr uint32_t protocolAt = sizeof(nlmsghdr) + offsetof(rtmsg, rtm_protocol);
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, senderAt),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 6, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 4),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, typeAt),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RTM_DELROUTE, 0, 2),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, protocolAt),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, protocol, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog filter{sizeof program / sizeof program[0], program};
  if (setsockopt(arguments.integer(0), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0) {
    return throwErrno(env, errno, "setsockopt", "SO_ATTACH_FILTER");
  }
  return undefinedValue(env);
}

}  // namespace

void forgetRouteSocket(int descriptor) { opened.erase(descriptor); }

void registerRouteSocket(napi_env env, napi_value exports) {
  napi_add_env_cleanup_hook(env, closeOpened, nullptr);
  define(env, exports, "routeSocketOpen", routeSocketOpen);
  define(env, exports, "routeSocketPort", routeSocketPort);
  define(env, exports, "routeSocketFilter", routeSocketFilter);
}

}  // namespace weft
