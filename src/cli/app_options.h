// Pieces of an app definition that several verbs read from the command line. Pure functions but for reading the file
// and the environment that the user names.
#pragma once

#include <string>
#include <vector>

#include <appmesh/app.h>

namespace appmesh::cli {

// NAME=VALUE, or NAME alone for the value that it has here. Throws CliError(kUsage).
void set_environment(App& app, const std::vector<std::string>& entries, bool secret);
// The text itself, or the content of FILE for @FILE.
std::string metadata_text(const std::string& argument);
// A whole file, at most `limit` bytes; throws CliError(kFailed) with the reason.
std::string read_file(const std::string& path, std::size_t limit);

}  // namespace appmesh::cli
