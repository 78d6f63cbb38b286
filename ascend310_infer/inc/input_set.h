// The images of a run: which there are, and how each becomes the network's input.
#ifndef CENTERNET_INPUT_SET_H_
#define CENTERNET_INPUT_SET_H_

#include <string>
#include <vector>

#include "manifest.h"

namespace centernet {

struct Input {
  std::string name;  // of its result: result_Files/NAME_0.bin
  std::string path;
  int image_id = 0;  // of a JPEG file
};

struct InputSet {
  bool jpeg = false;  // else prepared .bin files
  std::vector<Input> inputs;
};

// Find the images below a folder: a set of preprocess.py (00_data/ and meta/index.json), .bin files, or JPEG files.
// COCO names JPEG files by image id; files with other names get the ids 1, 2, ... in the order of their names.
// UserError: there are none, both kinds are there, a .bin file has not the size of the model's input, or the set is
// incomplete or prepared for another model.
InputSet FindInputs(const std::string& folder, const Manifest& manifest);

// The JSON index of JPEG files, in the form of preprocess.py's meta/index.json.
std::string DescribeSet(const InputSet& set, const Manifest& manifest);

// Read a prepared image; UserError if the file has not the size of the model's input.
void ReadPrepared(const std::string& path, const Manifest& manifest, float* planes);

}  // namespace centernet

#endif  // CENTERNET_INPUT_SET_H_
