// A main function in place of libFuzzer, for compilers without it. It reads files, or mutations of them:
//   fuzz_NAME FILE...                      say of each file whether it is read or refused
//   fuzz_NAME --mutations N FILE...        read N mutations of the files; the seed 1, 2, ... makes the same ones again
// Exit status: 0, or that of the sanitizer or of an exception that is no UserError.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "errors.h"
#include "target.h"

namespace {

using Random = std::mt19937_64;

const char* const kPieces[] = {"[",         "]",           "{",        "}",        ",",        ":",       "\"",
                               "\\",        "null",        "true",     "1e999",    "-1",       "0",       "1e12",
                               "0.5",       "NaN",         "\\ud800",  "\\u0000",  "\xff",     "\"a\"",   "[[]]",
                               "{\"a\":1}", "99999999999", "\xff\xd8", "\xff\xda", "\xff\xc0", "\xff\xc4"};

size_t Below(Random* random, size_t limit) { return limit == 0 ? 0 : static_cast<size_t>((*random)() % limit); }

// Change one place of a text: a bit, a piece of the reader's language, a removed part, or a part of another text.
void Mutate(const std::string& other, std::string* text, Random* random) {
  const size_t at = Below(random, text->size() + 1),
               length = Below(random, std::min<size_t>(text->size() - at, 40) + 1);
  switch (Below(random, 8)) {
    case 0:
      text->erase(at, length);
      break;
    case 1:
      for (size_t i = Below(random, 100); i > 0; --i) text->insert(at, kPieces[Below(random, 4)]);
      break;
    case 2:
      text->insert(at, other.substr(Below(random, other.size() + 1), 1 + Below(random, 60)));
      break;
    case 3:
    case 4:
      text->replace(at, Below(random, 2) * length, kPieces[Below(random, std::size(kPieces))]);
      break;
    default:
      if (at < text->size()) (*text)[at] = static_cast<char>((*text)[at] ^ (1 << Below(random, 8)));
  }
}

// Return whether the text is read; `message` gets the reason if it is refused.
bool IsRead(const std::string& text, std::string* message) {
  try {
    centernet::ReadInput(text);
    return true;
  } catch (const centernet::UserError& error) {
    *message = error.what();
    return false;
  }
}

void ReadMutations(const std::vector<std::string>& texts, size_t count) {
  size_t read = 0;
  std::string message;
  for (size_t seed = 1; seed <= count; ++seed) {
    Random random(seed);
    std::string text = texts[Below(&random, texts.size())];
    for (size_t changes = 1 + Below(&random, 3); changes > 0; --changes) {
      Mutate(texts[Below(&random, texts.size())], &text, &random);
    }
    read += IsRead(text, &message) ? 1 : 0;
  }
  std::cout << count << " mutations: " << read << " read, " << count - read << " refused\n";
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const bool mutate = words.size() > 2 && words[0] == "--mutations";
  std::vector<std::string> texts;
  for (auto path = words.begin() + (mutate ? 2 : 0); path != words.end(); ++path) {
    std::ifstream file(*path, std::ios::binary);
    if (!file) {
      std::cerr << "error: " << *path << " cannot be read\n";
      return 2;
    }
    texts.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    std::string message;
    if (!mutate)
      std::cout << *path << ": " << (IsRead(texts.back(), &message) ? "read" : "refused: " + message) << "\n";
  }
  if (texts.empty()) {
    std::cerr << "usage: " << argv[0] << " [--mutations N] FILE...\n";
    return 2;
  }
  if (mutate) ReadMutations(texts, std::strtoul(words[1].c_str(), nullptr, 10));
  return 0;
}
