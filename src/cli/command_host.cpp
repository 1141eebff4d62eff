#include <appmesh/wire/json_text.h>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

namespace json = boost::json;

struct LabelOptions {
  std::vector<std::string> labels;
  bool view = false, add = false, remove = false;
};

int label(Context& context, const LabelOptions& options) {
  if (options.add && options.remove) throw CliError(kUsage, "give one of -a and -d");
  if ((options.add || options.remove) && options.labels.empty()) throw CliError(kUsage, "give -l NAME=VALUE");
  if (!options.add && !options.remove && !options.labels.empty()) throw CliError(kUsage, "-l needs -a or -d");
  Client& client = context.client();
  for (const std::string& entry : options.labels) {
    const std::size_t equals = entry.find('=');
    if (options.add && equals == std::string::npos) throw CliError(kUsage, "'" + entry + "' is not NAME=VALUE");
    options.add ? client.set_label(entry.substr(0, equals), entry.substr(equals + 1))
                : client.delete_label(entry.substr(0, equals));
  }
  if ((options.add || options.remove) && !options.view) return kOk;
  std::string out;
  for (const auto& [name, value] : client.labels()) out += printable(name) + "=" + printable(value) + "\n";
  return write_output(out) ? kOk : kFailed;
}

struct ConfigOptions {
  std::vector<std::string> changes;
};

// A.B.C=VALUE as nested objects; VALUE as JSON where it is JSON, else as text.
void merge_change(json::object& root, const std::string& change) {
  const std::size_t equals = change.find('=');
  if (equals == std::string::npos || equals == 0) throw CliError(kUsage, "'" + change + "' is not KEY.KEY=VALUE");
  json::object* object = &root;
  std::string_view path = std::string_view(change).substr(0, equals);
  for (std::size_t dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
    json::value& child = (*object)[path.substr(0, dot)];
    if (!child.is_object()) child.emplace_object();
    object = &child.get_object();
    path.remove_prefix(dot + 1);
  }
  boost::system::error_code error;
  json::value value = wire::read_json(change.substr(equals + 1), error);
  if (error) value = json::string(change.substr(equals + 1));
  (*object)[path] = std::move(value);
}

int config(Context& context, const ConfigOptions& options) {
  json::object change;
  for (const std::string& entry : options.changes) merge_change(change, entry);
  Client& client = context.client();
  const json::object result = change.empty() ? client.config() : client.set_config(change);
  return write_output(pretty_json(result) + "\n") ? kOk : kFailed;
}

int resource(Context& context, const NoOptions&) {
  return write_output(pretty_json(context.client().resources()) + "\n") ? kOk : kFailed;
}

int metric(Context& context, const NoOptions&) {
  return write_output(context.any_client().metrics()) ? kOk : kFailed;
}

struct LogOptions {
  std::string level;
};

int log_level(Context& context, const LogOptions& options) {
  json::object change;
  change["BaseConfig"] = json::object{{"LogLevel", options.level}};
  context.client().set_config(change);
  tell("Log level is " + options.level + " now.");
  return kOk;
}

}  // namespace

void add_host_commands(CLI::App& root, Context& context) {
  add_command<LabelOptions>(
      root, context, "label", "Show or change the labels of the host",
      [](CLI::App& verb, LabelOptions& options) {
        verb.add_flag("--view", options.view, "show them (also the default)");
        verb.add_flag("-a,--add", options.add, "set the labels of -l");
        verb.add_flag("-d,--delete", options.remove, "delete the labels of -l");
        verb.add_option("-l,--label", options.labels, "NAME=VALUE (repeat)")->allow_extra_args(false);
      },
      label);
  add_command<ConfigOptions>(
      root, context, "config", "Print the daemon's configuration as JSON",
      [](CLI::App& verb, ConfigOptions& options) {
        verb.add_option("-s,--set", options.changes, "change it first: KEY.KEY=VALUE (repeat)")
            ->allow_extra_args(false);
      },
      config);
  add_command<NoOptions>(
      root, context, "resource", "Print the resources of the host as JSON", [](CLI::App&, NoOptions&) {}, resource);
  add_command<NoOptions>(
      root, context, "metric", "Print the metrics in Prometheus' text format", [](CLI::App&, NoOptions&) {}, metric);
  add_command<LogOptions>(
      root, context, "log", "Set the daemon's log level",
      [](CLI::App& verb, LogOptions& options) {
        verb.add_option("-L,--level", options.level, "DEBUG, INFO, NOTICE, WARN or ERROR")
            ->required()
            ->check(CLI::IsMember({"DEBUG", "INFO", "NOTICE", "WARN", "ERROR"}, CLI::ignore_case));
      },
      log_level);
}

}  // namespace appmesh::cli
