#include "cli/exec_words.h"

#include <algorithm>

namespace appmesh::cli {
namespace {

const CLI::Option* find_option(const CLI::App& parser, const CLI::App* verb, const std::string& name) {
  if (verb != nullptr) {
    if (const CLI::Option* option = verb->get_option_no_throw(name)) return option;
  }
  return parser.get_option_no_throw(name);
}

bool takes_value(const CLI::Option* option) {
  return option != nullptr && option->get_items_expected_min() > 0;
}

}  // namespace

const CLI::Option* awaits_value(const CLI::App& parser, const CLI::App* verb, const std::string& word) {
  if (word.starts_with("--")) {
    if (word.find('=') != std::string::npos) return nullptr;
    const CLI::Option* option = find_option(parser, verb, word);
    return takes_value(option) ? option : nullptr;
  }
  if (word.size() < 2 || word.front() != '-') return nullptr;
  // -uGe: flags first; the first letter with a value takes the rest of the word, or the next word when nothing is left.
  for (std::size_t i = 1; i < word.size(); ++i) {
    const CLI::Option* option = find_option(parser, verb, std::string("-") + word[i]);
    if (takes_value(option)) return i + 1 == word.size() ? option : nullptr;
  }
  return nullptr;
}

Verb find_verb(const CLI::App& parser, const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (awaits_value(parser, nullptr, words[i]) != nullptr) {
      ++i;
    } else if (!words[i].starts_with('-')) {
      for (const CLI::App* verb : parser.get_subcommands([](const CLI::App*) { return true; })) {
        if (verb->check_name(words[i])) return {verb, i};
      }
      return {};
    }
  }
  return {};
}

std::vector<std::string> cut_exec_words(const CLI::App& parser, std::vector<std::string>& words) {
  const Verb verb = find_verb(parser, words);
  if (verb.app == nullptr || verb.app->get_name() != "exec") return {};
  std::size_t end = verb.position + 1;
  while (end < words.size() && words[end].size() > 1 && words[end].front() == '-' && words[end] != "--") {
    end += awaits_value(parser, verb.app, words[end]) != nullptr ? 2 : 1;
  }
  end = std::min(end, words.size());
  const auto from = words.begin() + static_cast<std::ptrdiff_t>(end);
  std::vector<std::string> command(from, words.end());
  words.erase(from, words.end());
  if (!command.empty() && command.front() == "--") command.erase(command.begin());
  return command;
}

}  // namespace appmesh::cli
