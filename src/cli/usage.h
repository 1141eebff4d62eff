// What is wrong with a command line, in words that name the flag or the command and say what to do next. Pure
// functions, any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <CLI/App.hpp>

namespace appmesh::cli {

struct UsageProblem {
  std::string message;
  std::string hint;
};

[[nodiscard]] UsageProblem usage_problem(const CLI::App& parser, const std::vector<std::string>& words,
                                         const CLI::ParseError& error);

// The candidate that looks most like the word; empty when none does.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// A check for CLI11: a whole number in low..high.
[[nodiscard]] CLI::Validator whole_number(long long low, long long high);

}  // namespace appmesh::cli
