// Reading and writing JSON with the library nlohmann/json.
#ifndef CENTERNET_JSON_FILE_H_
#define CENTERNET_JSON_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

namespace centernet {

// Bounds of a JSON file. The depth has a bound of its own.
struct JsonLimits {
  size_t bytes;
  size_t values;  // lists, objects and what they hold: about 100 bytes of memory for each
};

// One value of a JSON file. If the value is of another kind, the accessors throw UserError with the file and the place
// in it.
class JsonValue {
 public:
  bool Boolean() const;
  double Number() const;
  // An integer between lowest and highest, also if it is written as 4.0.
  int64_t Integer(int64_t lowest, int64_t highest) const;
  std::string String() const;
  std::vector<JsonValue> Array() const;
  // An array of `count` values.
  std::vector<JsonValue> Array(size_t count) const;
  // The values of an object's keys.
  std::vector<JsonValue> Members() const;
  bool Has(const char* key) const;
  // The value of a key. UserError if this is not an object or does not have the key.
  JsonValue operator[](const char* key) const;

  // UserError "FILE: input.shape[0] " + what.
  [[noreturn]] void Fail(const std::string& what) const;

 private:
  struct Document;
  friend JsonValue ParseJson(const std::string& text, const std::string& path, const JsonLimits& limits);

  JsonValue(std::shared_ptr<const Document> document, const nlohmann::json* value)
      : document_(std::move(document)), value_(value) {}
  const nlohmann::json& Require(bool fits, const char* kind) const;

  std::shared_ptr<const Document> document_;
  const nlohmann::json* value_;  // in the document
};

// Parse a text with one JSON document (RFC 8259) that was read from `path`.
// UserError: the text is beyond the limits, is not JSON, is nested too deeply, has a key twice in an object, or has a
// whole number of more than 64 bits.
JsonValue ParseJson(const std::string& text, const std::string& path, const JsonLimits& limits);

// A JSON text in one line, in the form of Python's json.dumps. A reader gets exactly the same doubles.
std::string OneLine(const nlohmann::ordered_json& value);

// Return whether a text can be written as a JSON string.
bool IsUtf8(const std::string& text);

}  // namespace centernet

#endif  // CENTERNET_JSON_FILE_H_
