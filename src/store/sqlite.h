// SQLite with RAII and errors as values: a connection and the prepared statements that it keeps. A connection and its
// statements belong to one thread at a time. See https://www.sqlite.org/c3ref/intro.html.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <sqlite3.h>

#include "core/error.h"

namespace appmesh::store {

// Errors carry SQLite's text; the primary result code is what callers decide by.
struct SqlError {
  int code = SQLITE_ERROR;
  std::string message;
  int system_error = 0;  // errno of the call that failed, as far as SQLite tells
  // insufficient_storage when the disk is full or the quota used up, else internal.
  [[nodiscard]] Error error() const;
  // The world may be better later: disk full, I/O error, another process busy with the file.
  [[nodiscard]] bool is_transient() const;
};
template <typename T = void>
using SqlResult = std::expected<T, SqlError>;

class Statement {
 public:
  Statement() = default;
  // Indexes count from 1. Texts are not copied: they must live until run() or the end of the rows.
  Statement& bind(int index, std::int64_t value);
  Statement& bind(int index, std::string_view text);
  Statement& bind_blob(int index, std::string_view bytes);
  Statement& bind_null(int index);
  Statement& bind(int index, const std::optional<std::int64_t>& value);

  // Runs a statement that gives no rows, and makes it ready for the next.
  [[nodiscard]] SqlResult<> run();
  // The next row, or false at the end; call reset() before leaving early.
  [[nodiscard]] SqlResult<bool> next_row();
  void reset();
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] std::optional<std::int64_t> optional_integer(int column) const;
  [[nodiscard]] std::string text(int column) const;  // of a text or a blob

 private:
  friend class Connection;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  void note(int code);
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
  int bind_error_ = SQLITE_OK;  // the first since the last run, which it fails
};

class Connection {
 public:
  Connection() = default;
  enum class Mode : std::uint8_t { write, read };
  [[nodiscard]] static SqlResult<Connection> open(const std::filesystem::path& file, Mode mode);

  [[nodiscard]] SqlResult<> execute(const std::string& sql);
  [[nodiscard]] SqlResult<Statement> prepare(std::string_view sql);
  // Of a statement that gives one number.
  [[nodiscard]] SqlResult<std::int64_t> number(std::string_view sql);
  [[nodiscard]] std::int64_t changes() const { return sqlite3_changes64(handle_.get()); }
  [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(handle_.get()) == 0; }
  [[nodiscard]] explicit operator bool() const { return handle_ != nullptr; }

 private:
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  [[nodiscard]] SqlError last_error(int code) const;
  std::unique_ptr<sqlite3, Close> handle_;
};

}  // namespace appmesh::store
