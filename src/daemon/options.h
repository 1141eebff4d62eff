// The command line of appsvc. Pure but for asking where the program lies; used once, by main.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "core/error.h"

namespace appmesh::daemon {

struct CommandLine {
  enum class Action { run, help, version };
  Action action = Action::run;
  std::filesystem::path home;
  std::filesystem::path program;  // of this process, resolved
};

[[nodiscard]] Result<CommandLine> parse_command_line(std::span<const char* const> arguments);
[[nodiscard]] std::string help_text();

}  // namespace appmesh::daemon
