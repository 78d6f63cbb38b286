// The reader of manifests.
#include "manifest.h"
#include "target.h"

void centernet::ReadInput(const std::string& text) { ParseManifest(text, "manifest.json"); }
