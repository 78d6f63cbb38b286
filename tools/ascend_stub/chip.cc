// A dry run leaves the chip's name empty, which acts like Ascend 910B. This
// sets it in MindSpore's context, after the first use of the device.
#include <dlfcn.h>
#include <memory>
#include <string>

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
