// Flows over TCP: requests on one connection that lives long (`tcp`), a connection for each probe that carries nothing (`tcp-connect`) or a
// request of HTTP (`http`); and the responder that sends back what comes.
//
// TCP loses nothing, it waits. So of a long-lived connection an outage is that no answer has come for longer than usual (a stall), or that
// the connection broke and there is no other yet; it is over when data comes. When the connection breaks, what was under way is lost, and
// another one is tried at once and then again and again, each for a little longer than a handshake has taken so far.
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <utility>

#include "probe_flow.h"

namespace weft::probe {
namespace {

constexpr double stallNs = 50e6;
constexpr double handshakeNs = 100e6;
constexpr double firstHandshakeNs = 300e6;
constexpr double retryNs = 10e6;
constexpr size_t mostBody = 64 << 20;
constexpr size_t mostEcho = 4 << 20;
constexpr int mostTurns = 64;

// A socket that is connecting, in the namespace; a negative errno. `isBrief`: closes with a reset, so that nothing waits in TIME_WAIT.
int dial(const Flow& flow, int netns, bool isBrief) {
  const char* failed = nullptr;
  const int descriptor = netns < 0 ? -ENETUNREACH : openIn(netns, flow.target.family(), SOCK_STREAM, 0, &failed);
  if (descriptor < 0) return descriptor;
  enable(descriptor, IPPROTO_TCP, TCP_NODELAY);
  enable(descriptor, SOL_SOCKET, SO_TIMESTAMPNS);
  if (isBrief) {
    const linger reset = {1, 0};
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  int error = bindSource(flow, descriptor);
  if (error == 0 && connect(descriptor, flow.target.get(), flow.target.length) != 0 && errno != EINPROGRESS) error = errno;
  if (error == 0) return descriptor;
  close(descriptor);
  return -error;
}

int errorOf(int descriptor) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  return error;
}

// Reads once; octets, 0 at the end, or a negative errno. `at`: when the kernel received the last of them.
ssize_t readStamped(Loop& loop, int descriptor, void* data, size_t length, double* at) {
  alignas(cmsghdr) char control[128];
  iovec part = {data, length};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t count = recvmsg(descriptor, &message, MSG_DONTWAIT);
  if (count < 0) return -errno;
  *at = stampOf(loop, message);
  return count;
}

bool isOurs(int error) { return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM; }

// ---- tcp ------------------------------------------------------------------------------------------------------------

struct TcpFlow : Flow, Source {
  TcpFlow(const Target& target, const Options& options) : Flow(target, options) { endsByData = true; }

  int enter(Loop& loop, int, const char**) override {
    redial(loop, clockNs(CLOCK_MONOTONIC));
    return 0;
  }
  void leave(Loop& loop) override {
    if (descriptor >= 0) drop(loop, clockNs(CLOCK_MONOTONIC), Event::closed, ENETDOWN);
  }

  void send(Loop& loop, double now) override {
    if (isFull()) {
      counters[unsent]++;
      return;
    }
    const bool isFirst = lastDataNs == 0 && next == 0;
    // Until the first handshake is over, there is nothing that could be late.
    if (!isUp && isFirst && dialedNs > 0 && now - dialedNs < patience() && descriptor >= 0) return;
    if (!isUp) {
      begin(now, Fate::failed);
      return;
    }
    octets.resize(options.payload);
    const Payload payload = {magic, id, next, 0};
    memcpy(octets.data(), &payload, sizeof payload);
    // What of the former has found no room goes first, for the stream must not lose its frames.
    flush();
    const uint64_t sequence = begin(now);
    if (backlog.size() < mostEcho) backlog += octets;
    else fail(sequence);
    const int error = flush();
    if (error != 0) drop(loop, now, eventOf(error), error);
  }

  void ready(Loop& loop, uint32_t) override {
    const double now = clockNs(CLOCK_MONOTONIC);
    if (descriptor >= 0 && !isUp) {
      const int error = errorOf(descriptor);
      if (error != 0) return refuse(loop, now, error);
      tcp_info about = {};
      socklen_t length = sizeof about;
      if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &about, &length) != 0 || about.tcpi_state != TCP_ESTABLISHED) return;
      up(loop, now);
    }
    readAll(loop, now);
    if (descriptor >= 0) flush();
  }

  void tick(Loop& loop, double now) override {
    if (descriptor < 0 || (!isUp && now - dialedNs > patience())) {
      if (descriptor >= 0) {
        if (!isTold) note(loop, Event::timeout, now, 0, ETIMEDOUT);
        isTold = true;
        shutSource();
        tries++;
      }
      if (now - dialedNs >= retryNs) redial(loop, now);
    }
    if (!isUp || isOut || tail == next || slot(tail).fate() != Fate::awaited) return;
    const double since = std::max(slot(tail).sentNs(), endedNs > 0 && slot(tail).sentNs() < endedNs ? lastDataNs : 0);
    const double limit = std::min(timeoutNs, stallNs + 2 * counters[latencyMinNs]);
    if (now - since < limit) return;
    stalledNs = since;
    beginOutage(loop, since);
  }

 private:
  bool isUp = false;
  // The state of not being connected was told.
  bool isTold = false;
  unsigned tries = 0;
  double dialedNs = 0;
  double bestHandshakeNs = 0;
  double lastDataNs = 0;
  // Of the stall that lasts; 0: none.
  double stalledNs = 0;
  std::string backlog, input;

  // How long a handshake may take before another one is tried: unknown at first, then a little more than the best.
  double patience() const {
    const double usual = bestHandshakeNs > 0 ? handshakeNs + 3 * bestHandshakeNs : firstHandshakeNs * (1 + tries % 4);
    return std::min(usual, std::max(timeoutNs, handshakeNs));
  }

  void redial(Loop& loop, double now) {
    dialedNs = now;
    const int opened = dial(*this, place->netns, false);
    if (opened < 0) return refuse(loop, now, -opened);
    descriptor = opened;
    if (!loop.watch(*this, EPOLLIN | EPOLLOUT | EPOLLET)) shutSource();
  }

  void refuse(Loop& loop, double now, int error) {
    shutSource();
    tries++;
    if (isOurs(error)) return;
    count(error);
    if (isHomeless()) return;
    // A reset of what is not connected yet is a refusal.
    if (!isTold) note(loop, error == ECONNRESET ? Event::refused : eventOf(error), now, 0, error);
    isTold = true;
  }

  void up(Loop& loop, double now) {
    isUp = true;
    isTold = false;
    tries = 0;
    const double took = now - dialedNs;
    bestHandshakeNs = bestHandshakeNs == 0 ? took : std::min(bestHandshakeNs, took);
    const int octetsOfRoom = 4 << 20;
    setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &octetsOfRoom, sizeof octetsOfRoom);
    if (lastDataNs == 0) note(loop, Event::connected, now, took);
    else note(loop, Event::reconnected, now, now - lastDataNs);
  }

  // The connection is no more: what was under way on it is lost.
  void drop(Loop& loop, double now, Event event, int error) {
    shutSource();
    backlog.clear();
    input.clear();
    if (stalledNs > 0) note(loop, Event::stall, stalledNs, now - stalledNs);
    stalledNs = 0;
    if (isUp && event != Event::closed) note(loop, event, now, 0, error);
    else if (isUp && error == 0) note(loop, event, now);
    isUp = false;
    isTold = false;
    for (uint64_t sequence = tail; sequence < next; sequence++) fail(sequence);
    decide(loop, now);
  }

  // Writes what waits; 0, or the errno of a broken connection.
  int flush() {
    while (!backlog.empty()) {
      const ssize_t count = ::send(descriptor, backlog.data(), backlog.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count < 0) return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? 0 : errno;
      backlog.erase(0, static_cast<size_t>(count));
    }
    return 0;
  }

  void readAll(Loop& loop, double now) {
    char data[16384];
    while (descriptor >= 0) {
      double at = now;
      const ssize_t count = readStamped(loop, descriptor, data, sizeof data, &at);
      if (count == -EAGAIN || count == -EINTR) return;
      if (count <= 0) {
        drop(loop, now, eventOf(static_cast<int>(-count)), static_cast<int>(-count));
        redial(loop, now);
        return;
      }
      input.append(data, static_cast<size_t>(count));
      frames(loop, at);
    }
  }

  void frames(Loop& loop, double at) {
    size_t used = 0;
    for (; input.size() - used >= options.payload; used += options.payload) {
      Payload payload;
      memcpy(&payload, input.data() + used, sizeof payload);
      if (payload.magic != magic || payload.flow != id) continue;
      if (stalledNs > 0) note(loop, Event::stall, stalledNs, at - stalledNs);
      stalledNs = 0;
      lastDataNs = at;
      answer(loop, payload.sequence, at);
    }
    input.erase(0, used);
  }
};

// ---- tcp-connect, http ----------------------------------------------------------------------------------------------

struct BriefFlow;

// A connection for one probe.
struct Attempt : Source {
  BriefFlow* flow;
  uint64_t sequence;
  bool isUp = false;
  std::string input;
  // Of the answer's body; what is not told ends with the connection.
  size_t headLength = 0, bodyLength = SIZE_MAX;
  int status = 0;

  Attempt(BriefFlow* flow, uint64_t sequence) : flow(flow), sequence(sequence) {}
  void ready(Loop& loop, uint32_t events) override;
};

struct BriefFlow : Flow {
  using Flow::Flow;

  int enter(Loop&, int, const char**) override { return 0; }
  void leave(Loop& loop) override {
    for (auto& [sequence, attempt] : attempts) loop.bury(std::move(attempt));
    attempts.clear();
  }

  void send(Loop& loop, double now) override {
    if (isFull()) {
      counters[unsent]++;
      return;
    }
    const int opened = dial(*this, place->netns, true);
    if (opened < 0 && isOurs(-opened)) {
      counters[unsent]++;
      return;
    }
    if (opened < 0) {
      count(-opened);
      begin(now, Fate::failed);
      verdict(loop, now, -opened);
      return;
    }
    auto attempt = std::make_unique<Attempt>(this, begin(now));
    attempt->descriptor = opened;
    if (!loop.watch(*attempt, EPOLLIN | EPOLLOUT | EPOLLET)) return fail(attempt->sequence);
    attempts[attempt->sequence] = std::move(attempt);
  }

  // Ends those that were given up.
  void tick(Loop& loop, double now) override {
    decide(loop, now);
    while (!attempts.empty() && attempts.begin()->first < tail) {
      Attempt& attempt = *attempts.begin()->second;
      verdict(loop, now, attempt.isUp ? EAGAIN : ETIMEDOUT);
      remove(loop, attempt.sequence);
    }
  }

  void good(Loop& loop, Attempt& attempt, double at) {
    answer(loop, attempt.sequence, at);
    verdict(loop, at, -attempt.status, attempt.input);
    remove(loop, attempt.sequence);
  }
  // Answered, but not as it should be; or not at all, for a reason.
  void bad(Loop& loop, Attempt& attempt, double at, int error) {
    if (error == 0) counters[wrong]++;
    else if (!attempt.isUp) count(error);
    fail(attempt.sequence);
    verdict(loop, at, error == 0 ? -attempt.status : error, attempt.input);
    remove(loop, attempt.sequence);
  }

 private:
  int last = INT32_MIN;
  std::map<uint64_t, std::unique_ptr<Attempt>> attempts;

  // An errno, or a status less than or equal to zero; told when it is another than before.
  void verdict(Loop& loop, double at, int value, const std::string& input = {}) {
    if (isHomeless() || std::exchange(last, value) == value) return;
    note(loop, Event::verdict, at, 0, value, input.substr(0, std::min<size_t>(input.find("\r\n"), 200)));
  }
  void remove(Loop& loop, uint64_t sequence) {
    const auto found = attempts.find(sequence);
    if (found == attempts.end()) return;
    std::unique_ptr<Attempt> attempt = std::move(found->second);
    attempts.erase(found);
    loop.bury(std::move(attempt));
  }
};

// What the head of an answer says of its body (RFC 9112 6.3), in small letters or not.
size_t contentLength(const std::string& head) {
  static constexpr char name[] = "\ncontent-length:";
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  const auto found = std::search(head.begin(), head.end(), name, name + sizeof name - 1, same);
  if (found == head.end()) return SIZE_MAX;
  return strtoull(&*found + sizeof name - 1, nullptr, 10);
}

void Attempt::ready(Loop& loop, uint32_t) {
  const double now = clockNs(CLOCK_MONOTONIC);
  if (!isUp) {
    if (const int error = errorOf(descriptor); error != 0) return flow->bad(loop, *this, now, error);
    tcp_info about = {};
    socklen_t length = sizeof about;
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &about, &length) != 0) return;
    if (about.tcpi_state == TCP_SYN_SENT || about.tcpi_state == TCP_SYN_RECV) return;
    isUp = true;
    if (flow->options.kind == tcpConnect) return flow->good(loop, *this, now);
    const std::string& request = flow->options.request;
    if (::send(descriptor, request.data(), request.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return flow->bad(loop, *this, now, errno);
  }
  char data[16384];
  for (;;) {
    double at = now;
    const ssize_t count = readStamped(loop, descriptor, data, sizeof data, &at);
    if (count == -EAGAIN || count == -EINTR) return;
    const bool isEnd = count == 0;
    if (count < 0) return flow->bad(loop, *this, at, static_cast<int>(-count));
    input.append(data, static_cast<size_t>(count));
    if (headLength == 0) {
      if (const size_t end = input.find("\r\n\r\n"); end != std::string::npos) {
        headLength = end + 4;
        bodyLength = contentLength(input.substr(0, end));
        // RFC 9112 4: HTTP-version SP status-code.
        status = input.compare(0, 5, "HTTP/") == 0 && input.size() > 12 ? atoi(input.c_str() + 9) : 0;
      }
    }
    const bool isWhole = headLength > 0 && (isEnd || (bodyLength != SIZE_MAX && input.size() - headLength >= bodyLength));
    if (!isWhole && input.size() > mostBody) return flow->bad(loop, *this, at, EMSGSIZE);
    if (!isWhole && isEnd) return flow->bad(loop, *this, at, EPROTO);
    if (!isWhole) continue;
    if (isEnd && bodyLength != SIZE_MAX && input.size() - headLength < bodyLength) return flow->bad(loop, *this, at, EPROTO);
    const std::string& fine = flow->options.expected;
    const bool isFine = status > 0 && static_cast<size_t>(status) < fine.size() && fine[static_cast<size_t>(status)] == 1;
    return isFine ? flow->good(loop, *this, at) : flow->bad(loop, *this, at, 0);
  }
}

// ---- the other end --------------------------------------------------------------------------------------------------

struct StreamResponder;

struct Guest : Source {
  StreamResponder* host;
  uint64_t id;
  std::string backlog;
  Guest(StreamResponder* host, uint64_t id) : host(host), id(id) {}
  void ready(Loop& loop, uint32_t events) override;
};

struct StreamResponder : Responder, Source {
  StreamResponder(const Target& target, bool isSink) : Responder(target), isSink(isSink) {}
  const bool isSink;
  uint64_t lastGuest = 0;
  std::map<uint64_t, std::unique_ptr<Guest>> guests;

  int socket() const override { return descriptor; }

  int enter(Loop& loop, int netns, const char** failed) override {
    const int opened = openIn(netns, address.family(), SOCK_STREAM, 0, failed);
    if (opened < 0) return -opened;
    descriptor = opened;
    enable(descriptor, SOL_SOCKET, SO_REUSEADDR);
    enable(descriptor, address.isV6 ? SOL_IPV6 : SOL_IP, address.isV6 ? IPV6_FREEBIND : IP_FREEBIND);
    if (address.isV6) enable(descriptor, SOL_IPV6, IPV6_V6ONLY);
    *failed = "bind";
    if (bind(descriptor, address.get(), address.length) != 0) return errno;
    *failed = "listen";
    if (listen(descriptor, SOMAXCONN) != 0) return errno;
    *failed = "epoll_ctl";
    return loop.watch(*this, EPOLLIN) ? 0 : errno;
  }
  void leave(Loop& loop) override {
    shutSource();
    for (auto& [id, guest] : guests) {
      // As a machine that goes away: without a word.
      const linger silent = {1, 0};
      setsockopt(guest->descriptor, SOL_SOCKET, SO_LINGER, &silent, sizeof silent);
      loop.bury(std::move(guest));
    }
    guests.clear();
  }
  void ready(Loop& loop, uint32_t) override {
    for (;;) {
      const int accepted = accept4(descriptor, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (accepted < 0) return;
      enable(accepted, IPPROTO_TCP, TCP_NODELAY);
      auto guest = std::make_unique<Guest>(this, ++lastGuest);
      guest->descriptor = accepted;
      if (loop.watch(*guest, EPOLLIN | EPOLLOUT | EPOLLET)) guests[guest->id] = std::move(guest);
    }
  }
  void remove(Loop& loop, uint64_t id) {
    const auto found = guests.find(id);
    if (found == guests.end()) return;
    std::unique_ptr<Guest> guest = std::move(found->second);
    guests.erase(found);
    loop.bury(std::move(guest));
  }
};

void Guest::ready(Loop& loop, uint32_t) {
  char data[65536];
  // What is thrown away is not copied, so it may be more than there is room for (tcp(7): MSG_TRUNC).
  const size_t length = host->isSink ? 4 << 20 : sizeof data;
  for (int turn = 0; turn < mostTurns; turn++) {
    while (!backlog.empty()) {
      const ssize_t count = ::send(descriptor, backlog.data(), backlog.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count < 0 && errno != EAGAIN) return host->remove(loop, id);
      if (count < 0) break;
      backlog.erase(0, static_cast<size_t>(count));
    }
    // A guest that takes nothing is read no more until it does.
    if (backlog.size() > mostEcho) return;
    const ssize_t count = recv(descriptor, data, length, MSG_DONTWAIT | (host->isSink ? MSG_TRUNC : 0));
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return host->remove(loop, id);
    if (!host->isSink) backlog.append(data, static_cast<size_t>(count));
  }
  // There is more: others first.
  loop.watch(*this, EPOLLIN | EPOLLOUT | EPOLLET);
}

}  // namespace

std::unique_ptr<Flow> makeStreamFlow(const Target& target, const Options& options) {
  if (options.kind == tcp) return std::make_unique<TcpFlow>(target, options);
  return std::make_unique<BriefFlow>(target, options);
}

std::unique_ptr<Responder> makeStreamResponder(const Target& target, bool isSink) {
  return std::make_unique<StreamResponder>(target, isSink);
}

}  // namespace weft::probe
