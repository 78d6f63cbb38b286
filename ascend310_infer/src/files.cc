#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <memory>

#include "errors.h"

namespace centernet {
namespace {

const char* const kUnfinished = ".part";  // suffix of a file while it is written

std::string Reason() { return std::strerror(errno); }

mode_t Mode(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 ? status.st_mode : 0;
}

std::string LowerSuffix(const std::string& name) {
  const size_t dot = name.rfind('.');
  std::string suffix = dot == std::string::npos ? "" : name.substr(dot);
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](unsigned char letter) { return std::tolower(letter); });
  return suffix;
}

// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : value_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { Close(); }

  int value() const { return value_; }

  // False if the disk reports only now that it could not store the data.
  bool Close() {
    const bool closed = value_ < 0 || close(value_) == 0;
    value_ = -1;
    return closed;
  }

 private:
  int value_;
};

bool WriteAll(int descriptor, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(descriptor, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    data += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

}  // namespace

std::string JoinPath(const std::string& folder, const std::string& name) {
  return folder.empty() || folder.back() == '/' ? folder + name : folder + "/" + name;
}

std::string FileName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string FileStem(const std::string& path) {
  const std::string name = FileName(path);
  return name.substr(0, name.rfind('.'));
}

bool IsFile(const std::string& path) { return S_ISREG(Mode(path)); }

bool IsFolder(const std::string& path) { return S_ISDIR(Mode(path)); }

std::vector<std::string> ListFiles(const std::string& folder, const std::vector<std::string>& suffixes) {
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(opendir(folder.c_str()), closedir);
  if (listing == nullptr) throw UserError(folder + ": cannot be read as a folder: " + Reason());
  std::vector<std::string> names;
  while (const dirent* entry = readdir(listing.get())) {
    const std::string name = entry->d_name;
    const bool wanted = std::count(suffixes.begin(), suffixes.end(), LowerSuffix(name)) > 0;
    if (wanted && name[0] != '.' && IsFile(JoinPath(folder, name))) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

size_t FileSize(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) throw UserError(path + ": " + Reason());
  if (!S_ISREG(status.st_mode)) throw UserError(path + " is not a file");
  return static_cast<size_t>(status.st_size);
}

std::string ReadFile(const std::string& path, size_t max_bytes) {
  Descriptor file(path, O_RDONLY);
  struct stat status{};
  if (file.value() < 0 || fstat(file.value(), &status) != 0) throw UserError(path + ": " + Reason());
  if (!S_ISREG(status.st_mode)) throw UserError(path + " is not a file");
  const size_t size = static_cast<size_t>(status.st_size);
  if (size > max_bytes) {
    throw UserError(path + " has " + std::to_string(size) + " bytes, at most " + std::to_string(max_bytes) +
                    " are allowed");
  }
  std::string content(size, '\0');
  size_t have = 0;
  while (have < content.size()) {
    const ssize_t count = read(file.value(), &content[have], content.size() - have);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw UserError(path + ": " + Reason());
    if (count == 0) break;
    have += static_cast<size_t>(count);
  }
  content.resize(have);
  return content;
}

void MakeFolders(const std::string& folder) {
  for (size_t slash = folder.find('/', 1);; slash = folder.find('/', slash + 1)) {
    const std::string part = folder.substr(0, slash);
    if (mkdir(part.c_str(), 0755) != 0 && !IsFolder(part)) {
      throw UserError(part + ": the folder cannot be made: " + Reason());
    }
    if (slash == std::string::npos) return;
  }
}

void MakeOutputFolder(const std::string& folder) {
  MakeFolders(folder);
  for (const std::string& name : ListFiles(folder, {kUnfinished})) RemoveFile(JoinPath(folder, name));
}

void WriteFile(const std::string& path, const void* data, size_t size) {
  const std::string partial = path + kUnfinished;
  Descriptor file(partial, O_WRONLY | O_CREAT | O_TRUNC);
  if (file.value() < 0) throw RunError(path + ": cannot be written: " + Reason());
  const bool whole = WriteAll(file.value(), static_cast<const char*>(data), size) && file.Close() &&
                     rename(partial.c_str(), path.c_str()) == 0;
  if (!whole) {
    const std::string reason = Reason();
    unlink(partial.c_str());
    throw RunError(path + ": cannot be written: " + reason);
  }
}

void WriteFile(const std::string& path, const std::string& text) { WriteFile(path, text.data(), text.size()); }

void RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    throw UserError(path + ": the result of an earlier run cannot be removed: " + Reason());
  }
}

}  // namespace centernet
