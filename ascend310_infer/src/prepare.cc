#include "prepare.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

namespace centernet {
namespace {

// OpenCV's fixed-point numbers: 10 bits for coordinates (5 of them select the weights), and 15 bits for weights.
constexpr int kCoordinateBits = 10;
constexpr int kWeightBits = 5;
constexpr int kOne = 1 << kWeightBits;
constexpr int kChannels = 3;

using Point = std::array<float, 2>;
using Triangle = std::array<Point, 3>;

// A centre, a second point above it, and a third point that forms a right angle; float32 as in geometry.py.
Triangle CornerTriangle(double x, double y, double up) {
  const Point first = {static_cast<float>(x), static_cast<float>(y)};
  const Point second = {static_cast<float>(x), static_cast<float>(y + up)};
  const Point direction = {first[0] - second[0], first[1] - second[1]};
  return {first, second, Point{second[0] - direction[1], second[1] + direction[0]}};
}

Triangle ImageTriangle(int height, int width) {
  return CornerTriangle(width / 2.0, height / 2.0, std::max(height, width) * -0.5);
}

Triangle TargetTriangle(int height, int width) { return CornerTriangle(width * 0.5, height * 0.5, width * -0.5); }

// Solve six equations by Gaussian elimination with pivots, in the order of operations of OpenCV's solver.
Affine Solve(std::array<std::array<double, 6>, 6> a, Affine b) {
  for (size_t i = 0; i < 6; ++i) {
    size_t pivot = i;
    for (size_t j = i + 1; j < 6; ++j) {
      if (std::abs(a[j][i]) > std::abs(a[pivot][i])) pivot = j;
    }
    std::swap(a[i], a[pivot]);
    std::swap(b[i], b[pivot]);
    const double factor = -1 / a[i][i];
    for (size_t j = i + 1; j < 6; ++j) {
      const double alpha = a[j][i] * factor;
      for (size_t k = i + 1; k < 6; ++k) a[j][k] += alpha * a[i][k];
      b[j] += alpha * b[i];
    }
  }
  for (size_t i = 6; i-- > 0;) {
    for (size_t k = i + 1; k < 6; ++k) b[i] -= a[i][k] * b[k];
    b[i] /= a[i][i];
  }
  return b;
}

// The affine map that takes three points to three others.
Affine MapOf(const Triangle& source, const Triangle& target) {
  std::array<std::array<double, 6>, 6> a{};
  Affine b{};
  for (size_t i = 0; i < 3; ++i) {
    const double x = source[i][0], y = source[i][1];
    a[2 * i] = {x, y, 1, 0, 0, 0};
    a[2 * i + 1] = {0, 0, 0, x, y, 1};
    b[2 * i] = target[i][0];
    b[2 * i + 1] = target[i][1];
  }
  return Solve(a, b);
}

Affine Invert(const Affine& m) {
  const double determinant = m[0] * m[4] - m[1] * m[3];
  const double d = determinant != 0 ? 1 / determinant : 0;
  const double xx = m[4] * d, xy = m[1] * -d, yx = m[3] * -d, yy = m[0] * d;
  return {xx, xy, -xx * m[2] - xy * m[5], yx, yy, -yx * m[2] - yy * m[5]};
}

// A coordinate as a fixed-point number, rounded to even, with as many bits as in OpenCV.
int64_t Fixed(double value) {
  const double scaled = std::nearbyint(value * (1 << kCoordinateBits));
  return static_cast<int64_t>(std::min(std::max(scaled, -2147483648.0), 2147483647.0));
}

// The pixel at (y, x), black outside of the image.
const uint8_t* PixelAt(const Image& image, int64_t y, int64_t x) {
  static constexpr uint8_t kBlack[kChannels] = {0, 0, 0};
  if (y < 0 || y >= image.height || x < 0 || x >= image.width) return kBlack;
  return &image.pixels[static_cast<size_t>((y * image.width + x) * kChannels)];
}

// Interpolate between four pixels; column and row have kWeightBits fractional bits.
void Interpolate(const Image& image, int64_t row, int64_t column, uint8_t* pixel) {
  const int64_t y = row >> kWeightBits, x = column >> kWeightBits;
  const int down = static_cast<int>(row & (kOne - 1)), right = static_cast<int>(column & (kOne - 1));
  const uint8_t* corners[4] = {PixelAt(image, y, x), PixelAt(image, y, x + 1), PixelAt(image, y + 1, x),
                               PixelAt(image, y + 1, x + 1)};
  const int weights[4] = {(kOne - down) * (kOne - right), (kOne - down) * right, down * (kOne - right), down * right};
  for (int channel = 0; channel < kChannels; ++channel) {
    int sum = kOne * kOne / 2;  // rounds
    for (int corner = 0; corner < 4; ++corner) sum += weights[corner] * corners[corner][channel];
    pixel[channel] = static_cast<uint8_t>(sum / (kOne * kOne));
  }
}

}  // namespace

Affine InputFromImage(int image_height, int image_width, int input_height, int input_width) {
  return MapOf(ImageTriangle(image_height, image_width), TargetTriangle(input_height, input_width));
}

Affine ImageFromOutput(int image_height, int image_width, int output_height, int output_width) {
  return MapOf(TargetTriangle(output_height, output_width), ImageTriangle(image_height, image_width));
}

Image Warp(const Image& image, const Affine& forward, int height, int width) {
  Image warped{height, width,
               std::vector<uint8_t>(static_cast<size_t>(height) * static_cast<size_t>(width) * kChannels)};
  const Affine m = Invert(forward);
  constexpr int kDropped = kCoordinateBits - kWeightBits;
  constexpr int64_t kRound = 1 << (kDropped - 1);
  uint8_t* pixel = warped.pixels.data();
  for (int y = 0; y < height; ++y) {
    const int64_t column = Fixed(m[1] * y + m[2]) + kRound, row = Fixed(m[4] * y + m[5]) + kRound;
    for (int x = 0; x < width; ++x, pixel += kChannels) {
      Interpolate(image, (row + Fixed(m[3] * x)) >> kDropped, (column + Fixed(m[0] * x)) >> kDropped, pixel);
    }
  }
  return warped;
}

void PrepareImage(const Image& image, const Manifest& manifest, uint8_t* input) {
  const Affine forward = InputFromImage(image.height, image.width, manifest.height, manifest.width);
  const Image warped = Warp(image, forward, manifest.height, manifest.width);
  if (manifest.raw) {
    std::copy(warped.pixels.begin(), warped.pixels.end(), input);
    return;
  }
  const size_t area = warped.pixels.size() / kChannels;
  for (size_t channel = 0; channel < kChannels; ++channel) {
    // float32 in every step, in the order of ModelSpec.normalize, so that all bits are the same.
    const float std = static_cast<float>(manifest.std[channel]);
    const float factor = 1 / (255 * std), offset = static_cast<float>(manifest.mean[channel]) / std;
    const uint8_t* from = &warped.pixels[manifest.to_rgb ? 2 - channel : channel];
    uint8_t* plane = input + channel * area * sizeof(float);
    for (size_t i = 0; i < area; ++i) {
      const float value = static_cast<float>(from[i * kChannels]) * factor - offset;
      std::memcpy(plane + i * sizeof(float), &value, sizeof(float));
    }
  }
}

std::string DescribeTransform(const Image& image, const Manifest& manifest, int image_id,
                              const std::string& file_name) {
  return OneLine({{"image_id", image_id},
                  {"file_name", file_name},
                  {"c", {image.width / 2.0, image.height / 2.0}},
                  {"s", static_cast<double>(std::max(image.height, image.width))},
                  {"out_height", manifest.height / manifest.down_ratio},
                  {"out_width", manifest.width / manifest.down_ratio},
                  {"scale", 1.0}});
}

}  // namespace centernet
