// The program appc: parses the command line, runs one command, turns failures into messages and exit codes.
#pragma once

#include <memory>

#include <CLI/App.hpp>

#include "cli/context.h"

namespace appmesh::cli {

// The whole grammar, bound to the context.
std::unique_ptr<CLI::App> make_parser(Context& context);

int run(int argc, char** argv);

}  // namespace appmesh::cli
