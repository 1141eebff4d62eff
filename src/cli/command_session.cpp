#include <ctime>

#include <appmesh/duration.h>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

constexpr const char* kLogonHint = "give -U USER and -X PASSWORD, or APPMESH_USER and APPMESH_PASSWORD";

struct LogonOptions {
  std::string expire = "P1W";
  std::string audience;
  std::string totp;
  bool show_token = false;
};

int logon(Context& context, const LogonOptions& options) {
  const auto expire = parse_duration(options.expire);
  if (!expire || expire->count() == 0) {
    throw CliError(kUsage, "-t " + options.expire + " is neither seconds nor an ISO 8601 duration");
  }
  std::string user = context.given_user();
  if (user.empty()) user = ask("User", true, kLogonHint);
  auto password = context.given_password();
  if (!password) password = ask("Password of " + user, false, kLogonHint);

  Client& client = context.any_client();
  client.set_token({});
  LoginOptions login{.totp_code = options.totp, .audience = options.audience, .expire = *expire};
  if (const auto challenge = client.login(user, *password, login)) {
    client.validate_totp(user, challenge->challenge, ask("TOTP code", true, "give it with --totp CODE"), *expire);
  }
  const Url url = context.url();
  context.store().save(url, client.token());
  context.store().save_last_host_url(url.text());
  if (options.show_token) write_output(client.token() + "\n");
  tell("Logged in to " + url.text() + " as " + user + ".");
  return kOk;
}

int logoff(Context& context, const NoOptions&) {
  const auto token = context.store().load(context.url());
  if (!token) {
    tell("Not logged in to " + context.url().text() + ".");
    return kOk;
  }
  // Forget it first: whatever the daemon says, this machine shall not use it again.
  context.store().remove(context.url());
  Client& client = context.any_client();
  client.set_token(*token);
  try {
    client.logoff();
  } catch (const ClientError& error) {
    if (error.status() != 401) throw;  // expired or revoked already
  }
  tell("Logged off from " + context.url().text() + ".");
  return kOk;
}

struct LoginfoOptions {
  bool show_token = false;
};

int loginfo(Context& context, const LoginfoOptions& options) {
  const Url url = context.url();
  const auto token = context.store().load(url);
  const auto info = token ? read_token(*token) : std::nullopt;
  if (!info) throw CliError(kNotLoggedIn, "not logged in to " + url.text(), "run: appc logon");
  if (info->expires_at <= std::time(nullptr)) {
    throw CliError(kNotLoggedIn, "the login of " + info->user + " to " + url.text() + " has expired",
                   "run: appc logon");
  }
  std::string out = "Host: " + url.text() + "\nUser: " + printable(info->user) +
                    "\nLogged in: " + local_time(info->issued_at) + "\nExpires: " + local_time(info->expires_at) + "\n";
  if (options.show_token) out += "Token: " + *token + "\n";
  return write_output(out) ? kOk : kFailed;
}

struct PasswdOptions {
  std::string target = "self";
  bool from_input = false;
};

int passwd(Context& context, const PasswdOptions& options) {
  std::string old_password;
  std::string new_password;
  if (options.from_input) {
    const std::string text = read_input(4096);
    const std::size_t first = text.find('\n');
    if (first == std::string::npos) throw CliError(kUsage, "--stdin needs two lines: the old and the new password");
    const std::size_t second = text.find('\n', first + 1);
    old_password = text.substr(0, first);
    new_password = text.substr(first + 1, second == std::string::npos ? second : second - first - 1);
  } else {
    const char* hint = "give both on standard input: printf '%s\\n' OLD NEW | appc passwd --stdin";
    old_password = ask("Old password", false, hint);
    new_password = ask("New password", false, hint);
    if (ask("New password again", false, hint) != new_password) throw CliError(kFailed, "the new passwords differ");
  }
  if (new_password.empty()) throw CliError(kFailed, "the new password is empty");
  context.client().set_password(old_password, new_password, options.target);
  const bool own = options.target == "self";
  if (own) context.store().remove(context.url());
  tell(own ? "Password changed; every login of the account has ended. Log on again: appc logon" : "Password changed.");
  return kOk;
}

}  // namespace

void add_session_commands(CLI::App& root, Context& context) {
  add_command<LogonOptions>(
      root, context, "logon", "Log on and remember the token",
      [](CLI::App& verb, LogonOptions& options) {
        verb.alias("login");
        verb.add_option("-t,--timeout", options.expire, "how long the login lasts: seconds or ISO 8601 (P1W)");
        verb.add_option("-a,--audience", options.audience, "whom the token is for");
        verb.add_option("--totp", options.totp, "code of the second factor");
        verb.add_flag("--show-token", options.show_token, "print the token");
      },
      logon);
  add_command<NoOptions>(
      root, context, "logoff", "End the login, here and on the daemon",
      [](CLI::App& verb, NoOptions&) { verb.alias("logout"); }, logoff);
  add_command<LoginfoOptions>(
      root, context, "loginfo", "Show who is logged in",
      [](CLI::App& verb, LoginfoOptions& options) {
        verb.add_flag("--show-token", options.show_token, "print the token too");
      },
      loginfo);
  add_command<PasswdOptions>(
      root, context, "passwd", "Change a password",
      [](CLI::App& verb, PasswdOptions& options) {
        verb.add_option("-t,--target", options.target, "user (default: yourself)");
        verb.add_flag("--stdin", options.from_input,
                      "read the old and the new password from standard input, a line each");
      },
      passwd);
}

}  // namespace appmesh::cli
