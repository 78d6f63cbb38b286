// Decoder of JPEG files with the same pixels as OpenCV's imdecode.
#ifndef CENTERNET_JPEG_H_
#define CENTERNET_JPEG_H_

#include <cstdint>
#include <string>
#include <vector>

namespace centernet {

// Rows of bytes in the order B, G, R.
struct Image {
  int height = 0;
  int width = 0;
  std::vector<uint8_t> pixels;  // height * width * 3
};

// Return whether the program was built with libjpeg.
bool JpegIsAvailable();

// Decode the bytes of a file and rotate the image according to its EXIF orientation. The header's size is checked
// before memory is taken for the pixels.
// UserError: `source` is not a JPEG file, cut off, damaged, has more than max_pixels pixels or a side above 32766; or
// the program has no JPEG decoder.
Image DecodeJpeg(const std::string& bytes, const std::string& source, int max_pixels);

// Return the EXIF orientation 1..8 in the body of an APP1 segment; 1 (upright) if there is none.
int ExifOrientation(const uint8_t* segment, size_t size);

// Rotate or mirror a decoded image according to an EXIF orientation 1..8.
Image Upright(Image image, int orientation);

}  // namespace centernet

#endif  // CENTERNET_JPEG_H_
