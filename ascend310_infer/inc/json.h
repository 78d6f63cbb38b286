// A strict reader of JSON (RFC 8259), and the writing of strings.
#ifndef CENTERNET_JSON_H_
#define CENTERNET_JSON_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace centernet {

// One JSON value. The accessors throw UserError, naming the place in the document, when the value is of another kind.
class Json {
 public:
  enum class Kind { kNull, kBoolean, kNumber, kString, kArray, kObject };

  // Parse a document; UserError naming `source` and the byte where it ends to be JSON.
  static Json Parse(const std::string& text, const std::string& source);

  Kind kind() const { return kind_; }
  bool Boolean() const;
  double Number() const;
  // A whole number between lowest and highest.
  int64_t Integer(int64_t lowest, int64_t highest) const;
  const std::string& String() const;
  const std::vector<Json>& Array() const;
  // An array of `count` values.
  const std::vector<Json>& Array(size_t count) const;
  bool Has(const std::string& key) const;
  // The value of a key; UserError if this is not an object or lacks the key.
  const Json& operator[](const std::string& key) const;

 private:
  friend class JsonParser;

  void Require(Kind kind, const char* name) const;
  const Json* Find(const std::string& key) const;

  Kind kind_ = Kind::kNull;
  bool boolean_ = false;
  double number_ = 0;
  std::string string_;
  std::vector<Json> array_;
  std::vector<std::pair<std::string, Json>> members_;
  std::string place_;  // "FILE: input.shape[0]", for messages
};

// A string in quotes, with what must be escaped escaped.
std::string JsonQuote(const std::string& text);

// A number that reads back as exactly this double.
std::string JsonNumber(double value);

}  // namespace centernet

#endif  // CENTERNET_JSON_H_
