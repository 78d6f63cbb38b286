// The reader of the index of a prepared set, for a model of the form that preprocess.py's test set has.
#include "input_set.h"
#include "manifest.h"
#include "target.h"

void centernet::ReadInput(const std::string& text) {
  Manifest manifest;
  manifest.batch = 2;
  manifest.height = 64;
  manifest.width = 96;
  manifest.mean = {0.4, 0.45, 0.47};
  manifest.std = {0.3, 0.27, 0.28};
  ParseIndex(text, "index.json", manifest);
}
