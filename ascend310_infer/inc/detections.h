// From the model's rows to boxes in the image with category names, as src/centernet/detection/ makes them.
#ifndef CENTERNET_DETECTIONS_H_
#define CENTERNET_DETECTIONS_H_

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "manifest.h"

namespace centernet {

struct ImageSize {
  int height = 0;
  int width = 0;
};

struct Found {
  std::array<float, 4> box;  // x1, y1, x2, y2 in pixels of the image
  double score;
  int category;  // its position in the manifest
};

// The rows of one image (manifest.DetectionValues() floats) as boxes in the image, by descending score.
std::vector<Found> InImage(const float* rows, const ImageSize& image, const Manifest& manifest);

// Gaussian soft-NMS as in src/centernet/detection/soft_nms.py: lower the scores of boxes that overlap a better one of
// their category. The result is by descending new score.
std::vector<Found> SoftNms(const std::vector<Found>& boxes);

// One entry of `images` in detections.json, as infer.py writes it, without a picture. Boxes end at the image's border;
// those without a pixel inside are left out.
nlohmann::ordered_json DescribeFound(const std::string& file, const ImageSize& image, const std::vector<Found>& boxes,
                                     double score_thresh, const Manifest& manifest);

// The content of detections.json.
std::string DescribeAll(const nlohmann::ordered_json& images, double score_thresh);

}  // namespace centernet

#endif  // CENTERNET_DETECTIONS_H_
