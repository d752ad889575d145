#include "addon.h"

namespace weft {

void registerBpf(napi_env, napi_value) {}

}  // namespace weft
