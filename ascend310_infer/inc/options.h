// The command line: --name value or --name=value.
#ifndef CENTERNET_OPTIONS_H_
#define CENTERNET_OPTIONS_H_

#include <string>

namespace centernet {

struct Options {
  std::string model_path;
  std::string input_path;
  std::string output_path = ".";
  std::string device_target = "ASCEND";  // or CPU
  int device_id = 0;
  std::string precision_mode = "preferred_fp32";
  int threads = 0;  // of the CPU; 0: as many as there are cores
  int warm_up = 1;  // runs before the measured ones
  bool prepare_only = false;
  bool help = false;
};

// Read a command line. UserError: an unknown flag, a missing or wrong value, a flag that is missing.
Options ParseOptions(int argc, const char* const* argv);

// What --help prints.
std::string Usage();

}  // namespace centernet

#endif  // CENTERNET_OPTIONS_H_
