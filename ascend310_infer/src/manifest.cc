#include "manifest.h"

#include <climits>
#include <nlohmann/json.hpp>
#include <string>

#include "errors.h"
#include "files.h"
#include "sha256.h"

namespace centernet {
namespace {

constexpr int kFormatVersion = 1;
constexpr int kMaxSide = 16384;  // pixels; a larger number means a damaged manifest
constexpr int kMaxBatch = 4096;
constexpr size_t kMaxBytes = size_t{1} << 22;  // enough for a manifest with 40,000 categories

int Int(const JsonValue& value, int lowest, int highest) { return static_cast<int>(value.Integer(lowest, highest)); }

std::array<double, 3> ThreeNumbers(const JsonValue& list) {
  const auto values = list.Array(3);
  return {values[0].Number(), values[1].Number(), values[2].Number()};
}

bool IsRgb(const JsonValue& order) {
  const std::string text = order.String();
  if (text != "RGB" && text != "BGR") order.Fail("must be BGR or RGB, found " + text);
  return text == "RGB";
}

void RequireText(const JsonValue& value, const std::string& wanted) {
  if (value.String() != wanted) value.Fail("is " + value.String() + ", this program knows " + wanted);
}

void RequireFile(const std::string& path, const std::string& remedy) {
  if (!IsFile(path)) throw UserError(path + ": there is no such file. " + remedy);
}

void ReadInput(const JsonValue& input, Manifest* manifest) {
  const auto shape = input["shape"].Array(4);
  manifest->batch = Int(shape[0], 1, kMaxBatch);
  shape[1].Integer(3, 3);
  manifest->height = Int(shape[2], 1, kMaxSide);
  manifest->width = Int(shape[3], 1, kMaxSide);
  RequireText(input["dtype"], "float32");
  RequireText(input["layout"], "NCHW");
  manifest->to_rgb = IsRgb(input["color_order"]);
}

void RequireOutput(const JsonValue& values, const Manifest& manifest) {
  if (!values["decode"].Boolean()) {
    values["decode"].Fail(
        "is false: the model gives the maps hm, wh, reg, and this program reads detections: export the checkpoint "
        "with --export_decode true");
  }
  const auto shape = values["outputs"].Array(1)[0]["shape"].Array(3);
  shape[0].Integer(manifest.batch, manifest.batch);
  shape[1].Integer(manifest.detections, manifest.detections);
  shape[2].Integer(6, 6);
}

Manifest Interpret(const JsonValue& values) {
  Manifest manifest;
  const int version = Int(values["format_version"], 0, INT_MAX);
  if (version != kFormatVersion) {
    values["format_version"].Fail("is " + std::to_string(version) + ", this program reads " +
                                  std::to_string(kFormatVersion));
  }
  ReadInput(values["input"], &manifest);
  manifest.mean = ThreeNumbers(values["mean"]);
  manifest.std = ThreeNumbers(values["std"]);
  for (const double deviation : manifest.std) {
    if (!(deviation > 0)) values["std"].Fail("must be positive");
  }
  manifest.down_ratio = Int(values["down_ratio"], 1, kMaxSide);
  manifest.detections = Int(values["K"], 1, kMaxSide * kMaxSide);
  manifest.categories = static_cast<int>(values["categories"].Array().size());
  if (manifest.categories == 0) values["categories"].Fail("is empty");
  RequireOutput(values, manifest);
  manifest.deform = values.Has("deform") ? values["deform"].String() : "";
  manifest.written_by = "MindSpore " + values["versions"]["mindspore"].String();
  return manifest;
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
  Manifest manifest;
  std::string wanted;
  try {
    const JsonValue values = ReadJson(path, kMaxBytes);
    manifest = Interpret(values);
    wanted = values["sha256"].String();
  } catch (const UserError& error) {
    throw UserError(std::string(error.what()) + ". Export again");
  }
  const std::string found = Sha256(ReadFile(model_path));
  if (found != wanted) {
    throw UserError(model_path + " is not the file that was exported: its SHA-256 is " + found.substr(0, 12) + "..., " +
                    path + " says " + wanted.substr(0, 12) + "...: copy both files again, or export again");
  }
  return manifest;
}

nlohmann::ordered_json DescribePreparation(const Manifest& manifest) {
  return {{"shape", {3, manifest.height, manifest.width}},
          {"dtype", "float32"},
          {"byte_order", "little"},
          {"layout", "CHW"},
          {"color_order", manifest.to_rgb ? "RGB" : "BGR"},
          {"mean", manifest.mean},
          {"std", manifest.std}};
}

void RequirePreparedFor(const Manifest& manifest, const JsonValue& index, const std::string& index_path) {
  const auto shape = index["shape"].Array(3);
  const bool same_shape =
      shape[0].Number() == 3 && shape[1].Number() == manifest.height && shape[2].Number() == manifest.width;
  const bool same_values = index["dtype"].String() == "float32" && index["byte_order"].String() == "little" &&
                           index["layout"].String() == "CHW" && IsRgb(index["color_order"]) == manifest.to_rgb &&
                           ThreeNumbers(index["mean"]) == manifest.mean && ThreeNumbers(index["std"]) == manifest.std;
  if (same_shape && same_values) return;
  throw UserError(index_path + ": the images were prepared for another model (the model wants " +
                  OneLine(DescribePreparation(manifest)) + "): run preprocess.py with this model");
}

}  // namespace centernet
