#include "cli/usage.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "cli/exec_words.h"

namespace appmesh::cli {
namespace {

// How many letters have to be put in, taken out or changed.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row[b.size()];
}

std::vector<std::string> verb_names(const CLI::App& parser) {
  std::vector<std::string> names;
  for (const CLI::App* verb : parser.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(verb->get_name());
    for (const std::string& alias : verb->get_aliases()) names.push_back(alias);
  }
  return names;
}

std::vector<std::string> long_options(const CLI::App& parser, const CLI::App* verb) {
  std::vector<std::string> names;
  for (const CLI::App* app : {verb, &parser}) {
    if (app == nullptr) continue;
    for (const CLI::Option* option : app->get_options())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string help_of(const CLI::App* verb) {
  return verb == nullptr ? "see: appc --help" : "see: appc " + verb->get_name() + " --help";
}

std::string suggestion(const std::string& near, const CLI::App* verb) {
  return near.empty() ? help_of(verb) : "did you mean: " + near + "? " + help_of(verb);
}

bool is_known(const CLI::App& parser, const std::string& option) {
  return parser.get_option_no_throw(option.substr(0, option.starts_with("--") ? option.find('=') : 2)) != nullptr;
}

UsageProblem no_verb(const CLI::App& parser, const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!word.starts_with('-'))
      return {"there is no command '" + word + "'", suggestion(nearest(word, verb_names(parser)), nullptr)};
    if (!is_known(parser, word))
      return {"there is no option '" + word + "' before a command",
              suggestion(nearest(word, long_options(parser, nullptr)), nullptr)};
    if (awaits_value(parser, nullptr, word) != nullptr) ++i;
  }
  return {"no command given", help_of(nullptr)};
}

// The first word that no option and no argument of the verb takes.
std::string unexpected_word(const CLI::App& parser) {
  const auto rest = parser.remaining(true);
  return rest.empty() ? std::string() : rest.front();
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(1, std::min<std::size_t>(3, word.size() / 2)) + 1;
  for (const std::string& candidate : candidates) {
    const bool begins = word.size() >= 2 && candidate.starts_with(word);
    const std::size_t away = begins ? 1 : distance(word, candidate);
    if (away < best_distance) {
      best = candidate;
      best_distance = away;
    }
  }
  return best;
}

UsageProblem usage_problem(const CLI::App& parser, const std::vector<std::string>& words,
                           const CLI::ParseError& error) {
  const auto verbs = parser.get_subcommands();
  const CLI::App* verb = verbs.empty() ? find_verb(parser, words).app : verbs.front();
  if (verb == nullptr) return no_verb(parser, words);
  const std::string prefix = verb->get_name() + ": ";
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::string word = unexpected_word(parser);
    if (word.starts_with('-'))
      return {prefix + "there is no option '" + word + "'",
              suggestion(nearest(word, long_options(parser, verb)), verb)};
    if (!word.empty()) return {prefix + "'" + word + "' belongs to no option", help_of(verb)};
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    for (const CLI::Option* option : verb->get_options()) {
      if (!option->get_required() || option->count() > 0) continue;
      const std::string name = option->get_positional() ? option->get_name(true) : option->get_name(false, true);
      return {prefix + name + " is missing" +
                  (option->get_description().empty() ? "" : " (" + option->get_description() + ")"),
              help_of(verb)};
    }
  }
  return {prefix + error.what(), help_of(verb)};
}

CLI::Validator whole_number(long long low, long long high) {
  return {[low, high](std::string& text) {
            long long value = 0;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
            const bool whole = !text.empty() && error == std::errc{} && end == text.data() + text.size();
            return whole && value >= low && value <= high
                       ? std::string()
                       : fmt::format("'{}' is not a whole number in {}..{}", text, low, high);
          },
          "", "whole number"};
}

}  // namespace appmesh::cli
