#include <algorithm>
#include <charconv>
#include <utility>

#include <appmesh/client.h>
#include <appmesh/url.h>
#include <appmesh/wire/json_text.h>

#include "client_json.h"
#include "session.h"

namespace appmesh {

using detail::app_path;
using detail::parse_array;
using detail::parse_object;

namespace {

std::string seconds_text(std::chrono::seconds value) {
  return std::to_string(value.count());
}

template <typename Number>
std::optional<Number> header_number(const Response& response, std::string_view name) {
  const auto text = response.header(name);
  if (!text) return std::nullopt;
  Number value{};
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) {
    throw ClientError(ErrorKind::kProtocol, "the server's header " + std::string(name) + " is not a number");
  }
  return value;
}

std::string message_of(const Response& response) {
  boost::system::error_code error;
  const boost::json::value body = wire::read_json(response.body, error);
  if (!error && body.is_object()) {
    if (const auto text = App(body.get_object()).text("message")) return *text;
  }
  return response.body;
}

}  // namespace

Client::Client(ClientOptions options) : Client(make_transport(options.url, options.transport), options) {}
Client::Client(std::unique_ptr<Transport> transport, ClientOptions options)
    : options_(std::move(options)), session_(std::make_unique<Session>()), transport_(std::move(transport)) {
  session_->token = std::exchange(options_.token, {});
}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&& other) noexcept {
  transport_ = std::move(other.transport_);  // first: what it still tells goes to our own session
  session_ = std::move(other.session_);
  options_ = std::move(other.options_);
  return *this;
}
// The transport goes first, and its reader with it; then the subscriptions.
Client::~Client() = default;

std::string Client::token() const {
  const std::lock_guard lock(session_->mutex);
  return session_->token;
}
void Client::set_token(std::string token) {
  const std::lock_guard lock(session_->mutex);
  session_->token = std::move(token);
}

Response Client::exchange(Request request) {
  const bool authorised = std::any_of(request.headers.begin(), request.headers.end(),
                                      [](const auto& field) { return field.first == "Authorization"; });
  std::string used = authorised ? std::string() : token();
  if (!options_.forward_to.empty()) {
    // A target without a port means the port that we ourselves talk to (docs/wire.md#forwarding).
    const Url target = Url::parse(options_.forward_to, Url::parse(transport_->peer()).port);
    request.headers.emplace_back("X-Target-Host", target.authority());
  }
  request.headers.emplace_back("User-Agent", "appmesh/cpp");
  for (;;) {
    Response response = exchange_once(request, used);
    if (response.status != 401 || used.empty()) return response;
    // Another thread may have renewed the token while this request was on its way with the old one; each further round
    // means one more renewal.
    std::unique_lock lock(session_->mutex);
    if (request.path != detail::kRenewPath) {
      session_->renewed.wait(lock, [this] { return session_->renewals == 0; });
    }
    if (session_->token.empty() || session_->token == used) return response;
    used = session_->token;
  }
}

Response Client::exchange_once(Request& request, const std::string& used) {
  const std::size_t given = request.headers.size();
  if (!used.empty()) request.headers.emplace_back("Authorization", "Bearer " + used);
  const auto begin = std::chrono::steady_clock::now();
  Response response = transport_->exchange(request);
  request.headers.resize(given);
  if (options_.trace) {
    const auto took =
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count();
    options_.trace(request.method + " " + transport_->peer() + request.path + " -> " + std::to_string(response.status) +
                   ", " + std::to_string(response.body.size()) + " bytes, " + std::to_string(took) + " us");
  }
  return response;
}

Response Client::call(Request request) {
  Response response = exchange(std::move(request));
  if (response.status < 200 || response.status > 299) detail::fail(response);
  return response;
}

Response Client::send(std::string_view method, std::string path, Fields query, std::string body) {
  Request request;
  request.method = method;
  request.path = std::move(path);
  request.query = std::move(query);
  if (!body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  request.body = std::move(body);
  return call(std::move(request));
}

std::vector<App> Client::list_apps() {
  std::vector<App> apps;
  for (boost::json::value& item : parse_array(send("GET", "/appmesh/applications"))) {
    if (item.is_object()) apps.emplace_back(std::move(item.get_object()));
  }
  return apps;
}

App Client::get_app(std::string_view name) {
  return App(parse_object(send("GET", app_path(name))));
}

App Client::add_app(const App& app) {
  return App(parse_object(send("PUT", app_path(app.name()), {}, wire::write_json(app.json()))));
}

bool Client::delete_app(std::string_view name, bool force) {
  Fields query;
  if (force) query.emplace_back("force", "true");
  try {
    send("DELETE", app_path(name), std::move(query));
    return true;
  } catch (const ClientError& error) {
    if (error.status() == 404) return false;
    throw;
  }
}

std::string Client::enable_app(std::string_view name) {
  return message_of(send("POST", app_path(name, "enable")));
}
std::string Client::disable_app(std::string_view name) {
  return message_of(send("POST", app_path(name, "disable")));
}
std::string Client::restart_app(std::string_view name) {
  return message_of(send("POST", app_path(name, "restart")));
}

bool Client::app_healthy(std::string_view name) {
  const Response response = send("GET", app_path(name, "health"));
  return response.body == "0" || response.body == "0\n";
}

Output Client::app_output(std::string_view name, const OutputQuery& query) {
  Request request;
  request.method = "GET";
  request.path = app_path(name, "output");
  request.query.emplace_back("stdout_position", std::to_string(query.position));
  request.query.emplace_back("stdout_index", std::to_string(query.index));
  if (query.max_bytes > 0) request.query.emplace_back("stdout_maxsize", std::to_string(query.max_bytes));
  if (!query.process_uuid.empty()) request.query.emplace_back("process_uuid", query.process_uuid);
  if (query.wait.count() > 0) request.query.emplace_back("timeout", seconds_text(query.wait));
  Response response = exchange(std::move(request));
  Output output;
  if (response.status == 417) {
    output.run_changed = true;
    output.position = query.position;
    return output;
  }
  if (response.status != 200) detail::fail(response);
  output.position = header_number<std::uint64_t>(response, "x-output-position").value_or(0);
  output.exit_code = header_number<int>(response, "x-exit-code");
  output.text = std::move(response.body);
  return output;
}

boost::json::array Client::app_runs(std::string_view name, int limit, std::string_view before) {
  Fields query;
  if (limit > 0) query.emplace_back("limit", std::to_string(limit));
  if (!before.empty()) query.emplace_back("before", before);
  return parse_array(send("GET", app_path(name, "runs"), std::move(query)));
}

std::vector<std::int64_t> Client::preview_schedule(const App& app, int count) {
  App asked = app;
  asked.set("count", count);
  const App reply(parse_object(send("POST", "/appmesh/schedule/preview", {}, wire::write_json(asked.json()))));
  std::vector<std::int64_t> starts;
  const boost::json::value* next = reply.json().if_contains("next");
  if (next == nullptr || !next->is_array())
    throw ClientError(ErrorKind::kProtocol, "the server's answer has no starts");
  for (const boost::json::value& start : next->get_array()) {
    if (start.is_int64()) starts.push_back(start.get_int64());
  }
  return starts;
}

Run Client::run_async(const App& app, const RunOptions& options) {
  const Fields query{{"timeout", seconds_text(options.timeout)}, {"lifecycle", seconds_text(options.lifetime)}};
  const App reply(parse_object(send("POST", "/appmesh/app/run", query, wire::write_json(app.json()))));
  Run run{reply.name(), reply.text("process_uuid").value_or("")};
  if (run.name.empty()) throw ClientError(ErrorKind::kProtocol, "the server's answer names no run");
  return run;
}

SyncResult Client::run_sync(const App& app, const RunOptions& options) {
  const Fields query{{"timeout", seconds_text(options.timeout)}, {"lifecycle", seconds_text(options.lifetime)}};
  Response response = send("POST", "/appmesh/app/syncrun", query, wire::write_json(app.json()));
  SyncResult result;
  result.exit_code = header_number<int>(response, "x-exit-code");
  result.output = std::move(response.body);
  return result;
}

}  // namespace appmesh
