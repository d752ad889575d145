// How long a thread's event loop goes without a look at its sockets and timers.
#include <node_api.h>
#include <uv.h>

#include <cstdint>

#include "addon.h"

namespace weft {
namespace {

struct Gauge {
  uv_prepare_t handle;
  napi_env env;
  napi_ref numbers;
  napi_async_cleanup_hook_handle cleanup;
  // Longest turn and sum of all turns without what was waited, ms.
  double* target;
  uint64_t since;
  uint64_t idle;
};

// Once in each turn, before the loop waits: what has passed since the last time, but for what was waited, was work.
void onTurn(uv_prepare_t* handle) {
  auto* gauge = reinterpret_cast<Gauge*>(handle);
  const uint64_t now = uv_hrtime(), idle = uv_metrics_idle_time(handle->loop);
  const double busyMs = (static_cast<double>(now - gauge->since) - static_cast<double>(idle - gauge->idle)) / 1e6;
  if (busyMs > gauge->target[0]) gauge->target[0] = busyMs;
  gauge->target[1] += busyMs;
  gauge->since = now;
  gauge->idle = idle;
}

void onThreadEnd(napi_async_cleanup_hook_handle, void* data) {
  auto* gauge = static_cast<Gauge*>(data);
  uv_prepare_stop(&gauge->handle);
  uv_close(reinterpret_cast<uv_handle_t*>(&gauge->handle), [](uv_handle_t* handle) {
    auto* gauge = reinterpret_cast<Gauge*>(handle);
    napi_remove_async_cleanup_hook(gauge->cleanup);
    delete gauge;
  });
}

// loopGauge(numbers): until the calling thread ends, keeps in a Float64Array of two the longest turn of its event loop and the sum of
// all, in ms, without the time that was waited. Whoever reads may set them to 0.
napi_value loopGauge(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0;
  auto* target = reinterpret_cast<double*>(arguments.octets(0, &length));
  if (target == nullptr || length < 2 * sizeof(double)) {
    napi_throw_type_error(env, nullptr, "loopGauge takes a Float64Array of two");
    return nullptr;
  }
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  auto* gauge = new Gauge();
  gauge->env = env;
  gauge->target = target;
  gauge->since = uv_hrtime();
  gauge->idle = uv_metrics_idle_time(loop);
  napi_create_reference(env, arguments.value[0], 1, &gauge->numbers);
  uv_prepare_init(loop, &gauge->handle);
  uv_prepare_start(&gauge->handle, onTurn);
  uv_unref(reinterpret_cast<uv_handle_t*>(&gauge->handle));
  napi_add_async_cleanup_hook(env, onThreadEnd, gauge, &gauge->cleanup);
  return undefinedValue(env);
}

}  // namespace

void registerLoop(napi_env env, napi_value exports) { define(env, exports, "loopGauge", loopGauge); }

}  // namespace weft
