// Sockets of BGP: TCP listeners and connections inside a namespace, with what tcp(7), ip(7) and ipv6(7) offer to protect them, and
// the raw ICMPv6 socket through which unnumbered neighbours find each other. All are close-on-exec and never block.
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "addon.h"

namespace weft {
namespace {

// DSCP CS6, internetwork control (RFC 4594, 3.1), in the place that the TOS octet has for it.
constexpr int classSelector6 = 0xc0;

// An address of 4 or 16 octets with port and, for link-local ones, the interface.
struct Endpoint {
  sockaddr_storage storage = {};
  socklen_t length = 0;

  Endpoint() = default;
  Endpoint(const uint8_t* octets, size_t count, uint16_t port, uint32_t scope) {
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
      if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) v6->sin6_scope_id = scope;
      length = sizeof *v6;
    }
  }

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }

  // The octets of the address, 4 or 16, then port and interface as the caller's array has them.
  void write(uint32_t* numbers, uint8_t* octets) const {
    if (storage.ss_family == AF_INET) {
      const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
      memcpy(octets, &v4->sin_addr, 4);
      numbers[0] = 4;
      numbers[1] = ntohs(v4->sin_port);
      numbers[2] = 0;
    } else {
      const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
      memcpy(octets, &v6->sin6_addr, 16);
      numbers[0] = 16;
      numbers[1] = ntohs(v6->sin6_port);
      numbers[2] = v6->sin6_scope_id;
    }
  }
};

bool set(int descriptor, int level, int option, int value) {
  return setsockopt(descriptor, level, option, &value, sizeof value) == 0;
}

// The hop limit of what is sent and the least of what is received; 0 leaves one as it is. False with errno.
bool setHops(int descriptor, int family, int hops, int minimum) {
  if (family == AF_INET) {
    return (hops == 0 || set(descriptor, IPPROTO_IP, IP_TTL, hops)) && (minimum == 0 || set(descriptor, IPPROTO_IP, IP_MINTTL, minimum));
  }
  return (hops == 0 || set(descriptor, IPPROTO_IPV6, IPV6_UNICAST_HOPS, hops)) &&
         (minimum == 0 || set(descriptor, IPPROTO_IPV6, IPV6_MINHOPCOUNT, minimum));
}

// Gives the socket a key for a peer (RFC 2385), or takes it away (no octets of key). False with errno.
bool setKey(int descriptor, const Endpoint& peer, int prefix, int ifindex, const uint8_t* key, size_t length) {
  tcp_md5sig request = {};
  memcpy(&request.tcpm_addr, &peer.storage, peer.length);
  if (length > sizeof request.tcpm_key) {
    errno = EMSGSIZE;
    return false;
  }
  request.tcpm_keylen = static_cast<uint16_t>(length);
  memcpy(request.tcpm_key, key, length);
  if (prefix < 0 && ifindex == 0) return setsockopt(descriptor, IPPROTO_TCP, TCP_MD5SIG, &request, sizeof request) == 0;
  if (prefix >= 0) {
    request.tcpm_flags |= TCP_MD5SIG_FLAG_PREFIX;
    request.tcpm_prefixlen = static_cast<uint8_t>(prefix);
  }
  if (ifindex != 0) {
    request.tcpm_flags |= TCP_MD5SIG_FLAG_IFINDEX;
    request.tcpm_ifindex = ifindex;
  }
  return setsockopt(descriptor, IPPROTO_TCP, TCP_MD5SIG_EXT, &request, sizeof request) == 0;
}

void mark(int descriptor, int family) {
  if (family == AF_INET) set(descriptor, IPPROTO_IP, IP_TOS, classSelector6);
  else set(descriptor, IPPROTO_IPV6, IPV6_TCLASS, classSelector6);
  set(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
}

// Closes and throws.
napi_value refuse(napi_env env, int descriptor, int error, const char* failed, const std::string& object) {
  if (descriptor >= 0) close(descriptor);
  return throwErrno(env, error, failed, object);
}

// bgpListen(netns, address, port, device): a listener, of one address family only. An address of zeros is any. With a device it
// takes only what comes in there, before one without a device does.
napi_value bgpListen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t count = 0;
  const uint8_t* octets = arguments.octets(1, &count);
  const std::string device = arguments.text(3);
  const InNamespace inside(arguments.integer(0));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", "BGP listener");
  const uint32_t scope = device.empty() ? 0 : if_nametoindex(device.c_str());
  Endpoint local(octets, count, static_cast<uint16_t>(arguments.integer(2)), scope);
  const int descriptor = socket(local.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return throwErrno(env, errno, "socket", "BGP listener");
  set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
  if (local.family() == AF_INET6) set(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (!device.empty() && setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, device.c_str(), static_cast<socklen_t>(device.size())) != 0) {
    return refuse(env, descriptor, errno, "SO_BINDTODEVICE", device);
  }
  mark(descriptor, local.family());
  // The answer to a SYN must pass a peer's GTSM (RFC 5082) already; who else is answered does not mind.
  setHops(descriptor, local.family(), 255, 0);
  if (bind(descriptor, local.get(), local.length) != 0) return refuse(env, descriptor, errno, "bind", "BGP listener");
  // As many neighbours may connect at once; who finds no room tries again after a second.
  if (listen(descriptor, 1024) != 0) return refuse(env, descriptor, errno, "listen", "BGP listener");
  return fromInteger(env, descriptor);
}

// bgpAccept(listener, octets, numbers): a connection, or a negative errno. `octets`: the peer's address, and from 16 on our own;
// `numbers`: the peer's length of address, port and interface, then ours; then how long ago the connection was made, in ms.
napi_value bgpAccept(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0;
  uint8_t* octets = arguments.octets(1, &length);
  auto* numbers = reinterpret_cast<uint32_t*>(arguments.octets(2, &length));
  Endpoint remote, local;
  remote.length = local.length = sizeof(sockaddr_storage);
  const int descriptor = accept4(arguments.integer(0), remote.get(), &remote.length, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (descriptor < 0) return fromInteger(env, -errno);
  getsockname(descriptor, local.get(), &local.length);
  mark(descriptor, remote.family());
  remote.write(numbers, octets);
  local.write(numbers + 3, octets + 16);
  // Nothing was sent on it yet: the kernel counts from the end of the handshake (tcp_create_openreq_child in tcp_minisocks.c).
  tcp_info state = {};
  socklen_t size = sizeof state;
  numbers[6] = getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &state, &size) == 0 ? state.tcpi_last_data_sent : 0;
  return fromInteger(env, descriptor);
}

// bgpConnect(netns, remote, port, local, device, hops, minimum, key): a connection that is being made: writable when done, and
// `socketError` says how. `local` may be empty; a device gives link-local addresses their scope and keeps the connection on it.
napi_value bgpConnect(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t remoteCount = 0, localCount = 0, keyLength = 0;
  const uint8_t* remoteOctets = arguments.octets(1, &remoteCount);
  const uint8_t* localOctets = arguments.octets(3, &localCount);
  const std::string device = arguments.text(4);
  const uint8_t* key = arguments.octets(7, &keyLength);
  const InNamespace inside(arguments.integer(0));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", "BGP connection");
  const uint32_t scope = device.empty() ? 0 : if_nametoindex(device.c_str());
  if (!device.empty() && scope == 0) return throwErrno(env, ENODEV, "if_nametoindex", device);
  Endpoint remote(remoteOctets, remoteCount, static_cast<uint16_t>(arguments.integer(2)), scope);
  const int descriptor = socket(remote.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return throwErrno(env, errno, "socket", "BGP connection");
  mark(descriptor, remote.family());
  if (!device.empty() && setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, device.c_str(), static_cast<socklen_t>(device.size())) != 0) {
    return refuse(env, descriptor, errno, "SO_BINDTODEVICE", device);
  }
  if (!setHops(descriptor, remote.family(), arguments.integer(5), arguments.integer(6))) {
    return refuse(env, descriptor, errno, "set the hop limit", "BGP connection");
  }
  if (keyLength > 0 && !setKey(descriptor, remote, -1, 0, key, keyLength)) return refuse(env, descriptor, errno, "TCP_MD5SIG", "");
  if (localCount > 0) {
    Endpoint local(localOctets, localCount, 0, scope);
    if (bind(descriptor, local.get(), local.length) != 0) return refuse(env, descriptor, errno, "bind", "BGP connection");
  }
  if (connect(descriptor, remote.get(), remote.length) != 0 && errno != EINPROGRESS) {
    return refuse(env, descriptor, errno, "connect", "BGP connection");
  }
  return fromInteger(env, descriptor);
}

// bgpKey(descriptor, address, prefix, ifindex, key): what peers in the prefix (-1: the address alone) sign with; no key: nothing any more.
// ENOENT: there was none to take away.
napi_value bgpKey(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t count = 0, length = 0;
  const uint8_t* octets = arguments.octets(1, &count);
  const uint8_t* key = arguments.octets(4, &length);
  const Endpoint peer(octets, count, 0, 0);
  if (!setKey(arguments.integer(0), peer, arguments.integer(2), arguments.integer(3), key, length)) {
    return throwErrno(env, errno, "TCP_MD5SIG", "");
  }
  return undefinedValue(env);
}

// bgpHops(descriptor, hops, minimum): as for bgpConnect, of a connection that was accepted.
napi_value bgpHops(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  sockaddr_storage storage = {};
  socklen_t length = sizeof storage;
  const int descriptor = arguments.integer(0);
  if (getsockname(descriptor, reinterpret_cast<sockaddr*>(&storage), &length) != 0 ||
      !setHops(descriptor, storage.ss_family, arguments.integer(1), arguments.integer(2))) {
    return throwErrno(env, errno, "set the hop limit", "BGP connection");
  }
  return undefinedValue(env);
}

// bgpNames(descriptor, octets, numbers): both ends of a connection, as bgpAccept tells them.
napi_value bgpNames(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0, size = 0;
  uint8_t* octets = arguments.octets(1, &length);
  auto* numbers = reinterpret_cast<uint32_t*>(arguments.octets(2, &size));
  Endpoint remote, local;
  remote.length = local.length = sizeof(sockaddr_storage);
  const int descriptor = arguments.integer(0);
  if (getpeername(descriptor, remote.get(), &remote.length) != 0 || getsockname(descriptor, local.get(), &local.length) != 0) {
    return throwErrno(env, errno, "getpeername", "BGP connection");
  }
  remote.write(numbers, octets);
  local.write(numbers + 3, octets + 16);
  return undefinedValue(env);
}

// bgpAcknowledged(descriptor): how many octets the peer's TCP has acknowledged so far, or a negative errno.
napi_value bgpAcknowledged(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  tcp_info state = {};
  socklen_t length = sizeof state;
  if (getsockopt(arguments.integer(0), IPPROTO_TCP, TCP_INFO, &state, &length) != 0) return fromInteger(env, -errno);
  return fromInteger(env, static_cast<int64_t>(state.tcpi_bytes_acked));
}

// bgpReset(descriptor): closes with a RST, which the peer sees at once and which leaves nothing in TIME_WAIT.
napi_value bgpReset(napi_env env, napi_callback_info info) {
  const int descriptor = Arguments(env, info).integer(0);
  const linger reset = {1, 0};
  setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(descriptor);
  return undefinedValue(env);
}

// advertOpen(netns, device): `[descriptor, ifindex]` of a raw ICMPv6 socket that hears router solicitations and advertisements on the
// interface and sends with hop limit 255 (RFC 4861, 6.1).
napi_value advertOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::string device = arguments.text(1);
  const InNamespace inside(arguments.integer(0));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", device);
  const uint32_t index = if_nametoindex(device.c_str());
  if (index == 0) return throwErrno(env, ENODEV, "if_nametoindex", device);
  const int descriptor = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6);
  if (descriptor < 0) return throwErrno(env, errno, "socket", "ICMPv6");
  icmp6_filter filter;
  ICMP6_FILTER_SETBLOCKALL(&filter);
  ICMP6_FILTER_SETPASS(ND_ROUTER_SOLICIT, &filter);
  ICMP6_FILTER_SETPASS(ND_ROUTER_ADVERT, &filter);
  setsockopt(descriptor, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
  set(descriptor, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255);
  set(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 255);
  set(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0);
  set(descriptor, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
  set(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_IF, static_cast<int>(index));
  if (setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, device.c_str(), static_cast<socklen_t>(device.size())) != 0) {
    return refuse(env, descriptor, errno, "SO_BINDTODEVICE", device);
  }
  // ff02::2: solicitations come to all routers. All nodes' group is every interface's anyway.
  ipv6_mreq routers = {};
  routers.ipv6mr_multiaddr.s6_addr[0] = 0xff;
  routers.ipv6mr_multiaddr.s6_addr[1] = 0x02;
  routers.ipv6mr_multiaddr.s6_addr[15] = 0x02;
  routers.ipv6mr_interface = index;
  if (setsockopt(descriptor, IPPROTO_IPV6, IPV6_JOIN_GROUP, &routers, sizeof routers) != 0) {
    return refuse(env, descriptor, errno, "IPV6_JOIN_GROUP", device);
  }
  napi_value result;
  napi_create_array_with_length(env, 2, &result);
  napi_set_element(env, result, 0, fromInteger(env, descriptor));
  napi_set_element(env, result, 1, fromInteger(env, index));
  return result;
}

// advertReceive(descriptor, target, source): octets of the ICMPv6 message, or a negative errno; `source` becomes the sender's
// address. 0: a packet that came through a router, which no neighbour's does.
napi_value advertReceive(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0, size = 0;
  uint8_t* target = arguments.octets(1, &length);
  uint8_t* source = arguments.octets(2, &size);
  sockaddr_in6 from = {};
  alignas(cmsghdr) char control[128];
  iovec part = {target, length};
  msghdr message = {};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t received = recvmsg(arguments.integer(0), &message, MSG_DONTWAIT);
  if (received < 0) return fromInteger(env, -errno);
  int hops = 0;
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_HOPLIMIT) memcpy(&hops, CMSG_DATA(item), sizeof hops);
  }
  if (hops != 255) return fromInteger(env, 0);
  memcpy(source, &from.sin6_addr, 16);
  return fromInteger(env, received);
}

// advertSend(descriptor, ifindex, destination, packet): 0 or a negative errno. The kernel fills in the checksum.
napi_value advertSend(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t count = 0, length = 0;
  const uint8_t* octets = arguments.octets(2, &count);
  const uint8_t* packet = arguments.octets(3, &length);
  sockaddr_in6 to = {};
  to.sin6_family = AF_INET6;
  memcpy(&to.sin6_addr, octets, 16);
  to.sin6_scope_id = static_cast<uint32_t>(arguments.integer(1));
  const ssize_t sent = sendto(arguments.integer(0), packet, length, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&to), sizeof to);
  return fromInteger(env, sent < 0 ? -errno : 0);
}

}  // namespace

void registerBgpSocket(napi_env env, napi_value exports) {
  define(env, exports, "bgpListen", bgpListen);
  define(env, exports, "bgpAccept", bgpAccept);
  define(env, exports, "bgpConnect", bgpConnect);
  define(env, exports, "bgpKey", bgpKey);
  define(env, exports, "bgpHops", bgpHops);
  define(env, exports, "bgpNames", bgpNames);
  define(env, exports, "bgpAcknowledged", bgpAcknowledged);
  define(env, exports, "bgpReset", bgpReset);
  define(env, exports, "advertOpen", advertOpen);
  define(env, exports, "advertReceive", advertReceive);
  define(env, exports, "advertSend", advertSend);
}

}  // namespace weft
