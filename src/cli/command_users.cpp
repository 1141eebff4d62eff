#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <sstream>

#include <appmesh/wire/json_text.h>
#include <sodium.h>
#include <unistd.h>

#include "cli/app_options.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

namespace json = boost::json;

struct UserOptions {
  std::string document;
  bool json = false, all = false, force = false;
};

// Nothing: the caller may not see them.
std::optional<json::object> known_users(Client& client) {
  try {
    return client.users();
  } catch (const ClientError& error) {
    if (error.status() != 403) throw;
    return std::nullopt;
  }
}

// Which fields of a user are other than before.
std::string changes(const json::value* old, Client& client, const std::string& name) {
  if (old == nullptr || !old->is_object()) return "done";
  const auto now = known_users(client);
  const json::value* user = now ? now->if_contains(name) : nullptr;
  if (user == nullptr || !user->is_object()) return "done";
  std::string fields;
  const auto note = [&](std::string_view field) { fields += (fields.empty() ? "" : ", ") + std::string(field); };
  for (const auto& [field, value] : user->get_object()) {
    const json::value* was = old->get_object().if_contains(field);
    if (was == nullptr || *was != value) note(field);
  }
  for (const auto& [field, value] : old->get_object())
    if (!user->get_object().contains(field)) note(field);
  return fields.empty() ? "nothing was other than before" : "changed " + fields;
}

// FILE or inline JSON: one user with its name inside, or an object of names to users.
int set_users(Client& client, const std::string& document) {
  const std::string text = document.starts_with('{') ? document : read_file(document, 1024 * 1024);
  boost::system::error_code error;
  const json::value value = wire::read_json(text, error);
  if (error || !value.is_object()) throw CliError(kFailed, "-j needs a JSON object, inline or in a file");
  json::object users;
  if (const auto name = App(value.get_object()).text("name")) {
    users[*name] = value;
  } else {
    users = value.get_object();
  }
  for (const auto& [name, user] : users) {
    if (!user.is_object()) throw CliError(kFailed, "the user '" + std::string(name) + "' is not a JSON object");
  }
  const auto before = known_users(client);
  int result = kOk;
  for (const auto& [name, user] : users) {
    const json::value* old = before ? before->if_contains(name) : nullptr;
    client.set_user(name, user.get_object());
    if (old == nullptr && before) {
      tell("Added user " + std::string(name) + ".");
      continue;
    }
    tell("Set user " + std::string(name) + ": " + changes(old, client, std::string(name)) + ".");
    if (!user.get_object().contains("key")) continue;
    complain("the password of " + std::string(name) + " was not changed" +
             (before ? "" : ", if the user was there before"));
    tell("  it takes the old one too: appc passwd -t " + std::string(name));
    if (before) result = kFailed;
  }
  return result;
}

int user(Context& context, const UserOptions& options) {
  Client& client = context.client();
  if (!options.document.empty()) return set_users(client, options.document);
  const json::object result = options.all ? client.users() : client.user_self();
  return write_output(options.json ? pretty_json(result) + "\n" : to_yaml(result)) ? kOk : kFailed;
}

struct LockOptions {
  std::string target;
  bool lock = true;
};

int lock(Context& context, const LockOptions& options) {
  Client& client = context.client();
  options.lock ? client.lock_user(options.target) : client.unlock_user(options.target);
  tell((options.lock ? "Locked " : "Unlocked ") + options.target + ".");
  return kOk;
}

struct HashOptions {
  std::vector<std::string> passwords;
};

std::string password_hash(const std::string& password) {
  // argon2id, 19 MiB, two passes, one lane: the same as the daemon's own.
  constexpr unsigned long long kPasses = 2;
  constexpr std::size_t kMemoryBytes = 19ull * 1024 * 1024;
  std::array<char, crypto_pwhash_STRBYTES> hash{};
  if (sodium_init() < 0 || crypto_pwhash_str_alg(hash.data(), password.data(), password.size(), kPasses, kMemoryBytes,
                                                 crypto_pwhash_ALG_ARGON2ID13) != 0) {
    throw CliError(kFailed, "not enough memory to hash a password");
  }
  return hash.data();
}

int hash_passwords(Context&, const HashOptions& options) {
  std::vector<std::string> passwords = options.passwords;
  if (passwords.empty() && input_is_terminal()) passwords.push_back(ask("Password", false, ""));
  if (passwords.empty()) {
    std::istringstream lines(read_input(1024 * 1024));
    for (std::string line; std::getline(lines, line);) passwords.push_back(line);
  }
  for (const std::string& password : passwords) {
    if (!write_output(password_hash(password) + "\n")) return kFailed;
  }
  return kOk;
}

// Where the daemon of this host lives.
std::filesystem::path daemon_home() {
  const char* given = std::getenv("APPMESH_HOME_DIR");
  return given == nullptr || *given == '\0' ? "/opt/appmesh" : given;
}

// For scripts of older versions, where the first password of admin was made by this command. The daemon makes it now,
// at its first start.
int show_initial_password(Context&, const NoOptions&) {
  if (::geteuid() != 0) throw CliError(kFailed, "only root may see the first password of admin");
  const std::filesystem::path config = daemon_home() / "work/config";
  const std::filesystem::path file = config / "initial-admin-password";
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored)) {
    const std::string text = read_file(file.string(), 4096);
    tell("The first password of admin, of " + file.string() + "; change it with: appc passwd");
    return write_output(text.substr(0, text.find('\n')) + "\n") ? kOk : kFailed;
  }
  if (!std::filesystem::exists(config / "security.yaml", ignored)) {
    tell("The daemon has not been started yet. Its first start makes a random password of admin and writes it to " +
         file.string() + ".");
    return kOk;
  }
  throw CliError(kFailed, "admin has a password already, and nothing was changed",
                 "who knows it changes it with: appc passwd");
}

}  // namespace

void add_user_commands(CLI::App& root, Context& context) {
  add_command<UserOptions>(
      root, context, "user", "Show yourself or all users, or set users from JSON",
      [](CLI::App& verb, UserOptions& options) {
        verb.add_flag("-A,--all", options.all, "every user");
        verb.add_option_function<std::string>(
                "-j,--json",
                [&options](const std::string& value) {
                  options.json = true;
                  options.document = value;
                },
                "print JSON; with a value, set the users in this JSON text or file")
            ->expected(0, 1)
            ->trigger_on_parse();
        verb.add_flag("-f,--force", options.force, "accepted for older scripts: nothing is asked");
      },
      user);
  add_command<LockOptions>(
      root, context, "lock", "Lock or unlock a user",
      [](CLI::App& verb, LockOptions& options) {
        verb.add_option("-t,--target", options.target, "the user")->required();
        verb.add_option("-k,--lock", options.lock, "true (default) or false");
      },
      lock);
  add_command<NoOptions>(
      root, context, "appmginit", "Print the first password of admin, which the daemon made at its first start",
      [](CLI::App&, NoOptions&) {}, show_initial_password);
  add_command<HashOptions>(
      root, context, "appmgpwd", "Print the hash of each password, of arguments or lines of standard input",
      [](CLI::App& verb, HashOptions& options) { verb.add_option("password", options.passwords, "passwords"); },
      hash_passwords);
}

}  // namespace appmesh::cli
