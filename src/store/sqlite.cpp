#include "store/sqlite.h"

#include <cerrno>
#include <utility>

namespace appmesh::store {
namespace {

constexpr int kMaxRowBytes = 16 << 20;

SqlError error_of(sqlite3* handle, int code) {
  const char* message = handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
  return {code & 0xff, message, handle != nullptr ? sqlite3_system_errno(handle) : 0};
}

}  // namespace

Error SqlError::error() const {
  // A full disk is SQLITE_FULL only where data is written: the files beside the database, and a quota, are I/O errors.
  const bool is_io = code == SQLITE_IOERR || code == SQLITE_CANTOPEN;
  const bool no_room = code == SQLITE_FULL || (is_io && (system_error == ENOSPC || system_error == EDQUOT));
  return {no_room ? ErrorKind::insufficient_storage : ErrorKind::internal,
          no_room ? "state database: no space left on the disk" : "state database: " + message,
          {}};
}

bool SqlError::is_transient() const {
  switch (code) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:  // the file system was mounted again
      return true;
    default:
      return false;
  }
}

void Statement::note(int code) {
  if (bind_error_ == SQLITE_OK) bind_error_ = code;
}

Statement& Statement::bind(int index, std::int64_t value) {
  note(sqlite3_bind_int64(handle_.get(), index, value));
  return *this;
}

Statement& Statement::bind(int index, std::string_view text) {
  // A null pointer would bind NULL, and the data() of an empty view may be one.
  note(sqlite3_bind_text64(handle_.get(), index, text.empty() ? "" : text.data(), text.size(), SQLITE_STATIC,
                           SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind_blob(int index, std::string_view bytes) {
  note(sqlite3_bind_blob64(handle_.get(), index, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_STATIC));
  return *this;
}

Statement& Statement::bind_null(int index) {
  note(sqlite3_bind_null(handle_.get(), index));
  return *this;
}

Statement& Statement::bind(int index, const std::optional<std::int64_t>& value) {
  return value ? bind(index, *value) : bind_null(index);
}

SqlResult<> Statement::run() {
  if (const int error = std::exchange(bind_error_, SQLITE_OK); error != SQLITE_OK) {
    return std::unexpected(error_of(nullptr, error));
  }
  const int code = sqlite3_step(handle_.get());
  SqlResult<> result;
  if (code != SQLITE_DONE && code != SQLITE_ROW) {
    result = std::unexpected(error_of(sqlite3_db_handle(handle_.get()), code));
  }
  sqlite3_reset(handle_.get());
  return result;
}

SqlResult<bool> Statement::next_row() {
  if (const int error = std::exchange(bind_error_, SQLITE_OK); error != SQLITE_OK) {
    return std::unexpected(error_of(nullptr, error));
  }
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  SqlResult<bool> result = false;
  if (code != SQLITE_DONE) result = std::unexpected(error_of(sqlite3_db_handle(handle_.get()), code));
  sqlite3_reset(handle_.get());
  return result;
}

void Statement::reset() {
  sqlite3_reset(handle_.get());
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(handle_.get(), column);
}

std::optional<std::int64_t> Statement::optional_integer(int column) const {
  if (sqlite3_column_type(handle_.get(), column) == SQLITE_NULL) return std::nullopt;
  return integer(column);
}

std::string Statement::text(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(handle_.get(), column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column))};
}

SqlError Connection::last_error(int code) const {
  return error_of(handle_.get(), code);
}

SqlResult<Connection> Connection::open(const std::filesystem::path& file, Mode mode) {
  sqlite3* raw = nullptr;
  const int flags =
      (mode == Mode::write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(file.c_str(), &raw, flags, nullptr);
  Connection connection;
  connection.handle_.reset(raw);  // also after a failure, see sqlite3_open_v2
  if (code != SQLITE_OK) return std::unexpected(connection.last_error(code));
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, 5000);
  sqlite3_limit(raw, SQLITE_LIMIT_LENGTH, kMaxRowBytes);
  // Small on purpose: the whole daemon stays below 20 MiB and the page cache of the kernel is shared anyway.
  sqlite3_db_config(raw, SQLITE_DBCONFIG_LOOKASIDE, nullptr, 256, 64);
  if (auto set = connection.execute("PRAGMA cache_size=-256; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;"); !set) {
    return std::unexpected(set.error());
  }
  if (mode == Mode::read) {
    if (auto set = connection.execute("PRAGMA query_only=1;"); !set) return std::unexpected(set.error());
  }
  return connection;
}

SqlResult<> Connection::execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return std::unexpected(last_error(code));
  return {};
}

SqlResult<Statement> Connection::prepare(std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  if (code != SQLITE_OK) return std::unexpected(last_error(code));
  Statement statement;
  statement.handle_.reset(raw);
  return statement;
}

SqlResult<std::int64_t> Connection::number(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return std::unexpected(statement.error());
  const auto row = statement->next_row();
  if (!row) return std::unexpected(row.error());
  return *row ? statement->integer(0) : 0;
}

}  // namespace appmesh::store
