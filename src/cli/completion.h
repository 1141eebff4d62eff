// Completion of the command line by the shell: the scripts that the shells load, and the hidden verb that they call,
// which reads verbs and options off the parser itself and the names of apps off the daemon. Main thread only.
#pragma once

#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "cli/context.h"

namespace appmesh::cli {

// What the last word may become, one candidate a line on stdout. `words` are those after the program's name. Never
// fails aloud: a shell that completes wants no messages.
int complete(const CLI::App& parser, Context& context, const std::vector<std::string>& words);

// The same without output; `app_names` is asked only when a name is wanted.
std::vector<std::string> candidates(const CLI::App& parser, const std::vector<std::string>& words,
                                    const std::function<std::vector<std::string>()>& app_names);

}  // namespace appmesh::cli
