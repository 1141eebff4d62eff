// A real program run by a test, killed and reaped with the object. For tests only; one thread.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include <sys/wait.h>

#include <signal.h>
#include <spawn.h>
#include <unistd.h>

namespace appmesh::platform {

class TestChild {
 public:
  explicit TestChild(std::vector<std::string> argv, std::vector<std::string> environment = {"PATH=/usr/bin:/bin"}) {
    std::vector<char*> arguments;
    for (auto& argument : argv) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    std::vector<char*> variables;
    for (auto& variable : environment) variables.push_back(variable.data());
    variables.push_back(nullptr);
    if (::posix_spawnp(&pid_, arguments[0], nullptr, nullptr, arguments.data(), variables.data()) != 0) std::abort();
  }
  TestChild(const TestChild&) = delete;
  TestChild& operator=(const TestChild&) = delete;
  ~TestChild() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    (void)wait();
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  // The wait status; once.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_ = 0;
};

}  // namespace appmesh::platform
