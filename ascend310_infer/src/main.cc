// Runs an exported CenterNet on a folder of images; --help explains the flags.
#include <exception>
#include <iostream>
#include <new>

#include "errors.h"
#include "options.h"
#include "runner.h"

namespace {

constexpr int kRunFailed = 1;
constexpr int kUserError = 2;

int Complain(const std::string& message, int status) {
  std::cerr << "error: " << message << std::endl;
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const centernet::Options options = centernet::ParseOptions(argc, argv);
    if (options.help) {
      std::cout << centernet::Usage();
    } else if (options.prepare_only) {
      centernet::PrepareOnly(options);
    } else {
      centernet::RunModel(options);
    }
    return 0;
  } catch (const centernet::UserError& error) {
    return Complain(error.what(), kUserError);
  } catch (const std::bad_alloc&) {
    return Complain("the memory of this machine is not enough", kRunFailed);
  } catch (const std::exception& error) {
    return Complain(error.what(), kRunFailed);
  }
}
