#include "input_set.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "errors.h"
#include "files.h"
#include "jpeg.h"

namespace centernet {
namespace {

// What infer.py takes beside JPEG files (src/centernet/evaluation/inputs.py).
const std::vector<std::string> kOtherImages = {".jfif", ".jpe", ".jp2", ".png", ".bmp", ".webp", ".tif", ".tiff"};
constexpr JsonLimits kIndexLimits = {size_t{1} << 25, size_t{1} << 21};  // half a million images

void RequireSize(const std::string& path, size_t size, const Manifest& manifest) {
  const size_t wanted = manifest.ImageBytes();
  if (size == wanted) return;
  throw UserError(path + " has " + std::to_string(size) + " bytes, " + manifest.ImageForm() + " has " +
                  std::to_string(wanted) + ": run preprocess.py with this model");
}

// A model makes wrong boxes of NaN without an error.
void RequireFinite(const std::string& path, const std::string& bytes) {
  float value = 0;
  for (size_t at = 0; at < bytes.size(); at += sizeof(value)) {
    std::memcpy(&value, bytes.data() + at, sizeof(value));
    if (std::isfinite(value)) continue;
    throw UserError(path + ": value " + std::to_string(at / sizeof(value)) + " is " + std::to_string(value) +
                    ", and all must be finite: run preprocess.py again");
  }
}

// All sizes are checked before the first run, so that an error is not found after an hour of work.
void AddPrepared(const std::string& name, const std::string& path, const Manifest& manifest, InputSet* set) {
  RequireSize(path, FileSize(path), manifest);
  set->inputs.push_back({name, path});
}

InputSet PreparedSet(const std::string& folder, const Manifest& manifest) {
  const std::string path = JoinPath(folder, "meta/index.json");
  if (!IsFile(path)) {
    throw UserError(path + " is not there: preprocess.py writes it last, so " + folder +
                    " is an incomplete set. Run preprocess.py again");
  }
  InputSet set;
  for (const std::string& name : ParseIndex(ReadFile(path, kIndexLimits.bytes), path, manifest)) {
    AddPrepared(name, JoinPath(folder, "00_data/" + name + ".bin"), manifest, &set);
  }
  return set;
}

// The number in a name of at most nine digits (without leading zeros); -1 for other names.
int IdOf(const std::string& stem) {
  const bool digits = !stem.empty() && stem.find_first_not_of("0123456789") == std::string::npos;
  const size_t first = std::min(stem.find_first_not_of('0'), stem.size());
  return digits && stem.size() - first <= 9 ? std::atoi(stem.c_str()) : -1;
}

InputSet JpegSet(const std::string& folder, const std::vector<std::string>& names) {
  std::set<int> ids;
  for (const auto& name : names) {
    if (!IsUtf8(name)) throw UserError(JoinPath(folder, name) + ": the name is not UTF-8, which JSON needs: rename it");
    ids.insert(IdOf(FileStem(name)));
  }
  const bool named_by_id = ids.size() == names.size() && ids.count(-1) == 0;
  InputSet set;
  set.jpeg = true;
  for (const auto& name : names) {
    const int id = named_by_id ? IdOf(FileStem(name)) : static_cast<int>(set.inputs.size()) + 1;
    set.inputs.push_back({std::to_string(id), JoinPath(folder, name), id});
  }
  return set;
}

}  // namespace

std::vector<std::string> ParseIndex(const std::string& text, const std::string& path, const Manifest& manifest) {
  const JsonValue index = ParseJson(text, path, kIndexLimits);
  RequirePreparedFor(manifest, index, path);
  index["annotation_file"].String();
  std::vector<std::string> names;
  std::set<int64_t> ids;
  for (const JsonValue& image : index["images"].Array()) {
    image["file_name"].String();
    const int64_t id = image["image_id"].Integer(INT64_MIN, INT64_MAX);
    if (!ids.insert(id).second) image["image_id"].Fail("is used twice: run preprocess.py again");
    names.push_back(std::to_string(id));
  }
  if (names.empty()) throw UserError(path + " lists no image: run preprocess.py again");
  const int64_t count = index["count"].Integer(0, INT64_MAX);
  if (count != static_cast<int64_t>(names.size())) {
    throw UserError(path + " lists " + std::to_string(names.size()) + " images, but its count is " +
                    std::to_string(count) + ": run preprocess.py again");
  }
  return names;
}

InputSet FindInputs(const std::string& folder, const Manifest& manifest) {
  if (!IsFolder(folder)) throw UserError("--input_path " + folder + ": there is no such folder");
  if (IsFolder(JoinPath(folder, "00_data"))) return PreparedSet(folder, manifest);
  const std::vector<std::string> prepared = ListFiles(folder, {".bin"}), images = ListFiles(folder, {".jpg", ".jpeg"});
  if (!prepared.empty() && !images.empty()) {
    throw UserError("--input_path " + folder + " holds .bin files and JPEG files: which are meant? Separate them");
  }
  if (!images.empty() && !JpegIsAvailable()) {
    throw UserError("--input_path " + folder +
                    " holds JPEG files, and this program was built without libjpeg: "
                    "install libjpeg's header and build again, or prepare the images with preprocess.py");
  }
  const size_t others = ListFiles(folder, kOtherImages).size();
  InputSet set;
  if (!images.empty()) {
    set = JpegSet(folder, images);
    set.left_out = others;
    return set;
  }
  if (prepared.empty()) {
    throw UserError("--input_path " + folder + " has no .bin, .jpg or .jpeg file" +
                    (others == 0 ? ""
                                 : "; its images with other suffixes: " + std::to_string(others) +
                                       ". Convert them to JPEG, or prepare the images with preprocess.py"));
  }
  for (const auto& name : prepared) AddPrepared(FileStem(name), JoinPath(folder, name), manifest, &set);
  return set;
}

std::string DescribeSet(const InputSet& set, const Manifest& manifest) {
  nlohmann::ordered_json index = {{"count", set.inputs.size()}, {"annotation_file", ""}};
  index.update(DescribePreparation(manifest));
  index["images"] = nlohmann::ordered_json::array();
  for (const auto& input : set.inputs) {
    index["images"].push_back({{"image_id", input.image_id}, {"file_name", FileName(input.path)}});
  }
  return OneLine(index) + "\n";
}

void ReadPrepared(const std::string& path, const Manifest& manifest, uint8_t* input) {
  const std::string bytes = ReadFile(path);
  RequireSize(path, bytes.size(), manifest);
  std::memcpy(input, bytes.data(), bytes.size());  // x86 and Arm hosts are little-endian, too
  if (!manifest.raw) RequireFinite(path, bytes);
}

}  // namespace centernet
