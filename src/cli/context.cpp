#include "cli/context.h"

#include <cstdio>
#include <cstdlib>

#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/host_url.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

void complain(std::string_view message) {
  tell("appc: " + std::string(message));
}

void tell(std::string_view message) {
  const std::string line = printable(message) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

Url Context::url() const {
  if (!globals.host_url.empty()) return map_host_url(globals.host_url);
  if (const auto last = store_.last_host_url(); last && !last->empty()) return map_host_url(*last);
  return Url{"127.0.0.1", Url::kDefaultPort};
}

std::string Context::given_user() const {
  return globals.user.empty() ? environment("APPMESH_USER") : globals.user;
}

std::optional<std::string> Context::given_password() const {
  if (!globals.password.empty()) return globals.password;
  std::string password = environment("APPMESH_PASSWORD");
  if (password.empty()) return std::nullopt;
  return password;
}

TransportOptions Context::transport_options() const {
  TransportOptions options;
  if (!globals.ca.empty()) {
    options.tls.verify = TlsOptions::Verify::kPath;
    options.tls.ca_path = globals.ca;
  }
  if (globals.insecure) options.tls.verify = TlsOptions::Verify::kOff;
  if (quick) {
    options.connect_timeout = std::chrono::seconds{1};
    options.read_timeout = std::chrono::seconds{2};
  }
  return options;
}

ClientOptions Context::client_options() const {
  ClientOptions options;
  options.url = url().text();
  options.forward_to = globals.forward_to;
  options.transport = transport_options();
  if (globals.verbose) options.trace = [](std::string_view line) { tell(line); };
  return options;
}

Client& Context::bare_client() {
  return client_ ? *client_ : client_.emplace(client_options());
}

Client Context::another_client() {
  ClientOptions options = client_options();
  options.token = client().token();
  return Client(std::move(options));
}

Client& Context::any_client() {
  Client& client = bare_client();
  if (!ready_ && client.token().empty()) {
    if (const auto token = store_.load(url())) client.set_token(*token);
  }
  return client;
}

Client& Context::client() {
  Client& client = bare_client();
  if (ready_) return client;
  if (const std::string user = given_user(); !user.empty()) {
    auto password = given_password();
    if (!password) password = ask("Password of " + user, false, "give -X or APPMESH_PASSWORD, or run: appc logon");
    client.set_forward_to("");  // the token is made by the daemon that we talk to
    if (client.login(user, *password)) {
      throw CliError(kNotLoggedIn, "the account " + user + " needs a TOTP code", "run: appc logon -U " + user);
    }
    client.set_forward_to(globals.forward_to);
  } else if (const auto token = store_.load(url())) {
    client.set_token(*token);
  } else {
    throw CliError(kNotLoggedIn, "not logged in to " + url().text(), "run: appc logon");
  }
  ready_ = true;
  return client;
}

}  // namespace appmesh::cli
