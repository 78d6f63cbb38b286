#include "runner.h"

#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "detections.h"
#include "errors.h"
#include "files.h"
#include "input_set.h"
#include "jpeg.h"
#include "manifest.h"
#include "model.h"
#include "prepare.h"
#include "reader.h"
#include "timing.h"

namespace centernet {
namespace {

constexpr int kReports = 10;                        // lines of progress
constexpr size_t kMaxImageBytes = size_t{1} << 29;  // the limit of Python's read_file

std::string ResultPath(const std::string& folder, const Input& input) {
  return JoinPath(folder, input.name + "_0.bin");
}

std::string ListingPath(const Options& options) { return JoinPath(options.output_path, "detections.json"); }

// Writer of the meta files of JPEG files: the transform of each, and at the end the index.
class Sidecars {
 public:
  explicit Sidecars(const std::string& folder) : folder_(JoinPath(folder, "meta")) {
    MakeOutputFolder(folder_);
    RemoveFile(JoinPath(folder_, "index.json"));
  }

  void Add(const Input& input, const Image& image, const Manifest& manifest) const {
    WriteFile(JoinPath(folder_, input.name + ".json"),
              DescribeTransform(image, manifest, input.image_id, FileName(input.path)));
  }

  void Finish(const InputSet& set, const Manifest& manifest) const {
    WriteFile(JoinPath(folder_, "index.json"), DescribeSet(set, manifest));
  }

 private:
  std::string folder_;
};

// The content of detections.json: the boxes of each JPEG file with the names of their categories.
class Listing {
 public:
  Listing(const Options& options, const Manifest& manifest, size_t count)
      : soft_nms_(options.nms == "auto" ? manifest.soft_nms : options.nms == "gaussian"),
        score_thresh_(options.score_thresh.value_or(manifest.score_thresh)),
        manifest_(manifest),
        sizes_(count) {}

  // Keep the size of an image. It runs in the reader's thread, before the image's results are added.
  void SetSize(size_t index, const ImageSize& size) { sizes_[index] = size; }

  void Add(size_t index, const Input& input, const float* rows) {
    std::vector<Found> boxes = InImage(rows, sizes_[index], manifest_);
    if (soft_nms_) boxes = SoftNms(boxes);
    images_.push_back(DescribeFound(input.path, sizes_[index], boxes, score_thresh_, manifest_));
  }

  void Write(const std::string& path) const { WriteFile(path, DescribeAll(images_, score_thresh_)); }

 private:
  const bool soft_nms_;
  const double score_thresh_;
  const Manifest& manifest_;
  std::vector<ImageSize> sizes_;
  nlohmann::ordered_json images_ = nlohmann::ordered_json::array();
};

// Find the images. infer.py takes more kinds, so say what this program leaves out.
InputSet FindAndSay(const Options& options, const Manifest& manifest) {
  const InputSet set = FindInputs(options.input_path, manifest);
  if (set.left_out > 0) {
    std::cerr << "note: --input_path " << options.input_path
              << ": images with other suffixes are left out: " << set.left_out
              << ". This program takes .jpg and .jpeg files: convert the others to JPEG" << std::endl;
  }
  return set;
}

Image Decode(const Input& input, int max_pixels, Timing* timing) {
  const Stopwatch reading;
  const std::string bytes = ReadFile(input.path, kMaxImageBytes);
  timing->read += reading.Milliseconds();
  return DecodeJpeg(bytes, input.path, max_pixels);
}

ImageSize LoadJpeg(const Input& input, const Manifest& manifest, int max_pixels, const Sidecars& sidecars,
                   uint8_t* pixels, Timing* timing) {
  const Stopwatch watch;
  const double read_before = timing->read;
  const Image image = Decode(input, max_pixels, timing);
  PrepareImage(image, manifest, pixels);
  timing->prepare += watch.Milliseconds() - (timing->read - read_before);
  sidecars.Add(input, image, manifest);
  return {image.height, image.width};
}

// Values that this model cannot output must not become results: half precision overflows without an error.
void RequirePlausible(const float* detections, const Manifest& manifest, const Input& input) {
  for (size_t i = 0; i < manifest.DetectionValues(); ++i) {
    const float value = detections[i];
    const bool known_class =
        value >= 0 && value < static_cast<float>(manifest.categories) && value == std::floor(value);
    if (!std::isfinite(value) || (i % 6 == 5 && !known_class)) {
      throw RunError(input.path +
                     ": the model's output holds values that are not finite, or classes that it does not know. On "
                     "Ascend use --precision_mode preferred_fp32, and convert the model with this mode");
    }
  }
}

// Run the model on a batch, and write the results of its images into a folder.
void RunBatch(const std::vector<Input>& inputs, const Batch& batch, const Manifest& manifest, const std::string& folder,
              Model* model, Listing* listing, Timing* timing) {
  const Stopwatch copying;
  model->SetInput(batch.images);
  timing->copy += copying.Milliseconds();
  const Stopwatch predicting;
  model->Predict();
  const std::vector<float> detections = model->Detections();
  timing->predict.push_back(predicting.Milliseconds());
  const Stopwatch writing;
  const size_t count = manifest.DetectionValues();
  for (size_t i = 0; i < batch.count; ++i) {
    const Input& input = inputs[batch.first + i];
    RequirePlausible(&detections[i * count], manifest, input);
    WriteFile(ResultPath(folder, input), &detections[i * count], count * sizeof(float));
    if (listing != nullptr) listing->Add(batch.first + i, input, &detections[i * count]);
  }
  timing->write += writing.Milliseconds();
}

void RunAll(const InputSet& set, const Manifest& manifest, const Options& options, const std::string& folder,
            Model* model, Timing* timing) {
  const std::unique_ptr<Sidecars> sidecars(set.jpeg ? new Sidecars(options.output_path) : nullptr);
  const std::unique_ptr<Listing> listing(set.jpeg ? new Listing(options, manifest, set.inputs.size()) : nullptr);
  const auto load = [&](const Input& input, uint8_t* pixels, Timing* spent) {
    if (set.jpeg) {
      const size_t index = static_cast<size_t>(&input - set.inputs.data());
      listing->SetSize(index, LoadJpeg(input, manifest, options.max_image_pixels, *sidecars, pixels, spent));
    } else {
      const Stopwatch reading;
      ReadPrepared(input.path, manifest, pixels);
      spent->read += reading.Milliseconds();
    }
  };
  const size_t total = set.inputs.size();
  const Stopwatch watch;
  BatchReader reader(set.inputs, manifest, load);
  Batch batch;
  for (Stopwatch waiting; reader.Next(&batch); waiting = Stopwatch()) {
    timing->wait += waiting.Milliseconds();
    RunBatch(set.inputs, batch, manifest, folder, model, listing.get(), timing);
    const size_t last = batch.first + batch.count;
    if (last * kReports / total > batch.first * kReports / total)
      std::cout << last << " of " << total << " images\n" << std::flush;
  }
  if (sidecars != nullptr) sidecars->Finish(set, manifest);
  if (listing != nullptr) listing->Write(ListingPath(options));
  timing->total = watch.Milliseconds();
  timing->read = reader.Times().read;
  timing->prepare = reader.Times().prepare;
  timing->images = static_cast<int>(total);
}

}  // namespace

void RunModel(const Options& options) {
  const Manifest manifest = ReadManifest(options.model_path);
  const InputSet set = FindAndSay(options, manifest);
  const std::string results = JoinPath(options.output_path, "result_Files");
  const std::string times = JoinPath(options.output_path, "time_Result");
  MakeOutputFolder(results);
  MakeOutputFolder(times);
  const std::string report_path = JoinPath(times, "test_perform_result.txt");
  // Before the long work: otherwise an interrupted run would leave results of the run before it.
  RemoveFile(report_path);
  if (set.jpeg) RemoveFile(ListingPath(options));
  for (const Input& input : set.inputs) RemoveFile(ResultPath(results, input));

  Timing timing;
  const Stopwatch building;
  Model model(options, manifest);
  timing.build = building.Milliseconds();
  std::cout << "built " << options.model_path << " on " << options.device_target << ": batch " << manifest.batch
            << ", an image is " << manifest.ImageForm() << ", " << manifest.categories << " categories\n"
            << std::flush;
  const Stopwatch warming;
  model.SetInput(std::vector<uint8_t>(static_cast<size_t>(manifest.batch) * manifest.ImageBytes()));
  for (int i = 0; i < options.warm_up; ++i) model.Predict();
  timing.warm_up = warming.Milliseconds();
  RunAll(set, manifest, options, results, &model, &timing);
  const std::string report = Report(timing, manifest.batch, options.warm_up);
  WriteFile(report_path, report);
  std::cout << report << "results are in " << results << (set.jpeg ? " and " + ListingPath(options) : "") << "\n";
}

void PrepareOnly(const Options& options) {
  const Manifest manifest = ReadManifest(options.model_path);
  const InputSet set = FindAndSay(options, manifest);
  if (!set.jpeg) throw UserError("--prepare_only: --input_path " + options.input_path + " must hold JPEG files");
  const std::string folder = JoinPath(options.output_path, "00_data");
  MakeOutputFolder(folder);
  const Sidecars sidecars(options.output_path);
  std::vector<uint8_t> pixels(manifest.ImageBytes());
  Timing timing;
  for (const Input& input : set.inputs) {
    LoadJpeg(input, manifest, options.max_image_pixels, sidecars, pixels.data(), &timing);
    WriteFile(JoinPath(folder, input.name + ".bin"), pixels.data(), pixels.size());
  }
  sidecars.Finish(set, manifest);
  std::cout << "prepared " << set.inputs.size() << " images in " << options.output_path << "\n";
}

}  // namespace centernet
