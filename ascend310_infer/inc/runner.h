// The program's work: a folder of images in, a folder of results out.
#ifndef CENTERNET_RUNNER_H_
#define CENTERNET_RUNNER_H_

#include "options.h"

namespace centernet {

// Run the model on all images; results of earlier runs for them are removed first.
void RunModel(const Options& options);

// Write what preprocess.py would write for a folder of JPEG files (00_data/, meta/) to the output folder.
void PrepareOnly(const Options& options);

}  // namespace centernet

#endif  // CENTERNET_RUNNER_H_
