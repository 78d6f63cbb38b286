// Files and folders by POSIX calls: std::filesystem is not in the compilers of all Ascend hosts (GCC 7.3).
#ifndef CENTERNET_FILES_H_
#define CENTERNET_FILES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace centernet {

// "folder/name".
std::string JoinPath(const std::string& folder, const std::string& name);

// The part of a path after its last slash, and that without its last suffix.
std::string FileName(const std::string& path);
std::string FileStem(const std::string& path);

bool IsFile(const std::string& path);
bool IsFolder(const std::string& path);

// Names (without the folder) of the files whose suffix is one of `suffixes` (lower case, with the dot), sorted.
// Hidden files are left out. UserError if the folder cannot be read.
std::vector<std::string> ListFiles(const std::string& folder, const std::vector<std::string>& suffixes);

// Bytes of a file; UserError naming it if it is not there or not a file.
size_t FileSize(const std::string& path);

// All bytes of a file; UserError naming it if it cannot be read or has more than max_bytes.
std::string ReadFile(const std::string& path, size_t max_bytes = SIZE_MAX);

// Make a folder and its parents; UserError if that fails.
void MakeFolders(const std::string& folder);

// Write a file whole or not at all: readers see the old content or the new one. RunError if the disk refuses.
void WriteFile(const std::string& path, const void* data, size_t size);
void WriteFile(const std::string& path, const std::string& text);

// Remove a file that may be there; UserError if it is and stays.
void RemoveFile(const std::string& path);

}  // namespace centernet

#endif  // CENTERNET_FILES_H_
