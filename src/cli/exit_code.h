// The exit codes of appc and the error that carries one. Values only; any thread.
#pragma once

#include <stdexcept>
#include <string>

namespace appmesh::cli {

inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kNotLoggedIn = 4;
inline constexpr int kSignalBase = 128;

// A failure that appc itself found. `hint` tells what to do, when there is something to do.
class CliError : public std::runtime_error {
 public:
  CliError(int exit_code, const std::string& message, std::string hint = {})
      : std::runtime_error(message), exit_code_(exit_code), hint_(std::move(hint)) {}
  [[nodiscard]] int exit_code() const { return exit_code_; }
  [[nodiscard]] const std::string& hint() const { return hint_; }

 private:
  int exit_code_;
  std::string hint_;
};

// Return code of a remote run (-N: killed by signal N) to what a shell would report for it.
constexpr int shell_exit_code(int return_code) {
  if (return_code < 0) return return_code >= -127 ? kSignalBase - return_code : 255;
  return return_code <= 255 ? return_code : 255;
}

}  // namespace appmesh::cli
