// Flows of probes and the responders that answer them, in a thread of their own: neither JavaScript nor its garbage
// collector comes between a packet and its time, so a probe is sent when it should be even while the daemon is busy, and
// what could not be sent in time is counted instead of passing for loss.
//
//     flow: a socket in the source node   -- sequence number -->   responder: a socket in the destination, or its kernel (ICMP)
//                                         <-- the same back ---
//
// UDP flows have a socket each, and so a port; the ICMP flows of a node share one, because the kernel shows every reply to
// every raw socket. For each probe it remembers when it was sent until the answer is there or the
// timeout over; sequence numbers are decided in order, so a run of lost ones is an outage: from when the first of them
// was sent until the first later one was that came back. Times are ns of CLOCK_REALTIME, the clock of the kernel's stamps.
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// Needs what time.h declares.
#include <linux/errqueue.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "addon.h"

namespace weft {
namespace {

constexpr uint32_t magic = 0x77656674;
constexpr size_t minimumPayload = 24;
constexpr size_t maximumPayload = 1400;
constexpr size_t batch = 16;
// What is due within this share of its spacing is sent now: flows go out together, and the thread wakes up seldom.
constexpr double earlyShare = 0.125;
// The share of its time in which the thread rests: one that never did would be stopped by the kernel for 50 ms of each
// second (sched(7): sched_rt_runtime_us).
constexpr double restShare = 0.1;
// Kept of each flow; more are counted only.
constexpr size_t outageLimit = 4096;
// Latency histogram: 32 steps for each doubling from 1 us on, so each is within 3 %.
constexpr int stepsPerOctave = 32;
constexpr size_t histogramLength = stepsPerOctave * 24;

double clockNs(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

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

struct Probes {
  std::mutex mutex;
  std::thread thread;
  std::atomic<bool> isOpen{true};
  int epoll = -1;
  int wake = -1;
  uint32_t lastFlow = 0;
  // By what JavaScript knows them by.
  std::map<int, std::unique_ptr<Flow>> flows;
  // By descriptor.
  std::unordered_map<int, std::unique_ptr<Socket>> responders;
  std::unordered_map<int, Flow*> udp;
  std::unordered_map<int, IcmpSocket*> icmp;
  std::map<std::pair<ino_t, bool>, std::unique_ptr<IcmpSocket>> icmpSockets;

  void run();
  double send();
  void take(struct Received& buffers, const timespec* limit);
  void stop();
  ~Probes() {
    stop();
    if (epoll >= 0) close(epoll);
    if (wake >= 0) close(wake);
  }
};

size_t bucketOf(double ns) {
  if (ns < 1000) return 0;
  return std::min(histogramLength - 1, static_cast<size_t>(std::log2(ns / 1000) * stepsPerOctave));
}

void beginOutage(Flow& flow, double startNs) {
  flow.isOut = true;
  flow.counters[outageCount]++;
  if (flow.outages.size() < outageLimit) flow.outages.push_back({startNs, 0, 0});
}

void endOutage(Flow& flow, double endNs) {
  flow.isOut = false;
  if (flow.counters[outageCount] <= outageLimit) flow.outages.back().endNs = endNs;
}

// Decides about probes in order, as far as that is possible at `now` (CLOCK_REALTIME).
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

void note(Flow& flow, const Payload& payload, double at) {
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

double stampOf(msghdr& message) {
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec time;
    memcpy(&time, CMSG_DATA(item), sizeof time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
  }
  return clockNs(CLOCK_REALTIME);
}

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
      flow->counters[error.ee_errno == ECONNREFUSED ? refused : unreachable]++;
    }
  }
}

// Takes all that is there. `flowOf` says whose an answer is, by its octets up to the payload.
template <typename FlowOf>
void receive(int descriptor, Received& buffers, FlowOf flowOf) {
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

// Sends back what came, from the address that it was sent to.
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

uint16_t checksum(const uint8_t* octets, size_t length) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < length; i += 2) sum += static_cast<uint32_t>(octets[i] << 8 | octets[i + 1]);
  if (length % 2 == 1) sum += static_cast<uint32_t>(octets[length - 1] << 8);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

void writePacket(Flow& flow) {
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

// Sends what is due; returns when the next is (CLOCK_MONOTONIC).
double Probes::send() {
  double next = HUGE_VAL;
  for (auto& [descriptor, flow] : flows) {
    const double now = clockNs(CLOCK_MONOTONIC);
    if (flow->dueNs <= now + flow->spacingNs * earlyShare) {
      // Those whose time passed while nobody could send.
      const double missed = std::floor((now - flow->dueNs) / flow->spacingNs);
      if (missed >= 1) {
        flow->counters[unsent] += missed;
        flow->dueNs += missed * flow->spacingNs;
      }
      sendOne(*flow, now);
      flow->dueNs += flow->spacingNs;
    }
    next = std::min(next, flow->dueNs);
  }
  return next;
}

// Takes what is there, and what comes back meanwhile: over a path without delay that is everything.
void Probes::take(Received& buffers, const timespec* limit) {
  epoll_event events[64];
  constexpr timespec atOnce = {};
  for (int round = 0; round < 64; round++) {
    const int count = epoll_pwait2(epoll, events, 64, round == 0 ? limit : &atOnce, nullptr);
    if (count <= 0) return;
    const std::lock_guard<std::mutex> guard(mutex);
    for (int i = 0; i < count; i++) {
      const int descriptor = events[i].data.fd;
      const bool hasErrors = (events[i].events & EPOLLERR) != 0;
      if (const auto flow = udp.find(descriptor); flow != udp.end()) {
        receiveUdp(*flow->second, buffers, hasErrors);
      } else if (const auto socket = icmp.find(descriptor); socket != icmp.end()) {
        receiveIcmp(*socket->second, buffers, hasErrors);
      } else if (const auto responder = responders.find(descriptor); responder != responders.end()) {
        respond(*responder->second, buffers);
      } else if (descriptor == wake) {
        uint64_t ignored;
        if (read(wake, &ignored, sizeof ignored) < 0) continue;
      }
    }
  }
}

void Probes::run() {
  pthread_setname_np(pthread_self(), "weft-probes");
  const sched_param urgent = {1};
  // EPERM, for instance where a control group has no real-time share: then it takes its turn, and says what it missed.
  sched_setscheduler(0, SCHED_RR, &urgent);
  auto buffers = std::make_unique<Received>();
  while (isOpen) {
    const double start = clockNs(CLOCK_MONOTONIC);
    double next;
    {
      const std::lock_guard<std::mutex> guard(mutex);
      next = send();
    }
    constexpr timespec atOnce = {};
    // With no flow of its own it waits for those of others.
    take(*buffers, std::isfinite(next) ? &atOnce : nullptr);
    if (!std::isfinite(next)) continue;
    {
      const std::lock_guard<std::mutex> guard(mutex);
      const double now = clockNs(CLOCK_REALTIME);
      for (auto& [descriptor, flow] : flows) decide(*flow, now);
    }
    const double end = clockNs(CLOCK_MONOTONIC);
    const double wait = std::max(next - end, (end - start) * restShare);
    const timespec limit = {static_cast<time_t>(wait / 1e9), static_cast<long>(std::fmod(wait, 1e9))};
    // New flows and the end may wait for the next round, unless that is far.
    pollfd woken = {wake, POLLIN, 0};
    ppoll(&woken, 1, &limit, nullptr);
  }
}

void Probes::stop() {
  if (!thread.joinable()) return;
  isOpen = false;
  const uint64_t one = 1;
  if (write(wake, &one, sizeof one) < 0) perror("weft: cannot end the probes' thread");
  thread.join();
  flows.clear();
  udp.clear();
  icmp.clear();
  icmpSockets.clear();
  responders.clear();
}

Probes* probesOf(const Arguments& arguments) {
  void* data = nullptr;
  napi_get_value_external(arguments.env, arguments.value[0], &data);
  return static_cast<Probes*>(data);
}

// probesOpen(): starts the thread. Freed, and the thread ended, with the handle or by probesClose.
napi_value probesOpen(napi_env env, napi_callback_info) {
  auto* probes = new Probes();
  probes->epoll = epoll_create1(EPOLL_CLOEXEC);
  probes->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (probes->epoll < 0 || probes->wake < 0) {
    const int error = errno;
    delete probes;
    return throwErrno(env, error, "epoll_create", "probes");
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = probes->wake;
  epoll_ctl(probes->epoll, EPOLL_CTL_ADD, probes->wake, &event);
  probes->thread = std::thread([probes] { probes->run(); });
  napi_value handle;
  napi_create_external(env, probes, [](napi_env, void* data, void*) { delete static_cast<Probes*>(data); }, nullptr, &handle);
  return handle;
}

// probesClose(handle): ends the thread and all flows and responders.
napi_value probesClose(napi_env env, napi_callback_info info) {
  probesOf(Arguments(env, info))->stop();
  return undefinedValue(env);
}

int openIn(int netns, int family, int type, int protocol, const char** failed) {
  const InNamespace inside(netns);
  *failed = inside.error != 0 ? "setns" : "socket";
  if (inside.error != 0) {
    errno = inside.error;
    return -1;
  }
  return socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
}

void enable(int descriptor, int level, int option) {
  const int on = 1;
  setsockopt(descriptor, level, option, &on, sizeof on);
}

// Nothing but echo replies: without it the socket would be woken by every ICMP packet of the node.
void filterReplies(int descriptor, bool isV6) {
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

// Room for a burst of all flows: what overflowed here would pass for loss.
void enlarge(int descriptor) {
  const int octets = 8 << 20;
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets);
}

bool watch(Probes& probes, int descriptor) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = descriptor;
  return epoll_ctl(probes.epoll, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

void wakeUp(Probes& probes) {
  const uint64_t one = 1;
  if (write(probes.wake, &one, sizeof one) < 0 && errno != EAGAIN) perror("weft: cannot wake the probes' thread");
}

// probeRespond(handle, netns, address, port): answers probes to this UDP port (0: a free one) in the namespace; an address
// of zeros means all of that family. Returns its descriptor, by which it is known.
napi_value probeRespond(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Probes* probes = probesOf(arguments);
  size_t count = 0;
  const uint8_t* octets = arguments.octets(2, &count);
  const Target target(octets, count, static_cast<uint16_t>(arguments.integer(3)), 0);
  const char* failed = nullptr;
  const int descriptor = openIn(arguments.integer(1), target.isV6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0, &failed);
  if (descriptor < 0) return throwErrno(env, errno, failed, "responder");
  auto responder = std::make_unique<Socket>();
  responder->descriptor = descriptor;
  enable(descriptor, SOL_SOCKET, SO_TIMESTAMPNS);
  enlarge(descriptor);
  if (target.isV6) {
    enable(descriptor, SOL_IPV6, IPV6_V6ONLY);
    enable(descriptor, SOL_IPV6, IPV6_RECVPKTINFO);
  } else {
    enable(descriptor, SOL_IP, IP_PKTINFO);
  }
  if (bind(descriptor, target.get(), target.length) != 0) {
    return throwErrno(env, errno, "bind", "UDP port " + std::to_string(arguments.integer(3)));
  }
  const std::lock_guard<std::mutex> guard(probes->mutex);
  if (!watch(*probes, descriptor)) return throwErrno(env, errno, "epoll_ctl", "responder");
  probes->responders[descriptor] = std::move(responder);
  wakeUp(*probes);
  return fromInteger(env, descriptor);
}

// A socket for probes in the namespace; -1 with errno, and `failed` says of what.
int openProbing(int netns, bool isV6, bool isIcmp, const char** failed) {
  const int protocol = !isIcmp ? 0 : isV6 ? static_cast<int>(IPPROTO_ICMPV6) : static_cast<int>(IPPROTO_ICMP);
  const int descriptor = openIn(netns, isV6 ? AF_INET6 : AF_INET, isIcmp ? SOCK_RAW : SOCK_DGRAM, protocol, failed);
  if (descriptor < 0) return -1;
  enable(descriptor, SOL_SOCKET, SO_TIMESTAMPNS);
  enable(descriptor, isV6 ? SOL_IPV6 : SOL_IP, isV6 ? IPV6_RECVERR : IP_RECVERR);
  enlarge(descriptor);
  if (isIcmp) filterReplies(descriptor, isV6);
  return descriptor;
}

// The socket that the ICMP flows of a namespace share, made for the first. nullptr with errno.
IcmpSocket* shareIcmp(Probes& probes, int netns, bool isV6, const char** failed) {
  struct stat status = {};
  *failed = "fstat";
  if (fstat(netns, &status) != 0) return nullptr;
  const std::pair<ino_t, bool> key{status.st_ino, isV6};
  if (const auto found = probes.icmpSockets.find(key); found != probes.icmpSockets.end()) return found->second.get();
  auto socket = std::make_unique<IcmpSocket>();
  socket->key = key;
  socket->descriptor = openProbing(netns, isV6, true, failed);
  if (socket->descriptor < 0 || !watch(probes, socket->descriptor)) return nullptr;
  IcmpSocket* shared = socket.get();
  probes.icmp[shared->descriptor] = shared;
  probes.icmpSockets[key] = std::move(socket);
  return shared;
}

// probeFlow(handle, netns, address, port, scope, source, spacingNs, timeoutNs, payload): probes from now on; port 0 means
// ICMP echo. `scope`: ifindex for link-local addresses, else 0. `source`: octets of the address to send from, or none; not
// for ICMP. Returns what it is known by.
napi_value probeFlow(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Probes* probes = probesOf(arguments);
  const int netns = arguments.integer(1);
  size_t count = 0;
  const uint8_t* octets = arguments.octets(2, &count);
  const auto port = static_cast<uint16_t>(arguments.integer(3));
  const Target target(octets, count, port, static_cast<uint32_t>(arguments.integer(4)));
  auto flow = std::make_unique<Flow>(target);
  flow->isIcmp = port == 0;
  flow->spacingNs = std::max(100'000.0, arguments.number(6));
  flow->timeoutNs = std::max(flow->spacingNs, arguments.number(7));
  size_t room = 1024;
  while (static_cast<double>(room) < 2 * flow->timeoutNs / flow->spacingNs) room *= 2;
  flow->mask = room - 1;
  flow->sentNs = std::make_unique<double[]>(room);
  flow->answers = std::make_unique<uint8_t[]>(room);
  const size_t payload = std::clamp(static_cast<size_t>(arguments.integer(8)), minimumPayload, maximumPayload);
  flow->packet.resize(flow->header() + payload);

  const std::lock_guard<std::mutex> guard(probes->mutex);
  const char* failed = nullptr;
  const int id = ++probes->lastFlow;
  flow->identifier = static_cast<uint16_t>(id);
  if (flow->isIcmp) {
    IcmpSocket* socket = shareIcmp(*probes, netns, target.isV6, &failed);
    if (socket == nullptr) return throwErrno(env, errno, failed, "ICMP flow");
    flow->descriptor = socket->descriptor;
    socket->flows[flow->identifier] = flow.get();
  } else {
    flow->descriptor = openProbing(netns, target.isV6, false, &failed);
    if (flow->descriptor < 0) return throwErrno(env, errno, failed, "UDP flow");
    if (!arguments.isNullish(5)) {
      size_t sourceCount = 0;
      const uint8_t* source = arguments.octets(5, &sourceCount);
      const Target from(source, sourceCount, 0, static_cast<uint32_t>(arguments.integer(4)));
      if (bind(flow->descriptor, from.get(), from.length) != 0) return throwErrno(env, errno, "bind", "UDP flow");
    }
    if (!watch(*probes, flow->descriptor)) return throwErrno(env, errno, "epoll_ctl", "UDP flow");
    probes->udp[flow->descriptor] = flow.get();
  }
  // Flows that begin together do not send together.
  flow->dueNs = clockNs(CLOCK_MONOTONIC) + flow->spacingNs * std::fmod(static_cast<double>(id) * 0.618034, 1);
  probes->flows[id] = std::move(flow);
  wakeUp(*probes);
  return fromInteger(env, id);
}

// probeEnd(handle, id): ends a flow. Fine when there is none.
napi_value probeEnd(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Probes* probes = probesOf(arguments);
  const std::lock_guard<std::mutex> guard(probes->mutex);
  const auto found = probes->flows.find(arguments.integer(1));
  if (found == probes->flows.end()) return undefinedValue(env);
  const Flow& flow = *found->second;
  if (!flow.isIcmp) {
    probes->udp.erase(flow.descriptor);
  } else if (const auto shared = probes->icmp.find(flow.descriptor); shared != probes->icmp.end()) {
    IcmpSocket* socket = shared->second;
    socket->flows.erase(flow.identifier);
    if (socket->flows.empty()) {
      probes->icmp.erase(shared);
      probes->icmpSockets.erase(std::pair(socket->key));
    }
  }
  probes->flows.erase(found);
  return undefinedValue(env);
}

// probeSilence(handle, descriptor): ends a responder. Fine when there is none.
napi_value probeSilence(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Probes* probes = probesOf(arguments);
  const std::lock_guard<std::mutex> guard(probes->mutex);
  probes->responders.erase(arguments.integer(1));
  return undefinedValue(env);
}

// probeRead(handle, id, counters, histogram, outages, from): copies what a flow has seen: counters, latencies, and
// outages from number `from` on as [startNs, endNs or 0, lost]. Returns how many outages were copied, -1 without such a flow.
napi_value probeRead(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Probes* probes = probesOf(arguments);
  size_t counterRoom = 0, histogramRoom = 0, outageRoom = 0;
  uint8_t* counters = arguments.octets(2, &counterRoom);
  uint8_t* histogram = arguments.octets(3, &histogramRoom);
  uint8_t* outages = arguments.octets(4, &outageRoom);
  const auto from = static_cast<size_t>(arguments.integer(5));
  const std::lock_guard<std::mutex> guard(probes->mutex);
  const auto found = probes->flows.find(arguments.integer(1));
  if (found == probes->flows.end()) return fromInteger(env, -1);
  Flow& flow = *found->second;
  decide(flow, clockNs(CLOCK_REALTIME));
  memcpy(counters, flow.counters, std::min(counterRoom, sizeof flow.counters));
  memcpy(histogram, flow.histogram, std::min(histogramRoom, sizeof flow.histogram));
  const size_t left = from < flow.outages.size() ? flow.outages.size() - from : 0;
  const size_t copied = std::min(left, outageRoom / sizeof(Outage));
  if (copied > 0) memcpy(outages, flow.outages.data() + from, copied * sizeof(Outage));
  return fromInteger(env, static_cast<int64_t>(copied));
}

}  // namespace

void registerProbe(napi_env env, napi_value exports) {
  define(env, exports, "probesOpen", probesOpen);
  define(env, exports, "probesClose", probesClose);
  define(env, exports, "probeRespond", probeRespond);
  define(env, exports, "probeFlow", probeFlow);
  define(env, exports, "probeEnd", probeEnd);
  define(env, exports, "probeSilence", probeSilence);
  define(env, exports, "probeRead", probeRead);
}

}  // namespace weft
