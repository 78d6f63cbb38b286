#include "json.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "errors.h"

namespace centernet {
namespace {

constexpr int kMaxDepth = 64;  // nesting that no manifest has, and that the stack bears

bool IsDigit(char letter) { return letter >= '0' && letter <= '9'; }

void AppendUtf8(uint32_t code, std::string* text) {
  const auto tail = [text, code](int shift) { text->push_back(static_cast<char>(0x80 | ((code >> shift) & 0x3f))); };
  if (code < 0x80) {
    text->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    text->push_back(static_cast<char>(0xc0 | (code >> 6)));
    tail(0);
  } else if (code < 0x10000) {
    text->push_back(static_cast<char>(0xe0 | (code >> 12)));
    tail(6), tail(0);
  } else {
    text->push_back(static_cast<char>(0xf0 | (code >> 18)));
    tail(12), tail(6), tail(0);
  }
}

}  // namespace

// Recursive descent over one text; `at_` is the next byte to look at.
class JsonParser {
 public:
  JsonParser(const std::string& text, const std::string& source) : text_(text), source_(source) {}

  Json Document() {
    Json value = Value(source_ + ": the document", 0);
    SkipSpace();
    if (at_ != text_.size()) Fail("nothing may follow the document");
    return value;
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const {
    throw UserError(source_ + " is not valid JSON: " + what + " (byte " + std::to_string(at_) + ")");
  }

  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void SkipSpace() {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_]) != nullptr && text_[at_] != '\0') ++at_;
  }

  bool Take(char letter) {
    SkipSpace();
    if (at_ >= text_.size() || text_[at_] != letter) return false;
    ++at_;
    return true;
  }

  void Expect(char letter) {
    if (!Take(letter)) Fail(std::string("'") + letter + "' is missing");
  }

  bool TakeWord(const char* word) {
    if (text_.compare(at_, std::strlen(word), word) != 0) return false;
    at_ += std::strlen(word);
    return true;
  }

  Json Value(const std::string& place, int depth) {
    if (depth > kMaxDepth) Fail("it is nested too deeply");
    SkipSpace();
    Json value;
    value.place_ = place;
    const char first = Peek();
    if (first == '{') {
      Members(&value, place, depth);
    } else if (first == '[') {
      Elements(&value, place, depth);
    } else if (first == '"') {
      value.kind_ = Json::Kind::kString;
      value.string_ = String();
    } else if (TakeWord("true") || TakeWord("false")) {
      value.kind_ = Json::Kind::kBoolean;
      value.boolean_ = first == 't';
    } else if (!TakeWord("null")) {
      value.kind_ = Json::Kind::kNumber;
      value.number_ = Number();
    }
    return value;
  }

  void Members(Json* value, const std::string& place, int depth) {
    value->kind_ = Json::Kind::kObject;
    Expect('{');
    if (Take('}')) return;
    do {
      SkipSpace();
      if (Peek() != '"') Fail("a key in quotes is missing");
      std::string key = String();
      Expect(':');
      Json member = Value(depth == 0 ? source_ + ": " + key : place + "." + key, depth + 1);
      value->members_.emplace_back(std::move(key), std::move(member));
    } while (Take(','));
    Expect('}');
  }

  void Elements(Json* value, const std::string& place, int depth) {
    value->kind_ = Json::Kind::kArray;
    Expect('[');
    if (Take(']')) return;
    do {
      value->array_.push_back(Value(place + "[" + std::to_string(value->array_.size()) + "]", depth + 1));
    } while (Take(','));
    Expect(']');
  }

  std::string String() {
    Expect('"');
    std::string result;
    while (Peek() != '"') {
      if (at_ >= text_.size()) Fail("a string does not end");
      if (static_cast<unsigned char>(text_[at_]) < 0x20) Fail("a control character in a string");
      if (text_[at_] != '\\') {
        result.push_back(text_[at_++]);
        continue;
      }
      ++at_;
      Escape(&result);
    }
    ++at_;
    return result;
  }

  void Escape(std::string* result) {
    static const char kLetters[] = "\"\\/bfnrt";
    static const char kMeanings[] = "\"\\/\b\f\n\r\t";
    const char letter = Peek();
    const char* known = letter == '\0' ? nullptr : std::strchr(kLetters, letter);
    if (known != nullptr) {
      result->push_back(kMeanings[known - kLetters]);
      ++at_;
      return;
    }
    if (letter != 'u') Fail("an unknown escape in a string");
    uint32_t code = CodeUnit();
    if (code >= 0xd800 && code < 0xdc00 && TakeWord("\\")) {
      const uint32_t low = Peek() == 'u' ? CodeUnit() : 0;
      if (low < 0xdc00 || low > 0xdfff) Fail("half of a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xd800 && code < 0xe000) {
      Fail("half of a surrogate pair");
    }
    AppendUtf8(code, result);
  }

  uint32_t CodeUnit() {
    ++at_;
    uint32_t code = 0;
    for (int digit = 0; digit < 4; ++digit, ++at_) {
      const char* digits = "0123456789abcdef";
      const char lower = static_cast<char>(Peek() >= 'A' && Peek() <= 'F' ? Peek() + ('a' - 'A') : Peek());
      const char* found = lower == '\0' ? nullptr : std::strchr(digits, lower);
      if (found == nullptr) Fail("four hexadecimal digits must follow \\u");
      code = code * 16 + static_cast<uint32_t>(found - digits);
    }
    return code;
  }

  void Digits() {
    if (!IsDigit(Peek())) Fail("a value is missing or misspelt");
    while (IsDigit(Peek())) ++at_;
  }

  double Number() {
    const size_t start = at_;
    if (Peek() == '-') ++at_;
    if (Peek() == '0') {
      ++at_;
    } else {
      Digits();
    }
    if (Peek() == '.') {
      ++at_;
      Digits();
    }
    if (Peek() == 'e' || Peek() == 'E') {
      ++at_;
      if (Peek() == '+' || Peek() == '-') ++at_;
      Digits();
    }
    // The program stays in the "C" locale, in which strtod reads what was just checked.
    const double value = std::strtod(text_.substr(start, at_ - start).c_str(), nullptr);
    if (!std::isfinite(value)) Fail("a number is too large");
    return value;
  }

  const std::string& text_;
  const std::string& source_;
  size_t at_ = 0;
};

Json Json::Parse(const std::string& text, const std::string& source) { return JsonParser(text, source).Document(); }

void Json::Require(Kind kind, const char* name) const {
  if (kind_ != kind) throw UserError(place_ + " must be " + name);
}

bool Json::Boolean() const {
  Require(Kind::kBoolean, "true or false");
  return boolean_;
}

double Json::Number() const {
  Require(Kind::kNumber, "a number");
  return number_;
}

int64_t Json::Integer(int64_t lowest, int64_t highest) const {
  Require(Kind::kNumber, "a whole number");
  if (number_ != std::floor(number_) || number_ < static_cast<double>(lowest) ||
      number_ > static_cast<double>(highest)) {
    throw UserError(place_ + " must be a whole number from " + std::to_string(lowest) + " to " +
                    std::to_string(highest) + ", found " + JsonNumber(number_));
  }
  return static_cast<int64_t>(number_);
}

const std::string& Json::String() const {
  Require(Kind::kString, "a string");
  return string_;
}

const std::vector<Json>& Json::Array() const {
  Require(Kind::kArray, "a list");
  return array_;
}

const std::vector<Json>& Json::Array(size_t count) const {
  if (Array().size() != count) throw UserError(place_ + " must have " + std::to_string(count) + " values");
  return array_;
}

const Json* Json::Find(const std::string& key) const {
  Require(Kind::kObject, "an object");
  // The last of equal keys counts, as in Python.
  for (auto member = members_.rbegin(); member != members_.rend(); ++member) {
    if (member->first == key) return &member->second;
  }
  return nullptr;
}

bool Json::Has(const std::string& key) const { return Find(key) != nullptr; }

const Json& Json::operator[](const std::string& key) const {
  const Json* value = Find(key);
  if (value == nullptr) throw UserError(place_ + ": the key '" + key + "' is missing");
  return *value;
}

std::string JsonQuote(const std::string& text) {
  std::string quoted = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') {
      quoted += std::string("\\") + letter;
    } else if (static_cast<unsigned char>(letter) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(letter));
      quoted += escape;
    } else {
      quoted.push_back(letter);
    }
  }
  return quoted + "\"";
}

std::string JsonNumber(double value) {
  char digits[32];
  for (int precision = 15; precision <= 17; ++precision) {
    std::snprintf(digits, sizeof(digits), "%.*g", precision, value);
    if (std::strtod(digits, nullptr) == value) break;
  }
  return digits;
}

}  // namespace centernet
