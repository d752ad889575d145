// Sending what goes into tunnels in as few system calls as can be: see sender.h.
#include "sender.h"

#include <netinet/udp.h>

#include <cerrno>
#include <cstring>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

namespace weft {
namespace {

// How long packets that were too long to be sent together are sent one by one.
constexpr double limitNs = 10e9;

}  // namespace

void Sender::begin(Destination& destination, double nowNs) {
  to = &destination;
  if (nowNs > to->limitEndsNs) to->gsoLimit = SIZE_MAX;
}

void Sender::add(const VnetHeader& vnet, uint8_t* frame, size_t length) {
  if (vnet.gsoType != 0) {
    Segments segments;
    if (!describe(vnet, frame, length, segments)) {
      to->sent.errors++;
      return;
    }
    return addSuperFrame(segments, frame, length);
  }
  if (!completeChecksum(vnet, frame, length)) {
    to->sent.errors++;
    return;
  }
  const size_t size = length + to->headerLength;
  Run& run = runFor(flowHash(frame, length) % poolSize, size);
  run.starts[run.count++] = static_cast<uint16_t>(run.partCount);
  if (to->headerLength == encapsulationLength) {
    uint8_t* const packet = frame - encapsulationLength;
    memcpy(packet, to->header.data(), encapsulationLength);
    run.parts[run.partCount++] = {packet, size};
  } else {
    // No room for options before the frame.
    run.parts[run.partCount++] = {to->header.data(), to->headerLength};
    run.parts[run.partCount++] = {frame, length};
  }
  run.octets += size;
}

void Sender::addSuperFrame(const Segments& segments, uint8_t* frame, size_t length) {
  const size_t socket = flowHash(frame, length) % poolSize;
  const size_t each = to->headerLength + segments.header;
  if (each > headers.size()) {
    to->sent.errors++;
    return;
  }
  const size_t checksum = segments.transport + (segments.isTcp ? tcpChecksum : udpChecksum);
  for (size_t i = 0; i < segments.count; i++) {
    if (headersUsed + each > headers.size()) flush();
    // The run first: making room in it may free all headers.
    const size_t payload = i + 1 < segments.count ? segments.size : segments.payload - i * segments.size;
    Run& run = runFor(socket, each + payload);
    uint8_t* const packet = headers.data() + headersUsed;
    headersUsed += each;
    memcpy(packet, to->header.data(), to->headerLength);
    uint8_t* const ethernet = packet + to->headerLength;
    const Slice slice = cutHeaders(segments, frame, i, ethernet);
    closeChecksum(ethernet + checksum, sumOf(ethernet + segments.transport, segments.header - segments.transport) +
                                           sumOf(frame + slice.from, slice.size));
    run.starts[run.count++] = static_cast<uint16_t>(run.partCount);
    run.parts[run.partCount++] = {packet, each};
    if (slice.size > 0) run.parts[run.partCount++] = {frame + slice.from, slice.size};
    run.octets += each + slice.size;
  }
}

// The run of the socket, with room for a packet of this size.
Sender::Run& Sender::runFor(size_t socket, size_t size) {
  Run& run = runs[socket];
  if (run.count > 0 && (run.isClosed || size > run.size || run.count == maxPackets || run.octets + size > maxOctets)) flush(socket);
  if (run.count == 0) run.size = size;
  else if (size < run.size) run.isClosed = true;
  return run;
}

void Sender::flush() {
  for (size_t socket = 0; socket < poolSize; socket++) {
    if (runs[socket].count > 0) flush(socket);
  }
  headersUsed = 0;
}

void Sender::flush(size_t socket) {
  Run& run = runs[socket];
  const bool isUdp = to->kind != Encapsulation::gre;
  if (!(isUdp && run.count > 1 && run.size <= to->gsoLimit && sendTogether(socket, run))) sendSeparately(socket, run);
  run.count = run.partCount = run.octets = 0;
  run.isClosed = false;
}

// False when the kernel will not have it as one.
bool Sender::sendTogether(size_t socket, Run& run) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = {};
  msghdr message{};
  message.msg_name = &to->address;
  message.msg_namelen = to->addressLength;
  message.msg_iov = run.parts.data();
  message.msg_iovlen = run.partCount;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* item = CMSG_FIRSTHDR(&message);
  item->cmsg_level = SOL_UDP;
  item->cmsg_type = UDP_SEGMENT;
  item->cmsg_len = CMSG_LEN(sizeof(uint16_t));
  const auto size = static_cast<uint16_t>(run.size);
  memcpy(CMSG_DATA(item), &size, sizeof size);
  const bool isSent = sendmsg(to->sockets[socket], &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
  // Longer than the underlay's MTU (EMSGSIZE; EINVAL before Linux 6.11), or no device that could cut it (EIO).
  if (!isSent && (errno == EMSGSIZE || errno == EINVAL || errno == EIO)) {
    to->gsoLimit = errno == EIO ? 0 : run.size - 1;
    to->limitEndsNs = now() + limitNs;
    return false;
  }
  count(isSent, run.count, run.octets);
  return true;
}

void Sender::sendSeparately(size_t socket, Run& run) {
  mmsghdr messages[maxPackets];
  for (size_t i = 0; i < run.count; i++) {
    const size_t start = run.starts[i];
    const size_t end = i + 1 < run.count ? run.starts[i + 1] : run.partCount;
    messages[i] = {};
    messages[i].msg_hdr.msg_name = &to->address;
    messages[i].msg_hdr.msg_namelen = to->addressLength;
    messages[i].msg_hdr.msg_iov = &run.parts[start];
    messages[i].msg_hdr.msg_iovlen = end - start;
  }
  for (size_t i = 0; i < run.count;) {
    const int sent = sendmmsg(to->sockets[socket], messages + i, static_cast<unsigned>(run.count - i), MSG_DONTWAIT | MSG_NOSIGNAL);
    for (int done = 0; done < sent; done++) count(true, 1, messages[i + done].msg_len);
    // The first one that failed tells why; the others are tried.
    if (sent <= 0) count(false, 1, 0);
    i += sent <= 0 ? 1 : sent;
  }
}

// `octets`: with the encapsulation. On failure by `errno`.
void Sender::count(bool isSent, size_t packets, size_t octets) {
  const auto number = static_cast<double>(packets);
  if (isSent) {
    to->sent.packets += number;
    to->sent.octets += static_cast<double>(octets - packets * to->headerLength);
  } else if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
    to->overflows += number;
  } else if (errno == ENETUNREACH || errno == EHOSTUNREACH || errno == ENETDOWN || errno == EADDRNOTAVAIL) {
    to->unreachable += number;
  } else {
    to->sent.errors += number;
  }
}

}  // namespace weft
