#include <algorithm>
#include <utility>

#include "jpeg.h"

namespace centernet {
namespace {

constexpr size_t kHeaderSize = 6;  // "Exif" and two zeros
constexpr size_t kEntrySize = 12;
constexpr unsigned kOrientationTag = 0x0112;

// The TIFF structure in an EXIF segment (TIFF 6.0, section 2). Its header determines the byte order.
class Tiff {
 public:
  Tiff(const uint8_t* data, size_t size) : data_(data), size_(size), big_endian_(size > 0 && data[0] == 'M') {}

  bool IsOne() const { return Read(0, 2) == (big_endian_ ? 0x4d4d : 0x4949) && Read(2, 2) == 42; }

  // The two or four bytes at a position; 0 after the end of the segment.
  unsigned Read(size_t at, size_t count) const {
    if (at > size_ || size_ - at < count) return 0;
    unsigned value = 0;
    for (size_t i = 0; i < count; ++i) value = value << 8 | data_[at + (big_endian_ ? i : count - 1 - i)];
    return value;
  }

 private:
  const uint8_t* data_;
  size_t size_;
  bool big_endian_;
};

}  // namespace

int ExifOrientation(const uint8_t* segment, size_t size) {
  if (size < kHeaderSize) return 1;
  const Tiff tiff(segment + kHeaderSize, size - kHeaderSize);
  if (!tiff.IsOne()) return 1;
  const size_t directory = tiff.Read(4, 4);
  const unsigned entries = tiff.Read(directory, 2);
  for (unsigned i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * kEntrySize;
    if (tiff.Read(entry, 2) != kOrientationTag) continue;
    const unsigned value = tiff.Read(entry + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image Upright(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool transpose = orientation >= 5;
  const bool mirror = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool flip = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  Image turned;
  turned.height = transpose ? image.width : image.height;
  turned.width = transpose ? image.height : image.width;
  turned.pixels.resize(image.pixels.size());
  for (int y = 0; y < turned.height; ++y) {
    for (int x = 0; x < turned.width; ++x) {
      int row = flip ? turned.height - 1 - y : y;
      int column = mirror ? turned.width - 1 - x : x;
      if (transpose) std::swap(row, column);
      const size_t from =
          (static_cast<size_t>(row) * static_cast<size_t>(image.width) + static_cast<size_t>(column)) * 3;
      const size_t to = (static_cast<size_t>(y) * static_cast<size_t>(turned.width) + static_cast<size_t>(x)) * 3;
      std::copy_n(&image.pixels[from], 3, &turned.pixels[to]);
    }
  }
  return turned;
}

}  // namespace centernet
