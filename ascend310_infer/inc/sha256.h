// SHA-256 (FIPS 180-4).
#ifndef CENTERNET_SHA256_H_
#define CENTERNET_SHA256_H_

#include <string>

namespace centernet {

// The SHA-256 of some bytes, in 64 lower-case hexadecimal digits.
std::string Sha256(const std::string& bytes);

}  // namespace centernet

#endif  // CENTERNET_SHA256_H_
