// Flows that fill a path: one TCP connection that sends as many octets as it may, in a thread without priority. Time goes in intervals of
// the spacing: in each it counts how many octets the other end has acknowledged, which is a sample of throughput in bit/s; one without any
// is lost. An outage is from the last octet before to the first after.
#include <linux/tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "probe_flow.h"

namespace weft::probe {
namespace {

constexpr double retryNs = 100e6;
constexpr double handshakeNs = 500e6;
constexpr size_t sampleLimit = 36'000;
// At a time, so that flows take turns.
constexpr size_t helping = 1 << 20;

struct LoadFlow : Flow, Source {
  LoadFlow(const Target& target, const Options& options) : Flow(target, options) { endsByData = true; }

  int enter(Loop& loop, int netns, const char**) override {
    dial(loop, netns, clockNs(CLOCK_MONOTONIC));
    return 0;
  }
  void leave(Loop&) override {
    shutSource();
    isUp = false;
  }

  // An interval is over and another one begins.
  void send(Loop& loop, double now) override {
    look(loop, now);
    if (intervalNs > 0) {
      const double value = (counted - sampled) * 8e9 / std::max(1.0, now - intervalNs);
      if (samples.size() < 2 * sampleLimit) {
        samples.push_back(now + loop.realOffsetNs);
        samples.push_back(value);
      }
      if (counted == sampled && !isOut) beginOutage(loop, lastDataNs > 0 ? lastDataNs : intervalNs);
      if (counted == sampled) {
        counters[lost]++;
        if (counters[outageCount] <= outageLimit && !outages.empty()) outages.back().lost++;
      } else {
        counters[received]++;
      }
      counters[sent]++;
    }
    intervalNs = now;
    sampled = counted;
  }

  void tick(Loop& loop, double now) override {
    if (!isUp && now - dialedNs >= (descriptor < 0 ? retryNs : handshakeNs)) {
      shutSource();
      dial(loop, place->netns, now);
    }
    look(loop, now);
    pump(loop, now);
  }

  void ready(Loop& loop, uint32_t) override { pump(loop, clockNs(CLOCK_MONOTONIC)); }

 private:
  bool isUp = false, wasUp = false, isTold = false;
  double dialedNs = 0, lastDataNs = 0, intervalNs = 0;
  // Octets that were acknowledged: of all connections, at the last sample, of this one.
  double counted = 0, sampled = 0, acked = 0;

  void dial(Loop& loop, int netns, double now) {
    dialedNs = now;
    acked = 0;
    const char* failed = nullptr;
    const int opened = netns < 0 ? -ENETUNREACH : openIn(netns, target.family(), SOCK_STREAM, 0, &failed);
    if (opened < 0) return broken(loop, now, -opened);
    descriptor = opened;
    const linger reset = {1, 0};
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (options.rate > 0) {
      const uint64_t pace = std::max<uint64_t>(1, static_cast<uint64_t>(options.rate));
      setsockopt(descriptor, SOL_SOCKET, SO_MAX_PACING_RATE, &pace, sizeof pace);
    }
    int error = bindSource(*this, descriptor);
    if (error == 0 && connect(descriptor, target.get(), target.length) != 0 && errno != EINPROGRESS) error = errno;
    if (error == 0 && !loop.watch(*this, EPOLLOUT | EPOLLET)) error = errno;
    if (error != 0) broken(loop, now, error);
  }

  void broken(Loop& loop, double now, int error) {
    shutSource();
    if (!isUp) count(error);
    if (!isHomeless() && (isUp || !isTold)) note(loop, eventOf(error), now, 0, error);
    isTold = true;
    isUp = false;
  }

  // What has been acknowledged since it was looked at last.
  void look(Loop& loop, double now) {
    if (descriptor < 0) return;
    tcp_info about = {};
    socklen_t length = sizeof about;
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &about, &length) != 0) return;
    const bool isEstablished = about.tcpi_state != TCP_SYN_SENT_ && about.tcpi_state != TCP_CLOSE_;
    if (!isUp && isEstablished) {
      isUp = true;
      isTold = false;
      note(loop, wasUp ? Event::reconnected : Event::connected, now, lastDataNs > 0 ? now - lastDataNs : now - dialedNs);
      wasUp = true;
    }
    // The SYN counts as one.
    const auto total = about.tcpi_bytes_acked > 0 ? static_cast<double>(about.tcpi_bytes_acked - 1) : 0;
    if (total <= acked) return;
    counted += total - acked;
    acked = total;
    if (isOut) endOutage(loop, now);
    lastDataNs = now;
  }

  void pump(Loop& loop, double now) {
    static const std::string zeros(256 << 10, '\0');
    for (size_t done = 0; descriptor >= 0 && done < helping;) {
      const ssize_t count = ::send(descriptor, zeros.data(), zeros.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count >= 0) {
        done += static_cast<size_t>(count);
        continue;
      }
      if (errno == EAGAIN || errno == EINTR || errno == ENOTCONN || errno == EINPROGRESS) return;
      broken(loop, now, errno);
    }
    // More may be sent: the next turn comes by itself.
    if (descriptor >= 0) loop.watch(*this, EPOLLOUT | EPOLLET);
  }

  // include/net/tcp_states.h
  static constexpr int TCP_SYN_SENT_ = 2, TCP_CLOSE_ = 7;
};

}  // namespace

std::unique_ptr<Flow> makeLoadFlow(const Target& target, const Options& options) { return std::make_unique<LoadFlow>(target, options); }

}  // namespace weft::probe
