// The addon: what all of its files share, and the list of them.
#include "addon.h"

#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace weft {

Arguments::Arguments(napi_env env, napi_callback_info info) : env(env) {
  napi_get_cb_info(env, info, &count, value, nullptr, nullptr);
}

std::string Arguments::text(size_t index) const {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value[index], nullptr, 0, &length) != napi_ok) return {};
  std::string result(length, '\0');
  napi_get_value_string_utf8(env, value[index], result.data(), length + 1, &length);
  return result;
}

int32_t Arguments::integer(size_t index) const {
  int32_t result = 0;
  napi_get_value_int32(env, value[index], &result);
  return result;
}

double Arguments::number(size_t index) const {
  double result = 0;
  napi_get_value_double(env, value[index], &result);
  return result;
}

bool Arguments::flag(size_t index) const {
  bool result = false;
  napi_get_value_bool(env, value[index], &result);
  return result;
}

bool Arguments::isNullish(size_t index) const {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value[index], &type);
  return type == napi_undefined || type == napi_null;
}

uint8_t* Arguments::octets(size_t index, size_t* length) const {
  void* data = nullptr;
  napi_typedarray_type type;
  size_t elements = 0;
  *length = 0;
  if (napi_get_typedarray_info(env, value[index], &type, &elements, &data, nullptr, nullptr) != napi_ok) return nullptr;
  const bool isWide = type == napi_biguint64_array || type == napi_float64_array;
  const size_t size = type == napi_int32_array || type == napi_uint32_array ? 4 : isWide ? 8 : 1;
  *length = elements * size;
  return static_cast<uint8_t*>(data);
}

std::vector<std::string> Arguments::texts(size_t index) const {
  std::vector<std::string> result;
  uint32_t length = 0;
  if (napi_get_array_length(env, value[index], &length) != napi_ok) return result;
  result.reserve(length);
  for (uint32_t i = 0; i < length; i++) {
    napi_value element;
    napi_get_element(env, value[index], i, &element);
    size_t octets = 0;
    napi_get_value_string_utf8(env, element, nullptr, 0, &octets);
    std::string text(octets, '\0');
    napi_get_value_string_utf8(env, element, text.data(), octets + 1, &octets);
    result.push_back(std::move(text));
  }
  return result;
}

napi_value fromInteger(napi_env env, int64_t value) {
  napi_value result;
  napi_create_int64(env, value, &result);
  return result;
}

napi_value fromText(napi_env env, const std::string& value) {
  napi_value result;
  napi_create_string_utf8(env, value.data(), value.size(), &result);
  return result;
}

napi_value fromOctets(napi_env env, const void* data, size_t length) {
  void* target = nullptr;
  napi_value buffer, result;
  napi_create_arraybuffer(env, length, &target, &buffer);
  if (length > 0) memcpy(target, data, length);
  napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &result);
  return result;
}

napi_value undefinedValue(napi_env env) {
  napi_value result;
  napi_get_undefined(env, &result);
  return result;
}

const char* errnoName(int error) {
  const char* name = strerrorname_np(error);
  return name == nullptr ? "EUNKNOWN" : name;
}

napi_value throwErrno(napi_env env, int error, const char* syscall, const std::string& object) {
  const std::string message =
      std::string(syscall) + (object.empty() ? "" : " " + object) + ": " + errnoName(error) + " (" + strerror(error) + ")";
  napi_value exception;
  napi_create_error(env, fromText(env, errnoName(error)), fromText(env, message), &exception);
  napi_set_named_property(env, exception, "errno", fromInteger(env, error));
  napi_set_named_property(env, exception, "syscall", fromText(env, syscall));
  napi_set_named_property(env, exception, "object", fromText(env, object));
  napi_throw(env, exception);
  return nullptr;
}

InNamespace::InNamespace(int descriptor) {
  if (descriptor < 0) return;
  home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0) {
    error = errno;
    return;
  }
  if (setns(descriptor, CLONE_NEWNET) != 0) {
    error = errno;
    close(home);
    home = -1;
  }
}

InNamespace::~InNamespace() {
  if (home < 0) return;
  if (setns(home, CLONE_NEWNET) != 0) {
    perror("weft: cannot return to the daemon's own network namespace");
    abort();
  }
  close(home);
}

void define(napi_env env, napi_value exports, const char* name, napi_callback function) {
  napi_value value;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value);
  napi_set_named_property(env, exports, name, value);
}

}  // namespace weft

NAPI_MODULE_INIT() {
  // Large buffers (stored labs, messages) are returned to the system when they are freed, and the pool threads share one
  // arena: without this a daemon grows by some 15 MB with each deploy of a thousand nodes.
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 64 * 1024);
  mallopt(M_TRIM_THRESHOLD, 256 * 1024);
  weft::registerNetns(env, exports);
  weft::registerNetlink(env, exports);
  weft::registerFiles(env, exports);
  weft::registerPoll(env, exports);
  weft::registerLoop(env, exports);
  weft::registerBpf(env, exports);
  weft::registerSocket(env, exports);
  weft::registerProcess(env, exports);
  weft::registerTap(env, exports);
  weft::registerEngine(env, exports);
  weft::registerSegment(env, exports);
  weft::registerTrain(env, exports);
  weft::registerEncapsulation(env, exports);
  weft::registerTunnel(env, exports);
  weft::registerCapture(env, exports);
  weft::registerBfd(env, exports);
  weft::registerRouteSocket(env, exports);
  weft::registerBgpSocket(env, exports);
  weft::registerProbe(env, exports);
  weft::registerPathProbe(env, exports);
  return exports;
}
