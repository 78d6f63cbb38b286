// The decoder of JPEG files, with a limit that keeps a single run short.
#include "jpeg.h"
#include "target.h"

void centernet::ReadInput(const std::string& text) { DecodeJpeg(text, "image.jpg", 1 << 16); }
