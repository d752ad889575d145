// What becomes of a flow's probes, whatever they are: answered, lost, decided in order; outages and what else is told.
#include "probe_flow.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "addon.h"

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

Flow::Flow(const Target& target, const Options& options)
    : spacingNs(options.spacingNs), timeoutNs(std::max(options.spacingNs, options.timeoutNs)), target(target), options(options) {
  size_t room = 64;
  while (static_cast<double>(room) < 1.25 * timeoutNs / spacingNs + 16) room *= 2;
  mask = room - 1;
  slots = std::make_unique<Slot[]>(room);
}

uint64_t Flow::begin(double now, Fate fate) {
  slot(next).set(now, fate);
  if (tail == next) decideNs = now + timeoutNs;
  if (fate == Fate::failed) isDirty = true;
  counters[sent]++;
  if (lastSentNs > 0) counters[blindNs] = std::max(counters[blindNs], now - lastSentNs - spacingNs);
  lastSentNs = now;
  if (waitsNs == 0) waitsNs = now;
  return next++;
}

void Flow::hear(uint64_t sequence) {
  if (sequence < heard) return;
  heard = sequence + 1;
  if (heard == next) waitsNs = 0;
  else if (next - heard <= mask) waitsNs = slot(heard).sentNs();
}

bool Flow::answer(Loop& loop, uint64_t sequence, double at, double dwellNs) {
  if (sequence >= next) return false;
  hear(sequence);
  // Even when it comes late: data flows again.
  if (endsByData && isOut) endOutage(loop, at);
  if (sequence < tail) {
    // Decided already: lost, and here after all, or a second answer.
    counters[late]++;
    return false;
  }
  Slot& its = slot(sequence);
  if (its.fate() == Fate::answered) {
    counters[duplicates]++;
    return false;
  }
  if (its.fate() != Fate::awaited) return false;
  its.become(Fate::answered);
  isDirty = true;
  if (sequence < highest) counters[reordered]++;
  highest = std::max(highest, sequence);
  const double latency = std::max(0.0, at - its.sentNs() - dwellNs);
  counters[latencyMinNs] = counters[received] == 0 ? latency : std::min(counters[latencyMinNs], latency);
  counters[latencyMaxNs] = std::max(counters[latencyMaxNs], latency);
  if (latency >= counters[slowestNs]) {
    counters[slowestNs] = latency;
    counters[slowestAtNs] = at + loop.realOffsetNs;
  }
  counters[latencySumNs] += latency;
  counters[received]++;
  histogram[bucketOf(latency)]++;
  return true;
}

void Flow::fail(uint64_t sequence) {
  if (sequence < tail || sequence >= next || slot(sequence).fate() != Fate::awaited) return;
  slot(sequence).become(Fate::failed);
  isDirty = true;
}

void Flow::beginOutage(Loop& loop, double startNs) {
  isOut = true;
  counters[outageCount]++;
  if (outages.size() < outageLimit) outages.push_back({startNs + loop.realOffsetNs, 0, 0});
}

void Flow::endOutage(Loop& loop, double endNs) {
  isOut = false;
  endedNs = endNs;
  if (counters[outageCount] <= outageLimit) outages.back().endNs = endNs + loop.realOffsetNs;
}

void Flow::decide(Loop& loop, double now) {
  isDirty = false;
  for (; tail < next; tail++) {
    const Slot& its = slot(tail);
    if (its.fate() == Fate::answered) {
      if (isOut && !endsByData) endOutage(loop, its.sentNs());
      continue;
    }
    if (its.fate() == Fate::awaited && now - its.sentNs() < timeoutNs) break;
    counters[lost]++;
    // What waited in a stalled connection may be given up after data flows again: it belongs to the outage before.
    if (!isOut && !(endsByData && its.sentNs() < endedNs)) beginOutage(loop, its.sentNs());
    if (counters[outageCount] <= outageLimit && !outages.empty()) outages.back().lost++;
  }
  decideNs = tail < next ? slot(tail).sentNs() + timeoutNs : HUGE_VAL;
}

bool Flow::isSilent(double now) const {
  constexpr double patienceNs = 5e6;
  return waitsNs > 0 && waitsNs + patienceNs + 4 * counters[latencyMinNs] < now;
}

double Flow::answeredAfterNs() const {
  for (uint64_t at = tail; at < next && !endsByData; at++) {
    const Slot& its = slots[at & mask];
    if (its.fate() == Fate::answered) return its.sentNs();
  }
  return 0;
}

void Flow::note(Loop& loop, Event event, double atNs, double lengthNs, int value, std::string text) {
  counters[noteCount]++;
  if (notes.size() < noteLimit) notes.push_back({atNs + loop.realOffsetNs, event, lengthNs, value, std::move(text)});
}

Event eventOf(int error) {
  switch (error) {
    case 0: return Event::closed;
    case ECONNRESET:
    case EPIPE: return Event::reset;
    case ECONNREFUSED: return Event::refused;
    case ETIMEDOUT: return Event::timeout;
    default: return Event::unreachable;
  }
}

int Received::read(int descriptor, size_t most) {
  for (size_t i = 0; i < most; i++) {
    parts[i] = {octets[i], sizeof octets[i]};
    msghdr& header = messages[i].msg_hdr;
    header = {};
    header.msg_iov = &parts[i];
    header.msg_iovlen = 1;
    header.msg_name = &peers[i];
    header.msg_namelen = sizeof peers[i];
    header.msg_control = control[i];
    header.msg_controllen = sizeof control[i];
  }
  return recvmmsg(descriptor, messages, static_cast<unsigned>(most), MSG_DONTWAIT, nullptr);
}

int openIn(int netns, int family, int type, int protocol, const char** failed) {
  const InNamespace inside(netns);
  *failed = inside.error != 0 ? "setns" : "socket";
  if (inside.error != 0) return -inside.error;
  const int descriptor = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  return descriptor < 0 ? -errno : descriptor;
}

void enable(int descriptor, int level, int option) {
  const int on = 1;
  setsockopt(descriptor, level, option, &on, sizeof on);
}

void enlarge(int descriptor) {
  const int octets = 8 << 20;
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets);
}

double stampOf(const Loop& loop, msghdr& message) {
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec time;
    memcpy(&time, CMSG_DATA(item), sizeof time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec) - loop.realOffsetNs;
  }
  return clockNs(CLOCK_MONOTONIC);
}

int bindSource(const Flow& flow, int descriptor) {
  const std::string& source = flow.options.source;
  if (source.empty()) return 0;
  // A node that is back may have its address a moment later.
  if (flow.next > 0) enable(descriptor, flow.target.isV6 ? SOL_IPV6 : SOL_IP, flow.target.isV6 ? IPV6_FREEBIND : IP_FREEBIND);
  const uint32_t scope = flow.target.isV6 ? reinterpret_cast<const sockaddr_in6*>(flow.target.get())->sin6_scope_id : 0;
  const Target from(reinterpret_cast<const uint8_t*>(source.data()), source.size(), 0, scope);
  return bind(descriptor, from.get(), from.length) == 0 ? 0 : errno;
}

}  // namespace weft::probe
