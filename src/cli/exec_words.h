// Reading a command line before the parser does: which words are options with values, and where the options of `appc
// exec` end and the remote command begins (CLI11 would take `ls -l` of `exec ls -l` for our own). Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <CLI/App.hpp>

namespace appmesh::cli {

// The option whose value the next word is, nullptr when `word` needs no further word.
const CLI::Option* awaits_value(const CLI::App& parser, const CLI::App* verb, const std::string& word);

struct Verb {
  const CLI::App* app = nullptr;  // nullptr: no verb among the words
  std::size_t position = 0;
};
Verb find_verb(const CLI::App& parser, const std::vector<std::string>& words);

// When the verb is exec: cuts the remote command off the end of `words` and returns it. Else nothing changes.
std::vector<std::string> cut_exec_words(const CLI::App& parser, std::vector<std::string>& words);

}  // namespace appmesh::cli
