// What every command needs: the global options, the client of the chosen daemon with the right token, and the
// remembered state. Made by program.cpp, lives as long as the command; main thread only.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <appmesh/client.h>
#include <appmesh/url.h>

#include "cli/token_store.h"

namespace appmesh::cli {

struct Globals {
  std::string host_url;
  std::string forward_to;
  std::string user;
  std::string password;
  std::string ca;
  bool verbose = false;
  bool insecure = false;
};

class Context {
 public:
  Context() : store_(TokenStore::from_environment()) {}

  Globals globals;
  std::string program = "appc";  // as it was called: appc or appm
  // Set by the command that was parsed; returns the exit code.
  std::function<int()> action;
  // What stands after the options of exec, word by word.
  std::vector<std::string> exec_words;
  // Rather fail soon than keep anybody waiting.
  bool quick = false;

  // The client with a token: of -U/-X (or APPMESH_USER/APPMESH_PASSWORD) for this call, else the stored one. Throws
  // CliError(kNotLoggedIn) when there is neither.
  Client& client();
  // The client with a token if there is one without asking anybody: for routes that are free.
  Client& any_client();
  // One more, for another thread.
  [[nodiscard]] Client another_client();

  // How to reach the daemon, as the options say.
  [[nodiscard]] TransportOptions transport_options() const;

  // Given, else last used, else the local daemon.
  [[nodiscard]] Url url() const;
  [[nodiscard]] const TokenStore& store() const { return store_; }

  // From the option, the environment, or the terminal.
  [[nodiscard]] std::string given_user() const;
  [[nodiscard]] std::optional<std::string> given_password() const;

 private:
  Client& bare_client();
  [[nodiscard]] ClientOptions client_options() const;

  TokenStore store_;
  std::optional<Client> client_;
  bool ready_ = false;
};

// One line on stderr: "appc: …", without terminal control characters.
void complain(std::string_view message);
// A line on stderr that is no complaint.
void tell(std::string_view message);

}  // namespace appmesh::cli
