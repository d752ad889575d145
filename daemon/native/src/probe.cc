// Flows of probes and the responders that answer them, in a thread of their own: neither JavaScript nor its garbage
// collector comes between a packet and its time, so a probe is sent when it should be even while the daemon is busy, and
// what could not be sent in time is counted instead of passing for loss.
//
//     flow: a socket in the source node   -- sequence number -->   responder: a socket in the destination, or its kernel (ICMP)
//                                         <-- the same back ---
//
// A flow is known by its descriptor. For each probe it remembers when it was sent until the answer is there or the
// timeout over; sequence numbers are decided in order, so a run of lost ones is an outage: from when the first of them
// was sent until the first later one was that came back. Times are ns of CLOCK_REALTIME, the clock of the kernel's stamps.
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// Needs what time.h declares.
#include <linux/errqueue.h>
#include <linux/filter.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "addon.h"

namespace weft {
namespace {

constexpr uint32_t magic = 0x77656674;
constexpr size_t minimumPayload = 24;
constexpr size_t maximumPayload = 1400;
constexpr size_t batch = 16;
// What is due this soon is sent now.
constexpr double earlyNs = 20'000;
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
  uint64_t reserved;
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
  bool isV6 = false;
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

  ~Flow() { if (descriptor >= 0) close(descriptor); }
  size_t header() const { return isIcmp ? 8 : 0; }
};

struct Responder {
  int descriptor = -1;
  ~Responder() { if (descriptor >= 0) close(descriptor); }
};

struct Probes {
  std::mutex mutex;
  std::thread thread;
  std::atomic<bool> isOpen{true};
  int epoll = -1;
  int wake = -1;
  uint32_t lastFlow = 0;
  std::map<int, std::unique_ptr<Flow>> flows;
  std::map<int, std::unique_ptr<Responder>> responders;

  void run();
  double send();
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
  const double latency = std::max(0.0, at - flow.sentNs[index]);
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
void takeErrors(Flow& flow) {
  alignas(cmsghdr) char control[512];
  for (;;) {
    msghdr message = {};
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(flow.descriptor, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return;
    for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
      const bool isV4 = item->cmsg_level == SOL_IP && item->cmsg_type == IP_RECVERR;
      if (!isV4 && !(item->cmsg_level == SOL_IPV6 && item->cmsg_type == IPV6_RECVERR)) continue;
      sock_extended_err error;
      memcpy(&error, CMSG_DATA(item), sizeof error);
      flow.counters[error.ee_errno == ECONNREFUSED ? refused : unreachable]++;
    }
  }
}

void receive(Flow& flow, Received& buffers) {
  takeErrors(flow);
  for (;;) {
    const int count = buffers.read(flow.descriptor);
    // The last of the errors that were just taken is told once more.
    if (count < 0 && errno != EAGAIN && errno != EINTR) continue;
    if (count <= 0) return;
    for (int i = 0; i < count; i++) {
      const uint8_t* octets = buffers.octets[i];
      size_t length = buffers.messages[i].msg_len;
      // A raw IPv4 socket gets the IP header, too.
      const size_t before = flow.isIcmp ? (flow.isV6 ? 0 : static_cast<size_t>(octets[0] & 15) * 4) + 8 : 0;
      Payload payload;
      if (length < before + sizeof payload) continue;
      memcpy(&payload, octets + before, sizeof payload);
      if (payload.magic != magic || payload.flow != static_cast<uint32_t>(flow.identifier)) continue;
      note(flow, payload, stampOf(buffers.messages[i].msg_hdr));
    }
    if (count < static_cast<int>(batch)) return;
  }
}

// Sends back what came, from the address that it was sent to.
void respond(Responder& responder, Received& buffers) {
  for (;;) {
    const int count = buffers.read(responder.descriptor);
    if (count < 0 && errno != EAGAIN && errno != EINTR) continue;
    if (count <= 0) return;
    for (int i = 0; i < count; i++) {
      buffers.parts[i].iov_len = buffers.messages[i].msg_len;
      for (cmsghdr* item = CMSG_FIRSTHDR(&buffers.messages[i].msg_hdr); item != nullptr;
           item = CMSG_NXTHDR(&buffers.messages[i].msg_hdr, item)) {
        // The way back is for routing to choose, not the interface that it came in by.
        if (item->cmsg_level == SOL_IP && item->cmsg_type == IP_PKTINFO) {
          reinterpret_cast<in_pktinfo*>(CMSG_DATA(item))->ipi_ifindex = 0;
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
  packet[0] = flow.isV6 ? static_cast<uint8_t>(ICMP6_ECHO_REQUEST) : static_cast<uint8_t>(ICMP_ECHO);
  packet[1] = packet[2] = packet[3] = 0;
  packet[4] = static_cast<uint8_t>(flow.identifier >> 8);
  packet[5] = static_cast<uint8_t>(flow.identifier);
  packet[6] = static_cast<uint8_t>(flow.next >> 8);
  packet[7] = static_cast<uint8_t>(flow.next);
  // Over IPv6 the kernel fills it in (RFC 3542 3.1).
  if (flow.isV6) return;
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
    length = sendto(flow.descriptor, flow.packet.data(), flow.packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL, flow.target.get(), flow.target.length);
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
  const double now = clockNs(CLOCK_MONOTONIC);
  for (auto& [descriptor, flow] : flows) {
    if (flow->dueNs <= now + earlyNs) {
      // Those whose time passed while nobody could send.
      const double missed = std::floor((now - flow->dueNs) / flow->spacingNs);
      if (missed >= 1) {
        flow->counters[unsent] += missed;
        flow->dueNs += missed * flow->spacingNs;
      }
      sendOne(*flow, now);
      flow->dueNs += flow->spacingNs;
      decide(*flow, clockNs(CLOCK_REALTIME));
    }
    next = std::min(next, flow->dueNs);
  }
  return next;
}

void Probes::run() {
  pthread_setname_np(pthread_self(), "weft-probes");
  const sched_param urgent = {1};
  // EPERM, for instance where a control group has no real-time share: then it takes its turn, and says what it missed.
  sched_setscheduler(0, SCHED_RR, &urgent);
  auto buffers = std::make_unique<Received>();
  epoll_event events[64];
  double next = HUGE_VAL;
  while (isOpen) {
    const double wait = std::max(0.0, next - earlyNs - clockNs(CLOCK_MONOTONIC));
    timespec limit = {};
    if (std::isfinite(wait)) limit = {static_cast<time_t>(wait / 1e9), static_cast<long>(std::fmod(wait, 1e9))};
    const int count = epoll_pwait2(epoll, events, 64, std::isfinite(wait) ? &limit : nullptr, nullptr);
    const std::lock_guard<std::mutex> guard(mutex);
    for (int i = 0; i < count; i++) {
      const int descriptor = events[i].data.fd;
      if (const auto flow = flows.find(descriptor); flow != flows.end()) receive(*flow->second, *buffers);
      else if (const auto responder = responders.find(descriptor); responder != responders.end()) respond(*responder->second, *buffers);
      else if (descriptor == wake) {
        uint64_t ignored;
        if (read(wake, &ignored, sizeof ignored) < 0) continue;
      }
    }
    next = send();
  }
}

void Probes::stop() {
  if (!thread.joinable()) return;
  isOpen = false;
  const uint64_t one = 1;
  if (write(wake, &one, sizeof one) < 0) perror("weft: cannot end the probes' thread");
  thread.join();
  flows.clear();
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

// Echo replies with our identifier only: without it each flow of a node would be woken by the replies of all others.
void filterReplies(int descriptor, bool isV6, uint16_t identifier) {
  const auto type = static_cast<uint32_t>(isV6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY);
  sock_filter v4[] = {
    BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
    BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, type, 0, 3),
    BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, identifier, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0xffff),
    BPF_STMT(BPF_RET | BPF_K, 0),
  };
  sock_filter v6[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, type, 0, 3),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, identifier, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0xffff),
    BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog program = isV6 ? sock_fprog{sizeof v6 / sizeof v6[0], v6} : sock_fprog{sizeof v4 / sizeof v4[0], v4};
  setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
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
  auto responder = std::make_unique<Responder>();
  responder->descriptor = descriptor;
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
  return fromInteger(env, descriptor);
}

// probeFlow(handle, netns, address, port, scope, source, spacingNs, timeoutNs, payload): probes from now on; port 0 means
// ICMP echo. `scope`: ifindex for link-local addresses, else 0. `source`: octets of the address to send from, or none.
// Returns its descriptor, by which it is known.
napi_value probeFlow(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Probes* probes = probesOf(arguments);
  size_t count = 0;
  const uint8_t* octets = arguments.octets(2, &count);
  const auto port = static_cast<uint16_t>(arguments.integer(3));
  const Target target(octets, count, port, static_cast<uint32_t>(arguments.integer(4)));
  auto flow = std::make_unique<Flow>(target);
  flow->isIcmp = port == 0;
  flow->isV6 = target.isV6;
  flow->spacingNs = std::max(100'000.0, arguments.number(6));
  flow->timeoutNs = std::max(flow->spacingNs, arguments.number(7));
  size_t room = 1024;
  while (static_cast<double>(room) < 2 * flow->timeoutNs / flow->spacingNs) room *= 2;
  flow->mask = room - 1;
  flow->sentNs = std::make_unique<double[]>(room);
  flow->answers = std::make_unique<uint8_t[]>(room);
  const size_t payload = std::clamp(static_cast<size_t>(arguments.integer(8)), minimumPayload, maximumPayload);
  flow->packet.resize(flow->header() + payload);

  const int protocol = !flow->isIcmp ? 0 : flow->isV6 ? static_cast<int>(IPPROTO_ICMPV6) : static_cast<int>(IPPROTO_ICMP);
  const char* failed = nullptr;
  const int family = flow->isV6 ? AF_INET6 : AF_INET;
  const int descriptor = openIn(arguments.integer(1), family, flow->isIcmp ? SOCK_RAW : SOCK_DGRAM, protocol, &failed);
  if (descriptor < 0) return throwErrno(env, errno, failed, "flow");
  flow->descriptor = descriptor;
  enable(descriptor, SOL_SOCKET, SO_TIMESTAMPNS);
  enable(descriptor, flow->isV6 ? SOL_IPV6 : SOL_IP, flow->isV6 ? IPV6_RECVERR : IP_RECVERR);
  if (!arguments.isNullish(5)) {
    size_t sourceCount = 0;
    const uint8_t* source = arguments.octets(5, &sourceCount);
    const Target from(source, sourceCount, 0, static_cast<uint32_t>(arguments.integer(4)));
    if (bind(descriptor, from.get(), from.length) != 0) return throwErrno(env, errno, "bind", "flow");
  }
  const std::lock_guard<std::mutex> guard(probes->mutex);
  flow->identifier = static_cast<uint16_t>(++probes->lastFlow);
  if (flow->isIcmp) filterReplies(descriptor, flow->isV6, flow->identifier);
  // Flows that begin together do not send together.
  flow->dueNs = clockNs(CLOCK_MONOTONIC) + flow->spacingNs * std::fmod(static_cast<double>(flow->identifier) * 0.618034, 1);
  if (!watch(*probes, descriptor)) return throwErrno(env, errno, "epoll_ctl", "flow");
  probes->flows[descriptor] = std::move(flow);
  wakeUp(*probes);
  return fromInteger(env, descriptor);
}

// probeEnd(handle, descriptor): ends a flow or a responder. Fine when there is none.
napi_value probeEnd(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Probes* probes = probesOf(arguments);
  const std::lock_guard<std::mutex> guard(probes->mutex);
  probes->flows.erase(arguments.integer(1));
  probes->responders.erase(arguments.integer(1));
  return undefinedValue(env);
}

// probeRead(handle, descriptor, counters, histogram, outages, from): copies what a flow has seen: counters, latencies, and
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
  define(env, exports, "probeRead", probeRead);
}

}  // namespace weft
