#include "cli/completion.h"

#include <algorithm>
#include <map>

#include "cli/commands.h"
#include "cli/exec_words.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace appmesh::cli {
namespace {

constexpr const char* kBash =
    R"(# appc completion bash > /etc/bash_completion.d/appc, or: source <(appc completion bash)
_appc() {
  local IFS=$'\n'
  COMPREPLY=($("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _appc appc appm
)";

constexpr const char* kZsh = R"(#compdef appc appm
# appc completion zsh > "${fpath[1]}/_appc", or: source <(appc completion zsh)
_appc() {
  local -a found
  found=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  found=(${found:#})
  if (( ${#found} )); then compadd -a found; else _files; fi
}
if [ "${funcstack[1]}" = "_appc" ]; then _appc "$@"; else compdef _appc appc appm; fi
)";

constexpr const char* kFish = R"(# appc completion fish > ~/.config/fish/completions/appc.fish
function __appc_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  $words[1] __complete $words[2..-1] "$current" 2>/dev/null
end
complete -c appc -a '(__appc_complete)'
complete -c appm -a '(__appc_complete)'
)";

const std::map<std::string, std::vector<std::string>>& known_values() {
  static const std::map<std::string, std::vector<std::string>> kValues{
      {"events", {"START", "EXIT", "STDOUT", "HEALTH", "STATUS", "REMOVED"}},
      {"exit", {"standby", "restart", "keepalive", "remove"}},
      {"format", {"json", "yaml", "wide", "name"}},
      {"level", {"DEBUG", "INFO", "NOTICE", "WARN", "ERROR"}},
      {"lock", {"true", "false"}},
      {"status", {"enabled", "disabled"}},
  };
  return kValues;
}

void add_options(const CLI::App& app, std::vector<std::string>& out) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) out.push_back("--" + name);
    if (option->get_lnames().empty()) {
      for (const std::string& name : option->get_snames()) out.push_back("-" + name);
    }
  }
}

// Whether apps are named without an option, as in: appc logs web db.
bool takes_apps(const CLI::App& verb) {
  return std::ranges::any_of(verb.get_options(), [](const CLI::Option* option) {
    return option->get_positional() && option->get_name(true) == "app";
  });
}

std::vector<std::string> all_candidates(const CLI::App& parser, const std::vector<std::string>& before,
                                        const std::string& current,
                                        const std::function<std::vector<std::string>()>& app_names) {
  const Verb verb = find_verb(parser, before);
  std::vector<std::string> out;
  if (!before.empty()) {
    if (const CLI::Option* option = awaits_value(parser, verb.app, before.back())) {
      const std::string name = option->get_lnames().empty() ? std::string() : option->get_lnames().front();
      if (name == "app") return app_names();
      if (name == "format" && verb.app != nullptr && verb.app->get_name() != "view") return {"table", "json"};
      const auto values = known_values().find(name);
      return values == known_values().end() ? out : values->second;
    }
  }
  if (verb.app == nullptr) {
    if (current.starts_with('-')) {
      add_options(parser, out);
    } else {
      for (const CLI::App* each : parser.get_subcommands([](const CLI::App*) { return true; })) {
        out.push_back(each->get_name());
        for (const std::string& alias : each->get_aliases()) out.push_back(alias);
      }
    }
    return out;
  }
  if (verb.app->get_name() == "completion") return {"bash", "zsh", "fish"};
  if (current.starts_with('-')) {
    add_options(*verb.app, out);
    add_options(parser, out);
  } else if (takes_apps(*verb.app)) {
    return app_names();
  }
  return out;
}

std::vector<std::string> app_names(Context& context) {
  std::vector<std::string> names;
  for (const App& app : context.client().list_apps()) names.push_back(app.name());
  return names;
}

struct CompletionOptions {
  std::string shell;
};

int print_script(Context&, const CompletionOptions& options) {
  const char* script = options.shell == "bash" ? kBash : options.shell == "zsh" ? kZsh : kFish;
  return write_output(script) ? kOk : kFailed;
}

// The daemon is asked when one is there and a login for it; it is told only when it is of another version.
int print_version(Context& context, const NoOptions&) {
  std::string out = context.program + " version " + kVersion + "\n";
  context.quick = true;
  try {
    const App resources(context.any_client().resources());
    const std::string daemon = resources.text("appmesh_version").value_or(kVersion);
    if (daemon != kVersion) out += "daemon version " + printable(daemon) + " at " + context.url().text() + "\n";
  } catch (const ClientError&) {
    // no daemon, or no login: the program's own version is what was asked for
  }
  return write_output(out) ? kOk : kFailed;
}

}  // namespace

std::vector<std::string> candidates(const CLI::App& parser, const std::vector<std::string>& words,
                                    const std::function<std::vector<std::string>()>& names) {
  if (words.empty()) return {};
  const std::string& current = words.back();
  std::vector<std::string> out = all_candidates(parser, {words.begin(), words.end() - 1}, current, names);
  std::erase_if(out, [&](const std::string& word) { return !word.starts_with(current); });
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

int complete(const CLI::App& parser, Context& context, const std::vector<std::string>& words) {
  // The daemon to ask is the one that the line names so far.
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "-H" || words[i] == "--host-url") context.globals.host_url = words[i + 1];
    if (words[i] == "--insecure") context.globals.insecure = true;
    if (words[i] == "--ca") context.globals.ca = words[i + 1];
  }
  context.quick = true;
  try {
    std::string out;
    for (const std::string& word : candidates(parser, words, [&] { return app_names(context); })) out += word + "\n";
    write_output(out);
  } catch (const std::exception&) {
    return kFailed;
  }
  return kOk;
}

void add_completion_commands(CLI::App& root, Context& context) {
  add_command<CompletionOptions>(
      root, context, "completion", "Print the completion script of a shell",
      [](CLI::App& verb, CompletionOptions& options) {
        verb.add_option("shell", options.shell, "bash, zsh or fish")
            ->required()
            ->check(CLI::IsMember({"bash", "zsh", "fish"}));
      },
      print_script);
  add_command<NoOptions>(root, context, "version", "Print the version", [](CLI::App&, NoOptions&) {}, print_version);
}

}  // namespace appmesh::cli
