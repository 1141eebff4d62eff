#include "daemon/daemon.h"

#include <optional>
#include <vector>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "api/file_store.h"
#include "api/file_tokens.h"
#include "api/file_workers.h"
#include "api/password_workers.h"
#include "api/process_sampler.h"
#include "api/routes.h"
#include "api/service.h"
#include "api/token_authenticator.h"
#include "core/access.h"
#include "core/version.h"
#include "daemon/log.h"
#include "daemon/metrics_wiring.h"
#include "engine/engine.h"
#include "platform/clock.h"
#include "platform/file.h"
#include "platform/time_zone.h"
#include "security/audit.h"
#include "security/identity.h"
#include "store/configuration.h"
#include "store/definition_store.h"
#include "store/home_paths.h"
#include "store/state_store.h"
#include "telemetry/host_resources.h"
#include "telemetry/metrics.h"
#include "transport/certificate_watch.h"
#include "transport/forward_client.h"
#include "transport/http_server.h"
#include "transport/io_pool.h"
#include "transport/listener.h"
#include "transport/tcp_server.h"

namespace appmesh::daemon {

// In the order of construction: what stands below uses what stands above and goes first.
struct Daemon::Parts {
  store::HomePaths paths;
  std::optional<platform::LockFile> lock;
  std::unique_ptr<store::Configuration> configuration;
  std::unique_ptr<store::StateStore> states;
  std::unique_ptr<security::Identity> identity;
  std::optional<api::LongRequests> long_requests;
  std::optional<security::AuditTrail> audit;
  std::unique_ptr<store::DefinitionStore> definitions;
  std::optional<boost::asio::thread_pool> workers;
  std::optional<api::PasswordWorkers> password_workers;
  std::optional<api::FileStore> files;
  std::optional<api::FileTokens> file_tokens;
  std::optional<api::FileWorkers> file_workers;
  std::optional<telemetry::HostResources> resources;
  std::optional<RequestCounter> requests;
  std::optional<telemetry::Metrics> metrics;
  api::ProcessSampler sampler;
  std::unique_ptr<engine::Engine> engine;
  std::optional<api::EventSinks> sinks;
  std::optional<api::TokenAuthenticator> authenticator;
  std::shared_ptr<api::Service> service;
  std::optional<transport::IoPool> pool;
  std::optional<transport::ForwardClient> forwarder;
  std::vector<std::unique_ptr<transport::Listener>> listeners;

  // Loads the certificates and takes the ports; nobody is served before serve().
  Result<void> listen(const store::Settings::Rest& rest);
  void serve();
  void watch_certificates(const store::Settings::Ssl& ssl);
  void reload_tls(const store::Settings::Ssl& ssl);
};

namespace {

// What nobody waits for shares a commit; the keeper remembers exits until then. At 5 ms eight callers of short runs
// reached 0.49 of a bare spawn loop, at 20 ms 0.53.
constexpr std::chrono::milliseconds kCommitDelay{20};

// A secret is shown to a person at a terminal, never to a log.
void tell_first_password(security::Identity& identity, const store::HomePaths& paths) {
  auto& password = identity.made().admin_password;
  if (!password) return;
  const auto file = security::initial_password_file(paths);
  if (::isatty(STDERR_FILENO) == 1)
    fmt::print(stderr,
               "\n  The user `admin` was made. Its password is {}\n  It also lies in {} until it is changed.\n\n",
               *password, file.string());
  else
    spdlog::info("the user admin was made, its password lies in {} until it is changed", file.string());
  password.reset();
}

engine::Tuning tuning(const store::Settings& settings) {
  engine::Tuning tuning{.stop_grace = settings.base.stop_grace,
                        .backoff_limit = settings.base.backoff_limit,
                        .health_check_interval = settings.base.health_check_interval,
                        .output_limit_bytes = settings.base.output_limit_bytes};
  if (auto zone = platform::load_zone(settings.base.posix_timezone))
    tuning.zone = *zone;
  else
    spdlog::warn("BaseConfig.PosixTimezone: {}; times are UTC", zone.error().message);
  return tuning;
}

engine::EngineOptions engine_options(const CommandLine& line, const store::HomePaths& paths,
                                     const store::Settings& settings) {
  engine::EngineOptions options;
  options.home = paths.home;
  options.output_directory = paths.stdout_dir;
  options.notify_directory = paths.notify;
  options.default_directory = settings.base.working_directory.empty() || settings.base.working_directory == paths.work
                                  ? paths.tmp
                                  : settings.base.working_directory;
  options.keeper_program = line.program.parent_path() / "appkeeper";
  options.inherited_environment = runtime::inheritable_environment(settings.base.inherit_env);
  options.policy.restart_lost_runs = true;
  options.policy.handover = true;
  options.tuning = tuning(settings);
  return options;
}

// The owner's exec_user, else DefaultExecUser. Only root can switch. The daemon's own user, which is root then, is for
// the administrator and for what a file without an owner defines; nobody else becomes root because nobody said whom
// they shall be (docs/decisions/0020-owners-and-secrets.md).
Result<std::string> exec_user(const store::Settings& settings, const security::UserSnapshot& users,
                              const std::string& owner) {
  if (::geteuid() != 0 || settings.base.disable_exec_user) return std::string{};
  const security::User* user = owner.empty() ? nullptr : users.find_owner(owner);
  if (user != nullptr && !user->exec_user.empty()) return user->exec_user;
  if (!settings.base.default_exec_user.empty() || owner.empty() || owner == security::kAdmin)
    return settings.base.default_exec_user;
  if (user == nullptr)
    return fail(ErrorKind::not_found,
                fmt::format("user: the owner {} is no user any more", core::name_of_owner(owner)));
  return fail(ErrorKind::precondition_failed,
              fmt::format("user: {} has no exec_user, and BaseConfig.DefaultExecUser is not set: one of them must say "
                          "whose processes these are",
                          core::name_of_owner(owner)));
}

transport::TlsOptions tls_options(const store::Settings::Ssl& ssl) {
  return {.certificate_file = ssl.certificate_file,
          .key_file = ssl.certificate_key_file,
          .ca_path = ssl.ca_path,
          .verify_client = ssl.verify_client};
}

transport::ForwardOptions forward_options(const store::Settings& settings) {
  const store::Settings::Ssl& ssl = settings.rest.ssl;
  return {.listen_address = settings.rest.listen_address,
          .rest_port = settings.rest.listen_port,
          .tcp_port = settings.rest.tcp_port,
          .websocket_port = settings.rest.websocket_port,
          .targets = settings.rest.forward_targets,
          .tls = {.certificate_file = ssl.client_certificate_file,
                  .key_file = ssl.client_certificate_key_file,
                  .ca_path = ssl.ca_path,
                  .verify_server = ssl.verify_server_delegate},
          .is_cluster_member = {}};
}

api::CrossSitePolicy cross_site_policy(const store::Settings& settings) {
  return {.cors_disabled = settings.rest.cors_disabled, .allowed_origins = settings.rest.csrf_allowed_origins};
}

}  // namespace

Result<void> Daemon::Parts::listen(const store::Settings::Rest& rest) {
  if (!rest.enabled) return {};
  const auto add = [&](std::string_view scheme, Result<std::unique_ptr<transport::Listener>> listener) -> Result<void> {
    if (!listener) return std::unexpected(std::move(listener.error()));
    spdlog::info("listening on {}://{}:{}", scheme, rest.listen_address, (*listener)->port());
    listeners.push_back(std::move(*listener));
    return {};
  };
  const auto on = [&](std::uint16_t port) {
    return transport::ListenOptions{
        .address = rest.listen_address, .port = port, .tls = tls_options(rest.ssl), .hold = true};
  };
  if (auto added = add("https", transport::serve_https({.listen = on(rest.listen_port)}, *pool, service)); !added)
    return added;
  if (rest.tcp_port != 0)
    if (auto added = add("tcp", transport::serve_tcp({.listen = on(rest.tcp_port)}, *pool, service)); !added)
      return added;
  if (rest.websocket_port != 0)
    if (auto added =
            add("wss", transport::serve_https(transport::web_socket_options(on(rest.websocket_port)), *pool, service));
        !added)
      return added;
  return {};
}

void Daemon::Parts::serve() {
  for (const auto& listener : listeners) listener->begin();
}

void Daemon::Parts::reload_tls(const store::Settings::Ssl& ssl) {
  for (const auto& listener : listeners)
    if (auto reloaded = listener->reload_tls(tls_options(ssl)); !reloaded)
      spdlog::error("certificates of port {} stay as they were: {}", listener->port(), reloaded.error().message);
}

void Daemon::Parts::watch_certificates(const store::Settings::Ssl& ssl) {
  auto watched = transport::watch_certificates(pool->first(),
                                               {ssl.certificate_file, ssl.certificate_key_file, ssl.ca_path}, [this] {
                                                 boost::asio::post(*workers, [this] {
                                                   reload_tls(configuration->settings()->rest.ssl);
                                                   spdlog::info("certificates were read again");
                                                 });
                                               });
  if (!watched) spdlog::warn("new certificates need a SIGHUP: {}", watched.error().message);
}

Daemon::Daemon(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Daemon::~Daemon() {
  // No new requests, then no new decisions, then everything decided is written.
  for (const auto& listener : parts_->listeners) listener->stop();
  if (parts_->forwarder) parts_->forwarder->stop();
  if (parts_->engine) parts_->engine->stop();
  if (parts_->pool) parts_->pool->stop();
  // What still waits holds itself; told so, it goes with the pool.
  if (parts_->long_requests) parts_->long_requests->end_all({ErrorKind::unavailable, "The daemon ends", {}});
  parts_->file_workers.reset();
  parts_->password_workers.reset();  // both join: work that ends late still posts to a pool that is there
  if (parts_->workers) parts_->workers->join();
  // Requests that still wait for the engine are dropped with it, and their ends are posted to the pool: it must be
  // there. The stores go before those whom they call back: on a disk that takes nothing they give up here.
  if (parts_->definitions) parts_->definitions->flush();
  parts_->states.reset();
  parts_->definitions.reset();
  parts_->engine.reset();
}

Result<std::unique_ptr<Daemon>> Daemon::open(const CommandLine& line) {
  auto admin_password = security::take_admin_password();  // before there are threads
  auto owned = std::make_unique<Parts>();
  Parts& parts = *owned;
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(owned)));
  parts.paths = store::home_paths(line.home);
  const core::WallTime now = platform::wall_now();

  if (auto made = store::make_home(parts.paths); !made) return std::unexpected(made.error());
  auto lock = platform::LockFile::acquire(parts.paths.pid_file);
  if (!lock) return std::unexpected(lock.error());
  parts.lock.emplace(std::move(*lock));
  if (auto log = open_log(parts.paths.log_file); !log) return std::unexpected(log.error());

  auto configuration = store::Configuration::load(line.home);
  if (!configuration) return std::unexpected(configuration.error());
  parts.configuration = std::move(*configuration);
  const auto settings = parts.configuration->settings();
  set_log_level(settings->base.log_level);
  for (const auto& warning : parts.configuration->warnings()) spdlog::warn("configuration: {}", warning);

  auto states = store::StateStore::open(parts.paths.state_file, {.commit_delay = kCommitDelay});
  if (!states) return std::unexpected(states.error());
  parts.states = std::move(*states);

  auto identity = security::Identity::open(
      parts.paths, *parts.states,
      {.jwt_secret = settings->rest.jwt.salt,
       .issuer = settings->rest.jwt.issuer,
       .audiences = settings->rest.jwt.audience,
       .password_complexity = [config =
                                   parts.configuration.get()] { return config->settings()->rest.password_complexity; },
       .totp_replay_protection =
           [config = parts.configuration.get()] { return config->settings()->rest.totp_replay_protection; },
       .admin_password = std::move(admin_password)},
      now);
  if (!identity) return std::unexpected(identity.error());
  parts.identity = std::move(*identity);
  tell_first_password(*parts.identity, parts.paths);
  parts.long_requests.emplace(parts.identity->tokens(), parts.identity->users());
  parts.identity->tokens().observe(
      [rights = &*parts.long_requests](const std::string& jti) { rights->token_voided(jti); });
  parts.identity->users().observe([rights = &*parts.long_requests] { rights->users_changed(); });

  parts.definitions = store::DefinitionStore::open(parts.paths.apps, parts.identity->secrets());

  auto options = engine_options(line, parts.paths, *settings);
  const auto exec_user_of = [config = parts.configuration.get(),
                             users = &parts.identity->users()](const std::string& owner) {
    return exec_user(*config->settings(), *users->snapshot(), owner);
  };
  options.exec_user = exec_user_of;
  options.access_changed = [rights = &*parts.long_requests](const std::string& app) { rights->app_changed(app); };
  // The same for those who read it.
  const auto os_user_of = [exec_user_of, own = runtime::own_user().name](const std::string& owner) {
    auto user = exec_user_of(owner);
    if (user && user->empty()) user = own;
    return user;
  };
  parts.audit.emplace(*parts.states);
  parts.engine = std::make_unique<engine::Engine>(std::move(options), *parts.definitions, *parts.states);

  parts.workers.emplace(settings->rest.worker_threads);
  parts.password_workers.emplace();
  parts.files.emplace(api::FileStore::Options{
      .home = parts.paths.home, .tmp = parts.paths.tmp, .allowed_base = [config = parts.configuration.get()] {
        return config->settings()->rest.file_allowed_base_dir;
      }});
  parts.file_tokens.emplace(parts.identity->tokens(), *parts.long_requests);
  parts.file_workers.emplace();
  parts.resources.emplace(telemetry::HostResources::Options{
      .home = parts.paths.home,
      .start_time = now,
      .description = [config = parts.configuration.get()] { return config->settings()->base.description; },
      .keeper_pid = [engine = parts.engine.get()] { return engine->keeper_pid(); }});

  parts.sinks.emplace(*parts.engine, parts.identity->users());
  const api::AppRoutes apps{*parts.engine, parts.identity->users(),       *parts.configuration, *parts.states,
                            parts.sampler, parts.workers->get_executor(), *parts.sinks,         *parts.audit,
                            os_user_of};
  api::RouteTable routes =
      api::make_route_table({.auth = {parts.identity->users(), parts.identity->tokens(), *parts.password_workers,
                                      parts.identity->totp(), *parts.long_requests},
                             .apps = apps,
                             .users = {parts.identity->users(), *parts.password_workers},
                             .config = {.configuration = *parts.configuration,
                                        .audit = *parts.audit,
                                        .worker = parts.workers->get_executor(),
                                        .resources = [resources = &*parts.resources] { return resources->collect(); },
                                        .metrics = [&parts] { return parts.metrics->render(); }},
                             .files = {*parts.files, *parts.file_workers, *parts.file_tokens, os_user_of},
                             .shell = {*parts.engine, *parts.audit, os_user_of},
                             .audit = {*parts.states, parts.workers->get_executor()}},
                            kVersion);
  parts.authenticator.emplace(parts.identity->tokens());
  parts.service = std::make_shared<api::Service>(std::move(routes), *parts.authenticator, cross_site_policy(*settings));
  parts.requests.emplace(parts.service->routes());
  parts.service->set_observer(*parts.requests);
  parts.service->set_long_requests(*parts.long_requests);
  parts.metrics.emplace(
      telemetry::Metrics::Sources{.host = parts.configuration->labels()["HOST_NAME"],
                                  .version = std::string(kVersion),
                                  .apps = [&parts] { return app_uses(parts.engine->directory(), parts.sampler); },
                                  .requests = &parts.requests->metrics()});
  parts.configuration->observe([service = parts.service, engine = parts.engine.get()](const store::Settings& changed) {
    set_log_level(changed.base.log_level);
    engine->tune(tuning(changed));
    service->set_cross_site_policy(cross_site_policy(changed));
  });

  parts.pool.emplace(settings->rest.io_threads);
  parts.forwarder.emplace(*parts.pool, forward_options(*settings));
  parts.service->set_forwarder(*parts.forwarder);
  // Ports and address are those that we listen at, whatever the configuration has become.
  parts.configuration->observe([forwarder = &*parts.forwarder, rest = settings->rest](const store::Settings& changed) {
    store::Settings now = changed;
    now.rest.listen_address = rest.listen_address;
    now.rest.listen_port = rest.listen_port;
    now.rest.tcp_port = rest.tcp_port;
    now.rest.websocket_port = rest.websocket_port;
    forwarder->configure(forward_options(now));
  });
  if (auto listening = parts.listen(settings->rest); !listening) return std::unexpected(listening.error());
  parts.configuration->observe([&parts](const store::Settings& changed) { parts.reload_tls(changed.rest.ssl); });
  parts.watch_certificates(settings->rest.ssl);
  // The last step, and the first that others can see: everything above may still refuse the start, and then no keeper
  // and no application may have noticed it.
  if (auto started = parts.engine->start(); !started) return std::unexpected(started.error());
  parts.serve();
  return daemon;
}

void Daemon::reload() {
  if (auto reopened = reopen_log(parts_->paths.log_file); !reopened)
    spdlog::error("the log stays where it was: {}", reopened.error().message);
  const auto changes = parts_->configuration->reload();
  if (!changes) spdlog::error("configuration stays as it was: {}", changes.error().message);
  if (!changes || !changes->empty())
    parts_->audit->note({.action = changes ? "configuration file changed" : "configuration file refused",
                         .user = {},
                         .peer = {},
                         .app = {},
                         .run_id = {},
                         .os_user = {},
                         .exit_code = {},
                         .detail = changes ? fmt::format("{}", fmt::join(*changes, ", ")) : changes.error().message});
  if (auto reloaded = parts_->identity->users().reload(); !reloaded)
    spdlog::error("users stay as they were: {}", reloaded.error().message);
  parts_->reload_tls(parts_->configuration->settings()->rest.ssl);
  parts_->engine->reread_definitions();
  spdlog::info("configuration, users and certificates were read again");
}

}  // namespace appmesh::daemon
