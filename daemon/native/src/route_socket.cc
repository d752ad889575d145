// A netlink socket that stays: requests by the million without acknowledgements, dumps that are read bit by bit, and what
// others do in the same namespace without the echo of what we do.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <set>
#include <vector>

#include "addon.h"

namespace weft {
namespace {

// Sockets of this thread that are open: a thread that ends without a word leaves none behind.
thread_local std::set<int> opened;

void closeOpened(void*) {
  for (const int descriptor : opened) close(descriptor);
  opened.clear();
}

// routeSocketOpen(namespaceFd, groups, receiveOctets): a descriptor that never blocks and receives the multicast groups of
// the bit mask `groups`; strict about dumps (filters work), errors without the request that failed.
napi_value routeSocketOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const InNamespace inside(arguments.integer(0));
  if (inside.error != 0) return throwErrno(env, inside.error, "setns", "");
  const int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (descriptor < 0) return throwErrno(env, errno, "socket", "netlink");
  const int one = 1, octets = arguments.integer(2);
  setsockopt(descriptor, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
  setsockopt(descriptor, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
  setsockopt(descriptor, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof one);
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = static_cast<uint32_t>(static_cast<int64_t>(arguments.number(1)));
  if (bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    close(descriptor);
    return throwErrno(env, error, "bind", "netlink");
  }
  opened.insert(descriptor);
  return fromInteger(env, descriptor);
}

// routeSocketPort(descriptor): the number by which notifications say that this socket asked for the change.
napi_value routeSocketPort(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  sockaddr_nl address{};
  socklen_t length = sizeof address;
  if (getsockname(arguments.integer(0), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return throwErrno(env, errno, "getsockname", "netlink");
  }
  return fromInteger(env, address.nl_pid);
}

// routeSocketFilter(descriptor, port, protocol, port2): leaves out notifications of what the sockets `port` and `port2` asked for, and
// those of routes of `protocol` that nobody asked for: the kernel flushes a route for each notification when an interface goes.
napi_value routeSocketFilter(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  // Classic BPF loads words in network order; netlink's are in the host's.
  const uint32_t port = __builtin_bswap32(static_cast<uint32_t>(static_cast<int64_t>(arguments.number(1))));
  const uint32_t other = __builtin_bswap32(static_cast<uint32_t>(static_cast<int64_t>(arguments.number(3))));
  const auto protocol = static_cast<uint32_t>(arguments.integer(2));
  constexpr uint32_t senderAt = offsetof(nlmsghdr, nlmsg_pid), typeAt = offsetof(nlmsghdr, nlmsg_type);
  constexpr uint32_t protocolAt = sizeof(nlmsghdr) + offsetof(rtmsg, rtm_protocol);
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, senderAt),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 7, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, other, 6, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 4),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, typeAt),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RTM_DELROUTE, 0, 2),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, protocolAt),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, protocol, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog filter{sizeof program / sizeof program[0], program};
  if (setsockopt(arguments.integer(0), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0) {
    return throwErrno(env, errno, "setsockopt", "SO_ATTACH_FILTER");
  }
  return undefinedValue(env);
}

// Requests under way in a thread of libuv's pool.
struct Sending {
  napi_async_work work;
  napi_ref callback;
  // Of its own: whoever closes the socket meanwhile does not have another one written to.
  int descriptor;
  int error;
  std::vector<uint8_t> request, answers;
};

void send(napi_env, void* data) {
  auto* sending = static_cast<Sending*>(data);
  ssize_t done;
  do done = write(sending->descriptor, sending->request.data(), sending->request.size());
  while (done < 0 && errno == EINTR);
  sending->error = done < 0 ? errno : 0;
  constexpr size_t octets = 64 * 1024;
  while (sending->error == 0) {
    const size_t had = sending->answers.size();
    sending->answers.resize(had + octets);
    const ssize_t received = recv(sending->descriptor, sending->answers.data() + had, octets, MSG_DONTWAIT);
    const int error = received < 0 ? errno : 0;
    sending->answers.resize(had + (received < 0 ? 0 : static_cast<size_t>(received)));
    if (error == EINTR) continue;
    if (received <= 0) {
      if (error == ENOBUFS) sending->error = EOVERFLOW;
      break;
    }
  }
  close(sending->descriptor);
}

void sent(napi_env env, napi_status, void* data) {
  auto* sending = static_cast<Sending*>(data);
  napi_value callback, receiver, buffer, values[2];
  void* target = nullptr;
  const size_t length = sending->answers.size();
  // A thread that is ending can neither make values nor be told.
  if (napi_get_reference_value(env, sending->callback, &callback) == napi_ok && napi_get_undefined(env, &receiver) == napi_ok &&
      napi_create_int32(env, sending->error, &values[0]) == napi_ok &&
      napi_create_arraybuffer(env, length, &target, &buffer) == napi_ok &&
      napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &values[1]) == napi_ok) {
    if (length > 0) memcpy(target, sending->answers.data(), length);
    napi_call_function(env, receiver, callback, 2, values, nullptr);
    bool hasFailed = false;
    if (napi_is_exception_pending(env, &hasFailed) == napi_ok && hasFailed) {
      napi_value exception;
      napi_get_and_clear_last_exception(env, &exception);
      napi_fatal_exception(env, exception);
    }
  }
  napi_delete_reference(env, sending->callback);
  napi_delete_async_work(env, sending->work);
  delete sending;
}

// routeSocketSend(descriptor, requests, length, callback): has the kernel obey the first `length` octets of `requests` in another
// thread, for a single route can hold up the one that asks for it (net/ipv4/fib_trie.c: resize; the lock of rtnetlink). Calls back with
// an errno (0: none, EOVERFLOW: done, but answers were lost) and the answers.
napi_value routeSocketSend(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0;
  const uint8_t* octets = arguments.octets(1, &length);
  const auto wanted = static_cast<size_t>(arguments.integer(2));
  const int descriptor = fcntl(arguments.integer(0), F_DUPFD_CLOEXEC, 0);
  if (descriptor < 0) return throwErrno(env, errno, "fcntl", "netlink");
  auto* sending = new Sending();
  sending->descriptor = descriptor;
  sending->request.assign(octets, octets + (wanted < length ? wanted : length));
  napi_create_reference(env, arguments.value[3], 1, &sending->callback);
  napi_create_async_work(env, nullptr, fromText(env, "weft:routes"), send, sent, sending, &sending->work);
  napi_queue_async_work(env, sending->work);
  return undefinedValue(env);
}

}  // namespace

void forgetRouteSocket(int descriptor) { opened.erase(descriptor); }

void registerRouteSocket(napi_env env, napi_value exports) {
  napi_add_env_cleanup_hook(env, closeOpened, nullptr);
  define(env, exports, "routeSocketOpen", routeSocketOpen);
  define(env, exports, "routeSocketPort", routeSocketPort);
  define(env, exports, "routeSocketFilter", routeSocketFilter);
  define(env, exports, "routeSocketSend", routeSocketSend);
}

}  // namespace weft
