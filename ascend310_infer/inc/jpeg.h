// Decoding JPEG files to the pixels that OpenCV's imdecode gives.
#ifndef CENTERNET_JPEG_H_
#define CENTERNET_JPEG_H_

#include <cstdint>
#include <string>
#include <vector>

namespace centernet {

// Rows of B, G, R bytes.
struct Image {
  int height = 0;
  int width = 0;
  std::vector<uint8_t> pixels;  // height * width * 3
};

// Whether the program was built with libjpeg.
bool JpegIsAvailable();

// Decode the bytes of a file and turn the image as its EXIF orientation says.
// UserError naming `source`: not a JPEG file, cut off, damaged, or too large; or the program has no JPEG decoder.
Image DecodeJpeg(const std::string& bytes, const std::string& source);

// EXIF orientation 1..8 in the body of an APP1 segment; 1 (upright) if it does not tell.
int ExifOrientation(const uint8_t* segment, size_t size);

// Turn a decoded image as an EXIF orientation 1..8 demands.
Image Upright(Image image, int orientation);

}  // namespace centernet

#endif  // CENTERNET_JPEG_H_
