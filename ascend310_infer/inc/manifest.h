// Manifest: the JSON file beside an exported model with sizes, normalisation and categories.
// src/centernet/runtimes/manifest.py writes it.
#ifndef CENTERNET_MANIFEST_H_
#define CENTERNET_MANIFEST_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "json_file.h"

namespace centernet {

struct Manifest {
  int batch = 0;  // the input is float32 (batch, 3, height, width), or, if raw, uint8 (batch, height, width, 3)
  int height = 0;
  int width = 0;
  bool raw = false;                // the graph normalises: the input is BGR images, for every network
  bool to_rgb = false;             // colour order of the network; false: BGR
  std::array<double, 3> mean;      // mean of pixels / 255, in the network's colour order
  std::array<double, 3> std;       // standard deviation of pixels / 255, in the network's colour order
  int down_ratio = 0;              // side of one output cell, in input pixels
  int detections = 0;              // K, rows of the output (batch, K, 6): x1, y1, x2, y2 in output cells, score, class
  int categories = 0;              // classes are 0 .. categories - 1
  std::vector<std::string> names;  // of the categories, by class
  std::vector<int64_t> ids;        // COCO ids of the categories, by class
  bool soft_nms = true;            // with score_thresh: the test settings of the export; older manifests have none
  double score_thresh = 0.3;       // lowest score that is listed; these are the defaults of eval_config
  std::string deform;              // form of the deformable layers: "native", "gather", "none"; "" if not known
  std::string written_by;          // "MindSpore 2.0.0"
  std::string sha256;              // of the model file

  size_t ImageValues() const { return size_t{3} * static_cast<size_t>(height) * static_cast<size_t>(width); }
  size_t ImageBytes() const { return ImageValues() * (raw ? sizeof(uint8_t) : sizeof(float)); }
  // The type and shape of one image's input in a message: "float32 of shape (3, 512, 512)".
  std::string ImageForm() const;
  size_t DetectionValues() const { return size_t{6} * static_cast<size_t>(detections); }
};

// Read the text of a manifest. `path` names it in messages. UserError: a value is missing or not allowed. The rules are
// those of src/centernet/runtimes/manifest.py; tests/data/manifest_cases.json tests both.
Manifest ParseManifest(const std::string& text, const std::string& path);

// Read NAME.json beside NAME.mindir and check that it belongs to that file.
// UserError: a file is missing or damaged, the model was exported without decoding, or its SHA-256 is not that of the
// manifest.
Manifest ReadManifest(const std::string& model_path);

// UserError unless the index of a prepared set (meta/index.json) describes the inputs of this model.
void RequirePreparedFor(const Manifest& manifest, const JsonValue& index, const std::string& index_path);

// The description of the inputs for an index that this program writes: a JSON object.
nlohmann::ordered_json DescribePreparation(const Manifest& manifest);

}  // namespace centernet

#endif  // CENTERNET_MANIFEST_H_
