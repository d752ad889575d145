// The one-way delay between two namespaces of one machine, and so of one clock, under load. One process, two threads.
//
//   delay SENDER RECEIVER ADDRESS BPS SECONDS    prints "SENT RECEIVED UNKNOWN", then each delay in microseconds, one per line
//
// Every datagram has 1442 octets (1484 as a frame) and carries the time at which it is handed to the kernel; they are
// spread evenly to make BPS in all. The kernel stamps them when they reach the receiver's interface. A sender that lost the
// processor between its stamp and the end of the call does not know when its datagram went: UNKNOWN ones do not count.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr size_t payload = 1442;
constexpr double frameBits = (payload + 42) * 8;
constexpr uint16_t port = 7007;
constexpr int64_t second = 1'000'000'000;
constexpr int64_t longestSend = 100'000;

void die(const char* what) {
  perror(what);
  exit(1);
}

int64_t now(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * second + time.tv_nsec;
}

int socketIn(const char* path) {
  const int netns = open(path, O_RDONLY);
  if (netns < 0 || setns(netns, CLONE_NEWNET) != 0) die(path);
  const int result = socket(AF_INET, SOCK_DGRAM, 0);
  if (result < 0) die("socket");
  return result;
}

struct Sample {
  uint64_t number;
  double delay;
};

void receive(const char* path, std::vector<Sample>& samples, std::atomic<bool>& isBound, const std::atomic<bool>& isOver) {
  const int from = socketIn(path);
  const int on = 1;
  const int room = 32 << 20;
  setsockopt(from, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  if (setsockopt(from, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0) die("SO_TIMESTAMPNS");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (bind(from, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("bind");
  isBound = true;
  char data[2048];
  char control[256];
  for (;;) {
    pollfd ready{from, POLLIN, 0};
    if (poll(&ready, 1, 500) == 0) {
      if (isOver) return;
      continue;
    }
    iovec part{data, sizeof data};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(from, &message, 0) != static_cast<ssize_t>(payload)) continue;
    int64_t sent;
    uint64_t number;
    memcpy(&sent, data, sizeof sent);
    memcpy(&number, data + sizeof sent, sizeof number);
    for (cmsghdr* entry = CMSG_FIRSTHDR(&message); entry != nullptr; entry = CMSG_NXTHDR(&message, entry)) {
      if (entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_TIMESTAMPNS) continue;
      timespec stamp;
      memcpy(&stamp, CMSG_DATA(entry), sizeof stamp);
      samples.push_back({number, (stamp.tv_sec * second + stamp.tv_nsec - sent) / 1e3});
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: delay SENDER RECEIVER ADDRESS BPS SECONDS\n");
    return 2;
  }
  const double bps = atof(argv[4]);
  const double seconds = atof(argv[5]);
  std::vector<Sample> samples;
  std::vector<bool> isUnknown;
  samples.reserve(static_cast<size_t>(bps / frameBits * seconds) + 1000);
  std::atomic<bool> isBound = false;
  std::atomic<bool> isOver = false;
  std::thread receiver(receive, argv[2], std::ref(samples), std::ref(isBound), std::ref(isOver));
  while (!isBound) usleep(1000);

  // As urgent as the engine and no more; the receiver need not be, the stamps are the kernel's.
  const sched_param urgent{.sched_priority = 1};
  sched_setscheduler(0, SCHED_RR, &urgent);
  prctl(PR_SET_TIMERSLACK, 1UL);
  const int to = socketIn(argv[1]);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, argv[3], &address.sin_addr) != 1) die(argv[3]);
  if (connect(to, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("connect");
  char data[payload] = {};
  const int64_t start = now(CLOCK_MONOTONIC);
  const int64_t gap = static_cast<int64_t>(frameBits / bps * second);
  size_t sent = 0;
  for (int64_t at = start; at < start + static_cast<int64_t>(seconds * second); at += gap) {
    const timespec until{at / second, at % second};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
    // Who woke up late sends no burst to make up for it: it would wait for itself.
    at = std::max(at, now(CLOCK_MONOTONIC) - gap);
    const int64_t stamp = now(CLOCK_REALTIME);
    const uint64_t number = isUnknown.size();
    memcpy(data, &stamp, sizeof stamp);
    memcpy(data + sizeof stamp, &number, sizeof number);
    if (send(to, data, payload, 0) == static_cast<ssize_t>(payload)) sent++;
    isUnknown.push_back(now(CLOCK_REALTIME) - stamp > longestSend);
  }
  isOver = true;
  receiver.join();
  printf("%zu %zu %zu\n", sent, samples.size(), static_cast<size_t>(std::count(isUnknown.begin(), isUnknown.end(), true)));
  for (const auto& [number, delay] : samples) {
    if (!isUnknown[number]) printf("%.1f\n", delay);
  }
}
