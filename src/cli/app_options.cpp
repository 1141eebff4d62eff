#include "cli/app_options.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "cli/exit_code.h"

namespace appmesh::cli {

void set_environment(App& app, const std::vector<std::string>& entries, bool secret) {
  for (const std::string& entry : entries) {
    const std::size_t equals = entry.find('=');
    const std::string name = entry.substr(0, equals);
    if (name.empty()) throw CliError(kUsage, "'" + entry + "' is not NAME=VALUE");
    std::string value;
    if (equals == std::string::npos) {
      const char* here = std::getenv(name.c_str());
      if (here == nullptr) throw CliError(kUsage, "'" + name + "' has no value: give NAME=VALUE, or set it here");
      value = here;
    } else {
      value = entry.substr(equals + 1);
    }
    secret ? app.set_secret_env(name, value) : app.set_env(name, value);
  }
}

std::string metadata_text(const std::string& argument) {
  constexpr std::size_t kMaxMetadata = 16 * 1024 * 1024;
  return argument.starts_with('@') ? read_file(argument.substr(1), kMaxMetadata) : argument;
}

std::string read_file(const std::string& path, std::size_t limit) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw CliError(kFailed, "cannot read " + path + ": " + std::strerror(errno));
  std::string text(limit + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) throw CliError(kFailed, "cannot read " + path + ": " + std::strerror(errno));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > limit) throw CliError(kFailed, path + " is over " + std::to_string(limit) + " bytes");
  return text;
}

}  // namespace appmesh::cli
