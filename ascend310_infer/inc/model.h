// An exported model that runs with MindSpore Lite.
#ifndef CENTERNET_MODEL_H_
#define CENTERNET_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "include/api/model.h"
#include "manifest.h"
#include "options.h"

namespace centernet {

class Model {
 public:
  // Build the model on the device of the options. The manifest has been checked before.
  // RunError: the runtime cannot build the model, or its input differs from the manifest.
  Model(const Options& options, const Manifest& manifest);

  // Copy the bytes of a batch of images into the model's input.
  void SetInput(const std::vector<uint8_t>& images);

  // Run the model on the input.
  void Predict();

  // The batch * K * 6 values of the last run.
  std::vector<float> Detections() const;

 private:
  Manifest manifest_;
  mindspore::Model model_;
  std::vector<mindspore::MSTensor> inputs_;
  std::vector<mindspore::MSTensor> outputs_;
};

}  // namespace centernet

#endif  // CENTERNET_MODEL_H_
