// One flow of probes: what it remembers of each, and what is counted. See probe.cc for the whole.
#pragma once

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace weft::probe {

inline constexpr uint32_t magic = 0x77656674;
inline constexpr size_t minimumPayload = 24;
inline constexpr size_t maximumPayload = 1400;
inline constexpr size_t batch = 32;
// Kept of each flow; more are counted only.
inline constexpr size_t outageLimit = 4096;
inline constexpr size_t noteLimit = 1024;
// Latency histogram: 32 steps for each doubling from 1 us on, so each is within 3 %.
inline constexpr int stepsPerOctave = 32;
inline constexpr size_t histogramLength = stepsPerOctave * 24;

// As `ProbeKind` in index.ts.
enum Kind : int { udp, icmp, tcp, tcpConnect, http, dns, throughput };

// What a probe carries, after the ICMP header if it has one.
struct Payload {
  uint32_t magic;
  uint32_t flow;
  uint64_t sequence;
  // How long the responder had it, which is no latency of the network.
  double dwellNs;
};
static_assert(sizeof(Payload) == minimumPayload);

// CLOCK_REALTIME.
struct Outage {
  double startNs;
  // 0: it lasts.
  double endNs;
  double lost;
};

// As `ProbeNote` in index.ts.
enum class Event : int { connected, stall, reset, closed, timeout, refused, reconnected, verdict, gone, back, unreachable };

// Why there is no connection: what its errno means.
Event eventOf(int error);

// Something changed: at CLOCK_REALTIME, with an errno or a status, and octets that say more.
struct Note {
  double atNs;
  Event event;
  double lengthNs;
  int value;
  std::string octets;
};

// What a probe that was sent has come to; `failed`: known to be lost before its time is over.
enum class Fate : uint8_t { none, awaited, answered, failed };

// When a probe was sent (CLOCK_MONOTONIC, to 4 ns) and its fate, in one word: with hundreds of flows, memory is what costs.
struct Slot {
  uint64_t word = 0;
  Fate fate() const { return static_cast<Fate>(word & 3); }
  double sentNs() const { return static_cast<double>(word & ~uint64_t{3}); }
  void set(double sentNs, Fate fate) { word = (static_cast<uint64_t>(sentNs) & ~uint64_t{3}) | static_cast<uint64_t>(fate); }
  void become(Fate fate) { word = (word & ~uint64_t{3}) | static_cast<uint64_t>(fate); }
};

// As `ProbeCounter` in index.ts.
enum Counter {
  sent, received, lost, unsent, duplicates, reordered, late, refused, unreachable, latencySumNs, latencyMinNs, latencyMaxNs, outageCount,
  pendingNs, blindNs, wrong, noteCount, slowestNs, slowestAtNs, counterCount
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
  int family() const { return isV6 ? AF_INET6 : AF_INET; }
  bool isAny() const {
    if (isV6) return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(get())->sin6_addr);
    return reinterpret_cast<const sockaddr_in*>(get())->sin_addr.s_addr == INADDR_ANY;
  }
};

double clockNs(clockid_t clock);

// What flows and responders want to know of the thread that has them.
struct Loop;

// A socket that the thread waits for. Closed with its owner.
struct Source {
  int descriptor = -1;
  virtual ~Source() { shutSource(); }
  virtual void ready(Loop& loop, uint32_t events) = 0;
  void shutSource() {
    if (descriptor >= 0) close(descriptor);
    descriptor = -1;
  }
};

// What lives in a namespace, which may go and come back as another one.
struct Member {
  virtual ~Member() = default;
  // Opens its sockets in the namespace; 0 or an errno, and `failed` says of what.
  virtual int enter(Loop& loop, int netns, const char** failed) = 0;
  virtual void leave(Loop& loop) = 0;
};

struct IcmpSocket;

struct Place {
  std::string path;
  // -1: there is no namespace.
  int netns = -1;
  ino_t inode = 0;
  // Its flows were told.
  bool isGone = false;
  std::vector<Member*> members;
  // Shared by the ICMP flows of the namespace: the kernel shows every reply to every raw socket.
  std::unique_ptr<IcmpSocket> icmp[2];
  ~Place();
};

struct Options {
  Kind kind = udp;
  double spacingNs = 0;
  double timeoutNs = 0;
  size_t payload = minimumPayload;
  // Address to send from, none when empty.
  std::string source;
  // http: what is sent; dns: the question; throughput: nothing.
  std::string request;
  // http: an octet for each status from 0 on, 1 when it is fine; dns: the data of the record to look for.
  std::string expected;
  // throughput: most octets in a second; 0: any.
  double rate = 0;
};

struct Flow : Member {
  Flow(const Target& target, const Options& options);
  virtual void send(Loop& loop, double now) = 0;
  // Whenever something may have come or its time passed.
  virtual void tick(Loop&, double) {}

  // CLOCK_MONOTONIC, as all times of a flow but those that it tells.
  double dueNs = 0;
  // From when on it may be sent: a little before it is due.
  double readyNs = 0;
  double spacingNs;
  // When the oldest probe under way is given up.
  double decideNs = 0;
  bool isDirty = false;
  bool isOut = false;
  // An outage ends when data comes, not when the probe was sent that came back.
  bool endsByData = false;
  // When the last outage was over.
  double endedNs = 0;
  // When the first probe was sent after the last one that was answered; 0: there is none.
  double waitsNs = 0;
  uint64_t next = 0;
  uint64_t tail = 0;
  uint64_t highest = 0;
  // One more than the highest whose answer came, in time or not.
  uint64_t heard = 0;
  double lastSentNs = 0;
  double timeoutNs;
  size_t mask = 0;
  std::unique_ptr<Slot[]> slots;
  Place* place = nullptr;
  uint32_t id = 0;
  uint16_t identifier = 0;
  const Target target;
  const Options options;
  double counters[counterCount] = {};
  uint32_t histogram[histogramLength] = {};
  std::vector<Outage> outages;
  std::deque<Note> notes;
  // [at, value] of CLOCK_REALTIME, taken when read.
  std::vector<double> samples;
  std::string octets;

  Slot& slot(uint64_t sequence) { return slots[sequence & mask]; }
  bool isFull() const { return next - tail > mask; }
  // Notes that a probe leaves (or could not: `fate` failed) now; returns its number.
  uint64_t begin(double now, Fate fate = Fate::awaited);
  // Its answer came; `dwellNs` was no latency of the network. False: it was decided already, or had come.
  bool answer(Loop& loop, uint64_t sequence, double at, double dwellNs = 0);
  // It will not come.
  void fail(uint64_t sequence);
  // Decides about probes in order, as far as that is possible.
  void decide(Loop& loop, double now);
  void beginOutage(Loop& loop, double startNs);
  void endOutage(Loop& loop, double endNs);
  void note(Loop& loop, Event event, double atNs, double lengthNs = 0, int value = 0, std::string text = {});
  void count(int error) { counters[error == ECONNREFUSED_ ? Counter::refused : Counter::unreachable]++; }
  // Its namespace is not there, which is told already.
  bool isHomeless() const { return place == nullptr || place->netns < 0; }
  // At that time, nothing of what it sent had come for longer than usual.
  bool isSilent(double now) const;
  // When the first probe was sent that has been answered and waits for the fate of those before it; 0: none has.
  double answeredAfterNs() const;

 private:
  static constexpr int ECONNREFUSED_ = 111;
  void hear(uint64_t sequence);
};

struct Received;

struct Loop {
  // Which of the threads it is.
  uint32_t lane = 0;
  // CLOCK_REALTIME less CLOCK_MONOTONIC.
  double realOffsetNs = 0;
  Received* buffers = nullptr;
  virtual ~Loop() = default;
  virtual bool watch(Source& source, uint32_t events) = 0;
  // Frees it once no event of this round can be for it.
  virtual void bury(std::unique_ptr<Source> source) = 0;
};

// Buffers for one recvmmsg.
struct Received {
  mmsghdr messages[batch];
  iovec parts[batch];
  sockaddr_storage peers[batch];
  alignas(cmsghdr) char control[batch][128];
  uint8_t octets[batch][2048];

  // Up to `most`; as recvmmsg(2) returns it.
  int read(int descriptor, size_t most = batch);
};

// A socket in the namespace that never blocks; a negative errno, and `failed` says of what.
int openIn(int netns, int family, int type, int protocol, const char** failed);
void enable(int descriptor, int level, int option);
// Room for a burst of all flows: what overflowed here would pass for loss.
void enlarge(int descriptor);
// When the kernel received it, CLOCK_MONOTONIC.
double stampOf(const Loop& loop, msghdr& message);
// Binds a flow's socket to the address it is to send from, if any; 0 or an errno.
int bindSource(const Flow& flow, int descriptor);

std::unique_ptr<Flow> makeDatagramFlow(const Target& target, const Options& options);
std::unique_ptr<Flow> makeStreamFlow(const Target& target, const Options& options);
std::unique_ptr<Flow> makeLoadFlow(const Target& target, const Options& options);

// Answers what comes to a port.
struct Responder : Member {
  explicit Responder(const Target& target) : address(target) {}
  Target address;
  Place* place = nullptr;
  // It helps another one, which has the port.
  bool isHelper = false;
  virtual int socket() const = 0;
  // One for another thread, which shares the port; nullptr: it is enough by itself.
  virtual std::unique_ptr<Responder> helper() const { return nullptr; }
  // Its thread runs on this processor now.
  virtual void settle(int) {}
};
std::unique_ptr<Responder> makeDatagramResponder(const Target& target);
// `isSink`: takes all and says nothing.
std::unique_ptr<Responder> makeStreamResponder(const Target& target, bool isSink);

}  // namespace weft::probe
