#include "model.h"

#include <algorithm>
#include <cstring>
#include <sstream>
#include <thread>

#include "errors.h"
#include "include/api/context.h"
#include "include/api/status.h"
#include "include/api/types.h"

namespace centernet {
namespace {

constexpr mindspore::ModelType kFileType = mindspore::ModelType::kMindIR;

std::string Describe(const mindspore::Status& status) {
  std::ostringstream text;
  text << "status 0x" << std::hex << static_cast<uint32_t>(status.StatusCode());
  return text.str();
}

std::shared_ptr<mindspore::Context> MakeContext(const Options& options) {
  auto context = std::make_shared<mindspore::Context>();
  if (options.device_target == "CPU") {
    const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
    context->SetThreadNum(options.threads > 0 ? options.threads : static_cast<int>(cores));
    context->MutableDeviceInfo().push_back(std::make_shared<mindspore::CPUDeviceInfo>());
    return context;
  }
  auto device = std::make_shared<mindspore::AscendDeviceInfo>();
  device->SetDeviceID(static_cast<uint32_t>(options.device_id));
  device->SetPrecisionMode(options.precision_mode);
  context->MutableDeviceInfo().push_back(device);
  return context;
}

// The runtime's status has no information, so the message lists the usual causes.
std::string BuildFailure(const Options& options, const Manifest& manifest, const mindspore::Status& status) {
  const bool ascend = options.device_target == "ASCEND";
  std::string message = "MindSpore Lite cannot build " + options.model_path + " on " + options.device_target + " (" +
                        Describe(status) + "). ";
  if (ascend && !mindspore::Model::CheckModelSupport(mindspore::DeviceType::kAscend, kFileType)) {
    message +=
        "This MindSpore Lite finds no Ascend backend here: is CANN installed and its set_env.sh sourced, is there a "
        "device (npu-smi info)? Without one use --device_target CPU. ";
  }
  message +=
      "The file was written by " + manifest.written_by +
      "; a runtime reads files of its own version and older ones: scripts/export_mindir_lite20.sh writes one for "
      "MindSpore Lite 2.0. ";
  if (manifest.deform == "native") {
    message +=
        "Its deformable layers use the operator DeformableOffsets, which CPU and some chips do not have: export with "
        "--export_deform gather. ";
  }
  return message + "GLOG_v=1 in the environment shows the runtime's own messages";
}

std::vector<int64_t> WantedShape(const Manifest& manifest) {
  if (manifest.raw) return {manifest.batch, manifest.height, manifest.width, 3};
  return {manifest.batch, 3, manifest.height, manifest.width};
}

}  // namespace

Model::Model(const Options& options, const Manifest& manifest) : manifest_(manifest) {
  const mindspore::Status status = model_.Build(options.model_path, kFileType, MakeContext(options));
  if (status != mindspore::kSuccess) throw RunError(BuildFailure(options, manifest, status));
  inputs_ = model_.GetInputs();
  const bool fits = inputs_.size() == 1 && inputs_[0].Shape() == WantedShape(manifest) &&
                    inputs_[0].DataType() == (manifest.raw ? mindspore::DataType::kNumberTypeUInt8
                                                           : mindspore::DataType::kNumberTypeFloat32);
  if (!fits) {
    throw RunError(options.model_path +
                   ": the model's input is not the one that its manifest describes: export it again");
  }
}

void Model::SetInput(const std::vector<uint8_t>& images) {
  const size_t bytes = images.size();
  void* data = inputs_[0].MutableData();
  if (data == nullptr || inputs_[0].DataSize() != bytes) {
    throw RunError("the model's input has " + std::to_string(inputs_[0].DataSize()) + " bytes where " +
                   std::to_string(bytes) + " are to be copied");
  }
  std::memcpy(data, images.data(), bytes);
}

void Model::Predict() {
  const mindspore::Status status = model_.Predict(inputs_, &outputs_);
  if (status != mindspore::kSuccess)
    throw RunError("MindSpore Lite failed to run the model (" + Describe(status) + ")");
}

std::vector<float> Model::Detections() const {
  std::vector<float> values(static_cast<size_t>(manifest_.batch) * manifest_.DetectionValues());
  const bool fits = outputs_.size() == 1 && outputs_[0].DataType() == mindspore::DataType::kNumberTypeFloat32 &&
                    outputs_[0].DataSize() == values.size() * sizeof(float);
  const std::shared_ptr<const void> data = fits ? outputs_[0].Data() : nullptr;
  if (data == nullptr) throw RunError("the model's output is not the one that its manifest describes: export it again");
  std::memcpy(values.data(), data.get(), values.size() * sizeof(float));
  return values;
}

}  // namespace centernet
