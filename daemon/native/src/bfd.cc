// Sockets for BFD (RFC 5881, RFC 5883): made inside a network namespace and used outside, by the engine's thread.
//
// One socket for each namespace, family and port receives; one for each session sends, because each has a source port of its
// own (RFC 5881 4). What is received is written into arrays that the caller keeps: a packet allocates nothing.
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "addon.h"
#include "engine.h"

namespace weft {
namespace {

// A packet in the caller's memory: payload, source address, destination address. TypeScript has the same numbers.
constexpr size_t payloadOctets = 256;
constexpr size_t addressOctets = 16;
constexpr size_t packetOctets = payloadOctets + 2 * addressOctets;
// Of its integers: length, TTL (-1: unknown), interface.
constexpr size_t packetFields = 3;
constexpr size_t batch = 32;

// RFC 5881 4: source ports of control packets.
constexpr int firstSourcePort = 49152;
constexpr int sourcePorts = 65536 - firstSourcePort;

// RFC 2474 4.2.2.2: CS6, network control.
constexpr int trafficClass = 48 << 2;

struct Address {
  sockaddr_storage storage = {};
  socklen_t length = 0;
};

Address addressOf(const uint8_t* octets, size_t count, int port, int scope) {
  Address address;
  if (count == 16) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(port));
    if (octets != nullptr) memcpy(&v6->sin6_addr, octets, 16);
    if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) v6->sin6_scope_id = static_cast<uint32_t>(scope);
    address.length = sizeof *v6;
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(port));
    if (octets != nullptr && count == 4) memcpy(&v4->sin_addr, octets, 4);
    address.length = sizeof *v4;
  }
  return address;
}

bool set(int descriptor, int level, int option, int value) {
  return setsockopt(descriptor, level, option, &value, sizeof value) == 0;
}

// bfdListen(engine, netns, v6, port): a socket that receives what is sent to the port in the namespace, with TTL, interface and
// destination of each packet. EADDRINUSE: another program has the port.
napi_value bfdListen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const bool v6 = arguments.flag(2);
  const int port = arguments.integer(3);
  const std::string object = "UDP port " + std::to_string(port);
  const InNamespace inside(arguments.integer(1));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", object);
  const int descriptor = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return throwErrno(env, errno, "socket", object);
  const bool isSet = v6 ? set(descriptor, SOL_IPV6, IPV6_V6ONLY, 1) && set(descriptor, SOL_IPV6, IPV6_RECVPKTINFO, 1) &&
                              set(descriptor, SOL_IPV6, IPV6_RECVHOPLIMIT, 1)
                        : set(descriptor, SOL_IP, IP_PKTINFO, 1) && set(descriptor, SOL_IP, IP_RECVTTL, 1);
  // Room for what a thousand peers send while the thread is held up. Without the right to it, the default has to do.
  if (!set(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)) set(descriptor, SOL_SOCKET, SO_RCVBUF, 4 << 20);
  const Address address = addressOf(nullptr, v6 ? 16 : 4, port, 0);
  if (isSet && bind(descriptor, reinterpret_cast<const sockaddr*>(&address.storage), address.length) == 0) {
    engineOf(arguments)->bfdSockets.insert(descriptor);
    return fromInteger(env, descriptor);
  }
  const int error = errno;
  close(descriptor);
  return throwErrno(env, error, isSet ? "bind" : "setsockopt", object);
}

// Binds to a free port of RFC 5881 4, the search beginning at `start`. Returns 0 or an errno.
int bindSource(int descriptor, const uint8_t* local, size_t count, int start, int scope) {
  for (int i = 0; i < sourcePorts; i++) {
    const Address address = addressOf(local, count, firstSourcePort + (start + i) % sourcePorts, scope);
    if (bind(descriptor, reinterpret_cast<const sockaddr*>(&address.storage), address.length) == 0) return 0;
    if (errno != EADDRINUSE) return errno;
  }
  return EADDRINUSE;
}

// bfdOpen(engine, netns, ifname, local, v6, start): [descriptor, ifindex] of a socket that sends with TTL 255 and DSCP CS6, by the
// interface `ifname` if it is not empty, from `local` if that is not empty (else as the route says), from a port of its own.
napi_value bfdOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::string ifname = arguments.text(2);
  size_t count = 0;
  const uint8_t* local = arguments.octets(3, &count);
  const bool v6 = arguments.flag(4);
  const InNamespace inside(arguments.integer(1));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", "BFD socket");
  const unsigned ifindex = ifname.empty() ? 0 : if_nametoindex(ifname.c_str());
  if (!ifname.empty() && ifindex == 0) return throwErrno(env, errno, "if_nametoindex", ifname);
  const int descriptor = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return throwErrno(env, errno, "socket", "BFD");
  const auto fail = [&](int error, const char* syscall, const std::string& object) {
    close(descriptor);
    return throwErrno(env, error, syscall, object);
  };
  const bool isSet = v6 ? set(descriptor, SOL_IPV6, IPV6_V6ONLY, 1) && set(descriptor, SOL_IPV6, IPV6_UNICAST_HOPS, 255) &&
                              set(descriptor, SOL_IPV6, IPV6_TCLASS, trafficClass)
                        : set(descriptor, SOL_IP, IP_TTL, 255) && set(descriptor, SOL_IP, IP_TOS, trafficClass);
  if (!isSet) return fail(errno, "setsockopt", "BFD");
  // Nobody reads what comes to this port.
  set(descriptor, SOL_SOCKET, SO_RCVBUF, 0);
  set(descriptor, SOL_SOCKET, SO_PRIORITY, 6);
  if (ifindex != 0 && setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, ifname.c_str(), ifname.size() + 1) != 0) {
    return fail(errno, "SO_BINDTODEVICE", ifname);
  }
  const size_t octets = v6 ? 16 : 4;
  const int error = bindSource(descriptor, count == octets ? local : nullptr, octets, arguments.integer(5), static_cast<int>(ifindex));
  if (error != 0) return fail(error, "bind", count == 0 ? "BFD source port" : "BFD source address");
  engineOf(arguments)->bfdSockets.insert(descriptor);
  napi_value result;
  napi_create_array_with_length(env, 2, &result);
  napi_set_element(env, result, 0, fromInteger(env, descriptor));
  napi_set_element(env, result, 1, fromInteger(env, ifindex));
  return result;
}

// bfdClose(engine, descriptor): of a socket of the above.
napi_value bfdClose(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  if (engineOf(arguments)->bfdSockets.erase(arguments.integer(1)) > 0) close(arguments.integer(1));
  return undefinedValue(env);
}

// bfdAddress(octets, port, scope): what `bfdSend` sends to.
napi_value bfdAddress(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t count = 0;
  const uint8_t* octets = arguments.octets(0, &count);
  const Address address = addressOf(octets, count, arguments.integer(1), arguments.integer(2));
  return fromOctets(env, &address.storage, address.length);
}

// bfdSend(descriptor, packet, address): 0, or a positive errno.
napi_value bfdSend(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0, addressLength = 0;
  const uint8_t* packet = arguments.octets(1, &length);
  const uint8_t* address = arguments.octets(2, &addressLength);
  const ssize_t sent = sendto(arguments.integer(0), packet, length, MSG_DONTWAIT | MSG_NOSIGNAL,
                              reinterpret_cast<const sockaddr*>(address), static_cast<socklen_t>(addressLength));
  return fromInteger(env, sent < 0 ? errno : 0);
}

void readControl(msghdr& message, uint8_t* destination, int32_t* fields) {
  fields[1] = -1;
  fields[2] = 0;
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    const bool v4 = item->cmsg_level == SOL_IP;
    if ((v4 && item->cmsg_type == IP_TTL) || (item->cmsg_level == SOL_IPV6 && item->cmsg_type == IPV6_HOPLIMIT)) {
      memcpy(&fields[1], CMSG_DATA(item), sizeof(int));
    } else if (v4 && item->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      memcpy(&info, CMSG_DATA(item), sizeof info);
      fields[2] = info.ipi_ifindex;
      memcpy(destination, &info.ipi_addr, 4);
    } else if (item->cmsg_level == SOL_IPV6 && item->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      memcpy(&info, CMSG_DATA(item), sizeof info);
      fields[2] = static_cast<int32_t>(info.ipi6_ifindex);
      memcpy(destination, &info.ipi6_addr, 16);
    }
  }
}

// bfdReceive(descriptor, packets, fields): how many packets were received, as many as both have room for at most.
napi_value bfdReceive(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t octets = 0, fieldOctets = 0;
  uint8_t* packets = arguments.octets(1, &octets);
  auto* fields = reinterpret_cast<int32_t*>(arguments.octets(2, &fieldOctets));
  const size_t room = std::min({batch, octets / packetOctets, fieldOctets / (packetFields * sizeof(int32_t))});
  mmsghdr messages[batch] = {};
  iovec parts[batch];
  sockaddr_storage sources[batch];
  alignas(cmsghdr) char control[batch][128];
  for (size_t i = 0; i < room; i++) {
    parts[i] = {packets + i * packetOctets, payloadOctets};
    messages[i].msg_hdr = {&sources[i], sizeof sources[i], &parts[i], 1, control[i], sizeof control[i], 0};
  }
  const int count = recvmmsg(arguments.integer(0), messages, room, MSG_DONTWAIT, nullptr);
  for (int i = 0; i < count; i++) {
    uint8_t* source = packets + i * packetOctets + payloadOctets;
    if (sources[i].ss_family == AF_INET) memcpy(source, &reinterpret_cast<sockaddr_in*>(&sources[i])->sin_addr, 4);
    else memcpy(source, &reinterpret_cast<sockaddr_in6*>(&sources[i])->sin6_addr, 16);
    int32_t* own = fields + i * packetFields;
    own[0] = static_cast<int32_t>(messages[i].msg_len);
    readControl(messages[i].msg_hdr, source + addressOctets, own);
  }
  return fromInteger(env, std::max(0, count));
}

}  // namespace

void registerBfd(napi_env env, napi_value exports) {
  define(env, exports, "bfdListen", bfdListen);
  define(env, exports, "bfdOpen", bfdOpen);
  define(env, exports, "bfdClose", bfdClose);
  define(env, exports, "bfdAddress", bfdAddress);
  define(env, exports, "bfdSend", bfdSend);
  define(env, exports, "bfdReceive", bfdReceive);
}

}  // namespace weft
