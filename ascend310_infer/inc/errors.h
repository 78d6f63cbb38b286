// The two kinds of errors that end the program.
#ifndef CENTERNET_ERRORS_H_
#define CENTERNET_ERRORS_H_

#include <stdexcept>
#include <string>

namespace centernet {

// A flag, file or folder of the user is wrong. Exit status 2.
class UserError : public std::runtime_error {
 public:
  explicit UserError(const std::string& message) : std::runtime_error(message) {}
};

// The runtime, the device or the disk failed, although the input is correct. Exit status 1.
class RunError : public std::runtime_error {
 public:
  explicit RunError(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace centernet

#endif  // CENTERNET_ERRORS_H_
