// Transform of a decoded image to the network's input, with the same pixels as src/centernet/detection/transform.py.
#ifndef CENTERNET_PREPARE_H_
#define CENTERNET_PREPARE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "jpeg.h"
#include "manifest.h"

namespace centernet {

using Affine = std::array<double, 6>;  // row by row: x' = [0] x + [1] y + [2], y' = [3] x + [4] y + [5]

// The affine map of an image to the input: centred, with the longer side as wide as the input.
Affine InputFromImage(int image_height, int image_width, int input_height, int input_width);

// The way back: the affine map of the output's cells to the image.
Affine ImageFromOutput(int image_height, int image_width, int output_height, int output_width);

// OpenCV's warpAffine with linear interpolation and black outside of the image. `forward` maps the image to the result.
Image Warp(const Image& image, const Affine& forward, int height, int width);

// The model's input for an image, manifest.ImageBytes() in `input`: normalised float32 (3, height, width), or, if
// manifest.raw, uint8 (height, width, 3).
void PrepareImage(const Image& image, const Manifest& manifest, uint8_t* input);

// The content of the meta file of an image, for postprocess.py: a JSON object with the transform.
std::string DescribeTransform(const Image& image, const Manifest& manifest, int image_id, const std::string& file_name);

}  // namespace centernet

#endif  // CENTERNET_PREPARE_H_
