#include "json_file.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "errors.h"

#if NLOHMANN_JSON_VERSION_MAJOR * 1000 + NLOHMANN_JSON_VERSION_MINOR < 3010
#error "nlohmann/json is too old: 3.10 or newer is needed"
#endif

namespace centernet {
namespace {

using nlohmann::json;

constexpr size_t kMaxMessage = 200;               // bytes of a message about a value
constexpr double kMaxExact = 9007199254740992.0;  // 2^53: above it, not all whole numbers are doubles
constexpr size_t kMaxDepth = 64;  // more than our files have, and few enough for the recursive search of a place

std::string Shortened(const std::string& text) {
  return text.size() > kMaxMessage ? text.substr(0, kMaxMessage) + "..." : text;
}

// The path from one value to another inside it, such as ".input.shape[0]". It is searched only for an error message:
// to store a path with each value would need much more memory than the values.
std::optional<std::string> WayTo(const json& from, const json* value) {
  if (&from == value) return "";
  if (!from.is_structured()) return std::nullopt;
  for (const auto& item : from.items()) {
    const std::optional<std::string> rest = WayTo(item.value(), value);
    if (rest) return (from.is_array() ? "[" + item.key() + "]" : "." + item.key()) + *rest;
  }
  return std::nullopt;
}

// The library's message without its prefix, and without the text that it read last, which may be the whole file.
std::string Reason(const json::exception& error) {
  const std::string message = error.what();
  const size_t start = message.find(' ') + 1;
  return message.substr(start, std::min(message.find("; last read") - start, kMaxMessage));
}

struct Extent {
  size_t depth = 0;   // nested lists and objects
  size_t values = 1;  // at most so many values
};

// What a text would need. The library has no limits.
Extent Measure(const std::string& text) {
  Extent extent;
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      in_string = !in_string;
    } else if (!in_string && (text[i] == '[' || text[i] == '{')) {
      extent.depth = std::max(extent.depth, ++depth);
      ++extent.values;
    } else if (!in_string && depth > 0 && (text[i] == ']' || text[i] == '}')) {
      --depth;
    } else if (!in_string && text[i] == ',') {
      ++extent.values;
    }
  }
  return extent;
}

// Makes the values of a document. It stops at a key that an object has twice, where the library lets the last one win,
// and at a whole number of more than 64 bits, which the library rounds. Python's reader has the same two rules.
// The library's callback could find such keys, but it visits all elements of a list again after each element.
class Builder : public nlohmann::json_sax<json> {
 public:
  json TakeRoot() { return std::move(root_); }
  const std::string& Problem() const { return problem_; }

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(json::number_integer_t value) override { return Add(value); }
  bool number_unsigned(json::number_unsigned_t value) override { return Add(value); }
  bool number_float(json::number_float_t value, const std::string& text) override {
    const bool digits_only = text.find_first_not_of("-0123456789") == std::string::npos;
    if (digits_only) return Stop("a whole number must have at most 64 bits, found " + Shortened(text));
    return Add(value);
  }
  bool string(std::string& value) override { return Add(std::move(value)); }
  bool binary(json::binary_t&) override { return Stop("binary data"); }  // of other formats than JSON
  bool start_object(size_t) override { return Open(json::object()); }
  bool start_array(size_t) override { return Open(json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(std::string& name) override {
    const auto [member, is_new] = open_.back()->emplace(std::move(name), nullptr);
    member_ = &*member;
    if (is_new) return true;
    const std::string quoted = json(member.key()).dump();  // without control characters
    return Stop("an object has the key '" + Shortened(quoted.substr(1, quoted.size() - 2)) +
                "' twice: keep one of the two");
  }
  bool parse_error(size_t, const std::string&, const json::exception& error) override { return Stop(Reason(error)); }

 private:
  bool Stop(const std::string& problem) {
    problem_ = problem;
    return false;
  }

  bool Add(json value) {
    place_ = open_.empty() ? &root_ : open_.back()->is_array() ? &open_.back()->emplace_back() : member_;
    *place_ = std::move(value);
    return true;
  }

  bool Open(json value) {
    Add(std::move(value));
    open_.push_back(place_);
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  json root_;
  std::vector<json*> open_;  // the lists and objects around the next value
  json* member_ = nullptr;   // the value of the key that was read last
  json* place_ = nullptr;    // the value that was added last
  std::string problem_;
};

json Parse(const std::string& text, const std::string& path, const JsonLimits& limits) {
  if (text.size() > limits.bytes) {
    throw UserError(path + " has " + std::to_string(text.size()) + " bytes, at most " + std::to_string(limits.bytes) +
                    " are allowed");
  }
  const std::string invalid = path + " is not valid JSON: ";
  // The library accepts a NUL byte as the end of the text, and skips a byte order mark.
  // Python rejects the NUL byte. It reads a byte order mark, but no program of ours writes one.
  if (text.find('\0') != std::string::npos) throw UserError(invalid + "it holds a byte 0");
  if (text.rfind("\xef\xbb\xbf", 0) == 0) throw UserError(invalid + "it begins with a byte order mark");
  const Extent extent = Measure(text);
  if (extent.depth > kMaxDepth) {
    throw UserError(path + " is nested too deeply: more than " + std::to_string(kMaxDepth) + " lists and objects");
  }
  if (extent.values > limits.values) {
    throw UserError(path + " is too large: more than " + std::to_string(limits.values) + " values");
  }
  Builder builder;
  if (!json::sax_parse(text, &builder)) throw UserError(invalid + builder.Problem());
  return builder.TakeRoot();
}

}  // namespace

struct JsonValue::Document {
  std::string path;
  json root;
};

JsonValue ParseJson(const std::string& text, const std::string& path, const JsonLimits& limits) {
  const auto document =
      std::make_shared<const JsonValue::Document>(JsonValue::Document{path, Parse(text, path, limits)});
  return JsonValue(document, &document->root);
}

void JsonValue::Fail(const std::string& what) const {
  const std::string way = WayTo(document_->root, value_).value_or("");
  const std::string place = way.empty() ? "the document" : way[0] == '.' ? way.substr(1) : way;
  throw UserError(document_->path + ": " + place + " " + Shortened(what));  // it may hold a text of megabytes
}

const json& JsonValue::Require(bool fits, const char* kind) const {
  if (!fits) Fail(std::string("must be ") + kind + ", found " + value_->type_name());
  return *value_;
}

bool JsonValue::Boolean() const { return Require(value_->is_boolean(), "true or false").get<bool>(); }

double JsonValue::Number() const { return Require(value_->is_number(), "a number").get<double>(); }

std::string JsonValue::String() const { return Require(value_->is_string(), "a string").get<std::string>(); }

int64_t JsonValue::Integer(int64_t lowest, int64_t highest) const {
  const double number = Require(value_->is_number(), "a whole number").get<double>();
  bool fits = true;
  if (value_->is_number_unsigned()) {
    fits = value_->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
  } else if (value_->is_number_float()) {
    fits = number == std::floor(number) && std::abs(number) <= kMaxExact;
  }
  const int64_t whole = fits ? value_->get<int64_t>() : 0;
  if (!fits || whole < lowest || whole > highest) {
    Fail("must be a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest) + ", found " +
         value_->dump());
  }
  return whole;
}

std::vector<JsonValue> JsonValue::Array() const {
  std::vector<JsonValue> values;
  for (const json& value : Require(value_->is_array(), "a list")) values.push_back(JsonValue(document_, &value));
  return values;
}

std::vector<JsonValue> JsonValue::Array(size_t count) const {
  std::vector<JsonValue> values = Array();
  if (values.size() != count) {
    Fail("must have " + std::to_string(count) + " values, found " + std::to_string(values.size()));
  }
  return values;
}

std::vector<JsonValue> JsonValue::Members() const {
  std::vector<JsonValue> values;
  for (const json& value : Require(value_->is_object(), "an object")) values.push_back(JsonValue(document_, &value));
  return values;
}

bool JsonValue::Has(const char* key) const { return Require(value_->is_object(), "an object").contains(key); }

JsonValue JsonValue::operator[](const char* key) const {
  if (!Has(key)) Fail(std::string("is incomplete: the key '") + key + "' is missing");
  return JsonValue(document_, &value_->at(key));
}

std::string OneLine(const nlohmann::ordered_json& value) {
  std::string line;
  // A newline in the library's text is never part of a string: there it is written as \n.
  for (const char letter : value.dump(0)) {
    if (letter != '\n') line.push_back(letter);
    if (letter == '\n' && line.back() == ',') line.push_back(' ');
  }
  return line;
}

bool IsUtf8(const std::string& text) {
  try {
    json(text).dump();
  } catch (const json::type_error&) {
    return false;
  }
  return true;
}

}  // namespace centernet
