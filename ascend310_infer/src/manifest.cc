#include "manifest.h"

#include <climits>
#include <map>
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
constexpr int64_t kMaxNumber = int64_t{1} << 53;                    // JSON numbers are exact up to here
constexpr JsonLimits kLimits = {size_t{1} << 22, size_t{1} << 18};  // enough for 40,000 categories

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
  const std::string type = input["dtype"].String();
  if (type != "float32" && type != "uint8")
    input["dtype"].Fail("is " + type + ", this program knows float32 and uint8");
  manifest->raw = type == "uint8";
  RequireText(input["layout"], manifest->raw ? "NHWC" : "NCHW");
  manifest->batch = Int(shape[0], 1, kMaxBatch);
  shape[manifest->raw ? 3 : 1].Integer(3, 3);
  manifest->height = Int(shape[manifest->raw ? 1 : 2], 1, kMaxSide);
  manifest->width = Int(shape[manifest->raw ? 2 : 3], 1, kMaxSide);
  manifest->to_rgb = IsRgb(input["color_order"]);
  if (manifest->raw && manifest->to_rgb) input["color_order"].Fail("must be BGR for uint8 images");
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

void ReadCategories(const JsonValue& categories, Manifest* manifest) {
  std::map<int64_t, std::string> names;  // classes are in the order of the ids, as in Python's categories.py
  for (const JsonValue& category : categories.Array()) {
    const int64_t id = category["id"].Integer(-kMaxNumber, kMaxNumber);
    if (!names.emplace(id, category["name"].String()).second) category["id"].Fail("is used twice");
  }
  if (names.empty()) categories.Fail("is empty");
  for (const auto& [id, name] : names) {
    manifest->ids.push_back(id);
    manifest->names.push_back(name);
  }
  manifest->categories = static_cast<int>(names.size());
}

// What follows the graph. As in Python, an older manifest without these settings leaves the defaults.
void ReadEvaluation(const JsonValue& settings, Manifest* manifest) {
  if (settings.Members().empty()) return;
  manifest->soft_nms = settings["SOFT_NMS"].Boolean();
  manifest->score_thresh = settings["score_thresh"].Number();
  settings["max_dets"].Integer(1, kMaxSide * kMaxSide);  // of COCO's metrics, which are Python's
}

// What only the Python programs use: if it is wrong, the file is damaged, and the rest of it cannot be trusted.
void RequireOthers(const JsonValue& values) {
  values["input"]["name"].String();
  values["outputs"].Array(1)[0]["name"].String();
  values["cat_spec_wh"].Boolean();
  values["flip_test"].Boolean();
  values["preset"].String();
  for (const JsonValue& version : values["versions"].Members()) version.String();
  for (const char* key : {"deform", "precision", "calibration_method"}) {
    if (values.Has(key)) values[key].String();
  }
  if (values.Has("calibration_images")) values["calibration_images"].Integer(0, kMaxNumber);
  if (!values.Has("box_head")) return;
  const std::string head = values["box_head"].String();
  if (head != "wh_reg" && head != "ltrb") values["box_head"].Fail("must be wh_reg or ltrb, found " + head);
}

Manifest Interpret(const JsonValue& values) {
  Manifest manifest;
  const int version = Int(values["format_version"], 0, INT_MAX);
  if (version != kFormatVersion) {
    values["format_version"].Fail("is " + std::to_string(version) + ", this program reads " +
                                  std::to_string(kFormatVersion));
  }
  ReadInput(values["input"], &manifest);
  if (manifest.raw) manifest.to_rgb = IsRgb(values["color_order"]);
  manifest.mean = ThreeNumbers(values["mean"]);
  manifest.std = ThreeNumbers(values["std"]);
  for (const double deviation : manifest.std) {
    if (!(deviation > 0)) values["std"].Fail("must be positive");
  }
  manifest.down_ratio = Int(values["down_ratio"], 1, kMaxSide);
  manifest.detections = Int(values["K"], 1, kMaxSide * kMaxSide);
  ReadCategories(values["categories"], &manifest);
  RequireOutput(values, manifest);
  if (values.Has("evaluation")) ReadEvaluation(values["evaluation"], &manifest);
  RequireOthers(values);
  manifest.deform = values.Has("deform") ? values["deform"].String() : "";
  manifest.written_by = "MindSpore " + values["versions"]["mindspore"].String();
  manifest.sha256 = values["sha256"].String();
  return manifest;
}

}  // namespace

Manifest ParseManifest(const std::string& text, const std::string& path) {
  try {
    return Interpret(ParseJson(text, path, kLimits));
  } catch (const UserError& error) {
    throw UserError(std::string(error.what()) + ". Export again");
  }
}

Manifest ReadManifest(const std::string& model_path) {
  const std::string suffix = ".mindir";
  if (model_path.size() <= suffix.size() || model_path.substr(model_path.size() - suffix.size()) != suffix) {
    throw UserError("--model_path " + model_path + ": an exported model's name ends in .mindir");
  }
  const std::string path = model_path.substr(0, model_path.size() - suffix.size()) + ".json";
  RequireFile(model_path, "export.py writes NAME.mindir and NAME.json");
  RequireFile(path, "It is the manifest of " + FileName(model_path) + ": copy it too, or export again");
  const Manifest manifest = ParseManifest(ReadFile(path, kLimits.bytes), path);
  const std::string found = Sha256(ReadFile(model_path));
  if (found != manifest.sha256) {
    throw UserError(model_path + " is not the file that was exported: its SHA-256 is " + found.substr(0, 12) + "..., " +
                    path + " says " + manifest.sha256.substr(0, 12) + "...: copy both files again, or export again");
  }
  return manifest;
}

std::string Manifest::ImageForm() const {
  const std::string size = std::to_string(height) + ", " + std::to_string(width);
  return raw ? "uint8 of shape (" + size + ", 3)" : "float32 of shape (3, " + size + ")";
}

nlohmann::ordered_json DescribePreparation(const Manifest& manifest) {
  const std::array<int, 3> raw = {manifest.height, manifest.width, 3}, planes = {3, manifest.height, manifest.width};
  return {{"shape", manifest.raw ? raw : planes},
          {"dtype", manifest.raw ? "uint8" : "float32"},
          {"byte_order", "little"},
          {"layout", manifest.raw ? "HWC" : "CHW"},
          {"color_order", manifest.to_rgb && !manifest.raw ? "RGB" : "BGR"},
          {"mean", manifest.mean},
          {"std", manifest.std}};
}

void RequirePreparedFor(const Manifest& manifest, const JsonValue& index, const std::string& index_path) {
  const nlohmann::ordered_json wanted = DescribePreparation(manifest);
  bool same = ThreeNumbers(index["shape"]) == wanted["shape"].get<std::array<double, 3>>();
  for (const char* key : {"dtype", "byte_order", "layout", "color_order"})
    same = index[key].String() == wanted[key].get<std::string>() && same;
  for (const char* key : {"mean", "std"})
    same = ThreeNumbers(index[key]) == wanted[key].get<std::array<double, 3>>() && same;
  if (same) return;
  throw UserError(index_path + ": the images were prepared for another model (the model wants " + OneLine(wanted) +
                  "): run preprocess.py with this model");
}

}  // namespace centernet
