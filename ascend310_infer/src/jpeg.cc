#include "jpeg.h"

#include "errors.h"

#ifdef CENTERNET_WITH_JPEG

// jpeglib.h needs the definitions of FILE and size_t before it.
#include <cstddef>
#include <cstdio>
// jerror.h must come after jpeglib.h.
#include <jpeglib.h>
//
#include <jerror.h>

#include <algorithm>
#include <csetjmp>
#include <memory>

namespace centernet {
namespace {

constexpr size_t kMaxSide = 32766;  // as in src/centernet/data/image_size.py: OpenCV cannot warp a longer side

struct Errors {
  jpeg_error_mgr manager;  // the first member, so that libjpeg's pointer to it points to this object
  jmp_buf stop;
  bool cut;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void Stop(j_common_ptr info) {
  auto* errors = reinterpret_cast<Errors*>(info->err);
  errors->manager.format_message(info, errors->message);
  longjmp(errors->stop, 1);
}

// If a file ends too early, libjpeg fills the rest with grey and only prints a warning.
void Warn(j_common_ptr info, int level) {
  auto* errors = reinterpret_cast<Errors*>(info->err);
  if (level < 0 && errors->manager.msg_code == JWRN_JPEG_EOF) errors->cut = true;
}

void Silent(j_common_ptr) {}

// Bytes of one pixel in libjpeg's output: R, G, B, or the four inks of a CMYK file.
size_t Channels(const jpeg_decompress_struct& info) { return info.out_color_space == JCS_CMYK ? 4 : 3; }

// Both parts return false if libjpeg stopped. A longjmp must not skip destructors, so they have no C++ objects.
bool ReadHeader(jpeg_decompress_struct* info, Errors* errors, const std::string& bytes) {
  if (setjmp(errors->stop) != 0) return false;
  jpeg_create_decompress(info);
  jpeg_save_markers(info, JPEG_APP0 + 1, 0xffff);
  jpeg_mem_src(info, reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(info, TRUE);
  info->out_color_space = info->num_components == 4 ? JCS_CMYK : JCS_RGB;
  return true;
}

bool ReadPixels(jpeg_decompress_struct* info, Errors* errors, uint8_t* pixels) {
  if (setjmp(errors->stop) != 0) return false;
  jpeg_start_decompress(info);
  while (info->output_scanline < info->output_height) {
    JSAMPROW row = pixels + size_t{info->output_scanline} * info->output_width * Channels(*info);
    jpeg_read_scanlines(info, &row, 1);
  }
  return jpeg_finish_decompress(info) == TRUE;
}

// As in OpenCV: inks are stored inverted, so 255 means no ink.
void CmykToBgr(const uint8_t* inks, uint8_t* pixel) {
  for (int channel = 0; channel < 3; ++channel) {
    const int black = inks[3];
    pixel[2 - channel] = static_cast<uint8_t>(black - (((255 - inks[channel]) * black) >> 8));
  }
}

Image ToBgr(const jpeg_decompress_struct& info, const std::vector<uint8_t>& decoded) {
  Image image;
  image.height = static_cast<int>(info.image_height);
  image.width = static_cast<int>(info.image_width);
  image.pixels.resize(size_t{info.image_height} * info.image_width * 3);
  const uint8_t* from = decoded.data();
  for (size_t at = 0; at < image.pixels.size(); at += 3, from += Channels(info)) {
    if (Channels(info) == 4) {
      CmykToBgr(from, &image.pixels[at]);
    } else {
      std::reverse_copy(from, from + 3, &image.pixels[at]);
    }
  }
  return image;
}

// OpenCV reads only the first APP1 segment and assumes that it is EXIF data.
int Orientation(const jpeg_decompress_struct& info) {
  return info.marker_list == nullptr ? 1 : ExifOrientation(info.marker_list->data, info.marker_list->data_length);
}

void RequireAllowedSize(const jpeg_decompress_struct& info, const std::string& source, int max_pixels) {
  const size_t height = info.image_height, width = info.image_width;
  const std::string found = source + ": " + std::to_string(width) + " x " + std::to_string(height) + " pixels ";
  if (height * width > static_cast<size_t>(max_pixels)) {
    throw UserError(found + "(width x height) are more than " + std::to_string(max_pixels) +
                    ": make the image smaller, or set --max_image_pixels if you trust the file");
  }
  if (std::max(height, width) > kMaxSide) {
    throw UserError(found + "(width x height): a side may have at most " + std::to_string(kMaxSide) +
                    " pixels: make the image smaller, or cut it into tiles");
  }
}

}  // namespace

bool JpegIsAvailable() { return true; }

Image DecodeJpeg(const std::string& bytes, const std::string& source, int max_pixels) {
  jpeg_decompress_struct info{};
  Errors errors{};
  info.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = Stop;
  errors.manager.emit_message = Warn;
  errors.manager.output_message = Silent;
  const std::unique_ptr<jpeg_decompress_struct, void (*)(j_decompress_ptr)> release(&info, jpeg_destroy_decompress);
  const auto fail = [&] { return UserError(source + " is not a JPEG file that can be decoded: " + errors.message); };

  if (!ReadHeader(&info, &errors, bytes)) throw fail();
  RequireAllowedSize(info, source, max_pixels);
  const int orientation = Orientation(info);  // now, because libjpeg frees the markers at the end
  std::vector<uint8_t> decoded(size_t{info.image_height} * info.image_width * Channels(info));
  if (!ReadPixels(&info, &errors, decoded.data())) throw fail();
  if (errors.cut) throw UserError(source + " is cut off after " + std::to_string(bytes.size()) + " bytes");
  return Upright(ToBgr(info, decoded), orientation);
}

}  // namespace centernet

#else

namespace centernet {

bool JpegIsAvailable() { return false; }

Image DecodeJpeg(const std::string&, const std::string& source, int) {
  throw UserError(source + ": this program was built without libjpeg");
}

}  // namespace centernet

#endif
