// The daemon's configuration: docs/configuration.md. Owned by the daemon. settings() and the views may be
// called from any thread and never touch the disk; load(), reload(), update() and the label setters write files and
// belong on a worker thread. A reader keeps the snapshot it took for as long as it likes; writers replace the snapshot
// as a whole.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json/object.hpp>

#include "core/error.h"

namespace appmesh::store {

// What a key decides. Those of security say who may come in and where, whom processes run as and what they may reach:
// with one of them, whoever may change the rest could become root.
enum class KeyClass : std::uint8_t { ordinary, security };

enum class LogLevel : std::uint8_t { debug, info, notice, warn, error };
enum class JwtAlgorithm : std::uint8_t { hs256, rs256, es256 };
enum class SecurityInterface : std::uint8_t { local, consul, oauth2 };

// What the text keys mean, decoded and checked. Paths are absolute.
struct Settings {
  struct Base {
    std::string description;
    std::string default_exec_user;
    bool disable_exec_user = false;
    std::chrono::seconds schedule_interval{1};
    std::filesystem::path working_directory;
    LogLevel log_level = LogLevel::info;
    std::string posix_timezone;
    std::chrono::seconds stop_grace{3};
    std::chrono::seconds health_check_interval{10};
    std::vector<std::string> inherit_env;  // empty: every variable of the daemon but APPMESH_*
    std::uint64_t output_limit_bytes = 0;  // of one run's file
    std::chrono::seconds backoff_limit{300};
  };
  struct Jwt {
    std::string salt;  // empty: the secret file that the first start made
    JwtAlgorithm algorithm = JwtAlgorithm::hs256;
    std::string issuer;  // never empty: the host's name unless configured
    std::vector<std::string> audience;
    SecurityInterface security_interface = SecurityInterface::local;
  };
  struct Ssl {
    std::filesystem::path ca_path;
    std::filesystem::path certificate_file;
    std::filesystem::path certificate_key_file;
    std::filesystem::path client_certificate_file;
    std::filesystem::path client_certificate_key_file;
    bool verify_client = false;
    bool verify_server = false;
    bool verify_server_delegate = false;
  };
  struct Rest {
    bool enabled = true;
    std::string listen_address;
    std::uint16_t listen_port = 0;
    std::uint16_t tcp_port = 0;         // 0: not offered
    std::uint16_t websocket_port = 0;   // 0: not offered
    std::uint16_t prometheus_port = 0;  // not offered unless > 1024
    unsigned worker_threads = 2;
    unsigned io_threads = 2;
    bool password_complexity = false;
    bool cors_disabled = false;
    bool totp_replay_protection = true;
    std::vector<std::string> csrf_allowed_origins;
    std::vector<std::string> forward_targets;
    std::filesystem::path file_allowed_base_dir;  // empty: no restriction
    Jwt jwt;
    Ssl ssl;
  };

  Base base;
  Rest rest;
  std::map<std::string, std::string> labels;  // with the automatic ones
};

class Configuration {
 public:
  using Environment = std::vector<std::pair<std::string, std::string>>;
  using Observer = std::function<void(const Settings&)>;
  using Changes = std::vector<std::string>;  // describe_changes(): for the audit trail; empty when nothing changed

  // Reads HOME/work/config/config.yaml, else HOME/config/config.yaml, else takes the defaults; then the environment's
  // APPMESH_<A>_<B>_<C> and LOG_LEVEL. Errors: an unreadable, oversized or malformed file, a wrong type or range (the
  // message names the key). Unknown keys are warnings().
  static Result<std::unique_ptr<Configuration>> load(const std::filesystem::path& home, Environment environment);
  static Result<std::unique_ptr<Configuration>> load(
      const std::filesystem::path& home);  // with this process's environment

  [[nodiscard]] std::shared_ptr<const Settings> settings() const;
  [[nodiscard]] std::vector<std::string> warnings() const;  // of the last load
  // The whole configuration as the wire shows it: every known key, secrets as "******", Labels, Version.
  [[nodiscard]] boost::json::object view() const;

  // Reads the file again (SIGHUP). On an error nothing changes.
  Result<Changes> reload();
  // Deep merge. Nothing changes, in memory or on disk, when anything is wrong. null and "Version" are ignored, and so
  // is a secret that arrives as "******". Values that the environment overrides are saved but stay overridden.
  // Error permission_denied: a key of a class beyond `most` would change.
  Result<Changes> update(const boost::json::object& change, KeyClass most);

  [[nodiscard]] std::map<std::string, std::string> labels() const;
  // Name: 1..128 printable characters without '/'; value: at most 1024 bytes without control characters; at most 1000
  // labels.
  Result<Changes> set_label(const std::string& name, const std::string& value);
  Result<Changes> delete_label(
      const std::string& name);  // an absent one is success; an automatic one shows its own value again

  // Called after each change on the thread that made it, in the order of the changes; must not call back into a writer.
  void observe(Observer observer);

  Configuration(const Configuration&) = delete;
  Configuration& operator=(const Configuration&) = delete;

 private:
  struct State {
    boost::json::object saved;      // what the file says, unknown keys included
    boost::json::object effective;  // defaults, then saved, then the environment: every known key is there
    std::shared_ptr<const Settings> settings;
    std::vector<std::string> warnings;
  };

  Configuration(std::filesystem::path home, Environment environment);
  [[nodiscard]] Result<State> read() const;
  [[nodiscard]] Result<State> derive(boost::json::object saved) const;
  Result<Changes> commit(boost::json::object saved);  // derives, writes the file, publishes; under writers_
  Changes publish(State state);
  [[nodiscard]] State snapshot() const;

  const std::filesystem::path home_;
  const Environment environment_;
  const std::map<std::string, std::string> automatic_labels_;
  mutable std::mutex state_mutex_;  // guards state_ for the moment of a copy
  State state_;
  std::mutex writers_;  // held over the disk work, so that changes happen one after another
  std::vector<Observer> observers_;
};

}  // namespace appmesh::store
