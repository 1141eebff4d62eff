// The version of the program, the same as project(VERSION) in CMakeLists.txt. A constant, any thread.
#pragma once

#include <string_view>

namespace appmesh {

inline constexpr std::string_view kVersion = "3.0.0";

}  // namespace appmesh
