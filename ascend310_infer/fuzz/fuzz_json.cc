// All accessors of JSON values, on every value of a document.
#include <cstdint>

#include "errors.h"
#include "json_file.h"
#include "target.h"

namespace centernet {
namespace {

template <typename Accessor>
void Try(const Accessor& access) {
  try {
    access();
  } catch (const UserError&) {
    // The value is of another kind, which is no fault.
  }
}

void Visit(const JsonValue& value) {
  Try([&] { value.Boolean(); });
  Try([&] { value.Number(); });
  Try([&] { value.Integer(INT32_MIN, INT32_MAX); });
  Try([&] { IsUtf8(value.String()); });
  Try([&] { value.Array(3); });
  Try([&] { Visit(value["a"]); });
  Try([&] {
    for (const JsonValue& item : value.Array()) Visit(item);
  });
}

}  // namespace

void ReadInput(const std::string& text) {
  constexpr JsonLimits kLimits = {size_t{1} << 16, size_t{1} << 10};
  Visit(ParseJson(text, "document.json", kLimits));
}

}  // namespace centernet
