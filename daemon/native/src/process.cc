#include "addon.h"

namespace weft {

void registerProcess(napi_env, napi_value) {}

}  // namespace weft
