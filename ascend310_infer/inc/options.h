// The command line: --name value or --name=value.
#ifndef CENTERNET_OPTIONS_H_
#define CENTERNET_OPTIONS_H_

#include <optional>
#include <string>

namespace centernet {

struct Options {
  std::string model_path;
  std::string input_path;
  std::string output_path = ".";
  std::string device_target = "ASCEND";  // or CPU
  int device_id = 0;
  std::string precision_mode = "preferred_fp32";
  int threads = 0;                     // CPU threads; 0: one for each core
  int warm_up = 1;                     // runs before the measured runs
  int max_image_pixels = 128000000;    // of a JPEG file; the default of src/centernet/config/schema.py
  std::optional<double> score_thresh;  // lowest score in detections.json; without a value that of the manifest
  std::string nms = "auto";            // as in the manifest; or gaussian, none
  bool prepare_only = false;
  bool help = false;
};

// Parse a command line. UserError: flags are unknown (the message lists them), a flag is missing, or a value is missing
// or wrong.
Options ParseOptions(int argc, const char* const* argv);

// The text of --help.
std::string Usage();

}  // namespace centernet

#endif  // CENTERNET_OPTIONS_H_
