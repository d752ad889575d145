// eBPF: loading an object file through libbpf, finding programs and maps of a running system by their ids, and map
// access by whole arrays of keys and values. Descriptors are plain integers; their owner closes them with `close`.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "addon.h"

namespace weft {
namespace {

// What libbpf, and through it the verifier, had to say during the last load.
thread_local std::string loadLog;

int collect(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  va_list again;
  va_copy(again, arguments);
  const int length = vsnprintf(nullptr, 0, format, again);
  va_end(again);
  if (length <= 0) return 0;
  const size_t start = loadLog.size();
  loadLog.resize(start + length + 1);
  vsnprintf(loadLog.data() + start, length + 1, format, arguments);
  loadLog.resize(start + length);
  return length;
}

struct CloseObject {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using Object = std::unique_ptr<bpf_object, CloseObject>;

napi_value throwLoad(napi_env env, int error, const char* call, const std::string& object) {
  throwErrno(env, error < 0 ? -error : error, call, object);
  napi_value exception;
  napi_get_and_clear_last_exception(env, &exception);
  napi_set_named_property(env, exception, "log", fromText(env, loadLog));
  napi_throw(env, exception);
  return nullptr;
}

// bpfLoad(path, program, names, descriptors): loads the object file and returns the descriptor of its program `program`.
// A map whose name is in `names` is not made but taken from `descriptors`. The error has a field `log`.
napi_value bpfLoad(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const std::string path = arguments.text(0), programName = arguments.text(1);
  const std::vector<std::string> names = arguments.texts(2);
  size_t length = 0;
  const auto* descriptors = reinterpret_cast<const int32_t*>(arguments.octets(3, &length));

  libbpf_set_print(collect);
  loadLog.clear();
  const Object object(bpf_object__open_file(path.c_str(), nullptr));
  if (!object) return throwLoad(env, errno, "bpf_object__open_file", path);
  for (size_t i = 0; i < names.size() && i < length / sizeof(int32_t); i++) {
    bpf_map* map = bpf_object__find_map_by_name(object.get(), names[i].c_str());
    const int error = map == nullptr ? -ENOENT : bpf_map__reuse_fd(map, descriptors[i]);
    if (error != 0) return throwLoad(env, error, "bpf_map__reuse_fd", names[i]);
  }
  const bpf_program* program = bpf_object__find_program_by_name(object.get(), programName.c_str());
  if (program == nullptr) return throwLoad(env, ENOENT, "bpf_object__find_program_by_name", programName);
  const int error = bpf_object__load(object.get());
  if (error != 0) return throwLoad(env, error, "bpf_object__load", path);
  const int descriptor = fcntl(bpf_program__fd(program), F_DUPFD_CLOEXEC, 0);
  if (descriptor < 0) return throwErrno(env, errno, "fcntl", programName);
  return fromInteger(env, descriptor);
}

// bpfProgramOpen(id), bpfMapOpen(id): a descriptor, or -1 when there is no such program or map any more.
napi_value opened(napi_env env, int descriptor, const char* call, int32_t id) {
  if (descriptor >= 0) return fromInteger(env, descriptor);
  if (errno == ENOENT) return fromInteger(env, -1);
  return throwErrno(env, errno, call, std::to_string(id));
}

napi_value bpfProgramOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  return opened(env, bpf_prog_get_fd_by_id(arguments.integer(0)), "BPF_PROG_GET_FD_BY_ID", arguments.integer(0));
}

napi_value bpfMapOpen(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  return opened(env, bpf_map_get_fd_by_id(arguments.integer(0)), "BPF_MAP_GET_FD_BY_ID", arguments.integer(0));
}

// bpfProgramInfo(descriptor): { id, name, tag, mapIds }. `tag` is the kernel's digest of the instructions.
napi_value bpfProgramInfo(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  std::vector<uint32_t> mapIds(64);
  bpf_prog_info program{};
  program.nr_map_ids = static_cast<uint32_t>(mapIds.size());
  program.map_ids = reinterpret_cast<uint64_t>(mapIds.data());
  uint32_t size = sizeof program;
  if (bpf_obj_get_info_by_fd(arguments.integer(0), &program, &size) != 0) {
    return throwErrno(env, errno, "BPF_OBJ_GET_INFO_BY_FD", "program");
  }
  std::string tag;
  for (const uint8_t octet : program.tag) {
    char digits[3];
    snprintf(digits, sizeof digits, "%02x", octet);
    tag += digits;
  }
  napi_value result, ids;
  napi_create_object(env, &result);
  napi_create_array(env, &ids);
  for (uint32_t i = 0; i < program.nr_map_ids && i < mapIds.size(); i++) {
    napi_set_element(env, ids, i, fromInteger(env, mapIds[i]));
  }
  napi_set_named_property(env, result, "id", fromInteger(env, program.id));
  napi_set_named_property(env, result, "name", fromText(env, program.name));
  napi_set_named_property(env, result, "tag", fromText(env, tag));
  napi_set_named_property(env, result, "mapIds", ids);
  return result;
}

// bpfMapInfo(descriptor): { id, type, name, keySize, valueSize, maxEntries }.
napi_value bpfMapInfo(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  bpf_map_info map{};
  uint32_t size = sizeof map;
  if (bpf_obj_get_info_by_fd(arguments.integer(0), &map, &size) != 0) {
    return throwErrno(env, errno, "BPF_OBJ_GET_INFO_BY_FD", "map");
  }
  napi_value result;
  napi_create_object(env, &result);
  napi_set_named_property(env, result, "id", fromInteger(env, map.id));
  napi_set_named_property(env, result, "type", fromInteger(env, map.type));
  napi_set_named_property(env, result, "name", fromText(env, map.name));
  napi_set_named_property(env, result, "keySize", fromInteger(env, map.key_size));
  napi_set_named_property(env, result, "valueSize", fromInteger(env, map.value_size));
  napi_set_named_property(env, result, "maxEntries", fromInteger(env, map.max_entries));
  return result;
}

// The map functions take the octets of `count` keys, one after the other, and as many values.

// bpfUpdate(map, keys, values, count): sets each in turn, stopping at the first that fails.
napi_value bpfUpdate(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t keysLength = 0, valuesLength = 0;
  const uint8_t* keys = arguments.octets(1, &keysLength);
  const uint8_t* values = arguments.octets(2, &valuesLength);
  const size_t count = static_cast<size_t>(arguments.integer(3));
  for (size_t i = 0; i < count; i++) {
    if (bpf_map_update_elem(arguments.integer(0), keys + i * (keysLength / count), values + i * (valuesLength / count), BPF_ANY) != 0) {
      return throwErrno(env, errno, "BPF_MAP_UPDATE_ELEM", "");
    }
  }
  return undefinedValue(env);
}

// bpfDelete(map, keys, count): removes each; one that is not there is as good as removed.
napi_value bpfDelete(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t keysLength = 0;
  const uint8_t* keys = arguments.octets(1, &keysLength);
  const size_t count = static_cast<size_t>(arguments.integer(2));
  for (size_t i = 0; i < count; i++) {
    if (bpf_map_delete_elem(arguments.integer(0), keys + i * (keysLength / count)) != 0 && errno != ENOENT) {
      return throwErrno(env, errno, "BPF_MAP_DELETE_ELEM", "");
    }
  }
  return undefinedValue(env);
}

// bpfLookup(map, keys, count, valueLength): the values; zeros for a key that is not there. A value of a per-CPU map is one
// value for each possible CPU, in multiples of 8 octets.
napi_value bpfLookup(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t keysLength = 0;
  const uint8_t* keys = arguments.octets(1, &keysLength);
  const size_t count = static_cast<size_t>(arguments.integer(2)), valueLength = static_cast<size_t>(arguments.integer(3));
  std::vector<uint8_t> values(count * valueLength);
  for (size_t i = 0; i < count; i++) {
    if (bpf_map_lookup_elem(arguments.integer(0), keys + i * (keysLength / count), values.data() + i * valueLength) != 0 &&
        errno != ENOENT) {
      return throwErrno(env, errno, "BPF_MAP_LOOKUP_ELEM", "");
    }
  }
  return fromOctets(env, values.data(), values.size());
}

// bpfDump(map, keyLength, valueLength, maxEntries): [keys, values] of a hash map, read in batches: a walk from key to key
// would start over whenever its key is evicted meanwhile.
napi_value bpfDump(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const size_t keyLength = static_cast<size_t>(arguments.integer(1)), valueLength = static_cast<size_t>(arguments.integer(2));
  // Room for one more bucket than can be needed: the kernel hands out whole buckets or ENOSPC.
  const uint32_t maxEntries = static_cast<uint32_t>(arguments.integer(3)) + 256;
  std::vector<uint8_t> keys(maxEntries * keyLength), values(maxEntries * valueLength);
  uint32_t position = 0, total = 0;
  bool first = true, done = false;
  while (!done && total < maxEntries) {
    uint32_t count = maxEntries - total;
    const int result = bpf_map_lookup_batch(arguments.integer(0), first ? nullptr : &position, &position,
                                            keys.data() + total * keyLength, values.data() + total * valueLength, &count, nullptr);
    // ENOENT: that was the end of the map; `count` entries came with it.
    if (result != 0 && errno != ENOENT) return throwErrno(env, errno, "BPF_MAP_LOOKUP_BATCH", "");
    done = result != 0;
    total += count;
    first = false;
  }
  napi_value pair;
  napi_create_array_with_length(env, 2, &pair);
  napi_set_element(env, pair, 0, fromOctets(env, keys.data(), total * keyLength));
  napi_set_element(env, pair, 1, fromOctets(env, values.data(), total * valueLength));
  return pair;
}

napi_value bpfCpus(napi_env env, napi_callback_info) { return fromInteger(env, libbpf_num_possible_cpus()); }

// bpfTestRun(program, netns, ifindex, frame, repeat): runs the program on a frame as if the interface had received it.
// { verdict, frame, nanoseconds }: the frame as the program left it, and the mean duration of one run.
napi_value bpfTestRun(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  size_t length = 0;
  const uint8_t* frame = arguments.octets(3, &length);
  std::vector<uint8_t> out(length + 256);
  __sk_buff context{};
  context.ifindex = static_cast<uint32_t>(arguments.integer(2));
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = frame;
  options.data_size_in = static_cast<uint32_t>(length);
  options.data_out = out.data();
  options.data_size_out = static_cast<uint32_t>(out.size());
  options.ctx_in = &context;
  options.ctx_size_in = sizeof context;
  options.repeat = arguments.integer(4);
  {
    const InNamespace inside(arguments.integer(1));
    if (inside.error != 0) return throwErrno(env, inside.error, "setns", "");
    if (bpf_prog_test_run_opts(arguments.integer(0), &options) != 0) return throwErrno(env, errno, "BPF_PROG_TEST_RUN", "");
  }
  napi_value result;
  napi_create_object(env, &result);
  napi_set_named_property(env, result, "verdict", fromInteger(env, static_cast<int32_t>(options.retval)));
  napi_set_named_property(env, result, "frame", fromOctets(env, out.data(), options.data_size_out));
  napi_set_named_property(env, result, "nanoseconds", fromInteger(env, options.duration));
  return result;
}

}  // namespace

void registerBpf(napi_env env, napi_value exports) {
  define(env, exports, "bpfLoad", bpfLoad);
  define(env, exports, "bpfProgramOpen", bpfProgramOpen);
  define(env, exports, "bpfProgramInfo", bpfProgramInfo);
  define(env, exports, "bpfMapOpen", bpfMapOpen);
  define(env, exports, "bpfMapInfo", bpfMapInfo);
  define(env, exports, "bpfUpdate", bpfUpdate);
  define(env, exports, "bpfDelete", bpfDelete);
  define(env, exports, "bpfLookup", bpfLookup);
  define(env, exports, "bpfDump", bpfDump);
  define(env, exports, "bpfCpus", bpfCpus);
  define(env, exports, "bpfTestRun", bpfTestRun);
}

}  // namespace weft
