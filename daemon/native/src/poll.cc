// Descriptors that Node has no type for (raw sockets, netlink) on Node's own event loop.
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>

#include "addon.h"

namespace weft {
namespace {

struct Poll {
  uv_poll_t handle;
  napi_env env;
  napi_ref callback;
  napi_async_context context;
  napi_async_cleanup_hook_handle cleanup;
  int descriptor;
};

// The thread ends, by an exception perhaps, and nobody has stopped this one. Node aborts the whole process when a loop ends
// with a handle that is open; and nobody else knows the descriptor any more.
void onThreadEnd(napi_async_cleanup_hook_handle, void* data) {
  auto* poll = static_cast<Poll*>(data);
  uv_poll_stop(&poll->handle);
  uv_close(reinterpret_cast<uv_handle_t*>(&poll->handle), [](uv_handle_t* handle) {
    auto* poll = reinterpret_cast<Poll*>(handle);
    close(poll->descriptor);
    napi_remove_async_cleanup_hook(poll->cleanup);
    delete poll;
  });
}

void onReady(uv_poll_t* handle, int status, int events) {
  auto* poll = reinterpret_cast<Poll*>(handle);
  napi_handle_scope scope;
  napi_open_handle_scope(poll->env, &scope);
  napi_value callback, global, result;
  napi_value argument = fromInteger(poll->env, status < 0 ? status : events);
  napi_get_global(poll->env, &global);
  napi_get_reference_value(poll->env, poll->callback, &callback);
  if (napi_make_callback(poll->env, poll->context, global, callback, 1, &argument, &result) == napi_pending_exception) {
    napi_value exception;
    napi_get_and_clear_last_exception(poll->env, &exception);
    napi_fatal_exception(poll->env, exception);
  }
  napi_close_handle_scope(poll->env, scope);
}

// pollStart(descriptor, events, callback): calls back with the ready events (1 readable, 2 writable) or a negative
// errno, until pollStop. The descriptor stays the caller's, who stops before closing it; it is closed with a thread that ends
// without that.
napi_value pollStart(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  auto* poll = new Poll();
  poll->env = env;
  poll->descriptor = arguments.integer(0);
  const int error = uv_poll_init(loop, &poll->handle, poll->descriptor);
  if (error != 0) {
    delete poll;
    return throwErrno(env, -error, "uv_poll_init", "");
  }
  napi_value resource;
  napi_create_object(env, &resource);
  napi_async_init(env, resource, fromText(env, "weft:poll"), &poll->context);
  napi_create_reference(env, arguments.value[2], 1, &poll->callback);
  napi_add_async_cleanup_hook(env, onThreadEnd, poll, &poll->cleanup);
  uv_poll_start(&poll->handle, arguments.integer(1), onReady);
  napi_value result;
  napi_create_external(env, poll, nullptr, nullptr, &result);
  return result;
}

Poll* pollOf(const Arguments& arguments) {
  void* data = nullptr;
  napi_get_value_external(arguments.env, arguments.value[0], &data);
  return static_cast<Poll*>(data);
}

// pollStop(poll): exactly once for each pollStart.
napi_value pollStop(napi_env env, napi_callback_info info) {
  Poll* poll = pollOf(Arguments(env, info));
  napi_remove_async_cleanup_hook(poll->cleanup);
  uv_poll_stop(&poll->handle);
  napi_delete_reference(env, poll->callback);
  napi_async_destroy(env, poll->context);
  uv_close(reinterpret_cast<uv_handle_t*>(&poll->handle), [](uv_handle_t* handle) { delete reinterpret_cast<Poll*>(handle); });
  return undefinedValue(env);
}

// pollChange(poll, events): what to call back for from now on; 0: nothing.
napi_value pollChange(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  Poll* poll = pollOf(arguments);
  const int events = arguments.integer(1);
  if (events == 0) uv_poll_stop(&poll->handle);
  else uv_poll_start(&poll->handle, events, onReady);
  return undefinedValue(env);
}

// pollUnref(poll): the event loop may end while this poll is active.
napi_value pollUnref(napi_env env, napi_callback_info info) {
  uv_unref(reinterpret_cast<uv_handle_t*>(&pollOf(Arguments(env, info))->handle));
  return undefinedValue(env);
}

// receive(descriptor, target): octets received into `target`, 0 at the end of a stream, or a negative errno.
napi_value receive(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0;
  uint8_t* target = arguments.octets(1, &length);
  const ssize_t received = recv(arguments.integer(0), target, length, MSG_DONTWAIT);
  return fromInteger(env, received < 0 ? -errno : received);
}

}  // namespace

void registerPoll(napi_env env, napi_value exports) {
  define(env, exports, "pollStart", pollStart);
  define(env, exports, "pollStop", pollStop);
  define(env, exports, "pollChange", pollChange);
  define(env, exports, "pollUnref", pollUnref);
  define(env, exports, "receive", receive);
}

}  // namespace weft
