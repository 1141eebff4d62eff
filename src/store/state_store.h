// What the daemon remembers besides definitions: lifecycle state of each app, on-demand apps, run history, revoked
// tokens, the audit trail. SQLite in WAL mode, one writer thread with group commit; owned by the daemon. Writes may be
// asked for from any thread and happen in the order asked; a `Done` runs on the writer thread after the commit that
// holds its write. Reads use a connection of their own, block, and may be called from any thread but the engine's once
// it runs.
//
// A commit survives a killed daemon at once; writes marked durable (revocations) are also fsynced before `Done`.
//
// Most writes have no hurry: they wait up to Options::commit_delay for company, so that a busy daemon pays for one
// commit where it would pay for many. An urgent write takes all that wait along and is committed at once: a revocation,
// a save_app() or delete_app() that somebody waits for (it has a Done), flush(), the close of the store. Never urgent:
// record_run(), and the writes without a Done. Of several writes of one app in one commit only the outcome is carried
// out.
//
// While the disk takes nothing (it is full, or fails), a write that somebody waits for is refused after
// Options::patience and is then not carried out later either; whoever asked writes again what is true. All other writes
// wait for better times in order, as long as it takes: nobody was told anything yet.
// docs/decisions/0019-durable-answers.md says why.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/time.h"

namespace appmesh::store {

struct RunRecord {
  std::string run_id;  // 32 hex digits, the process_uuid of the wire
  std::string app;
  std::uint64_t run_number = 0;
  std::uint32_t instance = 0;
  std::int32_t pid = 0;
  std::optional<core::WallTime> start;
  std::optional<core::WallTime> end;  // absent: still runs
  std::optional<int> return_code;
  std::string reason;  // why it ended: exited, killed by us (stop reason), unknown …
  std::uint64_t max_rss_bytes = 0;
  std::chrono::microseconds cpu{0};  // user + system
};

struct SavedApp {
  std::string name;
  std::string state;       // JSON of core::save_state
  std::string definition;  // JSON for on-demand apps (they have no YAML file); else empty
};

struct RevokedToken {
  std::string jti;
  core::WallTime expires;
};

// Who did what that must be known afterwards. Records are only added; each carries the hash of the one before, so that
// none can be changed or taken out of the middle without a trace.
struct AuditRecord {
  core::WallTime time;
  std::string record;  // JSON, never a secret
};
struct AuditEntry {
  std::int64_t id = 0;  // in the order of writing, without gaps
  AuditRecord what;
  std::string previous;  // hash of the entry before, hex; empty for the first of all
  std::string hash;      // audit_hash() of this one
};
// SHA-256, as hex, over the previous hash, the id, the time in microseconds and the record, with a line feed after
// each.
[[nodiscard]] std::string audit_hash(const AuditEntry& entry);

class StateStore {
 public:
  using Done = std::move_only_function<void(Result<void>)>;

  struct Options {
    std::uint64_t history_per_app = 1000;       // older runs are forgotten
    std::chrono::hours history_age{24 * 90};    // likewise
    std::int64_t audit_entries = 100'000;       // older ones are forgotten, oldest first
    std::uint64_t history_total = 500'000;      // runs of all apps together (each on-demand run is an app of its own)
    std::chrono::milliseconds patience{1000};   // a full disk or an I/O error: how long a write with an asker is tried
    std::chrono::milliseconds commit_delay{5};  // how long a write without hurry waits for others; 0: not at all
    std::size_t queue_limit =
        100'000;  // writes waiting; beyond it the asker waits, or is refused while the disk takes nothing
  };

  static Result<std::unique_ptr<StateStore>> open(const std::filesystem::path& file, Options options);
  virtual ~StateStore() = default;

  virtual void save_app(SavedApp app,
                        Done done = nullptr) = 0;  // insert or replace; empty definition keeps the stored one
  virtual void delete_app(std::string name, Done done = nullptr) = 0;  // its history stays until it ages out
  // Insert or merge by run_id: a row that already has its end keeps it, so a report delivered twice is recorded once.
  // Not urgent even with a Done.
  virtual void record_run(RunRecord run, Done done = nullptr) = 0;
  virtual void revoke_token(RevokedToken token, Done done) = 0;     // durable, urgent
  virtual void audit(AuditRecord record, Done done = nullptr) = 0;  // not urgent even with a Done
  virtual void flush() = 0;  // returns when all that was asked before it is committed and its Dones have run, or when
                             // the disk takes nothing at the moment
  // `done` when all that was asked before is committed; urgent. It runs at once, in the call, when nothing waits.
  virtual void barrier(Done done) = 0;
  // The reason when the last attempt to commit failed and nothing could be written since.
  [[nodiscard]] virtual std::optional<Error> trouble() const = 0;
  // Writes asked for and not yet committed: for a metric and for the warning at half of the limit.
  [[nodiscard]] virtual std::size_t queued() const { return 0; }

  [[nodiscard]] virtual Result<std::vector<SavedApp>> load_apps() = 0;
  [[nodiscard]] virtual Result<std::vector<RevokedToken>> load_revoked(
      core::WallTime now) = 0;  // drops the expired ones
  // Newest first; at most `limit` (1..1000), only runs that started before `before` when given.
  [[nodiscard]] virtual Result<std::vector<RunRecord>> runs(const std::string& app, std::size_t limit,
                                                            std::optional<core::WallTime> before) = 0;
  // Newest first; at most `limit` (1..1000), only those with a lower id than `before` when given.
  [[nodiscard]] virtual Result<std::vector<AuditEntry>> audit_trail(std::size_t limit,
                                                                    std::optional<std::int64_t> before) = 0;
  [[nodiscard]] virtual Result<std::optional<RunRecord>> find_run(const std::string& run_id) = 0;
};

}  // namespace appmesh::store
