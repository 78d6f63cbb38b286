#include "options.h"

#include <algorithm>
#include <cctype>
#include <climits>
#include <cstdlib>
#include <numeric>
#include <variant>
#include <vector>

#include "errors.h"

namespace centernet {
namespace {

constexpr size_t kLongestWord = 80, kListed = 20;  // letters of an unknown flag, and unknown flags in a message

// One flag: the variable for its value (a bool has no value), and its allowed values ({}: any).
struct Flag {
  std::string name;
  std::string help;
  std::variant<std::string*, int*, std::optional<double>*, bool*> value;
  std::vector<std::string> choices;
};

std::vector<Flag> Flags(Options* options) {
  const std::vector<std::string> precisions = {"enforce_fp16", "preferred_fp32", "enforce_origin", "enforce_fp32",
                                               "preferred_optimal"};
  return {
      {"model_path", "exported model NAME.mindir, its manifest NAME.json beside it", &options->model_path, {}},
      {"input_path", "set of preprocess.py, folder of .bin files, or folder of JPEG files", &options->input_path, {}},
      {"output_path",
       "folder for result_Files/, time_Result/ and, for JPEG files, detections.json",
       &options->output_path,
       {}},
      {"device_target", "where the model runs", &options->device_target, {"ASCEND", "CPU"}},
      {"device_id", "number of the Ascend device", &options->device_id, {}},
      {"precision_mode", "arithmetic on Ascend", &options->precision_mode, precisions},
      {"threads", "CPU threads; 0: one for each core", &options->threads, {}},
      {"warm_up", "runs before the measured ones", &options->warm_up, {}},
      {"max_image_pixels", "largest number of pixels of a JPEG file", &options->max_image_pixels, {}},
      {"score_thresh",
       "JPEG files: lowest score in detections.json (default: that of the manifest, or 0.3 if it has none)",
       &options->score_thresh,
       {}},
      {"nms",
       "JPEG files: soft-NMS for detections.json; auto: as the manifest says, or gaussian if it says nothing",
       &options->nms,
       {"auto", "gaussian", "none"}},
      {"prepare_only", "write the prepared JPEG images as preprocess.py does, and stop", &options->prepare_only, {}},
      {"help", "print this", &options->help, {}},
  };
}

std::string Joined(const std::vector<std::string>& words) {
  std::string joined;
  for (const auto& word : words) joined += (joined.empty() ? "" : ", ") + word;
  return joined;
}

std::string Default(const Flag& flag) {
  if (const auto* number = std::get_if<int*>(&flag.value)) return " (default: " + std::to_string(**number) + ")";
  const auto* text = std::get_if<std::string*>(&flag.value);
  return text == nullptr || (*text)->empty() ? "" : " (default: " + **text + ")";
}

const Flag* Find(const std::vector<Flag>& flags, const std::string& word) {
  for (const auto& flag : flags) {
    if (word.substr(0, word.find('=')) == "--" + flag.name) return &flag;
  }
  return nullptr;
}

bool IsFlag(const std::string& word) {
  const size_t digit = word.size() > 1 && word[1] == '.' ? 2 : 1;  // of a negative number, which is a value
  return word.size() > 1 && word[0] == '-' && word.find_first_of("0123456789") != digit;
}

// The least number of letters to insert, remove or replace that makes one word of another.
size_t Distance(const std::string& from, const std::string& to) {
  std::vector<size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < from.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 0; j < to.size(); ++j) {
      const size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

// " (did you mean --NAME?)" for a flag with at most one other letter in three, or that begins so; otherwise "".
std::string Hint(const std::vector<Flag>& flags, const std::string& word) {
  std::string said = word.substr(0, word.find('='));
  said.erase(0, said.find_first_not_of('-'));
  if (said.size() < 3 || said.size() > kLongestWord) return "";
  for (char& letter : said)
    letter = letter == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  for (const bool whole : {true, false}) {
    for (const auto& flag : flags) {
      const std::string name = whole ? flag.name : flag.name.substr(0, said.size());
      if (whole ? 3 * Distance(said, name) <= said.size() : said == name) return " (did you mean --" + flag.name + "?)";
    }
  }
  return "";
}

// Whether a value follows the flag at argv[i], not the end or another flag.
bool HasValue(int argc, const char* const* argv, int i) { return i + 1 < argc && !IsFlag(argv[i + 1]); }

// UserError with all unknown flags, or with the first other word that belongs to no flag. Other words beside unknown
// flags are probably their values.
void RequireKnown(const std::vector<Flag>& flags, int argc, const char* const* argv) {
  std::vector<std::string> unknown, stray;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const Flag* flag = Find(flags, word);
    if (flag == nullptr) {
      auto& words = IsFlag(word) ? unknown : stray;
      const std::string shown = "'" + word.substr(0, kLongestWord) + "'" + Hint(flags, word);
      if (std::count(words.begin(), words.end(), shown) == 0) words.push_back(shown);
    } else if (!std::holds_alternative<bool*>(flag->value) && word.find('=') == std::string::npos) {
      i += HasValue(argc, argv, i) ? 1 : 0;
    }
  }
  if (unknown.empty() && stray.empty()) return;
  if (unknown.empty()) unknown = {stray[0]};
  const std::string kind = unknown.size() == 1 ? "unknown argument " : "unknown arguments ";
  const bool more = unknown.size() > kListed;
  if (more) unknown.resize(kListed);
  throw UserError(kind + Joined(unknown) + (more ? ", ..." : "") + "; --help lists the flags");
}

void AssignNumber(const Flag& flag, const std::string& value, int* target) {
  char* end = nullptr;
  const long number = std::strtol(value.c_str(), &end, 10);
  if (value.empty() || *end != '\0' || number < 0 || number > INT_MAX) {
    throw UserError("--" + flag.name + " must be a whole number, 0 or more; found '" + value + "'");
  }
  *target = static_cast<int>(number);
}

void AssignFraction(const Flag& flag, const std::string& value, std::optional<double>* target) {
  char* end = nullptr;
  const double number = std::strtod(value.c_str(), &end);
  if (value.empty() || *end != '\0' || !(number >= 0 && number <= 1)) {
    throw UserError("--" + flag.name + " must be between 0 and 1; found '" + value + "'");
  }
  *target = number;
}

void AssignText(const Flag& flag, const std::string& value, std::string* target) {
  const bool listed = std::count(flag.choices.begin(), flag.choices.end(), value) > 0;
  if (flag.choices.empty() ? value.empty() : !listed) {
    const std::string wanted = flag.choices.empty() ? "a path" : "one of " + Joined(flag.choices);
    throw UserError("--" + flag.name + " must be " + wanted + "; found '" + value + "'");
  }
  *target = value;
}

void Assign(const Flag& flag, const std::string& value) {
  if (const auto* number = std::get_if<int*>(&flag.value)) {
    AssignNumber(flag, value, *number);
  } else if (const auto* fraction = std::get_if<std::optional<double>*>(&flag.value)) {
    AssignFraction(flag, value, *fraction);
  } else {
    AssignText(flag, value, std::get<std::string*>(flag.value));
  }
}

}  // namespace

Options ParseOptions(int argc, const char* const* argv) {
  Options options;
  const std::vector<Flag> flags = Flags(&options);
  RequireKnown(flags, argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const size_t equals = word.find('=');
    const Flag& flag = *Find(flags, word);
    if (const auto* given = std::get_if<bool*>(&flag.value)) {
      if (equals != std::string::npos) throw UserError("--" + flag.name + " takes no value");
      **given = true;
    } else if (equals != std::string::npos) {
      Assign(flag, word.substr(equals + 1));
    } else if (HasValue(argc, argv, i)) {
      Assign(flag, argv[++i]);
    } else {
      throw UserError("--" + flag.name + " needs a value");
    }
  }
  if (!options.help && (options.model_path.empty() || options.input_path.empty())) {
    throw UserError(std::string(options.model_path.empty() ? "--model_path" : "--input_path") +
                    " is not set; --help explains it");
  }
  return options;
}

std::string Usage() {
  std::string text =
      "usage: centernet_infer --model_path NAME.mindir --input_path FOLDER [flags]\n"
      "Runs an exported CenterNet on a folder of images and writes one file of detections for each.\n";
  Options defaults;
  for (const auto& flag : Flags(&defaults)) {
    const std::string choices = flag.choices.empty() ? "" : "; one of " + Joined(flag.choices);
    text += "  --" + flag.name + std::string(18 - flag.name.size(), ' ') + flag.help + choices + Default(flag) + "\n";
  }
  return text + "Exit status: 0 done, 1 the runtime or the disk failed, 2 a flag or a file is wrong.\n";
}

}  // namespace centernet
