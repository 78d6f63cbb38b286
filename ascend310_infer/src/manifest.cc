#include "manifest.h"

#include <climits>
#include <string>

#include "errors.h"
#include "files.h"
#include "sha256.h"

namespace centernet {
namespace {

constexpr int kFormatVersion = 1;
constexpr int kMaxSide = 16384;  // pixels; more is a damaged manifest
constexpr int kMaxBatch = 4096;

int Int(const Json& value, int lowest, int highest) { return static_cast<int>(value.Integer(lowest, highest)); }

std::array<double, 3> ThreeNumbers(const Json& list) {
  const auto& values = list.Array(3);
  return {values[0].Number(), values[1].Number(), values[2].Number()};
}

bool IsRgb(const Json& order) {
  if (order.String() != "RGB" && order.String() != "BGR") throw UserError("color_order must be BGR or RGB");
  return order.String() == "RGB";
}

void RequireText(const Json& value, const std::string& wanted, const std::string& what) {
  if (value.String() != wanted) throw UserError(what + " is " + value.String() + ", this program knows " + wanted);
}

void RequireFile(const std::string& path, const std::string& remedy) {
  if (!IsFile(path)) throw UserError(path + ": there is no such file. " + remedy);
}

void ReadInput(const Json& input, Manifest* manifest) {
  const auto& shape = input["shape"].Array(4);
  manifest->batch = Int(shape[0], 1, kMaxBatch);
  shape[1].Integer(3, 3);
  manifest->height = Int(shape[2], 1, kMaxSide);
  manifest->width = Int(shape[3], 1, kMaxSide);
  RequireText(input["dtype"], "float32", "input.dtype");
  RequireText(input["layout"], "NCHW", "input.layout");
  manifest->to_rgb = IsRgb(input["color_order"]);
}

void RequireOutput(const Json& values, const Manifest& manifest) {
  if (!values["decode"].Boolean()) {
    throw UserError(
        "the model gives the maps hm, wh, reg, and this program reads detections: export the checkpoint with "
        "--export_decode true");
  }
  const auto& shape = values["outputs"].Array(1)[0]["shape"].Array(3);
  shape[0].Integer(manifest.batch, manifest.batch);
  shape[1].Integer(manifest.detections, manifest.detections);
  shape[2].Integer(6, 6);
}

Manifest Interpret(const Json& values) {
  Manifest manifest;
  const int version = Int(values["format_version"], 0, INT_MAX);
  if (version != kFormatVersion) {
    throw UserError("format_version is " + std::to_string(version) + ", this program reads " +
                    std::to_string(kFormatVersion));
  }
  ReadInput(values["input"], &manifest);
  manifest.mean = ThreeNumbers(values["mean"]);
  manifest.std = ThreeNumbers(values["std"]);
  for (const double deviation : manifest.std) {
    if (!(deviation > 0)) throw UserError("std must be positive");
  }
  manifest.down_ratio = Int(values["down_ratio"], 1, kMaxSide);
  manifest.detections = Int(values["K"], 1, kMaxSide * kMaxSide);
  manifest.categories = static_cast<int>(values["categories"].Array().size());
  if (manifest.categories == 0) throw UserError("categories is empty");
  RequireOutput(values, manifest);
  manifest.deform = values.Has("deform") ? values["deform"].String() : "";
  manifest.written_by = "MindSpore " + values["versions"]["mindspore"].String();
  return manifest;
}

std::string List(const std::array<double, 3>& values) {
  return "[" + JsonNumber(values[0]) + ", " + JsonNumber(values[1]) + ", " + JsonNumber(values[2]) + "]";
}

}  // namespace

Manifest ReadManifest(const std::string& model_path) {
  const std::string suffix = ".mindir";
  if (model_path.size() <= suffix.size() || model_path.substr(model_path.size() - suffix.size()) != suffix) {
    throw UserError("--model_path " + model_path + ": an exported model's name ends in .mindir");
  }
  const std::string path = model_path.substr(0, model_path.size() - suffix.size()) + ".json";
  RequireFile(model_path, "export.py writes NAME.mindir and NAME.json");
  RequireFile(path, "It is the manifest of " + FileName(model_path) + ": copy it too, or export again");
  const Json values = Json::Parse(ReadFile(path), path);
  Manifest manifest;
  try {
    manifest = Interpret(values);
  } catch (const UserError& error) {
    const std::string message = error.what();
    throw UserError((message.rfind(path, 0) == 0 ? "" : path + ": ") + message + ". Export again");
  }
  const std::string found = Sha256(ReadFile(model_path)), wanted = values["sha256"].String();
  if (found != wanted) {
    throw UserError(model_path + " is not the file that was exported: its SHA-256 is " + found.substr(0, 12) + "..., " +
                    path + " says " + wanted.substr(0, 12) + "...: copy both files again, or export again");
  }
  return manifest;
}

std::string DescribePreparation(const Manifest& manifest) {
  return "\"shape\": [3, " + std::to_string(manifest.height) + ", " + std::to_string(manifest.width) +
         "], \"dtype\": \"float32\", \"byte_order\": \"little\", \"layout\": \"CHW\", \"color_order\": \"" +
         (manifest.to_rgb ? "RGB" : "BGR") + "\", \"mean\": " + List(manifest.mean) +
         ", \"std\": " + List(manifest.std);
}

void RequirePreparedFor(const Manifest& manifest, const Json& index, const std::string& index_path) {
  const auto& shape = index["shape"].Array(3);
  const bool same_shape =
      shape[0].Number() == 3 && shape[1].Number() == manifest.height && shape[2].Number() == manifest.width;
  const bool same_values = index["dtype"].String() == "float32" && index["byte_order"].String() == "little" &&
                           index["layout"].String() == "CHW" && IsRgb(index["color_order"]) == manifest.to_rgb &&
                           ThreeNumbers(index["mean"]) == manifest.mean && ThreeNumbers(index["std"]) == manifest.std;
  if (same_shape && same_values) return;
  throw UserError(index_path + ": the images were prepared for another model (the model wants {" +
                  DescribePreparation(manifest) + "}): run preprocess.py with this model");
}

}  // namespace centernet
