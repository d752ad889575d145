// UDP traffic between two namespaces, for the benches. One process, one thread in each namespace.
//
//   traffic pps SENDER RECEIVER ADDRESS SECONDS [SIZE]   datagrams as fast as they go:        prints "SENT RECEIVED SECONDS"
//   traffic rtt SENDER RECEIVER ADDRESS COUNT [SIZE]     one datagram to and fro at a time:   prints "P50 P99" in microseconds
//
// SENDER and RECEIVER are files of namespaces, ADDRESS is the receiver's, SIZE the payload in octets, 64 unless given.
// With two CPUs or more the sender stays on the
// first and the receiver on the second, so that runs can be compared.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint16_t port = 4321;
constexpr unsigned batch = 64;
constexpr size_t maxPayload = 9000;
size_t payload = 64;

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(1);
}

void stayOn(unsigned cpu) {
  if (std::thread::hardware_concurrency() < 2) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

int openSocket(const char* netns) {
  const int file = open(netns, O_RDONLY | O_CLOEXEC);
  if (file < 0 || setns(file, CLONE_NEWNET) != 0) fail(netns);
  close(file);
  const int descriptor = socket(AF_INET, SOCK_DGRAM, 0);
  const int buffer = 4 << 20;
  const timeval patience{0, 200'000};
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return descriptor;
}

struct Batch {
  uint8_t data[batch][maxPayload] = {};
  iovec parts[batch];
  mmsghdr messages[batch] = {};
  Batch() {
    for (unsigned i = 0; i < batch; i++) {
      parts[i] = {data[i], payload};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
  }
};

void packetsPerSecond(int sender, int receiver, double seconds) {
  std::atomic<bool> done = false;
  uint64_t sent = 0, received = 0;
  std::thread sink([&] {
    stayOn(1);
    static Batch in;
    while (!done) {
      const int count = recvmmsg(receiver, in.messages, batch, MSG_WAITFORONE, nullptr);
      if (count > 0) received += static_cast<unsigned>(count);
    }
  });
  stayOn(0);
  static Batch out;
  const auto start = Clock::now();
  const auto end = start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (Clock::now() < end) {
    const int count = sendmmsg(sender, out.messages, batch, 0);
    if (count > 0) sent += static_cast<unsigned>(count);
  }
  const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  done = true;
  sink.join();
  printf("%lu %lu %.6f\n", sent, received, elapsed);
}

void roundTrips(int sender, int receiver, size_t count) {
  std::atomic<bool> done = false;
  std::thread echo([&] {
    stayOn(1);
    uint8_t data[maxPayload];
    sockaddr_in from{};
    while (!done) {
      socklen_t length = sizeof from;
      const ssize_t size = recvfrom(receiver, data, payload, 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (size > 0) sendto(receiver, data, static_cast<size_t>(size), 0, reinterpret_cast<sockaddr*>(&from), length);
    }
  });
  stayOn(0);
  std::vector<double> times;
  uint8_t data[maxPayload] = {};
  const size_t warmUp = count / 10;
  unsigned unanswered = 0;
  for (size_t i = 0; i < count + warmUp; i++) {
    const auto start = Clock::now();
    // On a busy machine an answer may take longer than the socket's patience. Late answers to earlier questions are passed over.
    for (size_t answer = i + 1; answer != i;) {
      memcpy(data, &i, sizeof i);
      if (send(sender, data, payload, 0) < 0) fail("send");
      while (recv(sender, data, payload, 0) >= 0) {
        memcpy(&answer, data, sizeof answer);
        if (answer == i) break;
      }
      if (answer != i && ++unanswered > 50) fail("no answer");
    }
    if (i >= warmUp) times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
  done = true;
  echo.join();
  std::sort(times.begin(), times.end());
  printf("%.3f %.3f\n", times[times.size() / 2], times[times.size() * 99 / 100]);
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 7) payload = static_cast<size_t>(atoi(arguments[6]));
  if (count < 6 || count > 7 || payload < sizeof(size_t) || payload > maxPayload) {
    fprintf(stderr, "usage: traffic pps|rtt SENDER RECEIVER ADDRESS SECONDS|COUNT [SIZE]\n");
    return 2;
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, arguments[4], &address.sin_addr);
  const int receiver = openSocket(arguments[3]);
  if (bind(receiver, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("bind");
  const int sender = openSocket(arguments[2]);
  if (connect(sender, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("connect");
  if (strcmp(arguments[1], "pps") == 0) packetsPerSecond(sender, receiver, atof(arguments[5]));
  else roundTrips(sender, receiver, static_cast<size_t>(atol(arguments[5])));
}
