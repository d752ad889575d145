#include "addon.h"

namespace weft {

void registerSocket(napi_env, napi_value) {}

}  // namespace weft
