// What a fuzzer feeds: each program fuzz_NAME has one reader.
#ifndef CENTERNET_FUZZ_TARGET_H_
#define CENTERNET_FUZZ_TARGET_H_

#include <string>

namespace centernet {

// Read a text with the reader under test. UserError if the reader refuses it; anything else that is thrown is a fault.
void ReadInput(const std::string& text);

}  // namespace centernet

#endif  // CENTERNET_FUZZ_TARGET_H_
