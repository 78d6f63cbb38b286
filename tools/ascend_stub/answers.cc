// Functions of the stand-in for CANN that do something.
#include <cstring>
#include <dlfcn.h>
#include <memory>
#include <string>

// CANN's structure of this name: the whole version, then its parts as text.
struct CannVersion {
  char version[128], major[64], minor[64], release[64], patch[64];
};

// At jit_level O1, MindSpore converts the parts to numbers.
extern "C" int aclsysGetCANNVersion(int, CannVersion *found) {
  std::strcpy(found->version, "0.0.0");
  for (char *part :
       {found->major, found->minor, found->release, found->patch}) {
    std::strcpy(part, "0");
  }
  return 0;
}

// A dry run leaves the chip's name empty, which acts like Ascend 910B. This
// sets it in MindSpore's context, after the first use of the device.
// Returns 0, or 1 if this MindSpore does not have the functions.
extern "C" int centernet_set_chip(const char *name) {
  using Get = std::shared_ptr<void> (*)();
  using Set = void (*)(void *, const std::string &);
  void *core = dlopen("libmindspore_core.so", RTLD_LAZY | RTLD_NOLOAD);
  if (core == nullptr) {
    return 1;
  }
  auto get = reinterpret_cast<Get>(
      dlsym(core, "_ZN9mindspore9MsContext11GetInstanceEv"));
  auto set = reinterpret_cast<Set>(
      dlsym(core, "_ZN9mindspore9MsContext22set_ascend_soc_versionERKSs"));
  if (get == nullptr || set == nullptr) {
    return 1;
  }
  set(get().get(), name);
  return 0;
}
