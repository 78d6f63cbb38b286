#include "detections.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "prepare.h"

namespace centernet {
namespace {

constexpr double kSigma = 0.5;      // width of the Gaussian
constexpr double kLowest = 0.001;   // overlapping boxes with a lower new score are removed
constexpr size_t kRowLength = 6;    // x1, y1, x2, y2 in output cells, score, class
constexpr double kScoreUnit = 1e4;  // detections.json has four decimals of scores and one of pixels
constexpr double kPixelUnit = 10.0;

void SortByScore(std::vector<Found>* boxes) {
  std::stable_sort(boxes->begin(), boxes->end(), [](const Found& a, const Found& b) { return a.score > b.score; });
}

double Side(const Found& box, size_t axis) { return double{box.box[axis + 2]} - double{box.box[axis]} + 1; }

// Length of the common part of two boxes; a side is x2 - x1 + 1, as in the code of the published results.
double Common(const Found& a, const Found& b, size_t axis) {
  return std::max(0.0,
                  double{std::min(a.box[axis + 2], b.box[axis + 2])} - double{std::max(a.box[axis], b.box[axis])} + 1);
}

// Intersection over union; 0 for different categories.
double Overlap(const Found& a, const Found& b) {
  if (a.category != b.category) return 0;
  const double common = Common(a, b, 0) * Common(a, b, 1);
  return common > 0 ? common / (Side(a, 0) * Side(a, 1) + Side(b, 0) * Side(b, 1) - common) : 0;
}

}  // namespace

std::vector<Found> InImage(const float* rows, const ImageSize& image, const Manifest& manifest) {
  const Affine m = ImageFromOutput(image.height, image.width, manifest.height / manifest.down_ratio,
                                   manifest.width / manifest.down_ratio);
  std::vector<Found> boxes;
  for (size_t i = 0; i < static_cast<size_t>(manifest.detections); ++i) {
    const float* row = rows + i * kRowLength;
    Found found{{}, row[4], static_cast<int>(row[5])};
    for (size_t corner = 0; corner < 4; corner += 2) {
      const double x = row[corner], y = row[corner + 1];
      found.box[corner] = static_cast<float>(m[0] * x + m[1] * y + m[2]);
      found.box[corner + 1] = static_cast<float>(m[3] * x + m[4] * y + m[5]);
    }
    boxes.push_back(found);
  }
  SortByScore(&boxes);
  return boxes;
}

std::vector<Found> SoftNms(const std::vector<Found>& boxes) {
  std::vector<Found> left = boxes, kept;
  std::vector<bool> touched(left.size(), false);
  while (!left.empty()) {
    const auto best =
        std::max_element(left.begin(), left.end(), [](const Found& a, const Found& b) { return a.score < b.score; });
    const size_t place = static_cast<size_t>(best - left.begin());
    const Found found = *best;
    const bool was_touched = touched[place];
    left.erase(best);
    touched.erase(touched.begin() + static_cast<std::ptrdiff_t>(place));
    if (was_touched && found.score < kLowest) continue;
    kept.push_back(found);
    for (size_t i = 0; i < left.size(); ++i) {
      const double overlap = Overlap(found, left[i]);
      left[i].score *= std::exp(-overlap * overlap / kSigma);
      if (overlap > 0) touched[i] = true;
    }
  }
  SortByScore(&kept);
  return kept;
}

nlohmann::ordered_json DescribeFound(const std::string& file, const ImageSize& image, const std::vector<Found>& boxes,
                                     double score_thresh, const Manifest& manifest) {
  nlohmann::ordered_json listed = nlohmann::ordered_json::array();
  for (const Found& found : boxes) {
    if (found.score < score_thresh) continue;
    std::array<double, 4> corners;
    for (size_t i = 0; i < 4; ++i) {
      const double border = i % 2 == 0 ? image.width : image.height;
      const double inside = std::min(std::max(double{found.box[i]}, 0.0), border);
      corners[i] = std::nearbyint(inside * kPixelUnit) / kPixelUnit;
    }
    if (corners[2] <= corners[0] || corners[3] <= corners[1]) continue;  // no pixel of the image
    const size_t category = static_cast<size_t>(found.category);
    listed.push_back({{"category", manifest.names[category]},
                      {"score", std::nearbyint(found.score * kScoreUnit) / kScoreUnit},
                      {"box", corners},
                      {"category_id", manifest.ids[category]}});
  }
  return {{"file", file}, {"width", image.width}, {"height", image.height}, {"detections", listed}};
}

std::string DescribeAll(const nlohmann::ordered_json& images, double score_thresh) {
  return OneLine(
             {{"score_thresh", score_thresh},
              {"box_format",
               "x1, y1, x2, y2 in pixels of the image as shown (EXIF orientation applied), clipped to it; (0, 0) is "
               "the top left corner"},
              {"images", images}}) +
         "\n";
}

}  // namespace centernet
