// What becomes of a flow's probes: sent, answered, lost; and the answers of responders.
#include "probe_flow.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <time.h>

// Needs what time.h declares.
#include <linux/errqueue.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <tuple>

namespace weft::probe {

double clockNs(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

static size_t bucketOf(double ns) {
  if (ns < 1000) return 0;
  return std::min(histogramLength - 1, static_cast<size_t>(std::log2(ns / 1000) * stepsPerOctave));
}

static void beginOutage(Flow& flow, double startNs) {
  flow.isOut = true;
  flow.counters[outageCount]++;
  if (flow.outages.size() < outageLimit) flow.outages.push_back({startNs, 0, 0});
}

static void endOutage(Flow& flow, double endNs) {
  flow.isOut = false;
  if (flow.counters[outageCount] <= outageLimit) flow.outages.back().endNs = endNs;
}

void decide(Flow& flow, double now) {
  for (; flow.tail < flow.next; flow.tail++) {
    const size_t at = flow.tail & flow.mask;
    if (flow.answers[at] == answered) {
      if (flow.isOut) endOutage(flow, flow.sentNs[at]);
    } else {
      if (now - flow.sentNs[at] < flow.timeoutNs) break;
      flow.counters[lost]++;
      if (!flow.isOut) beginOutage(flow, flow.sentNs[at]);
      if (flow.counters[outageCount] <= outageLimit) flow.outages.back().lost++;
    }
    flow.answers[at] = none;
  }
  const bool waits = flow.tail < flow.next;
  flow.counters[pendingNs] = waits ? now - flow.sentNs[flow.tail & flow.mask] : 0;
}

static void note(Flow& flow, const Payload& payload, double at) {
  const uint64_t sequence = payload.sequence;
  if (sequence >= flow.next) return;
  if (sequence < flow.tail) {
    // Decided already: lost, and here after all, or a second answer.
    flow.counters[late]++;
    return;
  }
  const size_t index = sequence & flow.mask;
  if (flow.answers[index] == answered) {
    flow.counters[duplicates]++;
    return;
  }
  flow.answers[index] = answered;
  if (sequence < flow.highest) flow.counters[reordered]++;
  flow.highest = std::max(flow.highest, sequence);
  const double latency = std::max(0.0, at - flow.sentNs[index] - payload.dwellNs);
  double* counters = flow.counters;
  counters[latencyMinNs] = counters[received] == 0 ? latency : std::min(counters[latencyMinNs], latency);
  counters[latencyMaxNs] = std::max(counters[latencyMaxNs], latency);
  counters[latencySumNs] += latency;
  counters[received]++;
  flow.histogram[bucketOf(latency)]++;
}

static double stampOf(msghdr& message) {
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec time;
    memcpy(&time, CMSG_DATA(item), sizeof time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
  }
  return clockNs(CLOCK_REALTIME);
}

// What ICMP errors said about earlier probes (ip(7): IP_RECVERR). They must be taken, or the socket stays readable.
static void takeErrors(int descriptor, Flow* flow) {
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
      flow->counters[error.ee_errno == ECONNREFUSED ? refused : unreachable]++;
    }
  }
}

// Takes all that is there. `flowOf` says whose an answer is, by its octets up to the payload.
template <typename FlowOf>
static void receive(int descriptor, Received& buffers, FlowOf flowOf) {
  for (;;) {
    const int count = buffers.read(descriptor);
    // The last of the errors that were just taken is told once more.
    if (count < 0 && errno != EAGAIN && errno != EINTR) continue;
    if (count <= 0) return;
    for (int i = 0; i < count; i++) {
      const uint8_t* octets = buffers.octets[i];
      size_t before = 0;
      Flow* flow = flowOf(octets, &before);
      Payload payload;
      if (flow == nullptr || buffers.messages[i].msg_len < before + sizeof payload) continue;
      memcpy(&payload, octets + before, sizeof payload);
      if (payload.magic != magic || payload.flow != flow->identifier) continue;
      note(*flow, payload, stampOf(buffers.messages[i].msg_hdr));
    }
    if (count < static_cast<int>(batch)) return;
  }
}

void receiveUdp(Flow& flow, Received& buffers, bool hasErrors) {
  if (hasErrors) takeErrors(flow.descriptor, &flow);
  receive(flow.descriptor, buffers, [&flow](const uint8_t*, size_t*) { return &flow; });
}

void receiveIcmp(IcmpSocket& socket, Received& buffers, bool hasErrors) {
  // Whose they were is not worth knowing: what did not come back is lost anyway.
  if (hasErrors) takeErrors(socket.descriptor, nullptr);
  receive(socket.descriptor, buffers, [&socket](const uint8_t* octets, size_t* before) -> Flow* {
    // A raw IPv4 socket gets the IP header, too.
    const size_t header = socket.key.second ? 0 : static_cast<size_t>(octets[0] & 15) * 4;
    *before = header + 8;
    const auto found = socket.flows.find(static_cast<uint16_t>(octets[header + 4] << 8 | octets[header + 5]));
    return found == socket.flows.end() ? nullptr : found->second;
  });
}

void respond(const Socket& responder, Received& buffers) {
  for (;;) {
    const int count = buffers.read(responder.descriptor);
    if (count < 0 && errno != EAGAIN && errno != EINTR) continue;
    if (count <= 0) return;
    for (int i = 0; i < count; i++) {
      const size_t length = buffers.messages[i].msg_len;
      buffers.parts[i].iov_len = length;
      const double dwellNs = clockNs(CLOCK_REALTIME) - stampOf(buffers.messages[i].msg_hdr);
      if (length >= sizeof(Payload)) memcpy(buffers.octets[i] + offsetof(Payload, dwellNs), &dwellNs, sizeof dwellNs);
      for (cmsghdr* item = CMSG_FIRSTHDR(&buffers.messages[i].msg_hdr); item != nullptr;
           item = CMSG_NXTHDR(&buffers.messages[i].msg_hdr, item)) {
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
    int done = 0;
    while (done < count) {
      const auto left = static_cast<unsigned>(count - done);
      const int now = sendmmsg(responder.descriptor, buffers.messages + done, left, MSG_DONTWAIT | MSG_NOSIGNAL);
      done += now > 0 ? now : 1;
    }
    if (count < static_cast<int>(batch)) return;
  }
}

static uint16_t checksum(const uint8_t* octets, size_t length) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < length; i += 2) sum += static_cast<uint32_t>(octets[i] << 8 | octets[i + 1]);
  if (length % 2 == 1) sum += static_cast<uint32_t>(octets[length - 1] << 8);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

static void writePacket(Flow& flow) {
  const Payload payload = {magic, flow.identifier, flow.next, 0};
  uint8_t* packet = flow.packet.data();
  memcpy(packet + flow.header(), &payload, sizeof payload);
  if (!flow.isIcmp) return;
  packet[0] = flow.target.isV6 ? static_cast<uint8_t>(ICMP6_ECHO_REQUEST) : static_cast<uint8_t>(ICMP_ECHO);
  packet[1] = packet[2] = packet[3] = 0;
  packet[4] = static_cast<uint8_t>(flow.identifier >> 8);
  packet[5] = static_cast<uint8_t>(flow.identifier);
  packet[6] = static_cast<uint8_t>(flow.next >> 8);
  packet[7] = static_cast<uint8_t>(flow.next);
  // Over IPv6 the kernel fills it in (RFC 3542 3.1).
  if (flow.target.isV6) return;
  const uint16_t sum = checksum(packet, flow.packet.size());
  packet[2] = static_cast<uint8_t>(sum >> 8);
  packet[3] = static_cast<uint8_t>(sum);
}

void sendOne(Flow& flow, double now) {
  // More on their way than can be remembered: the oldest would be overwritten.
  if (flow.next - flow.tail > flow.mask) {
    flow.counters[unsent]++;
    return;
  }
  writePacket(flow);
  const double at = clockNs(CLOCK_REALTIME);
  ssize_t length = -1;
  int error = 0;
  // An error may be about an earlier probe, and is then told once.
  for (int attempt = 0; attempt < 2 && length < 0; attempt++) {
    const auto& [packet, target] = std::tie(flow.packet, flow.target);
    length = sendto(flow.descriptor, packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL, target.get(), target.length);
    error = length < 0 ? errno : 0;
  }
  // No room in the socket: our fault, not the network's. All else (no route, a filter) is the network's answer.
  if (length < 0 && (error == EAGAIN || error == ENOBUFS || error == ENOMEM || error == EINTR)) {
    flow.counters[unsent]++;
    return;
  }
  if (length < 0) flow.counters[unreachable]++;
  const size_t index = flow.next & flow.mask;
  flow.sentNs[index] = at;
  flow.answers[index] = awaited;
  flow.next++;
  flow.counters[sent]++;
  if (flow.lastSentNs > 0) flow.counters[blindNs] = std::max(flow.counters[blindNs], now - flow.lastSentNs - flow.spacingNs);
  flow.lastSentNs = now;
}

}  // namespace weft::probe
