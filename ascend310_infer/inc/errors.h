// The two ways in which the program ends before its work is done.
#ifndef CENTERNET_ERRORS_H_
#define CENTERNET_ERRORS_H_

#include <stdexcept>
#include <string>

namespace centernet {

// Something that the user gave is wrong: a flag, a file, a folder. Exit status 2.
class UserError : public std::runtime_error {
 public:
  explicit UserError(const std::string& message) : std::runtime_error(message) {}
};

// The runtime, the device or the disk failed on input that is right. Exit status 1.
class RunError : public std::runtime_error {
 public:
  explicit RunError(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace centernet

#endif  // CENTERNET_ERRORS_H_
