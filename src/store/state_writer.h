// The SQL of the state store: the schema and one method a kind of write, inside a transaction that the caller begins
// and ends. Used only by the writer thread of state_store.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "core/time.h"
#include "store/sqlite.h"
#include "store/state_store.h"

namespace appmesh::store {

// 32 lower-case hex digits are kept as 16 bytes, which halves the index; any other id as it is.
[[nodiscard]] std::string pack_run_id(const std::string& run_id);
[[nodiscard]] std::string unpack_run_id(std::string packed);

class StateWriter {
 public:
  // Opens or makes the file (0600) and brings its schema up to date.
  [[nodiscard]] static Result<StateWriter> open(const std::filesystem::path& file, const StateStore::Options& options);

  // A durable transaction is on the disk, not only with the kernel, when commit() returns.
  [[nodiscard]] SqlResult<> begin(bool durable);
  [[nodiscard]] SqlResult<> commit();
  void roll_back();

  // `replaces`: whatever is stored of the app goes first, also a definition that an empty one would keep.
  [[nodiscard]] SqlResult<> save_app(const SavedApp& app, bool replaces);
  [[nodiscard]] SqlResult<> delete_app(const std::string& name);
  [[nodiscard]] SqlResult<> record_run(const RunRecord& run);
  [[nodiscard]] SqlResult<> revoke_token(const RevokedToken& token);
  [[nodiscard]] SqlResult<> forget_expired_tokens(core::WallTime now);
  [[nodiscard]] SqlResult<> audit(const AuditRecord& record);

 private:
  StateWriter() = default;
  [[nodiscard]] SqlResult<> prepare_all();
  [[nodiscard]] SqlResult<> count_insert(const std::string& app);
  [[nodiscard]] SqlResult<> prune_app(const std::string& app);
  [[nodiscard]] SqlResult<> prune_all();
  [[nodiscard]] SqlResult<> find_last_audit();

  StateStore::Options options_;
  Connection connection_;
  Statement begin_;
  Statement commit_;
  Statement save_app_;
  Statement delete_app_;
  Statement record_run_;
  Statement merge_run_;
  Statement revoke_;
  Statement forget_expired_;
  Statement prune_by_count_;
  Statement prune_by_age_;
  Statement prune_oldest_aged_;
  Statement prune_oldest_;
  Statement add_audit_;
  Statement prune_audit_;
  bool is_durable_ = false;
  std::optional<AuditEntry> last_audit_;                    // the newest; its record is left out
  std::unordered_map<std::string, std::uint32_t> inserts_;  // since the app was pruned; bounded
  std::uint64_t inserts_of_all_ = 0;
  static constexpr std::int64_t kUnknownRows = -1;
  std::int64_t rows_ = kUnknownRows;  // of runs; counted by the first begin()
};

}  // namespace appmesh::store
