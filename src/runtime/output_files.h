// Output of runs on disk: one append-only file per run, <directory>/<app>.<run>.log. Positions are byte offsets of the
// run's stream and never move; a file over its bound gives back its oldest blocks (a hole punched at the head).
// No state but the directory: any thread. All calls touch the disk but only for metadata or bounded reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/lifecycle.h"
#include "platform/unique_fd.h"

namespace appmesh::runtime {

struct OutputChunk {
  std::string bytes;
  std::uint64_t begin = 0;  // offset of the first byte; later than asked for when the head was given back
  std::uint64_t end = 0;    // offset after the last byte: the next position to ask for
  std::uint64_t size = 0;   // of the stream so far
};

class OutputFiles {
 public:
  explicit OutputFiles(std::filesystem::path directory) : directory_(std::move(directory)) {}

  [[nodiscard]] std::filesystem::path path(std::string_view app, core::RunNumber run) const { return file(app, run); }

  // For the child: write-only, appending, made when missing, 0600.
  [[nodiscard]] Result<platform::UniqueFd> open_for_run(std::string_view app, core::RunNumber run) const;

  // Up to max_bytes from position. Errors: expectation_failed when position lies beyond the end, not_found without a
  // file.
  [[nodiscard]] Result<OutputChunk> read(std::string_view app, core::RunNumber run, std::uint64_t position,
                                         std::uint64_t max_bytes) const;
  // The same from a file that may have lost its name.
  [[nodiscard]] Result<OutputChunk> read(const platform::UniqueFd& file, std::uint64_t position,
                                         std::uint64_t max_bytes) const;
  [[nodiscard]] Result<platform::UniqueFd> open_for_reading(std::string_view app, core::RunNumber run) const;
  [[nodiscard]] std::uint64_t size(std::string_view app, core::RunNumber run) const;  // 0 without a file

  // Gives back the oldest blocks when more than `limit_bytes` are kept. False when the file system cannot.
  bool bound(std::string_view app, core::RunNumber run, std::uint64_t limit_bytes) const;

  void remove(std::string_view app, core::RunNumber run) const;

  struct Entry {
    std::string app;
    core::RunNumber run = 0;
  };
  [[nodiscard]] std::vector<Entry> list() const;  // in no order; files with other names are left out

 private:
  [[nodiscard]] std::string file(std::string_view app, core::RunNumber run) const;

  std::filesystem::path directory_;
};

}  // namespace appmesh::runtime
