// What every file of the addon shares: reading arguments, returning values, throwing errno errors.
//
// The addon is system calls and nothing else: no policy, no state, no names of weft's. Each function does one thing
// synchronously and returns; one that enters a network namespace leaves it before it returns, because setns(2) is per
// thread and JavaScript runs on this one.
#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace weft {

constexpr size_t maxArguments = 10;

// The arguments of one call. Out of range arguments read as undefined.
struct Arguments {
  napi_env env;
  napi_value value[maxArguments];
  size_t count = maxArguments;

  Arguments(napi_env env, napi_callback_info info);

  std::string text(size_t index) const;
  int32_t integer(size_t index) const;
  double number(size_t index) const;
  bool flag(size_t index) const;
  bool isNullish(size_t index) const;
  // A view of a typed array's octets, valid during this call.
  uint8_t* octets(size_t index, size_t* length) const;
  std::vector<std::string> texts(size_t index) const;
};

napi_value fromInteger(napi_env env, int64_t value);
napi_value fromText(napi_env env, const std::string& value);
napi_value fromOctets(napi_env env, const void* data, size_t length);
napi_value undefinedValue(napi_env env);

// Throws Error(`${syscall} ${object}: ${strerror}`) with `code` (ENOENT), `errno` (positive), `syscall` and `object`.
// Returns nullptr, so that callers can `return throwErrno(...)`.
napi_value throwErrno(napi_env env, int error, const char* syscall, const std::string& object);

// The symbolic name of an errno: "EEXIST".
const char* errnoName(int error);

// Enters the network namespace behind `descriptor` (-1: stay) and comes back when destroyed. Failing to come back would
// leave the daemon's thread in a foreign namespace: that aborts the process.
class InNamespace {
 public:
  explicit InNamespace(int descriptor);
  ~InNamespace();
  InNamespace(const InNamespace&) = delete;
  // 0, or the errno of why the namespace could not be entered.
  int error = 0;

 private:
  int home = -1;
};

void define(napi_env env, napi_value exports, const char* name, napi_callback function);

// One per source file; addon.cc calls them all.
void registerNetns(napi_env env, napi_value exports);
void registerNetlink(napi_env env, napi_value exports);
void registerFiles(napi_env env, napi_value exports);
void registerPoll(napi_env env, napi_value exports);
void registerLoop(napi_env env, napi_value exports);
void registerBpf(napi_env env, napi_value exports);
void registerSocket(napi_env env, napi_value exports);
void registerProcess(napi_env env, napi_value exports);
void registerTap(napi_env env, napi_value exports);
void registerEngine(napi_env env, napi_value exports);
void registerSegment(napi_env env, napi_value exports);
void registerTrain(napi_env env, napi_value exports);
void registerEncapsulation(napi_env env, napi_value exports);
void registerTunnel(napi_env env, napi_value exports);
void registerCapture(napi_env env, napi_value exports);
void registerBfd(napi_env env, napi_value exports);
void registerRouteSocket(napi_env env, napi_value exports);
// Before a descriptor is closed that may be one of its.
void forgetRouteSocket(int descriptor);
void registerBgpSocket(napi_env env, napi_value exports);
void registerProbe(napi_env env, napi_value exports);
void registerPathProbe(napi_env env, napi_value exports);

}  // namespace weft
