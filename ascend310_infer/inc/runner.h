// The work of the program: from a folder of images to a folder of results.
#ifndef CENTERNET_RUNNER_H_
#define CENTERNET_RUNNER_H_

#include "options.h"

namespace centernet {

// Run the model on all images. Results of earlier runs for these images are removed first.
void RunModel(const Options& options);

// Prepare a folder of JPEG files as preprocess.py does: write 00_data/ and meta/ into the output folder.
void PrepareOnly(const Options& options);

}  // namespace centernet

#endif  // CENTERNET_RUNNER_H_
