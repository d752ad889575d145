// Sends and shows Ethernet frames at the interfaces of nodes, for tests.
//
//   frames PATH:IFNAME...       each argument: a namespace's file and an interface in it, numbered from 0
//
// stdin:  "NUMBER HEX\n" sends a frame.
// stdout: "ready\n", then "NUMBER TYPE HEX\n" for each frame that an interface receives: TYPE is sll_pkttype of packet(7)
//         (0 host, 1 broadcast, 2 multicast, 3 other host), HEX has the VLAN tag where it was on the wire. "end N\n"
//         answers "sync N\n": everything sent before was handed to the kernel and everything received by now is shown.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(1);
}

struct Port {
  int descriptor;
  int ifindex;
};

std::vector<Port> ports;

// One socket for all interfaces of a namespace: closing a packet socket waits for an RCU grace period.
int openNamespace(const std::string& path) {
  static std::string here;
  static int descriptor = -1;
  if (path == here) return descriptor;
  const int netns = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (netns < 0 || setns(netns, CLONE_NEWNET) != 0) fail(path.c_str());
  close(netns);
  here = path;
  descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
  if (descriptor < 0) fail("socket");
  const int one = 1, buffer = 8 << 20;
  setsockopt(descriptor, SOL_PACKET, PACKET_AUXDATA, &one, sizeof one);
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  return descriptor;
}

Port openPort(const std::string& argument) {
  const size_t colon = argument.rfind(':');
  const int descriptor = openNamespace(argument.substr(0, colon));
  const int ifindex = static_cast<int>(if_nametoindex(argument.substr(colon + 1).c_str()));
  if (ifindex == 0) fail(argument.c_str());
  return {descriptor, ifindex};
}

// The number of the port, or -1 for an interface that nobody asked for, such as loopback.
int numberOf(int descriptor, int ifindex) {
  for (size_t i = 0; i < ports.size(); i++) {
    if (ports[i].descriptor == descriptor && ports[i].ifindex == ifindex) return static_cast<int>(i);
  }
  return -1;
}

// Shows what has arrived. The kernel takes VLAN tags out of a frame and tells them beside it.
void show(int descriptor) {
  static uint8_t frame[1 << 17];
  for (;;) {
    sockaddr_ll address{};
    char control[CMSG_SPACE(sizeof(tpacket_auxdata))];
    iovec part{frame, sizeof frame};
    msghdr message{&address, sizeof address, &part, 1, control, sizeof control, 0};
    const ssize_t length = recvmsg(descriptor, &message, 0);
    if (length < 0) return;
    const int number = numberOf(descriptor, address.sll_ifindex);
    if (number < 0 || address.sll_pkttype == PACKET_OUTGOING) continue;
    std::string text = std::to_string(number) + " " + std::to_string(address.sll_pkttype) + " ";
    char digits[16];
    for (ssize_t i = 0; i < length; i++) {
      if (i == 12) {
        for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
          if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA) continue;
          tpacket_auxdata aux;
          memcpy(&aux, CMSG_DATA(c), sizeof aux);
          if ((aux.tp_status & TP_STATUS_VLAN_VALID) == 0) continue;
          snprintf(digits, sizeof digits, "%04x%04x", aux.tp_vlan_tpid, aux.tp_vlan_tci);
          text += digits;
        }
      }
      snprintf(digits, sizeof digits, "%02x", frame[i]);
      text += digits;
    }
    puts(text.c_str());
  }
}

void sendHex(const Port& port, const std::string& hex) {
  std::vector<uint8_t> frame(hex.size() / 2);
  for (size_t i = 0; i < frame.size(); i++) frame[i] = static_cast<uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = port.ifindex;
  if (sendto(port.descriptor, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) fail("sendto");
}

}  // namespace

int main(int count, char** arguments) {
  for (int i = 1; i < count; i++) ports.push_back(openPort(arguments[i]));
  std::vector<pollfd> waiting;
  for (const Port& port : ports) {
    if (waiting.empty() || waiting.back().fd != port.descriptor) waiting.push_back({port.descriptor, POLLIN, 0});
  }
  const size_t sockets = waiting.size();
  waiting.push_back({0, POLLIN, 0});
  puts("ready");
  fflush(stdout);
  std::string input;
  for (;;) {
    poll(waiting.data(), waiting.size(), -1);
    for (size_t i = 0; i < sockets; i++) show(waiting[i].fd);
    if ((waiting.back().revents & (POLLIN | POLLHUP)) != 0) {
      char chunk[65536];
      const ssize_t length = read(0, chunk, sizeof chunk);
      if (length <= 0) return 0;
      input.append(chunk, static_cast<size_t>(length));
    }
    for (size_t end; (end = input.find('\n')) != std::string::npos; input.erase(0, end + 1)) {
      const std::string line = input.substr(0, end);
      const size_t space = line.find(' ');
      if (line.compare(0, 5, "sync ") == 0) {
        for (size_t i = 0; i < sockets; i++) show(waiting[i].fd);
        printf("end %s\n", line.c_str() + 5);
      } else {
        sendHex(ports.at(static_cast<size_t>(std::stoi(line))), line.substr(space + 1));
      }
    }
    fflush(stdout);
  }
}
