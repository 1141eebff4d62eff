#include "store/state_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <fcntl.h>
#include <openssl/evp.h>

#include "platform/clock.h"
#include "platform/file.h"

namespace appmesh::store {
namespace {

// Step n brings a file from user_version n to n + 1. Steps are never changed once released, only added.
constexpr std::array kMigrations = {
    "CREATE TABLE apps(name TEXT PRIMARY KEY, state TEXT NOT NULL, definition TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE runs(id INTEGER PRIMARY KEY, run_id BLOB NOT NULL UNIQUE, app TEXT NOT NULL, run_number INTEGER NOT "
    "NULL,"
    " instance INTEGER NOT NULL, pid INTEGER NOT NULL, start_us INTEGER, end_us INTEGER, return_code INTEGER,"
    " reason TEXT NOT NULL, max_rss_bytes INTEGER NOT NULL, cpu_us INTEGER NOT NULL);"
    "CREATE INDEX runs_of_app ON runs(app, start_us);"
    "CREATE TABLE revoked(jti TEXT PRIMARY KEY, expires_us INTEGER NOT NULL) WITHOUT ROWID;",
    "CREATE TABLE audit(id INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, record TEXT NOT NULL,"
    " previous TEXT NOT NULL, hash TEXT NOT NULL);"};

constexpr std::uint32_t kPruneAppEvery = 64;    // inserts of one app
constexpr std::uint64_t kPruneAllEvery = 1000;  // inserts of all apps
constexpr std::int64_t kPruneAllRows = 1500;    // more than kPruneAllEvery, so the total shrinks to its bound
constexpr std::int64_t kPruneAuditEvery = 256;  // entries
constexpr std::size_t kMaxCountedApps = 20'000;

std::int64_t micros(core::WallTime time) {
  return time.time_since_epoch().count();
}

std::optional<std::int64_t> micros(const std::optional<core::WallTime>& time) {
  return time ? std::optional{micros(*time)} : std::nullopt;
}

SqlResult<> migrate(Connection& connection) {
  const auto version = connection.number("PRAGMA user_version");
  if (!version) return std::unexpected(version.error());
  if (*version < 0 || *version > static_cast<std::int64_t>(kMigrations.size())) {
    return std::unexpected(SqlError{SQLITE_ERROR, "made by a newer version (schema " + std::to_string(*version) + ")"});
  }
  for (auto step = static_cast<std::size_t>(*version); step < kMigrations.size(); ++step) {
    const std::string sql = "BEGIN IMMEDIATE;" + std::string{kMigrations[step]} +
                            "PRAGMA user_version=" + std::to_string(step + 1) + ";COMMIT;";
    if (auto done = connection.execute(sql); !done) return done;
  }
  return {};
}

}  // namespace

std::string audit_hash(const AuditEntry& entry) {
  static constexpr char kDigits[] = "0123456789abcdef";
  const std::string text = entry.previous + '\n' + std::to_string(entry.id) + '\n' +
                           std::to_string(micros(entry.what.time)) + '\n' + entry.what.record + '\n';
  std::array<unsigned char, 32> digest{};
  if (EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1) return {};
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += kDigits[byte >> 4U];
    hex += kDigits[byte & 15U];
  }
  return hex;
}

std::string pack_run_id(const std::string& run_id) {
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  if (run_id.size() != 32 || !std::ranges::all_of(run_id, [&](char c) { return digit(c) >= 0; })) return run_id;
  std::string packed;
  for (std::size_t i = 0; i < run_id.size(); i += 2) {
    packed += static_cast<char>(digit(run_id[i]) * 16 + digit(run_id[i + 1]));
  }
  return packed;
}

std::string unpack_run_id(std::string packed) {
  static constexpr char kDigits[] = "0123456789abcdef";
  if (packed.size() != 16) return packed;
  std::string text;
  for (const char c : packed) {
    text += kDigits[static_cast<unsigned char>(c) >> 4U];
    text += kDigits[static_cast<unsigned char>(c) & 15U];
  }
  return text;
}

Result<StateWriter> StateWriter::open(const std::filesystem::path& file, const StateStore::Options& options) {
  {
    // SQLite would make it with the umask's mode; the -wal and -shm files copy the mode of this one.
    const platform::UniqueFd fd{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!fd) return platform::file_error("open", file, errno);
  }
  const auto named = [&](const SqlError& error) {
    Error named_error = error.error();
    named_error.message = file.string() + ": " + named_error.message;
    return std::unexpected(std::move(named_error));
  };
  auto connection = Connection::open(file, Connection::Mode::write);
  if (!connection) return named(connection.error());
  StateWriter writer;
  writer.options_ = options;
  writer.connection_ = std::move(*connection);
  if (auto set = writer.connection_.execute(
          "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=4194304;");
      !set) {
    return named(set.error());
  }
  if (auto done = migrate(writer.connection_); !done) return named(done.error());
  if (auto done = writer.prepare_all(); !done) return named(done.error());
  return writer;
}

SqlResult<> StateWriter::prepare_all() {
  struct Item {
    Statement* statement;
    std::string_view sql;
  };
  const Item items[] = {
      {&begin_, "BEGIN IMMEDIATE"},
      {&commit_, "COMMIT"},
      {&save_app_,
       "INSERT INTO apps(name,state,definition) VALUES(?1,?2,?3) ON CONFLICT(name) DO UPDATE SET state=excluded.state,"
       " definition=CASE WHEN excluded.definition='' THEN definition ELSE excluded.definition END"},
      {&delete_app_, "DELETE FROM apps WHERE name=?1"},
      {&record_run_,
       "INSERT INTO runs(run_id,app,run_number,instance,pid,start_us,end_us,return_code,reason,max_rss_bytes,cpu_us)"
       " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11) ON CONFLICT(run_id) DO NOTHING"},
      // Only what is known goes over what is there, and nothing over a row that has its end.
      {&merge_run_,
       "UPDATE runs SET pid=CASE WHEN ?5=0 THEN pid ELSE ?5 END, start_us=coalesce(?6,start_us), end_us=?7,"
       " return_code=coalesce(?8,return_code), reason=CASE WHEN ?9='' THEN reason ELSE ?9 END,"
       " max_rss_bytes=max(?10,max_rss_bytes), cpu_us=max(?11,cpu_us) WHERE run_id=?1 AND end_us IS NULL"},
      {&revoke_,
       "INSERT INTO revoked(jti,expires_us) VALUES(?1,?2)"
       " ON CONFLICT(jti) DO UPDATE SET expires_us=max(expires_us,excluded.expires_us)"},
      {&forget_expired_, "DELETE FROM revoked WHERE expires_us<=?1"},
      {&prune_by_count_,
       "DELETE FROM runs WHERE app=?1 AND end_us IS NOT NULL AND start_us<="
       "(SELECT start_us FROM runs WHERE app=?1 ORDER BY start_us DESC LIMIT 1 OFFSET ?2)"},
      {&prune_by_age_, "DELETE FROM runs WHERE app=?1 AND start_us<?2 AND end_us IS NOT NULL"},
      // Rows are numbered in the order of their first report, so the lowest numbers are the oldest: no index on time.
      {&prune_oldest_aged_,
       "DELETE FROM runs WHERE id IN (SELECT id FROM runs ORDER BY id LIMIT ?1) AND coalesce(end_us,start_us,0)<?2"},
      {&prune_oldest_,
       "DELETE FROM runs WHERE id IN (SELECT id FROM runs ORDER BY id LIMIT ?1) AND end_us IS NOT NULL"},
      {&add_audit_, "INSERT INTO audit(id,time_us,record,previous,hash) VALUES(?1,?2,?3,?4,?5)"},
      {&prune_audit_, "DELETE FROM audit WHERE id<=?1"},
  };
  for (const auto& item : items) {
    auto statement = connection_.prepare(item.sql);
    if (!statement) return std::unexpected(statement.error());
    *item.statement = std::move(*statement);
  }
  return {};
}

SqlResult<> StateWriter::begin(bool durable) {
  // The level cannot be changed inside a transaction. FULL syncs the WAL at each commit.
  if (durable != is_durable_) {
    if (auto set = connection_.execute(durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL"); !set)
      return set;
    is_durable_ = durable;
  }
  if (auto begun = begin_.run(); !begun) return begun;
  if (rows_ == kUnknownRows) {
    const auto rows = connection_.number("SELECT count(*) FROM runs");
    if (!rows) return std::unexpected(rows.error());
    rows_ = *rows;
  }
  return {};
}

SqlResult<> StateWriter::commit() {
  return commit_.run();
}

void StateWriter::roll_back() {
  // Some errors have ended the transaction already, see sqlite3_get_autocommit.
  if (connection_.in_transaction()) (void)connection_.execute("ROLLBACK");
  inserts_.clear();
  rows_ = kUnknownRows;
  last_audit_.reset();
}

SqlResult<> StateWriter::save_app(const SavedApp& app, bool replaces) {
  if (replaces) {
    if (auto gone = delete_app(app.name); !gone) return gone;
  }
  return save_app_.bind(1, app.name).bind(2, app.state).bind(3, app.definition).run();
}

SqlResult<> StateWriter::delete_app(const std::string& name) {
  return delete_app_.bind(1, name).run();
}

SqlResult<> StateWriter::record_run(const RunRecord& run) {
  const std::string id = pack_run_id(run.run_id);
  const auto bind_all = [&](Statement& statement) {
    statement.bind_blob(1, id)
        .bind(5, std::int64_t{run.pid})
        .bind(6, micros(run.start))
        .bind(7, micros(run.end))
        .bind(8, run.return_code ? std::optional<std::int64_t>{*run.return_code} : std::nullopt)
        .bind(9, run.reason)
        .bind(10, static_cast<std::int64_t>(run.max_rss_bytes))
        .bind(11, std::int64_t{run.cpu.count()});
  };
  record_run_.bind(2, run.app).bind(3, static_cast<std::int64_t>(run.run_number)).bind(4, std::int64_t{run.instance});
  bind_all(record_run_);
  if (auto done = record_run_.run(); !done) return done;
  if (connection_.changes() > 0) {
    ++rows_;
    return count_insert(run.app);
  }
  bind_all(merge_run_);
  return merge_run_.run();
}

SqlResult<> StateWriter::revoke_token(const RevokedToken& token) {
  return revoke_.bind(1, token.jti).bind(2, micros(token.expires)).run();
}

SqlResult<> StateWriter::forget_expired_tokens(core::WallTime now) {
  return forget_expired_.bind(1, micros(now)).run();
}

SqlResult<> StateWriter::find_last_audit() {
  auto newest = connection_.prepare("SELECT id,hash FROM audit ORDER BY id DESC LIMIT 1");
  if (!newest) return std::unexpected(newest.error());
  const auto row = newest->next_row();
  if (!row) return std::unexpected(row.error());
  AuditEntry last;
  if (*row) {
    last.id = newest->integer(0);
    last.hash = newest->text(1);
  }
  newest->reset();
  last_audit_ = std::move(last);
  return {};
}

SqlResult<> StateWriter::audit(const AuditRecord& record) {
  if (!last_audit_) {
    if (auto found = find_last_audit(); !found) return found;
  }
  AuditEntry entry{.id = last_audit_->id + 1, .what = record, .previous = last_audit_->hash, .hash = {}};
  entry.hash = audit_hash(entry);
  add_audit_.bind(1, entry.id).bind(2, micros(entry.what.time)).bind(3, entry.what.record);
  if (auto added = add_audit_.bind(4, entry.previous).bind(5, entry.hash).run(); !added) return added;
  last_audit_->id = entry.id;
  last_audit_->hash = std::move(entry.hash);
  if (entry.id % kPruneAuditEvery != 0) return {};
  return prune_audit_.bind(1, entry.id - options_.audit_entries).run();
}

SqlResult<> StateWriter::count_insert(const std::string& app) {
  if (inserts_.size() >= kMaxCountedApps) inserts_.clear();
  if (auto& count = inserts_[app]; ++count >= kPruneAppEvery) {
    count = 0;
    if (auto done = prune_app(app); !done) return done;
  }
  return ++inserts_of_all_ % kPruneAllEvery == 0 ? prune_all() : SqlResult<>{};
}

SqlResult<> StateWriter::prune_app(const std::string& app) {
  if (auto done = prune_by_count_.bind(1, app).bind(2, static_cast<std::int64_t>(options_.history_per_app)).run();
      !done) {
    return done;
  }
  rows_ -= connection_.changes();
  const auto oldest = micros(platform::wall_now() - options_.history_age);
  if (auto done = prune_by_age_.bind(1, app).bind(2, oldest).run(); !done) return done;
  rows_ -= connection_.changes();
  return {};
}

SqlResult<> StateWriter::prune_all() {
  const auto oldest = micros(platform::wall_now() - options_.history_age);
  if (auto done = prune_oldest_aged_.bind(1, kPruneAllRows).bind(2, oldest).run(); !done) return done;
  rows_ -= connection_.changes();
  const auto excess = rows_ - static_cast<std::int64_t>(options_.history_total);
  if (excess <= 0) return {};
  if (auto done = prune_oldest_.bind(1, std::min(excess, kPruneAllRows)).run(); !done) return done;
  rows_ -= connection_.changes();
  return {};
}

}  // namespace appmesh::store
