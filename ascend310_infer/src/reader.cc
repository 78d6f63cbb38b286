#include "reader.h"

#include <algorithm>
#include <utility>

namespace centernet {
namespace {

constexpr size_t kBatches = 3;  // one that the model runs on, one that is ready, one that is being read

}  // namespace

BatchReader::BatchReader(const std::vector<Input>& inputs, const Manifest& manifest, Load load)
    : inputs_(inputs),
      manifest_(manifest),
      load_(std::move(load)),
      memory_(kBatches, std::vector<uint8_t>(static_cast<size_t>(manifest.batch) * manifest.ImageBytes())),
      thread_(&BatchReader::Run, this) {}

BatchReader::~BatchReader() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool BatchReader::Next(Batch* batch) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!batch->images.empty()) memory_.push_back(std::move(batch->images));
  batch->images.clear();
  changed_.notify_all();
  changed_.wait(lock, [this] { return !ready_.empty() || done_; });
  if (!ready_.empty()) {
    *batch = std::move(ready_.front());
    ready_.pop_front();
    return true;
  }
  if (error_ != nullptr) std::rethrow_exception(error_);
  return false;
}

void BatchReader::Run() {
  std::exception_ptr error;
  try {
    ReadAll();
  } catch (...) {  // any error belongs to the thread that asks for the batch
    error = std::current_exception();
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    error_ = error;
    done_ = true;
  }
  changed_.notify_all();
}

void BatchReader::ReadAll() {
  const size_t size = static_cast<size_t>(manifest_.batch);
  for (size_t first = 0; first < inputs_.size(); first += size) {
    Batch batch;
    if (!TakeMemory(&batch.images)) return;
    batch.first = first;
    batch.count = std::min(size, inputs_.size() - first);
    for (size_t i = 0; i < batch.count; ++i)
      load_(inputs_[first + i], batch.images.data() + i * manifest_.ImageBytes(), &timing_);
    const size_t filled = batch.count * manifest_.ImageBytes();
    std::fill(batch.images.begin() + static_cast<std::ptrdiff_t>(filled), batch.images.end(), uint8_t{0});
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ready_.push_back(std::move(batch));
    }
    changed_.notify_all();
  }
}

// Wait for memory. Return false if the reader shall stop.
bool BatchReader::TakeMemory(std::vector<uint8_t>* memory) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return stopped_ || !memory_.empty(); });
  if (stopped_) return false;
  *memory = std::move(memory_.back());
  memory_.pop_back();
  return true;
}

}  // namespace centernet
