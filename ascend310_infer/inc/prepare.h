// From a decoded image to the network's input, pixel by pixel as src/centernet/detection/transform.py and OpenCV do it.
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

// The map of an image onto the input: centred, the longer side as wide as the input.
Affine InputFromImage(int image_height, int image_width, int input_height, int input_width);

// OpenCV's warpAffine with linear interpolation and black outside; `forward` leads from the image to the result.
Image Warp(const Image& image, const Affine& forward, int height, int width);

// Normalised float32 (3, height, width) for a model, written to `planes`.
void PrepareImage(const Image& image, const Manifest& manifest, float* planes);

// The sidecar from which postprocess.py finds back to the image: a JSON object.
std::string DescribeTransform(const Image& image, const Manifest& manifest, int image_id, const std::string& file_name);

}  // namespace centernet

#endif  // CENTERNET_PREPARE_H_
