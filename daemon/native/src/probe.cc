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
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <map>
#include <mutex>
#include <thread>

#include "addon.h"
#include "probe_flow.h"

namespace weft {

using namespace probe;

namespace {

// What is due within this share of its spacing is sent now: flows go out together, and the thread wakes up seldom.
constexpr double earlyShare = 0.125;
// The share of its time in which the thread rests: one that never did would be stopped by the kernel for 50 ms of each
// second (sched(7): sched_rt_runtime_us).
constexpr double restShare = 0.1;

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
  void take(Received& buffers, const timespec* limit);
  void stop();
  ~Probes() {
    stop();
    if (epoll >= 0) close(epoll);
    if (wake >= 0) close(wake);
  }
};

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
