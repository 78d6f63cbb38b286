// Files and folders with POSIX calls: the compilers of some Ascend hosts (GCC 7.3) do not have std::filesystem.
#ifndef CENTERNET_FILES_H_
#define CENTERNET_FILES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace centernet {

// "folder/name".
std::string JoinPath(const std::string& folder, const std::string& name);

// The part of a path after its last slash; the same without its last suffix.
std::string FileName(const std::string& path);
std::string FileStem(const std::string& path);

bool IsFile(const std::string& path);
bool IsFolder(const std::string& path);

// Names (without the folder) of the files whose suffix is one of `suffixes` (lower case, with the dot), sorted.
// Hidden files are omitted. UserError if the folder cannot be read.
std::vector<std::string> ListFiles(const std::string& folder, const std::vector<std::string>& suffixes);

// Size of a file in bytes. UserError if it does not exist or is not a file.
size_t FileSize(const std::string& path);

// Content of a file. UserError if it cannot be read or has more than max_bytes.
std::string ReadFile(const std::string& path, size_t max_bytes = SIZE_MAX);

// Create a folder and its parents. UserError if that fails.
void MakeFolders(const std::string& folder);

// Create a folder for results and its parents, and remove the unfinished files that a killed run left in it. UserError
// if that fails.
void MakeOutputFolder(const std::string& folder);

// Write a file completely or not at all: readers see the old or the new content. RunError if it cannot be written.
void WriteFile(const std::string& path, const void* data, size_t size);
void WriteFile(const std::string& path, const std::string& text);

// Remove a file if it exists. UserError if that fails.
void RemoveFile(const std::string& path);

}  // namespace centernet

#endif  // CENTERNET_FILES_H_
