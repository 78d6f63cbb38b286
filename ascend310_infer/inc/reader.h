// Reading of images in a thread of its own, so that the next batch is ready when the model has finished one.
#ifndef CENTERNET_READER_H_
#define CENTERNET_READER_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "input_set.h"
#include "manifest.h"
#include "timing.h"

namespace centernet {

// The images first .. first + count of a set. Zeros fill the rest of the last batch.
struct Batch {
  size_t first = 0;
  size_t count = 0;
  std::vector<uint8_t> images;
};

class BatchReader {
 public:
  // Write one image's input (manifest.ImageBytes()) and add the times of the stages. It runs in the reader's thread.
  using Load = std::function<void(const Input&, uint8_t* input, Timing* timing)>;

  // Start to read. The set must exist as long as the reader.
  BatchReader(const std::vector<Input>& inputs, const Manifest& manifest, Load load);

  // Stop the thread and wait for its end.
  ~BatchReader();

  BatchReader(const BatchReader&) = delete;
  BatchReader& operator=(const BatchReader&) = delete;

  // Wait for the next batch, in the order of the set; `batch` gives its memory back. Return false after the last one.
  // An error of the thread is thrown here, after the batches before it.
  bool Next(Batch* batch);

  // The times of the stages in the thread; to be called after Next has returned false.
  const Timing& Times() const { return timing_; }

 private:
  void Run();
  void ReadAll();
  bool TakeMemory(std::vector<uint8_t>* memory);

  const std::vector<Input>& inputs_;
  const Manifest manifest_;
  const Load load_;
  Timing timing_;
  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  std::vector<std::vector<uint8_t>> memory_;  // its size limits how far the thread is ahead
  bool done_ = false;
  bool stopped_ = false;
  std::exception_ptr error_;
  std::thread thread_;  // the last member: it starts when the others exist
};

}  // namespace centernet

#endif  // CENTERNET_READER_H_
