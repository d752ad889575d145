// rtnetlink in batches: many requests in one sendmsg, acknowledgements counted off. One socket per call, made inside the
// namespace it speaks to.
#include "netlink.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "addon.h"

namespace weft {
namespace {

// The kernel answers while it works through a datagram, so what is outstanding must fit our receive buffer.
constexpr size_t chunkOctets = 32 * 1024;
constexpr size_t receiveOctets = 256 * 1024;

struct Failure {
  uint32_t sequence;
  int error;
  std::string text;  // the kernel's own words (NLMSGERR_ATTR_MSG), often empty
};

int openSocket(int protocol) {
  const int socketFd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (socketFd < 0) return -1;
  const int one = 1, buffer = 4 << 20;
  setsockopt(socketFd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
  setsockopt(socketFd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
  setsockopt(socketFd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof one);
  setsockopt(socketFd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  return socketFd;
}

// The text attribute of an extended acknowledgement (Documentation/userspace-api/netlink/intro.rst).
std::string acknowledgementText(const nlmsghdr* header) {
  if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(header));
  size_t offset = sizeof(nlmsghdr) + sizeof(nlmsgerr);
  if ((header->nlmsg_flags & NLM_F_CAPPED) == 0) offset += error->msg.nlmsg_len - sizeof(nlmsghdr);
  offset = NLMSG_ALIGN(offset);
  const auto* base = reinterpret_cast<const uint8_t*>(header);
  while (offset + sizeof(nlattr) <= header->nlmsg_len) {
    const auto* attribute = reinterpret_cast<const nlattr*>(base + offset);
    if (attribute->nla_len < sizeof(nlattr) || offset + attribute->nla_len > header->nlmsg_len) break;
    if ((attribute->nla_type & NLA_TYPE_MASK) == NLMSGERR_ATTR_MSG) {
      const char* text = reinterpret_cast<const char*>(attribute) + sizeof(nlattr);
      return {text, strnlen(text, attribute->nla_len - sizeof(nlattr))};
    }
    offset += NLA_ALIGN(attribute->nla_len);
  }
  return {};
}

// Reads acknowledgements until `outstanding` have come. Returns 0 or the errno of recv.
int awaitAcknowledgements(int socketFd, size_t outstanding, uint8_t* buffer, std::vector<Failure>& failures) {
  while (outstanding > 0) {
    const ssize_t received = recv(socketFd, buffer, receiveOctets, 0);
    if (received < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    size_t left = static_cast<size_t>(received);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type != NLMSG_ERROR) continue;
      const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(header));
      if (error->error != 0) failures.push_back({header->nlmsg_seq, -error->error, acknowledgementText(header)});
      outstanding--;
    }
  }
  return 0;
}

// Sends every message, in chunks, and collects what failed. Each message must carry NLM_F_ACK.
int applyAll(const uint8_t* messages, size_t length, std::vector<Failure>& failures) {
  const int socketFd = openSocket(NETLINK_ROUTE);
  if (socketFd < 0) return errno;
  const std::unique_ptr<uint8_t[]> buffer(new uint8_t[receiveOctets]);
  int result = 0;
  size_t start = 0;
  while (start < length && result == 0) {
    size_t end = start, count = 0;
    while (end + sizeof(nlmsghdr) <= length) {
      const auto* header = reinterpret_cast<const nlmsghdr*>(messages + end);
      const size_t size = NLMSG_ALIGN(header->nlmsg_len);
      if (header->nlmsg_len < sizeof(nlmsghdr) || end + size > length) {
        close(socketFd);
        return EBADMSG;
      }
      if (count > 0 && end + size - start > chunkOctets) break;
      end += size;
      count++;
    }
    if (count == 0) break;
    if (send(socketFd, messages + start, end - start, 0) < 0) {
      if (errno == EINTR) continue;
      result = errno;
    } else {
      result = awaitAcknowledgements(socketFd, count, buffer.get(), failures);
    }
    start = end;
  }
  close(socketFd);
  return result;
}

// netlinkBatch(namespaceFd, messages): [[sequence, errno, text], ...] of the messages that failed; [] when all was well.
napi_value netlinkBatch(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0;
  const uint8_t* messages = arguments.octets(1, &length);
  std::vector<Failure> failures;
  int error = 0;
  {
    const InNamespace inside(arguments.integer(0));
    if (inside.error != 0) return throwErrno(env, inside.error, "setns", "");
    error = applyAll(messages, length, failures);
  }
  if (error != 0) return throwErrno(env, error, "netlink", "");
  napi_value result;
  napi_create_array_with_length(env, failures.size(), &result);
  for (size_t i = 0; i < failures.size(); i++) {
    napi_value entry;
    napi_create_array_with_length(env, 3, &entry);
    napi_set_element(env, entry, 0, fromInteger(env, failures[i].sequence));
    napi_set_element(env, entry, 1, fromText(env, errnoName(failures[i].error)));
    napi_set_element(env, entry, 2, fromText(env, failures[i].text));
    napi_set_element(env, result, static_cast<uint32_t>(i), entry);
  }
  return result;
}

// One dump, appended to `out` without the final NLMSG_DONE. EINTR: the table changed meanwhile, ask again.
int dumpOnce(int socketFd, uint8_t* buffer, const uint8_t* request, size_t length, std::vector<uint8_t>& out) {
  int result = 0;
  bool done = send(socketFd, request, length, 0) < 0;
  if (done) result = errno;
  while (!done) {
    const ssize_t received = recv(socketFd, buffer, receiveOctets, 0);
    if (received < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    size_t left = static_cast<size_t>(received);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
      if ((header->nlmsg_flags & NLM_F_DUMP_INTR) != 0) result = EINTR;
      if (header->nlmsg_type == NLMSG_DONE) {
        const int status = *static_cast<const int*>(NLMSG_DATA(header));
        if (status < 0) result = -status;
        done = true;
      } else if (header->nlmsg_type == NLMSG_ERROR) {
        const int status = static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
        if (status != 0) result = -status;
        done = true;
      } else {
        const auto* from = reinterpret_cast<const uint8_t*>(header);
        out.insert(out.end(), from, from + NLMSG_ALIGN(header->nlmsg_len));
      }
    }
  }
  return result;
}

// The answers to several dump requests, one after the other.
int dumpAll(int protocol, const uint8_t* requests, size_t length, std::vector<uint8_t>& out) {
  const int socketFd = openSocket(protocol);
  if (socketFd < 0) return errno;
  const std::unique_ptr<uint8_t[]> buffer(new uint8_t[receiveOctets]);
  int error = 0;
  for (size_t at = 0; error == 0 && at + sizeof(nlmsghdr) <= length;) {
    const uint32_t size = reinterpret_cast<const nlmsghdr*>(requests + at)->nlmsg_len;
    if (size < sizeof(nlmsghdr) || at + size > length) {
      error = EBADMSG;
      break;
    }
    const size_t before = out.size();
    for (int attempt = 0; attempt < 10; attempt++) {
      out.resize(before);
      error = dumpOnce(socketFd, buffer.get(), requests + at, size, out);
      if (error != EINTR) break;
    }
    at += NLMSG_ALIGN(size);
  }
  close(socketFd);
  return error;
}

// netlinkDump(namespaceFd, requests, protocol): every message of the answers, one after the other, as octets. Without a protocol it is
// NETLINK_ROUTE, which is 0.
napi_value netlinkDump(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0;
  const uint8_t* request = arguments.octets(1, &length);
  std::vector<uint8_t> out;
  int error = 0;
  {
    const InNamespace inside(arguments.integer(0));
    if (inside.error != 0) return throwErrno(env, inside.error, "setns", "");
    error = dumpAll(arguments.integer(2), request, length, out);
  }
  if (error != 0) return throwErrno(env, error, "netlink dump", "");
  return fromOctets(env, out.data(), out.size());
}

// netlinkMonitor(namespaceFd, groups): a descriptor that receives the multicast groups of the bit mask `groups`.
napi_value netlinkMonitor(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const InNamespace inside(arguments.integer(0));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", "");
  const int socketFd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (socketFd < 0) return throwErrno(env, errno, "socket", "netlink");
  const int octets = 1 << 20;
  setsockopt(socketFd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = static_cast<uint32_t>(arguments.integer(1));
  if (bind(socketFd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    close(socketFd);
    return throwErrno(env, error, "bind", "netlink");
  }
  return fromInteger(env, socketFd);
}

}  // namespace

int netlinkApply(const uint8_t* messages, size_t length) {
  std::vector<Failure> failures;
  const int error = applyAll(messages, length, failures);
  if (error != 0) return error;
  return failures.empty() ? 0 : failures.front().error;
}

void registerNetlink(napi_env env, napi_value exports) {
  define(env, exports, "netlinkBatch", netlinkBatch);
  define(env, exports, "netlinkDump", netlinkDump);
  define(env, exports, "netlinkMonitor", netlinkMonitor);
}

}  // namespace weft
