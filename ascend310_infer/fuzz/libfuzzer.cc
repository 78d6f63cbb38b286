// The entry that libFuzzer calls (clang).
#include <cstddef>
#include <cstdint>

#include "errors.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    centernet::ReadInput(std::string(reinterpret_cast<const char*>(data), size));
  } catch (const centernet::UserError&) {
    // The reader refused the input, which is no fault.
  }
  return 0;
}
