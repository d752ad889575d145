// Flows of datagrams: UDP, ICMP echo, DNS; and the responder of UDP.
#include "probe_datagram.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <time.h>

// Needs what time.h declares.
#include <linux/errqueue.h>
#include <linux/filter.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <utility>

namespace weft::probe {
namespace {

// What ICMP errors said about earlier probes (ip(7): IP_RECVERR). They must be taken, or the socket stays readable.
void takeErrors(int descriptor, Flow* flow) {
  alignas(cmsghdr) char control[512];
  for (;;) {
    msghdr message = {};
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(descriptor, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return;
    for (cmsghdr* item = CMSG_FIRSTHDR(&message); flow != nullptr && item != nullptr; item = CMSG_NXTHDR(&message, item)) {
      const bool isV4 = item->cmsg_level == SOL_IP && item->cmsg_type == IP_RECVERR;
      if (!isV4 && !(item->cmsg_level == SOL_IPV6 && item->cmsg_type == IPV6_RECVERR)) continue;
      sock_extended_err error;
      memcpy(&error, CMSG_DATA(item), sizeof error);
      flow->count(static_cast<int>(error.ee_errno));
    }
  }
}

// A flow of its own socket has few answers waiting: to make room for more costs as much as to take one.
constexpr size_t fewAnswers = 2;

// Takes all that is there: `take(octets, length, at)` for each.
template <typename Take>
void receive(Loop& loop, int descriptor, size_t most, Take take) {
  Received& buffers = *loop.buffers;
  for (;;) {
    const int count = buffers.read(descriptor, most);
    // The last of the errors that were just taken is told once more.
    if (count < 0 && errno != EAGAIN && errno != EINTR) continue;
    if (count <= 0) return;
    for (int i = 0; i < count; i++) take(buffers.octets[i], buffers.messages[i].msg_len, stampOf(loop, buffers.messages[i].msg_hdr));
    if (count < static_cast<int>(most)) return;
  }
}

// No room in the socket or in the machine: our fault, not the network's.
bool isOurs(int error) { return error == EAGAIN || error == ENOBUFS || error == ENOMEM || error == EINTR; }

// Sends one probe that `packet` has, and leaves its number to the flow.
void sendPacket(Flow& flow, int descriptor, double now, const char* packet, size_t length) {
  // The socket is not connected: routes and the address to send from are looked up anew for each probe, as they are for new traffic.
  ssize_t done = -1;
  int error = descriptor < 0 ? ENETUNREACH : 0;
  // An error may be about an earlier probe, and is then told once.
  for (int attempt = 0; attempt < 2 && done < 0 && descriptor >= 0; attempt++) {
    done = sendto(descriptor, packet, length, MSG_DONTWAIT | MSG_NOSIGNAL, flow.target.get(), flow.target.length);
    error = done < 0 ? errno : 0;
  }
  if (done < 0 && isOurs(error)) {
    flow.counters[unsent]++;
    return;
  }
  // No route, a filter: that is the network's answer.
  if (done < 0) flow.count(error);
  flow.begin(now, done < 0 ? Fate::failed : Fate::awaited);
}

struct UdpFlow : Flow, Source {
  using Flow::Flow;

  int enter(Loop& loop, int netns, const char** failed) override {
    const int opened = openIn(netns, target.family(), SOCK_DGRAM, 0, failed);
    if (opened < 0) return -opened;
    descriptor = opened;
    enable(descriptor, SOL_SOCKET, SO_TIMESTAMPNS);
    enable(descriptor, target.isV6 ? SOL_IPV6 : SOL_IP, target.isV6 ? IPV6_RECVERR : IP_RECVERR);
    enlarge(descriptor);
    *failed = "bind";
    if (const int error = bindSource(*this, descriptor); error != 0) return error;
    *failed = "epoll_ctl";
    return loop.watch(*this, EPOLLIN) ? 0 : errno;
  }

  void leave(Loop&) override { shutSource(); }

  void send(Loop&, double now) override {
    if (isFull()) {
      counters[unsent]++;
      return;
    }
    write();
    sendPacket(*this, descriptor, now, octets.data(), octets.size());
  }

  void ready(Loop& loop, uint32_t events) override {
    if (descriptor < 0) return;
    if ((events & EPOLLERR) != 0) takeErrors(descriptor, this);
    receive(loop, descriptor, fewAnswers, [this, &loop](const uint8_t* data, size_t length, double at) { take(loop, data, length, at); });
  }

 protected:
  virtual void write() {
    octets.resize(options.payload);
    const Payload payload = {magic, id, next, 0};
    memcpy(octets.data(), &payload, sizeof payload);
  }

  virtual void take(Loop& loop, const uint8_t* data, size_t length, double at) {
    Payload payload;
    if (length < sizeof payload) return;
    memcpy(&payload, data, sizeof payload);
    if (payload.magic == magic && payload.flow == id) answer(loop, payload.sequence, at, payload.dwellNs);
  }
};

// A record of an answer without its time to live and its place, so that the same answer in another order is the same.
uint64_t hashOf(const uint8_t* data, size_t length) {
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = 0; i < length; i++) hash = (hash ^ data[i]) * 0x100000001b3;
  return hash;
}

struct DnsFlow : UdpFlow {
  using UdpFlow::UdpFlow;
  // A hash of the answer, or the complement of an errno.
  uint64_t lastSeen = 0;

  // That nobody answers is told as well.
  void silence(Loop& loop, double now, int error) {
    if (isHomeless() || std::exchange(lastSeen, ~static_cast<uint64_t>(error)) == ~static_cast<uint64_t>(error)) return;
    note(loop, Event::verdict, now, 0, error);
  }

  void ready(Loop& loop, uint32_t events) override {
    const double refusals = counters[Counter::refused], others = counters[Counter::unreachable];
    UdpFlow::ready(loop, events);
    if (counters[Counter::refused] > refusals) silence(loop, clockNs(CLOCK_MONOTONIC), ECONNREFUSED);
    else if (counters[Counter::unreachable] > others) silence(loop, clockNs(CLOCK_MONOTONIC), EHOSTUNREACH);
  }

  void tick(Loop& loop, double now) override {
    const bool isTold = lastSeen == ~static_cast<uint64_t>(ECONNREFUSED) || lastSeen == ~static_cast<uint64_t>(EHOSTUNREACH);
    if (isOut && lastHeardNs < now - timeoutNs && !isTold) silence(loop, now, ETIMEDOUT);
  }

  // When anything was answered, right or wrong.
  double lastHeardNs = 0;

  void write() override {
    octets = options.request;
    octets[0] = static_cast<char>(next >> 8);
    octets[1] = static_cast<char>(next);
  }

  // RFC 1035 4.1: names end in a zero or in a pointer.
  static size_t skipName(const uint8_t* data, size_t length, size_t at) {
    while (at < length && data[at] != 0) {
      if (data[at] >= 0xc0) return at + 2;
      at += data[at] + 1U;
    }
    return at + 1;
  }

  void take(Loop& loop, const uint8_t* data, size_t length, double at) override {
    if (length < 12 || (data[2] & 0x80) == 0) return;
    lastHeardNs = at;
    // The number has 16 bits only: the newest that it may be.
    const uint64_t low = static_cast<uint64_t>(data[0]) << 8 | data[1];
    uint64_t sequence = (next & ~uint64_t{0xffff}) | low;
    if (sequence >= next) sequence -= 0x10000;
    const int code = data[3] & 15;
    const size_t questions = static_cast<size_t>(data[4] << 8 | data[5]), answers = static_cast<size_t>(data[6] << 8 | data[7]);
    size_t place = 12;
    for (size_t i = 0; i < questions && place < length; i++) place = skipName(data, length, place) + 4;
    uint64_t seen = static_cast<uint64_t>(code) + 1;
    bool isFound = options.expected.empty() && answers > 0;
    for (size_t i = 0; i < answers && place < length; i++) {
      const size_t head = skipName(data, length, place);
      if (head + 10 > length) break;
      const size_t size = static_cast<size_t>(data[head + 8] << 8 | data[head + 9]);
      if (head + 10 + size > length) break;
      seen += hashOf(data + head, 4) * 31 + hashOf(data + head + 10, size);
      const std::string& wanted = options.expected;
      if (size == wanted.size() && memcmp(data + head + 10, wanted.data(), size) == 0) isFound = true;
      place = head + 10 + size;
    }
    if (seen != lastSeen) {
      lastSeen = seen;
      note(loop, Event::verdict, at, 0, code, std::string(reinterpret_cast<const char*>(data), length));
    }
    if (code == 0 && isFound) answer(loop, sequence, at);
    else if (sequence < next && sequence >= tail && slot(sequence).fate() == Fate::awaited) {
      counters[wrong]++;
      fail(sequence);
    }
  }
};

uint16_t checksum(const uint8_t* octets, size_t length) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < length; i += 2) sum += static_cast<uint32_t>(octets[i] << 8 | octets[i + 1]);
  if (length % 2 == 1) sum += static_cast<uint32_t>(octets[length - 1] << 8);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

// The identifiers of a thread's flows are those that leave its number when they are divided by this.
constexpr uint16_t mostLanes = 4;

// Nothing but echo replies to this thread: without it the socket would be woken by every ICMP packet of the node.
void filterReplies(int descriptor, bool isV6, uint32_t lane) {
  // A raw IPv4 socket sees the IP header, too. Loads the identifier; passes it, or nothing of it.
  std::vector<sock_filter> code;
  if (!isV6) code.push_back(BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0));
  if (isV6) code.push_back(BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4));
  else code.push_back(BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4));
  code.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mostLanes - 1));
  code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, lane, 0, 1));
  code.push_back(BPF_STMT(BPF_RET | BPF_K, 0xffffffff));
  code.push_back(BPF_STMT(BPF_RET | BPF_K, 0));
  const sock_fprog program = {static_cast<unsigned short>(code.size()), code.data()};
  setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);

  if (isV6) {
    icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
    setsockopt(descriptor, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
  } else {
    const uint32_t filter = ~(1U << ICMP_ECHOREPLY);
    setsockopt(descriptor, SOL_RAW, 1 /* ICMP_FILTER, linux/icmp.h */, &filter, sizeof filter);
  }
}

struct IcmpFlow : Flow {
  using Flow::Flow;
  static constexpr size_t header = 8;

  // The socket of the place, made for its first flow.
  int enter(Loop& loop, int netns, const char** failed) override {
    std::unique_ptr<IcmpSocket>& shared = place->icmp[target.isV6 ? 1 : 0];
    if (shared == nullptr) {
      auto made = std::make_unique<IcmpSocket>();
      made->isV6 = target.isV6;
      const int protocol = target.isV6 ? static_cast<int>(IPPROTO_ICMPV6) : static_cast<int>(IPPROTO_ICMP);
      const int opened = openIn(netns, target.family(), SOCK_RAW, protocol, failed);
      if (opened < 0) return -opened;
      made->descriptor = opened;
      enable(opened, SOL_SOCKET, SO_TIMESTAMPNS);
      enable(opened, target.isV6 ? SOL_IPV6 : SOL_IP, target.isV6 ? IPV6_RECVERR : IP_RECVERR);
      enlarge(opened);
      filterReplies(opened, target.isV6, loop.lane);
      *failed = "epoll_ctl";
      if (!loop.watch(*made, EPOLLIN)) return errno;
      shared = std::move(made);
    }
    // The one that it had, if that is possible.
    if (identifier == 0) identifier = static_cast<uint16_t>(id * mostLanes + loop.lane);
    while (shared->flows.contains(identifier)) identifier += mostLanes;
    shared->flows[identifier] = this;
    return 0;
  }

  void leave(Loop& loop) override {
    std::unique_ptr<IcmpSocket>& shared = place->icmp[target.isV6 ? 1 : 0];
    if (shared == nullptr) return;
    const auto found = shared->flows.find(identifier);
    if (found != shared->flows.end() && found->second == this) shared->flows.erase(found);
    if (shared->flows.empty()) loop.bury(std::move(shared));
  }

  void send(Loop&, double now) override {
    if (isFull()) {
      counters[unsent]++;
      return;
    }
    octets.resize(header + options.payload);
    auto* packet = reinterpret_cast<uint8_t*>(octets.data());
    const Payload payload = {magic, id, next, 0};
    memcpy(packet + header, &payload, sizeof payload);
    packet[0] = target.isV6 ? static_cast<uint8_t>(ICMP6_ECHO_REQUEST) : static_cast<uint8_t>(ICMP_ECHO);
    packet[1] = packet[2] = packet[3] = 0;
    packet[4] = static_cast<uint8_t>(identifier >> 8);
    packet[5] = static_cast<uint8_t>(identifier);
    packet[6] = static_cast<uint8_t>(next >> 8);
    packet[7] = static_cast<uint8_t>(next);
    // Over IPv6 the kernel fills it in (RFC 3542 3.1).
    if (!target.isV6) {
      const uint16_t sum = checksum(packet, octets.size());
      packet[2] = static_cast<uint8_t>(sum >> 8);
      packet[3] = static_cast<uint8_t>(sum);
    }
    const IcmpSocket* shared = place->icmp[target.isV6 ? 1 : 0].get();
    sendPacket(*this, shared == nullptr ? -1 : shared->descriptor, now, octets.data(), octets.size());
  }
};

struct UdpResponder : Responder, Source {
  using Responder::Responder;
  int socket() const override { return descriptor; }

  int enter(Loop& loop, int netns, const char** failed) override {
    const int opened = openIn(netns, address.family(), SOCK_DGRAM, 0, failed);
    if (opened < 0) return -opened;
    descriptor = opened;
    enable(descriptor, SOL_SOCKET, SO_TIMESTAMPNS);
    enlarge(descriptor);
    // Bound to one address, it answers from that anyway.
    if (address.isV6) {
      enable(descriptor, SOL_IPV6, IPV6_V6ONLY);
      if (address.isAny()) enable(descriptor, SOL_IPV6, IPV6_RECVPKTINFO);
      enable(descriptor, SOL_IPV6, IPV6_FREEBIND);
    } else {
      if (address.isAny()) enable(descriptor, SOL_IP, IP_PKTINFO);
      enable(descriptor, SOL_IP, IP_FREEBIND);
    }
    *failed = "bind";
    // The port is to be nobody else's at first; then it may be shared.
    if (isHelper || isShared) enable(descriptor, SOL_SOCKET, SO_REUSEPORT);
    if (bind(descriptor, address.get(), address.length) != 0) return errno;
    enable(descriptor, SOL_SOCKET, SO_REUSEPORT);
    isShared = true;
    settle(processor);
    *failed = "epoll_ctl";
    return loop.watch(*this, EPOLLIN) ? 0 : errno;
  }

  void leave(Loop&) override { shutSource(); }

  std::unique_ptr<Responder> helper() const override {
    auto made = std::make_unique<UdpResponder>(address);
    made->isHelper = true;
    return made;
  }

  // Of the sockets of a port, the kernel chooses the one whose thread runs where the packet came in (socket(7): SO_INCOMING_CPU).
  void settle(int current) override {
    processor = current;
    if (descriptor >= 0 && processor >= 0) setsockopt(descriptor, SOL_SOCKET, SO_INCOMING_CPU, &processor, sizeof processor);
  }

  // Sends back what came, from the address that it was sent to.
  void ready(Loop& loop, uint32_t) override {
    Received& buffers = *loop.buffers;
    while (descriptor >= 0) {
      const int count = buffers.read(descriptor);
      if (count < 0 && errno != EAGAIN && errno != EINTR) continue;
      if (count <= 0) return;
      const double now = clockNs(CLOCK_MONOTONIC);
      for (int i = 0; i < count; i++) {
        const size_t length = buffers.messages[i].msg_len;
        // What is larger than any probe looks for what fits on the way here, not on the way back.
        buffers.parts[i].iov_len = length > maximumPayload ? minimumPayload : length;
        const double dwellNs = now - stampOf(loop, buffers.messages[i].msg_hdr);
        if (length >= sizeof(Payload)) memcpy(buffers.octets[i] + offsetof(Payload, dwellNs), &dwellNs, sizeof dwellNs);
        turn(buffers.messages[i].msg_hdr);
      }
      int done = 0;
      while (done < count) {
        const auto left = static_cast<unsigned>(count - done);
        const int sent = sendmmsg(descriptor, buffers.messages + done, left, MSG_DONTWAIT | MSG_NOSIGNAL);
        done += sent > 0 ? sent : 1;
      }
      if (count < static_cast<int>(batch)) return;
    }
  }

 private:
  bool isShared = false;
  int processor = -1;

  static void turn(msghdr& message) {
    for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
      // The way back is for routing to choose, not the interface that it came in by.
      if (item->cmsg_level == SOL_IP && item->cmsg_type == IP_PKTINFO) {
        reinterpret_cast<in_pktinfo*>(CMSG_DATA(item))->ipi_ifindex = 0;
      } else if (item->cmsg_level == SOL_SOCKET) {
        // The stamp is not for sending; a level that sendmsg(2) does not know is passed over.
        item->cmsg_level = -1;
      } else if (item->cmsg_level == SOL_IPV6 && item->cmsg_type == IPV6_PKTINFO) {
        auto* info = reinterpret_cast<in6_pktinfo*>(CMSG_DATA(item));
        if (!IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr)) info->ipi6_ifindex = 0;
      }
    }
  }
};

}  // namespace

void IcmpSocket::ready(Loop& loop, uint32_t events) {
  if (descriptor < 0) return;
  // Whose they were is not worth knowing: what did not come back is lost anyway.
  if ((events & EPOLLERR) != 0) takeErrors(descriptor, nullptr);
  receive(loop, descriptor, batch, [this, &loop](const uint8_t* data, size_t length, double at) {
    // A raw IPv4 socket gets the IP header, too.
    const size_t header = isV6 ? 0 : static_cast<size_t>(data[0] & 15) * 4;
    Payload payload;
    if (length < header + 8 + sizeof payload) return;
    const auto found = flows.find(static_cast<uint16_t>(data[header + 4] << 8 | data[header + 5]));
    memcpy(&payload, data + header + 8, sizeof payload);
    if (found == flows.end() || payload.magic != magic || payload.flow != found->second->id) return;
    found->second->answer(loop, payload.sequence, at);
  });
}

std::unique_ptr<Flow> makeDatagramFlow(const Target& target, const Options& options) {
  if (options.kind == icmp) return std::make_unique<IcmpFlow>(target, options);
  if (options.kind == dns) return std::make_unique<DnsFlow>(target, options);
  return std::make_unique<UdpFlow>(target, options);
}

std::unique_ptr<Responder> makeDatagramResponder(const Target& target) { return std::make_unique<UdpResponder>(target); }

}  // namespace weft::probe
