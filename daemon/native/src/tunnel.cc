// Tunnels: frames of a TAP to another host and back, in UDP (VXLAN, Geneve) or GRE.
//
//     TAP -> pumpIntoTunnel or tunnelWrite -> Sender -> one of a pool of sockets -> underlay
//     underlay -> hub: one socket for each encapsulation, port and family -> (VNI or key, sender) -> trains -> TAP
//
// A packet is delivered only when a tunnel has its VNI and its sender: RFC 7348 7 leaves that check to us. What is refused
// is counted by reason. Received frames never pass through TypeScript; sent ones do when their direction has a profile.
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <unordered_map>

#include "addon.h"
#include "encapsulation.h"
#include "engine.h"
#include "sender.h"
#include "tap.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace weft {
namespace {

constexpr int framesPerTurn = 128;
constexpr size_t messagesPerTurn = 16;
constexpr size_t messageOctets = 65'536;
// What may wait in the kernel for the engine, and for the underlay's device.
constexpr int receiveBuffer = 16 << 20;
constexpr int sendBuffer = 8 << 20;

// VNI or key, and who sends: the key of a tunnel.
struct Key {
  uint32_t vni = 0;
  uint8_t address[16] = {};
  bool operator==(const Key& other) const { return vni == other.vni && memcmp(address, other.address, sizeof address) == 0; }
};

struct KeyHash {
  size_t operator()(const Key& key) const {
    uint64_t halves[2];
    memcpy(halves, key.address, sizeof halves);
    return (halves[0] * 31 + halves[1] + key.vni) * 0x9e3779b97f4a7c15ull >> 7;
  }
};

Key keyOf(uint32_t vni, const sockaddr_storage& from) {
  Key key;
  key.vni = vni;
  if (from.ss_family == AF_INET) {
    memcpy(key.address, &reinterpret_cast<const sockaddr_in&>(from).sin_addr, 4);
  } else {
    memcpy(key.address, &reinterpret_cast<const sockaddr_in6&>(from).sin6_addr, 16);
  }
  return key;
}

struct Tunnel {
  Destination to;
  int tap = -1;
  int hub = -1;
  int pool = -1;
  Key key;
  Passed received;
  bool isOpen = false;
};

// A receiving socket and the tunnels behind it.
struct Hub {
  int socket = -1;
  Encapsulation kind = Encapsulation::vxlan;
  int port = 0;
  int family = AF_INET;
  std::unordered_map<Key, int, KeyHash> tunnels;
  std::unordered_map<uint32_t, int> vnis;
};

// Sending sockets, shared by tunnels of the same family and local address.
struct Pool {
  std::array<int, poolSize> sockets;
  bool isUdp = true;
  sockaddr_storage local{};
  int users = 0;
};

}  // namespace

struct Tunnels {
  std::vector<std::unique_ptr<Tunnel>> tunnels;
  std::vector<Hub> hubs;
  std::vector<Pool> pools;
  Sender sender;
  std::vector<uint8_t> messages = std::vector<uint8_t>(messagesPerTurn * messageOctets);
  double refused[encapsulationCount][refusalCount] = {};
  // Packets that were delivered with Geneve options that their tunnel does not know.
  double packetsWithOptions = 0;
  // Lost in sockets that are closed by now.
  double overflows = 0;
};

namespace {

struct Failure {
  const char* syscall = nullptr;
  int error = 0;
};

void setOption(int socket, int level, int option, int value) { setsockopt(socket, level, option, &value, sizeof value); }

// A buffer as large as wanted, beyond the system's limit if that is allowed.
void setBuffer(int socket, int forced, int ordinary, int size) {
  if (setsockopt(socket, SOL_SOCKET, forced, &size, sizeof size) != 0) setOption(socket, SOL_SOCKET, ordinary, size);
}

// The lab's MTU is not the underlay's: packets may be fragmented on their way.
void allowFragments(int socket, int family) {
  if (family == AF_INET) setOption(socket, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
  else setOption(socket, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
}

sockaddr_storage addressOf(const uint8_t* octets, size_t count, int family, int port) {
  sockaddr_storage storage{};
  storage.ss_family = static_cast<sa_family_t>(family);
  if (family == AF_INET) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_port = htons(static_cast<uint16_t>(port));
    if (count == 4) memcpy(&v4.sin_addr, octets, 4);
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    v6.sin6_port = htons(static_cast<uint16_t>(port));
    if (count == 16) memcpy(&v6.sin6_addr, octets, 16);
  }
  return storage;
}

socklen_t lengthOf(int family) { return family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6); }

int openSocket(int family, bool isUdp, const sockaddr_storage& local, Failure& failure) {
  const int type = (isUdp ? SOCK_DGRAM : SOCK_RAW) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const int descriptor = socket(family, type, isUdp ? IPPROTO_UDP : IPPROTO_GRE);
  if (descriptor < 0) {
    failure = {"socket", errno};
    return -1;
  }
  if (family == AF_INET6) setOption(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (bind(descriptor, reinterpret_cast<const sockaddr*>(&local), lengthOf(family)) == 0) return descriptor;
  failure = {"bind", errno};
  close(descriptor);
  return -1;
}

// Takes nothing in: a sending socket's queue would only fill up.
void hearNothing(int socket) {
  sock_filter refuse = {BPF_RET | BPF_K, 0, 0, 0};
  const sock_fprog program = {1, &refuse};
  setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void closePool(Pool& pool) {
  for (int& socket : pool.sockets) {
    if (socket >= 0) close(socket);
    socket = -1;
  }
}

// The index of a pool, which has one more user, or -1.
int usePool(Tunnels& all, bool isUdp, const sockaddr_storage& local, Failure& failure) {
  size_t index = all.pools.size();
  for (size_t i = 0; i < all.pools.size(); i++) {
    Pool& pool = all.pools[i];
    if (pool.users == 0) index = i;
    else if (pool.isUdp == isUdp && memcmp(&pool.local, &local, sizeof local) == 0) return pool.users++, static_cast<int>(i);
  }
  if (index == all.pools.size()) all.pools.emplace_back();
  Pool& pool = all.pools[index];
  pool.isUdp = isUdp;
  pool.local = local;
  pool.sockets.fill(-1);
  for (size_t i = 0; i < (isUdp ? poolSize : 1); i++) {
    const int socket = openSocket(local.ss_family, isUdp, local, failure);
    if (socket < 0) return closePool(pool), -1;
    pool.sockets[i] = socket;
    hearNothing(socket);
    setBuffer(socket, SO_SNDBUFFORCE, SO_SNDBUF, sendBuffer);
    allowFragments(socket, local.ss_family);
  }
  pool.users = 1;
  return static_cast<int>(index);
}

// The index of the hub for such packets, or -1.
int useHub(Engine& engine, Encapsulation kind, int port, int family, Failure& failure) {
  Tunnels& all = *engine.tunnels;
  const bool isUdp = kind != Encapsulation::gre;
  if (!isUdp) port = 0;
  size_t index = all.hubs.size();
  for (size_t i = 0; i < all.hubs.size(); i++) {
    const Hub& hub = all.hubs[i];
    if (hub.socket < 0) index = i;
    else if (hub.kind == kind && hub.port == port && hub.family == family) return static_cast<int>(i);
  }
  const int socket = openSocket(family, isUdp, addressOf(nullptr, 0, family, port), failure);
  if (socket < 0) return -1;
  if (isUdp) setOption(socket, IPPROTO_UDP, UDP_GRO, 1);
  setBuffer(socket, SO_RCVBUFFORCE, SO_RCVBUF, receiveBuffer);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = static_cast<uint32_t>(firstHubKey - static_cast<int32_t>(index));
  if (epoll_ctl(engine.epoll, EPOLL_CTL_ADD, socket, &event) != 0) {
    failure = {"epoll_ctl", errno};
    close(socket);
    return -1;
  }
  if (index == all.hubs.size()) all.hubs.emplace_back();
  Hub& hub = all.hubs[index];
  hub.socket = socket;
  hub.kind = kind;
  hub.port = port;
  hub.family = family;
  return static_cast<int>(index);
}

double droppedBy(int socket) {
  uint32_t values[SK_MEMINFO_VARS] = {};
  socklen_t length = sizeof values;
  getsockopt(socket, SOL_SOCKET, SO_MEMINFO, values, &length);
  return values[SK_MEMINFO_DROPS];
}

void leaveHub(Tunnels& all, int index) {
  Hub& hub = all.hubs[static_cast<size_t>(index)];
  if (!hub.tunnels.empty() || hub.socket < 0) return;
  all.overflows += droppedBy(hub.socket);
  close(hub.socket);
  hub.socket = -1;
}

void leavePool(Tunnels& all, int index) {
  Pool& pool = all.pools[static_cast<size_t>(index)];
  if (--pool.users == 0) closePool(pool);
}

// tunnelOpen(handle, underlay, tap, encapsulation, port, vni, remote, local, sendOnly, options): the number of a new tunnel, whose
// sockets are in the namespace `underlay`. `local`: no octets for whichever address the route has. `sendOnly`: somebody else
// receives. `options`: of Geneve, as in its header. EADDRINUSE: somebody has the port, or there is such a tunnel. EINVAL: no options.
napi_value tunnelOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Engine* engine = engineOf(arguments);
  if (engine->tunnels == nullptr) engine->tunnels = new Tunnels();
  Tunnels& all = *engine->tunnels;
  const auto kind = static_cast<Encapsulation>(arguments.integer(3));
  const int port = arguments.integer(4);
  const bool isUdp = kind != Encapsulation::gre;
  size_t remoteLength = 0, localLength = 0;
  const uint8_t* remote = arguments.octets(6, &remoteLength);
  const uint8_t* local = arguments.octets(7, &localLength);
  const int family = remoteLength == 16 ? AF_INET6 : AF_INET;
  const bool receives = !arguments.flag(8);
  size_t optionOctets = 0;
  const uint8_t* options = arguments.octets(9, &optionOctets);
  if (!areOptions(options, optionOctets) || (optionOctets > 0 && kind != Encapsulation::geneve)) {
    return throwErrno(env, EINVAL, "tunnel", "options of Geneve");
  }
  const InNamespace inside(arguments.integer(1));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", "underlay");

  auto tunnel = std::make_unique<Tunnel>();
  tunnel->to.kind = kind;
  const auto vni = static_cast<uint32_t>(arguments.number(5));
  encapsulate(kind, vni, tunnel->to.header.data(), options, optionOctets);
  tunnel->to.headerLength = encapsulationLength + optionOctets;
  tunnel->to.address = addressOf(remote, remoteLength, family, isUdp ? port : 0);
  tunnel->to.addressLength = lengthOf(family);
  tunnel->tap = arguments.integer(2);
  tunnel->key = keyOf(vni, tunnel->to.address);
  Failure failure;
  if (receives) tunnel->hub = useHub(*engine, kind, port, family, failure);
  if (receives && tunnel->hub < 0) {
    return throwErrno(env, failure.error, failure.syscall, isUdp ? "UDP port " + std::to_string(port) : "GRE");
  }
  tunnel->pool = usePool(all, isUdp, addressOf(local, localLength, family, 0), failure);
  if (tunnel->pool < 0) {
    if (receives) leaveHub(all, tunnel->hub);
    return throwErrno(env, failure.error, failure.syscall, "source of tunnels");
  }
  size_t index = 0;
  while (index < all.tunnels.size() && all.tunnels[index] != nullptr) index++;
  if (receives) {
    Hub& hub = all.hubs[static_cast<size_t>(tunnel->hub)];
    if (!hub.tunnels.emplace(tunnel->key, static_cast<int>(index)).second) {
      leavePool(all, tunnel->pool);
      return throwErrno(env, EADDRINUSE, "tunnel", "VNI " + std::to_string(vni));
    }
    hub.vnis[vni]++;
  }
  const auto& sockets = all.pools[static_cast<size_t>(tunnel->pool)].sockets;
  for (size_t i = 0; i < poolSize; i++) tunnel->to.sockets[i] = sockets[isUdp ? i : 0];
  if (index == all.tunnels.size()) all.tunnels.emplace_back();
  all.tunnels[index] = std::move(tunnel);
  return fromInteger(env, static_cast<int64_t>(index));
}

Tunnel* tunnelOf(Engine* engine, int index) {
  if (engine->tunnels == nullptr || index < 0 || static_cast<size_t>(index) >= engine->tunnels->tunnels.size()) return nullptr;
  return engine->tunnels->tunnels[static_cast<size_t>(index)].get();
}

// tunnelClose(handle, tunnel): nothing is delivered to its TAP any more. Fine when there is none.
napi_value tunnelClose(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Engine* engine = engineOf(arguments);
  const Tunnel* tunnel = tunnelOf(engine, arguments.integer(1));
  if (tunnel == nullptr) return undefinedValue(env);
  Tunnels& all = *engine->tunnels;
  if (tunnel->hub >= 0) {
    Hub& hub = all.hubs[static_cast<size_t>(tunnel->hub)];
    hub.tunnels.erase(tunnel->key);
    if (--hub.vnis[tunnel->key.vni] == 0) hub.vnis.erase(tunnel->key.vni);
    leaveHub(all, tunnel->hub);
  }
  leavePool(all, tunnel->pool);
  all.tunnels[static_cast<size_t>(arguments.integer(1))] = nullptr;
  return undefinedValue(env);
}

// tunnelWrite(handle, tunnel, count): sends the packets in `outgoing` and frees their slots. Sets `result`: packets, octets,
// errors (counts `exhausted` what found no room in a queue).
napi_value tunnelWrite(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Engine* engine = engineOf(arguments);
  const int32_t count = arguments.integer(2);
  double* result = engine->result;
  result[packets] = result[octets] = result[errors] = result[exhausted] = 0;
  Tunnel* tunnel = tunnelOf(engine, arguments.integer(1));
  if (tunnel != nullptr) {
    Destination& to = tunnel->to;
    const Destination before = to;
    Sender& sender = engine->tunnels->sender;
    sender.begin(to, now());
    for (int32_t i = 0; i < count; i++) {
      const int32_t slot = engine->outgoing[i];
      uint8_t* frame = engine->at(slot);
      VnetHeader header;
      memcpy(&header, frame, vnetLength);
      sender.add(header, frame + vnetLength, engine->lengths[slot] - vnetLength);
    }
    sender.flush();
    result[packets] = to.sent.packets - before.sent.packets;
    result[octets] = to.sent.octets - before.sent.octets;
    result[errors] = to.sent.errors - before.sent.errors + to.unreachable - before.unreachable;
    result[exhausted] = to.overflows - before.overflows;
  }
  for (int32_t i = 0; i < count; i++) engine->give(engine->outgoing[i]);
  return undefinedValue(env);
}

// tunnelCounters(handle, tunnel, target): packets and octets sent, errors, overflows, unreachable; packets and octets
// delivered, and frames that the TAP did not take.
napi_value tunnelCounters(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const Tunnel* tunnel = tunnelOf(engineOf(arguments), arguments.integer(1));
  size_t octetCount = 0;
  void* data = arguments.octets(2, &octetCount);
  if (tunnel == nullptr || data == nullptr) return undefinedValue(env);
  const Destination& to = tunnel->to;
  const double values[] = {to.sent.packets, to.sent.octets, to.sent.errors, to.overflows, to.unreachable,
                           tunnel->received.packets, tunnel->received.octets, tunnel->received.errors};
  memcpy(data, values, sizeof values);
  return undefinedValue(env);
}

// tunnelRefusals(handle, target): by encapsulation and reason, how many packets were not delivered; then packets whose
// options were passed over, and packets that found no room before they were looked at.
napi_value tunnelRefusals(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const Engine* engine = engineOf(arguments);
  size_t octetCount = 0;
  auto* target = reinterpret_cast<double*>(arguments.octets(1, &octetCount));
  if (target == nullptr || engine->tunnels == nullptr) return undefinedValue(env);
  const Tunnels& all = *engine->tunnels;
  memcpy(target, all.refused, sizeof all.refused);
  double overflows = all.overflows;
  for (const Hub& hub : all.hubs) {
    if (hub.socket >= 0) overflows += droppedBy(hub.socket);
  }
  target[encapsulationCount * refusalCount] = all.packetsWithOptions;
  target[encapsulationCount * refusalCount + 1] = overflows;
  return undefinedValue(env);
}

// One packet, from behind UDP or from GRE on.
struct Arrival {
  const sockaddr_storage& from;
  // The tunnel of the packet before: those of one message mostly are of one.
  uint32_t vni = 0;
  Tunnel* tunnel = nullptr;
};

void deliver(Engine& engine, Hub& hub, Arrival& arrival, const uint8_t* packet, size_t length, bool udp) {
  Tunnels& all = *engine.tunnels;
  Inner inner;
  Refusal refusal = decapsulate(hub.kind, packet, length, inner);
  if (refusal == accepted && (arrival.tunnel == nullptr || arrival.vni != inner.vni)) {
    const auto found = hub.tunnels.find(keyOf(inner.vni, arrival.from));
    arrival.vni = inner.vni;
    arrival.tunnel = found == hub.tunnels.end() ? nullptr : all.tunnels[static_cast<size_t>(found->second)].get();
    if (arrival.tunnel == nullptr) refusal = hub.vnis.count(inner.vni) > 0 ? wrongSource : unknownVni;
  }
  Options options = Options::known;
  if (refusal == accepted && inner.optionOctets > 0) {
    // A tunnel knows the options that it sends.
    const Destination& to = arrival.tunnel->to;
    const uint8_t* begin = packet + inner.offset - inner.optionOctets;
    options = judgeOptions(begin, inner.optionOctets, to.header.data() + encapsulationLength, to.headerLength - encapsulationLength);
    if (options == Options::critical) refusal = badOptions;
  }
  if (refusal != accepted) {
    all.refused[static_cast<size_t>(hub.kind)][refusal]++;
    return;
  }
  if (options == Options::ignored) all.packetsWithOptions++;
  const uint8_t* frame = packet + inner.offset;
  const size_t octets = length - inner.offset;
  Tunnel& tunnel = *arrival.tunnel;
  engine.trains.add(tunnel.tap, tunnel.received, closedPacket(frame, octets), udp, flowHash(frame, octets));
}

}  // namespace

void pumpHub(Engine& engine, int32_t key) {
  Tunnels& all = *engine.tunnels;
  Hub& hub = all.hubs[static_cast<size_t>(firstHubKey - key)];
  if (hub.socket < 0) return;
  struct Incoming {
    sockaddr_storage from;
    iovec part;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  };
  Incoming incoming[messagesPerTurn];
  mmsghdr messages[messagesPerTurn];
  for (size_t i = 0; i < messagesPerTurn; i++) {
    incoming[i].part = {all.messages.data() + i * messageOctets, messageOctets};
    msghdr& message = messages[i].msg_hdr;
    message = {};
    message.msg_name = &incoming[i].from;
    message.msg_namelen = sizeof incoming[i].from;
    message.msg_iov = &incoming[i].part;
    message.msg_iovlen = 1;
    message.msg_control = incoming[i].control;
    message.msg_controllen = sizeof incoming[i].control;
  }
  const bool udp = takesUdpSuperFrames();
  const int count = recvmmsg(hub.socket, messages, messagesPerTurn, MSG_DONTWAIT, nullptr);
  for (int i = 0; i < count; i++) {
    const uint8_t* data = all.messages.data() + static_cast<size_t>(i) * messageOctets;
    size_t length = messages[i].msg_len;
    size_t size = length;
    for (cmsghdr* item = CMSG_FIRSTHDR(&messages[i].msg_hdr); item != nullptr; item = CMSG_NXTHDR(&messages[i].msg_hdr, item)) {
      int segment = 0;
      if (item->cmsg_level == SOL_UDP && item->cmsg_type == UDP_GRO) memcpy(&segment, CMSG_DATA(item), sizeof segment);
      if (segment > 0) size = static_cast<size_t>(segment);
    }
    if (hub.kind == Encapsulation::gre && hub.family == AF_INET) {
      // Raw sockets of IPv4 give the IP header too (raw(7)).
      const size_t header = length > 0 ? (data[0] & 15) * 4u : 0;
      data += std::min(header, length);
      length -= std::min(header, length);
      size = length;
    }
    Arrival arrival{incoming[i].from};
    size_t at = 0;
    do {
      deliver(engine, hub, arrival, data + at, std::min(size, length - at), udp);
      at += size;
    } while (at < length);
  }
  engine.trains.flush();
}

bool pumpIntoTunnel(Engine& engine, Lane& lane) {
  Tunnel* tunnel = tunnelOf(&engine, lane.tunnel);
  if (tunnel == nullptr) return false;
  Sender& sender = engine.tunnels->sender;
  sender.begin(tunnel->to, now());
  uint8_t* const begin = engine.passing.data();
  const uint8_t* const end = begin + engine.passing.size();
  uint8_t* at = begin;
  bool isReadable = true;
  for (int frame = 0; frame < framesPerTurn; frame++) {
    if (end - at < static_cast<ptrdiff_t>(encapsulationLength + largeOctets)) {
      sender.flush();
      at = begin;
    }
    VnetHeader header;
    const iovec parts[] = {{&header, vnetLength}, {at + encapsulationLength, largeOctets}};
    const ssize_t length = readv(lane.from, parts, 2);
    if (length < 0) {
      isReadable = faultOf(errno) == 0;
      break;
    }
    if (length < static_cast<ssize_t>(vnetLength + 14)) {
      tunnel->to.sent.errors++;
      continue;
    }
    const size_t octets = static_cast<size_t>(length) - vnetLength;
    sender.add(header, at + encapsulationLength, octets);
    at += (encapsulationLength + octets + 63) & ~size_t{63};
  }
  sender.flush();
  return isReadable;
}

void closeTunnels(Tunnels* tunnels) {
  if (tunnels == nullptr) return;
  for (const Hub& hub : tunnels->hubs) {
    if (hub.socket >= 0) close(hub.socket);
  }
  for (Pool& pool : tunnels->pools) {
    if (pool.users > 0) closePool(pool);
  }
  delete tunnels;
}

void registerTunnel(napi_env env, napi_value exports) {
  define(env, exports, "tunnelOpen", tunnelOpen);
  define(env, exports, "tunnelClose", tunnelClose);
  define(env, exports, "tunnelWrite", tunnelWrite);
  define(env, exports, "tunnelCounters", tunnelCounters);
  define(env, exports, "tunnelRefusals", tunnelRefusals);
}

}  // namespace weft
