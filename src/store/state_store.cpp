#include "store/state_store.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <limits>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <variant>

#include "platform/clock.h"
#include "store/sqlite.h"
#include "store/state_writer.h"

namespace appmesh::store {
namespace {

constexpr std::size_t kMaxBatch = 4096;  // bounds the WAL of one commit and the time until its first Done
constexpr std::chrono::milliseconds kRetryPause{250};
constexpr std::size_t kMinCompacted = 4096;  // writes that wait for a disk that takes nothing, before they are combined
constexpr std::size_t kMaxCombinedBytes = 1 << 20;  // of a save that may be combined: far less than SQLite refuses

struct SaveApp {
  SavedApp app;
  bool replaces = false;  // a delete came before it in the batch
};
struct DeleteApp {
  std::string name;
};
struct ForgetExpired {
  core::WallTime now;
};
// Nothing is left to do: a later write of the same batch, which has its outcome, does it as well.
struct Superseded {
  std::size_t by;
};
struct Barrier {};
// Its asker was refused: it must not be carried out any more.
struct Refused {};
using Write =
    std::variant<SaveApp, DeleteApp, RunRecord, RevokedToken, ForgetExpired, AuditRecord, Superseded, Barrier, Refused>;

using Clock = std::chrono::steady_clock;

struct Queued {
  Write write;
  StateStore::Done done;
  bool is_request = false;  // a user waits for it
  Clock::time_point asked{};
};

bool is_durable(const Queued& queued) {
  return std::holds_alternative<RevokedToken>(queued.write);
}

bool is_urgent(const Queued& queued) {
  const bool is_of_app =
      std::holds_alternative<SaveApp>(queued.write) || std::holds_alternative<DeleteApp>(queued.write);
  return is_durable(queued) || std::holds_alternative<Barrier>(queued.write) || (is_of_app && queued.done);
}

bool is_request(const Queued& queued) {
  return queued.done && is_urgent(queued);
}

bool is_large(const Queued& queued) {
  const auto* save = std::get_if<SaveApp>(&queued.write);
  return save != nullptr && save->app.state.size() + save->app.definition.size() > kMaxCombinedBytes;
}

// Leaves one write for each app: the last, which takes over what the earlier ones would have left behind. A write that
// may yet be refused takes nothing over from one that may not.
template <typename Queue>
void combine(Queue& batch) {
  // A save that SQLite refuses must leave the app as the writes before it made it, so these are then carried out too.
  if (batch.size() < 2 || std::ranges::any_of(batch, is_large)) return;
  std::unordered_map<std::string_view, std::size_t> last;  // the names are those of writes that stay
  for (std::size_t i = batch.size(); i-- > 0;) {
    auto* save = std::get_if<SaveApp>(&batch[i].write);
    const auto* removal = std::get_if<DeleteApp>(&batch[i].write);
    if (save == nullptr && removal == nullptr) continue;
    const auto [later, is_last] = last.try_emplace(save != nullptr ? save->app.name : removal->name, i);
    if (is_last) continue;
    if (batch[later->second].is_request && !batch[i].is_request) continue;
    if (auto* kept = std::get_if<SaveApp>(&batch[later->second].write); kept != nullptr && !kept->replaces) {
      if (removal != nullptr) {
        kept->replaces = true;
      } else if (kept->app.definition.empty()) {
        kept->app.definition = std::move(save->app.definition);
      }
    }
    batch[i].write = Superseded{later->second};
  }
}

SqlResult<> carry_out(StateWriter& writer, const Write& write) {
  struct Visitor {
    StateWriter& writer;
    SqlResult<> operator()(const SaveApp& save) const { return writer.save_app(save.app, save.replaces); }
    SqlResult<> operator()(const DeleteApp& app) const { return writer.delete_app(app.name); }
    SqlResult<> operator()(const RunRecord& run) const { return writer.record_run(run); }
    SqlResult<> operator()(const RevokedToken& token) const { return writer.revoke_token(token); }
    SqlResult<> operator()(const ForgetExpired& forget) const { return writer.forget_expired_tokens(forget.now); }
    SqlResult<> operator()(const AuditRecord& record) const { return writer.audit(record); }
    SqlResult<> operator()(const Superseded&) const { return {}; }
    SqlResult<> operator()(const Barrier&) const { return {}; }
    SqlResult<> operator()(const Refused&) const { return {}; }
  };
  return std::visit(Visitor{writer}, write);
}

std::optional<core::WallTime> wall(std::optional<std::int64_t> micros) {
  if (!micros) return std::nullopt;
  return core::WallTime{std::chrono::microseconds{*micros}};
}

constexpr std::string_view kRunColumns =
    "SELECT run_id,app,run_number,instance,pid,start_us,end_us,return_code,reason,max_rss_bytes,cpu_us FROM runs ";

RunRecord run_of_row(const Statement& row) {
  RunRecord run;
  run.run_id = unpack_run_id(row.text(0));
  run.app = row.text(1);
  run.run_number = static_cast<std::uint64_t>(row.integer(2));
  run.instance = static_cast<std::uint32_t>(row.integer(3));
  run.pid = static_cast<std::int32_t>(row.integer(4));
  run.start = wall(row.optional_integer(5));
  run.end = wall(row.optional_integer(6));
  if (const auto code = row.optional_integer(7)) run.return_code = static_cast<int>(*code);
  run.reason = row.text(8);
  run.max_rss_bytes = static_cast<std::uint64_t>(row.integer(9));
  run.cpu = std::chrono::microseconds{row.integer(10)};
  return run;
}

class SqliteStateStore final : public StateStore {
 public:
  SqliteStateStore(std::filesystem::path file, Options options, StateWriter writer)
      : file_(std::move(file)), options_(options), writer_(std::move(writer)), thread_([this] { run(); }) {}

  ~SqliteStateStore() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_all();
    thread_.join();
  }

  SqliteStateStore(const SqliteStateStore&) = delete;
  SqliteStateStore& operator=(const SqliteStateStore&) = delete;

  void save_app(SavedApp app, Done done) override { ask({SaveApp{std::move(app)}, std::move(done)}); }
  void delete_app(std::string name, Done done) override { ask({DeleteApp{std::move(name)}, std::move(done)}); }
  void record_run(RunRecord run, Done done) override { ask({std::move(run), std::move(done)}); }
  void revoke_token(RevokedToken token, Done done) override { ask({std::move(token), std::move(done)}); }

  void audit(AuditRecord record, Done done) override { ask({std::move(record), std::move(done)}); }

  void flush() override {
    std::unique_lock lock(mutex_);
    const std::uint64_t until = asked_;
    urgent_until_ = until;
    if (ends_sleep()) work_.notify_one();
    room_.wait(lock, [&] { return finished_ >= until || trouble_; });
  }

  void barrier(Done done) override {
    if (is_idle()) return done({});
    ask({Barrier{}, std::move(done)});
  }

  std::optional<Error> trouble() const override {
    const std::lock_guard lock(mutex_);
    return trouble_;
  }

  std::size_t queued() const override {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(asked_ - finished_);
  }

  Result<std::vector<SavedApp>> load_apps() override {
    std::vector<SavedApp> apps;
    auto done = read(
        "SELECT name,state,definition FROM apps ORDER BY name", [](Statement&) {},
        [&](const Statement& row) { apps.push_back({row.text(0), row.text(1), row.text(2)}); });
    if (!done) return std::unexpected(done.error());
    return apps;
  }

  Result<std::vector<RevokedToken>> load_revoked(core::WallTime now) override {
    ask({ForgetExpired{now}, nullptr});
    std::vector<RevokedToken> tokens;
    auto done = read(
        "SELECT jti,expires_us FROM revoked WHERE expires_us>?1",
        [&](Statement& statement) { statement.bind(1, now.time_since_epoch().count()); },
        [&](const Statement& row) { tokens.push_back({row.text(0), *wall(row.integer(1))}); });
    if (!done) return std::unexpected(done.error());
    return tokens;
  }

  Result<std::vector<RunRecord>> runs(const std::string& app, std::size_t limit,
                                      std::optional<core::WallTime> before) override {
    if (limit < 1 || limit > 1000) return fail(ErrorKind::invalid_argument, "limit must be 1..1000");
    std::vector<RunRecord> found;
    const std::string sql = std::string{kRunColumns} + (before ? "WHERE app=?1 AND start_us<?3" : "WHERE app=?1") +
                            " ORDER BY start_us DESC, id DESC LIMIT ?2";
    auto done = read(
        sql,
        [&](Statement& statement) {
          statement.bind(1, app).bind(2, static_cast<std::int64_t>(limit));
          if (before) statement.bind(3, before->time_since_epoch().count());
        },
        [&](const Statement& row) { found.push_back(run_of_row(row)); });
    if (!done) return std::unexpected(done.error());
    return found;
  }

  Result<std::vector<AuditEntry>> audit_trail(std::size_t limit, std::optional<std::int64_t> before) override {
    if (limit < 1 || limit > 1000) return fail(ErrorKind::invalid_argument, "limit must be 1..1000");
    std::vector<AuditEntry> found;
    auto done = read(
        "SELECT id,time_us,record,previous,hash FROM audit WHERE id<?1 ORDER BY id DESC LIMIT ?2",
        [&](Statement& statement) {
          statement.bind(1, before.value_or(std::numeric_limits<std::int64_t>::max()));
          statement.bind(2, static_cast<std::int64_t>(limit));
        },
        [&](const Statement& row) {
          found.push_back({row.integer(0), {*wall(row.integer(1)), row.text(2)}, row.text(3), row.text(4)});
        });
    if (!done) return std::unexpected(done.error());
    return found;
  }

  Result<std::optional<RunRecord>> find_run(const std::string& run_id) override {
    std::optional<RunRecord> found;
    const std::string id = pack_run_id(run_id);
    auto done = read(
        std::string{kRunColumns} + "WHERE run_id=?1", [&](Statement& statement) { statement.bind_blob(1, id); },
        [&](const Statement& row) { found = run_of_row(row); });
    if (!done) return std::unexpected(done.error());
    return found;
  }

 private:
  // What the writer thread sleeps for, so that only a write that ends the sleep pays for a wake-up.
  enum class Asleep : std::uint8_t { no, for_work, for_company };

  [[nodiscard]] bool is_idle() const {
    const std::lock_guard lock(mutex_);
    return finished_ == asked_ && !trouble_;
  }

  void ask(Queued queued) {
    queued.is_request = is_request(queued);
    queued.asked = Clock::now();
    bool wakes = false;
    {
      std::unique_lock lock(mutex_);
      // A Done may ask for more; the writer thread must not wait for itself.
      if (std::this_thread::get_id() != thread_.get_id()) {
        room_.wait(lock, [&] { return queue_.size() < options_.queue_limit || trouble_; });
      }
      // Nobody may wait for a disk that may stay full for days. What is not recorded is not acknowledged either, so the
      // keeper tells an exit again.
      if (trouble_ && queue_.size() >= options_.queue_limit) {
        const Error refusal = *trouble_;
        lock.unlock();
        if (queued.done) queued.done(std::unexpected(refusal));
        return;
      }
      const bool urgent = is_urgent(queued);
      queue_.push_back(std::move(queued));
      ++asked_;
      if (urgent || queue_.size() >= std::min(kMaxBatch, options_.queue_limit)) urgent_until_ = asked_;
      wakes = ends_sleep();
    }
    if (wakes) work_.notify_one();
  }

  // With the mutex held: whether the writer thread must be woken. True once a sleep.
  bool ends_sleep() {
    if (asleep_ == Asleep::no || queue_.empty() || (asleep_ == Asleep::for_company && !is_hurried())) return false;
    asleep_ = Asleep::no;
    return true;
  }

  // An urgent write is among those that wait.
  [[nodiscard]] bool is_hurried() const { return urgent_until_ > asked_ - queue_.size(); }

  // The next writes to commit together; none when the store is being closed and all is done.
  std::vector<Queued> next_batch() {
    std::unique_lock lock(mutex_);
    asleep_ = Asleep::for_work;
    work_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    asleep_ = Asleep::for_company;
    work_.wait_for(lock, options_.commit_delay, [&] { return stopping_ || is_hurried(); });
    asleep_ = Asleep::no;
    const auto count = static_cast<std::ptrdiff_t>(std::min(queue_.size(), kMaxBatch));
    std::vector<Queued> batch{std::make_move_iterator(queue_.begin()), std::make_move_iterator(queue_.begin() + count)};
    queue_.erase(queue_.begin(), queue_.begin() + count);
    return batch;
  }

  void run() {
    for (auto batch = next_batch(); !batch.empty(); batch = next_batch()) {
      combine(batch);
      commit(batch);
      {
        const std::lock_guard lock(mutex_);
        finished_ += batch.size();
      }
      room_.notify_all();
    }
  }

  // One transaction for the batch, tried again while the trouble may pass; then every Done hears how it ended.
  void commit(std::vector<Queued>& batch) {
    std::vector<std::optional<SqlError>> refused(batch.size());
    SqlResult<> outcome = attempt(batch, refused);
    while (!outcome && outcome.error().is_transient()) {
      note_trouble(outcome.error().error());
      if (!pause()) break;
      const Error reason = outcome.error().error();
      refuse_requests(batch, reason);
      refuse_waiting(reason);
      outcome = attempt(batch, refused);
    }
    if (outcome) note_trouble(std::nullopt);
    for (std::size_t i = batch.size(); i-- > 0;) {
      if (const auto* superseded = std::get_if<Superseded>(&batch[i].write)) refused[i] = refused[superseded->by];
    }
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (!batch[i].done) continue;
      if (!outcome) {
        batch[i].done(std::unexpected(outcome.error().error()));
      } else if (refused[i]) {
        batch[i].done(std::unexpected(refused[i]->error()));
      } else {
        batch[i].done({});
      }
    }
  }

  // A write that SQLite refuses for its own sake (too large a text) is noted in `refused` and does not spoil the
  // others.
  SqlResult<> attempt(const std::vector<Queued>& batch, std::vector<std::optional<SqlError>>& refused) {
    const auto give_up = [&](SqlError error) -> SqlResult<> {
      writer_.roll_back();
      return std::unexpected(std::move(error));
    };
    if (auto begun = writer_.begin(std::ranges::any_of(batch, is_durable)); !begun) return give_up(begun.error());
    for (std::size_t i = 0; i < batch.size(); ++i) {
      refused[i].reset();
      auto written = carry_out(writer_, batch[i].write);
      if (written) continue;
      if (written.error().is_transient()) return give_up(written.error());
      refused[i] = written.error();
    }
    if (auto committed = writer_.commit(); !committed) return give_up(committed.error());
    return {};
  }

  void note_trouble(std::optional<Error> trouble) {
    bool told = false;
    {
      const std::lock_guard lock(mutex_);
      told = trouble.has_value() && !trouble_;
      trouble_ = std::move(trouble);
    }
    if (told) room_.notify_all();  // who waits for room or for a flush waits no longer
  }

  // Who asked long enough ago hears no, and the write is taken out: it must not happen later, behind his back.
  template <typename Queue>
  [[nodiscard]] std::vector<Done> take_impatient(Queue& queue) const {
    std::vector<Done> askers;
    const auto limit = Clock::now() - options_.patience;
    for (Queued& queued : queue) {
      if (!queued.is_request || !queued.done || queued.asked > limit) continue;
      askers.push_back(std::exchange(queued.done, nullptr));
      if (!std::holds_alternative<Superseded>(queued.write)) queued.write = Refused{};
    }
    return askers;
  }

  void refuse_requests(std::vector<Queued>& batch, const Error& reason) {
    for (auto& done : take_impatient(batch)) done(std::unexpected(reason));
  }

  void refuse_waiting(const Error& reason) {
    std::vector<Done> askers;
    {
      const std::lock_guard lock(mutex_);
      askers = take_impatient(queue_);
      if (queue_.size() >= std::max(kMinCompacted, 2 * compacted_)) compact();
    }
    for (auto& done : askers) done(std::unexpected(reason));
  }

  // With the mutex held: a disk may take nothing for long, and each app needs its last state only.
  void compact() {
    combine(queue_);
    // What superseded them is still in the queue, so whoever waits for such a write waits for that one.
    const auto nothing_left = [](const Queued& queued) {
      return !queued.done &&
             (std::holds_alternative<Superseded>(queued.write) || std::holds_alternative<Refused>(queued.write));
    };
    finished_ += std::erase_if(queue_, nothing_left);
    for (Queued& queued : queue_)
      if (std::holds_alternative<Superseded>(queued.write)) queued.write = Barrier{};
    compacted_ = queue_.size();
  }

  // False when the store is being closed: then the last attempt was the last.
  bool pause() {
    std::unique_lock lock(mutex_);
    return !work_.wait_for(lock, kRetryPause, [&] { return stopping_; });
  }

  template <typename Bind, typename Row>
  Result<void> read(std::string_view sql, Bind bind, Row row) {
    const std::lock_guard lock(read_mutex_);
    if (!reader_) {
      auto connection = Connection::open(file_, Connection::Mode::read);
      if (!connection) return std::unexpected(connection.error().error());
      reader_ = std::move(*connection);
    }
    auto statement = reader_.prepare(sql);
    if (!statement) return std::unexpected(statement.error().error());
    bind(*statement);
    for (;;) {
      const auto more = statement->next_row();
      if (!more) return std::unexpected(more.error().error());
      if (!*more) return {};
      row(*statement);
    }
  }

  const std::filesystem::path file_;
  const Options options_;

  std::mutex read_mutex_;
  Connection reader_;  // opened at the first read

  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable room_;
  std::deque<Queued> queue_;
  std::uint64_t asked_ = 0;
  std::uint64_t urgent_until_ = 0;  // the asked_ of the last urgent write
  std::uint64_t finished_ = 0;
  std::size_t compacted_ = 0;     // writes that compact() left last
  std::optional<Error> trouble_;  // why the last attempt failed, while nothing could be written since
  Asleep asleep_ = Asleep::no;
  bool stopping_ = false;
  StateWriter writer_;  // the writer thread's alone
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

Result<std::unique_ptr<StateStore>> StateStore::open(const std::filesystem::path& file, Options options) {
  auto writer = StateWriter::open(file, options);
  if (!writer) return std::unexpected(writer.error());
  return std::make_unique<SqliteStateStore>(file, options, std::move(*writer));
}

}  // namespace appmesh::store
