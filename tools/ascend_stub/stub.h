// Functions that stand in for those of CANN. Each macro defines one by its
// mangled name. They ignore their arguments.
#ifndef CENTERNET_STUB_H_
#define CENTERNET_STUB_H_

#include <cstdint>
#include <map>

// An object in the caller's memory: its destructor makes it one that functions
// return through a pointer, as a vector or an object with a shared_ptr.
struct Object {
  void *words[3] = {};
  ~Object() {}
};

#define RETURNS_ZERO(name)                                                     \
  extern "C" std::intptr_t name() { return 0; }

#define RETURNS_SELF(name)                                                     \
  extern "C" void *name(void *self) { return self; }
#define RETURNS_OBJECT(name)                                                   \
  extern "C" Object name() { return {}; }

// A reference to an object that begins with an empty map.
#define RETURNS_MAP(name)                                                      \
  extern "C" void *name() {                                                    \
    static std::map<int, int> map;                                             \
    return &map;                                                               \
  }

// A constructor or destructor: the object's shared_ptr points to nothing. It is
// at the start of the object, or behind its table of virtual functions.
#define CLEARS_POINTER(name)                                                   \
  extern "C" void name(void **self) { self[0] = self[1] = nullptr; }
#define CLEARS_POINTER_BEHIND_TABLE(name)                                      \
  extern "C" void name(void **self) { self[1] = self[2] = nullptr; }

#endif // CENTERNET_STUB_H_
