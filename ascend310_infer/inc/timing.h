// Times of the stages of a run.
#ifndef CENTERNET_TIMING_H_
#define CENTERNET_TIMING_H_

#include <chrono>
#include <string>
#include <vector>

namespace centernet {

// Wall-clock time since its creation, in milliseconds.
class Stopwatch {
 public:
  double Milliseconds() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// All times are in milliseconds, summed over the run; predict has one time for each run of the model. A thread of its
// own reads and prepares, so the total is less than the sum.
struct Timing {
  double build = 0;
  double warm_up = 0;
  double read = 0;     // reading of files
  double prepare = 0;  // decoding, warping and normalising of JPEG files
  double copy = 0;     // copying into the model's input
  std::vector<double> predict;
  double write = 0;  // checking and writing of results
  double wait = 0;   // of the model for images
  double total = 0;  // all images, without build and warm-up
  int images = 0;
};

// The text of time_Result/test_perform_result.txt.
std::string Report(const Timing& timing, int batch, int warm_up_runs);

}  // namespace centernet

#endif  // CENTERNET_TIMING_H_
