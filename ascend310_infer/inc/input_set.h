// The images of a run, and how each is read as the network's input.
#ifndef CENTERNET_INPUT_SET_H_
#define CENTERNET_INPUT_SET_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "manifest.h"

namespace centernet {

struct Input {
  std::string name;  // name of its result: result_Files/NAME_0.bin
  std::string path;
  int image_id = 0;  // of a JPEG file
};

struct InputSet {
  bool jpeg = false;    // false: prepared .bin files
  size_t left_out = 0;  // images in a JPEG set's folder with other suffixes
  std::vector<Input> inputs;
};

// Find the images in a folder: a set of preprocess.py (00_data/ and meta/index.json), .bin files, or JPEG files.
// The names of COCO's JPEG files are image ids. Files with other names get the ids 1, 2, ... in the order of their
// names. UserError: there are no images, there are both kinds, a .bin file does not have the size of the model's input,
// or the set is incomplete or prepared for another model.
InputSet FindInputs(const std::string& folder, const Manifest& manifest);

// The names of the inputs ("7" for 00_data/7.bin) in the text of a set's meta/index.json. `path` names it in messages.
// UserError: it is damaged, lists no image or an image twice, or was prepared for another model. The rules are those of
// read_index in src/centernet/evaluation/prepared_set.py.
std::vector<std::string> ParseIndex(const std::string& text, const std::string& path, const Manifest& manifest);

// The JSON index of JPEG files, in the form of preprocess.py's meta/index.json.
std::string DescribeSet(const InputSet& set, const Manifest& manifest);

// Read a prepared image (manifest.ImageBytes()). UserError if the file does not have the size of the model's
// input, or holds a value that is not finite.
void ReadPrepared(const std::string& path, const Manifest& manifest, uint8_t* input);

}  // namespace centernet

#endif  // CENTERNET_INPUT_SET_H_
