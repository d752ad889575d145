// One flow of probes: what it remembers of each, and what is counted. See probe.cc for the whole.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weft::probe {

inline constexpr uint32_t magic = 0x77656674;
inline constexpr size_t minimumPayload = 24;
inline constexpr size_t maximumPayload = 1400;
inline constexpr size_t batch = 16;
// Kept of each flow; more are counted only.
inline constexpr size_t outageLimit = 4096;
// Latency histogram: 32 steps for each doubling from 1 us on, so each is within 3 %.
inline constexpr int stepsPerOctave = 32;
inline constexpr size_t histogramLength = stepsPerOctave * 24;

// What a probe carries, after the ICMP header if it has one.
struct Payload {
  uint32_t magic;
  uint32_t flow;
  uint64_t sequence;
  // How long the responder had it, which is no latency of the network.
  double dwellNs;
};
static_assert(sizeof(Payload) == minimumPayload);

struct Outage {
  double startNs;
  // 0: it lasts.
  double endNs;
  double lost;
};

enum Answer : uint8_t { none, awaited, answered };

// As `ProbeCounter` in index.ts.
enum Counter {
  sent, received, lost, unsent, duplicates, reordered, late, refused, unreachable, latencySumNs, latencyMinNs, latencyMaxNs, outageCount,
  pendingNs, blindNs, counterCount
};

struct Target {
  sockaddr_storage storage = {};
  socklen_t length = 0;
  bool isV6 = false;

  Target(const uint8_t* octets, size_t count, uint16_t port, uint32_t scope) : isV6(count == 16) {
    if (isV6) {
      auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(port);
      v6->sin6_scope_id = scope;
      memcpy(&v6->sin6_addr, octets, 16);
      length = sizeof *v6;
    } else {
      auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
      v4->sin_family = AF_INET;
      v4->sin_port = htons(port);
      if (count == 4) memcpy(&v4->sin_addr, octets, 4);
      length = sizeof *v4;
    }
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

struct Flow {
  explicit Flow(const Target& target) : target(target) {}

  const Target target;
  int descriptor = -1;
  bool isIcmp = false;
  uint16_t identifier = 0;
  double spacingNs = 0;
  double timeoutNs = 0;
  // CLOCK_MONOTONIC.
  double dueNs = 0;
  double lastSentNs = 0;
  size_t mask = 0;
  std::unique_ptr<double[]> sentNs;
  std::unique_ptr<uint8_t[]> answers;
  uint64_t next = 0;
  uint64_t tail = 0;
  uint64_t highest = 0;
  bool isOut = false;
  double counters[counterCount] = {};
  uint32_t histogram[histogramLength] = {};
  std::vector<Outage> outages;
  std::vector<uint8_t> packet;

  ~Flow() { if (descriptor >= 0 && !isIcmp) close(descriptor); }
  size_t header() const { return isIcmp ? 8 : 0; }
};

// What is closed with its owner.
struct Socket {
  int descriptor = -1;
  ~Socket() { if (descriptor >= 0) close(descriptor); }
};

// The raw socket of the ICMP flows of one namespace and family.
struct IcmpSocket : Socket {
  std::pair<ino_t, bool> key;
  std::unordered_map<uint16_t, Flow*> flows;
};

// Buffers for one recvmmsg.
struct Received {
  mmsghdr messages[batch];
  iovec parts[batch];
  sockaddr_storage peers[batch];
  alignas(cmsghdr) char control[batch][256];
  uint8_t octets[batch][2048];

  int read(int descriptor) {
    for (size_t i = 0; i < batch; i++) {
      parts[i] = {octets[i], sizeof octets[i]};
      messages[i] = {};
      msghdr& header = messages[i].msg_hdr;
      header.msg_iov = &parts[i];
      header.msg_iovlen = 1;
      header.msg_name = &peers[i];
      header.msg_namelen = sizeof peers[i];
      header.msg_control = control[i];
      header.msg_controllen = sizeof control[i];
    }
    return recvmmsg(descriptor, messages, batch, MSG_DONTWAIT, nullptr);
  }
};

double clockNs(clockid_t clock);

// Decides about probes in order, as far as that is possible at `now` (CLOCK_REALTIME).
void decide(Flow& flow, double now);

// Sends one probe; `now` is CLOCK_MONOTONIC.
void sendOne(Flow& flow, double now);

// Take all that is there; `hasErrors`: the socket says that there are ICMP errors, too.
void receiveUdp(Flow& flow, Received& buffers, bool hasErrors);
void receiveIcmp(IcmpSocket& socket, Received& buffers, bool hasErrors);

// Sends back what came, from the address that it was sent to.
void respond(const Socket& responder, Received& buffers);

}  // namespace weft::probe
