// The JSON file beside an exported model, which src/centernet/runtimes/manifest.py writes: sizes, normalisation,
// categories.
#ifndef CENTERNET_MANIFEST_H_
#define CENTERNET_MANIFEST_H_

#include <array>
#include <cstddef>
#include <string>

#include "json.h"

namespace centernet {

struct Manifest {
  int batch = 0;  // of the input (batch, 3, height, width), float32
  int height = 0;
  int width = 0;
  bool to_rgb = false;         // colour order of the input; false: BGR
  std::array<double, 3> mean;  // of pixels / 255, in the input's colour order
  std::array<double, 3> std;   // likewise
  int down_ratio = 0;          // input pixels of one output cell
  int detections = 0;          // K, rows of the output (batch, K, 6): x1, y1, x2, y2 in cells, score, class
  int categories = 0;          // classes are 0 .. categories - 1
  std::string deform;          // form of the deformable layers: "native", "gather", "none"; "" if not told
  std::string written_by;      // "MindSpore 2.0.0"

  size_t ImageValues() const { return size_t{3} * static_cast<size_t>(height) * static_cast<size_t>(width); }
  size_t DetectionValues() const { return size_t{6} * static_cast<size_t>(detections); }
};

// Read NAME.json beside NAME.mindir and check that it belongs to that file.
// UserError: a file is missing or damaged, the model was exported without decoding, or its SHA-256 is not the
// manifest's.
Manifest ReadManifest(const std::string& model_path);

// UserError unless a prepared set's index (meta/index.json) says that it was prepared for such a model.
void RequirePreparedFor(const Manifest& manifest, const Json& index, const std::string& index_path);

// The same description of the inputs for an index of our own: JSON members without braces.
std::string DescribePreparation(const Manifest& manifest);

}  // namespace centernet

#endif  // CENTERNET_MANIFEST_H_
