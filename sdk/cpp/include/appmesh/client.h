// Blocking client of one App Mesh daemon, over HTTPS or TCP. It owns its connection and its token. Threads may share
// it: over TCP their calls are on the way together, over HTTPS one follows the other. Every method throws ClientError
// when it fails (see error.h) and otherwise returns the answer. Coroutines: see coroutine.h.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <appmesh/app.h>
#include <appmesh/error.h>
#include <appmesh/events.h>
#include <appmesh/transport.h>
#include <boost/json/array.hpp>

namespace appmesh {

struct ClientOptions {
  std::string url = "https://127.0.0.1:6060";  // or tcp://host[:6059], which has events
  TransportOptions transport;
  std::string token;
  std::string forward_to;                       // host[:port] of another daemon that shall answer
  std::function<void(std::string_view)> trace;  // one line per exchange, never a secret
};

struct LoginOptions {
  std::string totp_code;
  std::string audience;
  std::chrono::seconds expire{0};  // 0 = the server's default, 7 days
};

// The account has a second factor and no code was given.
struct TotpChallenge {
  std::string challenge;
  std::int64_t expires = 0;  // epoch seconds
};

// What a token says about itself; not verified.
struct TokenInfo {
  std::string user;
  std::string audience;
  std::int64_t issued_at = 0;
  std::int64_t expires_at = 0;
};
std::optional<TokenInfo> read_token(std::string_view token);

struct OutputQuery {
  std::uint64_t position = 0;
  int index = 0;                 // 0 = current run, 1.. = older
  std::uint64_t max_bytes = 0;   // 0 = the server's default, 3 MiB
  std::string process_uuid;      // empty = whichever run is current
  std::chrono::seconds wait{0};  // long-poll: wait for news that long
};

struct Output {
  std::string text;              // bytes as the program wrote them
  std::uint64_t position = 0;    // where the next read goes on
  std::optional<int> exit_code;  // set once the run has completed and `text` ends its output
  bool run_changed = false;      // 417: that run is not current, or the position or index is beyond what is kept
};

struct RunOptions {
  std::chrono::seconds timeout{172'800};   // the process is stopped after that
  std::chrono::seconds lifetime{216'000};  // the run app is removed after that
};
struct Run {
  std::string name;
  std::string process_uuid;
};
// Bytes of a run's output as it writes them, and the position of the first of them.
using OutputHandler = std::function<void(std::string_view bytes, std::uint64_t position)>;
struct SyncResult {
  std::optional<int> exit_code;  // -N = killed by signal N
  std::string output;
};

struct TransferOptions {
  bool attributes = true;  // permissions, and owner and group where this process may set them
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes; may throw to give up
};

class Client {
 public:
  explicit Client(ClientOptions options = {});
  Client(std::unique_ptr<Transport> transport, ClientOptions options);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // Session. A token that login or renew gets is kept and sent from then on.
  std::optional<TotpChallenge> login(std::string_view user, std::string_view password,
                                     const LoginOptions& options = {});
  void validate_totp(std::string_view user, std::string_view challenge, std::string_view code,
                     std::chrono::seconds expire = std::chrono::seconds{0});
  // The second factor: a new secret as an otpauth:// address, then a first code switches it on and renews the token.
  // While a second factor is on, the daemon wants a code of it, unless the login with one was not long ago.
  std::string new_totp_secret(std::string_view current_code = {});
  void enable_totp(std::string_view code);
  void disable_totp(std::string_view user = "self", std::string_view current_code = {});
  boost::json::object authenticate(std::string_view permission = {}, std::string_view audience = {});
  void renew(std::chrono::seconds expire = std::chrono::seconds{0});
  void logoff();
  [[nodiscard]] std::string token() const;
  void set_token(std::string token);
  void set_forward_to(std::string target) { options_.forward_to = std::move(target); }
  void cancel_on(int descriptor) { transport_->cancel_on(descriptor); }

  // Applications.
  std::vector<App> list_apps();
  App get_app(std::string_view name);
  App add_app(const App& app);
  bool delete_app(std::string_view name, bool force = false);  // false: there was none
  std::string enable_app(std::string_view name);
  std::string disable_app(std::string_view name);
  std::string restart_app(std::string_view name);
  bool app_healthy(std::string_view name);
  Output app_output(std::string_view name, const OutputQuery& query = {});
  boost::json::array app_runs(std::string_view name, int limit = 0, std::string_view before = {});
  // When an app with this schedule would start, were it registered now: at most `count` epoch seconds.
  std::vector<std::int64_t> preview_schedule(const App& app, int count = 5);
  Run run_async(const App& app, const RunOptions& options = {});
  SyncResult run_sync(const App& app, const RunOptions& options = {});
  // Follows a run until it has ended and removes it; its exit code, or nothing when `timeout` (0 = none) has passed:
  // then the run goes on and may be waited for again. kRemoved: somebody removed it meanwhile.
  std::optional<int> wait(const Run& run, const OutputHandler& on_output = {},
                          std::chrono::milliseconds timeout = std::chrono::milliseconds{0});

  // Tasks: bytes for a worker that the app runs (see worker.h), and the bytes that it answers.
  std::string run_task(std::string_view app, std::string_view payload,
                       std::chrono::seconds timeout = std::chrono::seconds{300});
  bool cancel_task(std::string_view app);  // false: there was none

  // Events, over TCP only: START, EXIT, STDOUT, HEALTH, STATUS, REMOVED; none named = all. `app` "*" is every app.
  Subscription subscribe(std::string_view app, const std::vector<std::string>& events = {},
                         EventCallback callback = {});
  // Registers an app and is told everything about it from the first moment on.
  Subscription add_app_and_subscribe(const App& app, const std::vector<std::string>& events = {},
                                     EventCallback callback = {});
  void unsubscribe(const Subscription& subscription);

  // Host.
  std::map<std::string, std::string> labels();
  void set_label(std::string_view name, std::string_view value);
  void delete_label(std::string_view name);
  boost::json::object config();
  boost::json::object set_config(const boost::json::object& change);  // deep merge
  boost::json::object resources();
  std::string metrics();

  // Files of the host; their bytes are never all in memory. A relative remote path begins in the daemon's work/tmp.
  // A download appears under its name when it is complete, and replaces what had it; an upload never replaces.
  void download_file(std::string_view remote, const std::string& local, const TransferOptions& options = {});
  void upload_file(const std::string& local, std::string_view remote, const TransferOptions& options = {});

  // Users and roles. `user` "self" is the caller.
  boost::json::object users();
  boost::json::object user_self();
  void set_user(std::string_view name, const boost::json::object& user);
  void delete_user(std::string_view name);
  void set_password(std::string_view old_password, std::string_view new_password, std::string_view user = "self");
  void lock_user(std::string_view name);
  void unlock_user(std::string_view name);
  boost::json::object roles();
  void set_role(std::string_view role, const boost::json::array& permissions);
  void delete_role(std::string_view role);
  boost::json::array own_permissions();
  boost::json::array permissions();
  boost::json::array groups();

  // Any route: adds token and forwarding header; throws ClientError(kStatus) unless the status is 2xx.
  Response call(Request request);
  // The same, but every status is returned.
  Response exchange(Request request);

 private:
  struct Session;
  class RunWatch;

  Response send(std::string_view method, std::string path, Fields query = {}, std::string body = {});
  Response exchange_once(Request& request, const std::string& token);
  void take_token(const Response& response);
  void expect_events();
  std::optional<Subscription> subscribe_to_run(const Run& run);
  std::optional<int> watch_run(RunWatch& watch, Subscription& subscription,
                               std::optional<std::chrono::steady_clock::time_point> end);
  std::optional<int> poll_run(RunWatch& watch, std::optional<std::chrono::steady_clock::time_point> end);

  ClientOptions options_;  // but for the token, which is in the session
  std::unique_ptr<Session> session_;
  std::unique_ptr<Transport> transport_;
};

}  // namespace appmesh
