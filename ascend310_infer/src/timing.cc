#include "timing.h"

#include <algorithm>
#include <iomanip>
#include <numeric>
#include <sstream>
#include <utility>

namespace centernet {

std::string Report(const Timing& timing, int batch, int warm_up_runs) {
  std::vector<double> sorted = timing.predict;
  std::sort(sorted.begin(), sorted.end());
  const double predict = std::accumulate(sorted.begin(), sorted.end(), 0.0);
  std::ostringstream text;
  text << std::fixed << std::setprecision(3);
  // The first line has the form of the model zoo's program, because scripts of users read it.
  text << "NN inference cost average time: " << predict / static_cast<double>(sorted.size()) << " ms of infer_count "
       << sorted.size() << "\n";
  text << "median " << sorted[sorted.size() / 2] << " ms, slowest " << sorted.back() << " ms\n";
  text << "images " << timing.images << ", batch " << batch << "\n";
  const std::pair<const char*, double> stages[] = {{"read", timing.read},    {"prepare", timing.prepare},
                                                   {"copy-in", timing.copy}, {"predict", predict},
                                                   {"write", timing.write},  {"total", timing.total}};
  for (const auto& [name, milliseconds] : stages) {
    text << std::left << std::setw(8) << name << std::right << std::setw(10) << milliseconds / timing.images
         << " ms an image" << std::setw(12) << milliseconds / 1000 << " s\n";
  }
  text << "throughput " << 1000 * timing.images / timing.total << " images/s, of predict alone "
       << 1000 * timing.images / predict << " images/s\n";
  text << "read and prepare run beside predict; the model waited " << timing.wait / 1000 << " s for images\n";
  text << "before that: build " << timing.build / 1000 << " s, warm-up " << timing.warm_up / 1000 << " s in "
       << warm_up_runs << " runs\n";
  return text.str();
}

}  // namespace centernet
