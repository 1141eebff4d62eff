// A file that has no name while it is written and appears whole or not at all. Without a name nothing of it survives a
// killed process; where a file system knows no nameless files, a hidden name stands beside the target instead, locked,
// and the next upload to that directory removes those that nobody holds any more. One thread at a time; every call
// blocks on the disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "core/error.h"
#include "platform/unique_fd.h"

namespace appmesh::platform {

class NewFile {
 public:
  // `name` is one component. The file's mode is 0600 until commit(). Errors: those of file_error().
  [[nodiscard]] static Result<NewFile> create(UniqueFd directory, std::string name);
  // What create() does where there are no nameless files; for itself and for tests.
  [[nodiscard]] static Result<NewFile> create_hidden(UniqueFd directory, std::string name);
  NewFile(NewFile&&) noexcept = default;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();  // without commit() nothing is left

  struct Attributes {
    std::optional<mode_t> mode;  // permission bits only
    std::optional<uid_t> user;
    std::optional<gid_t> group;
  };

  [[nodiscard]] Result<void> append(std::string_view data);
  // Applies the attributes, waits for the disk, gives the file its name, and waits for that. Error conflict: something
  // has that name.
  [[nodiscard]] Result<void> commit(const Attributes& attributes);

 private:
  NewFile(UniqueFd directory, std::string name, UniqueFd file, std::string temporary)
      : directory_(std::move(directory)),
        name_(std::move(name)),
        file_(std::move(file)),
        temporary_(std::move(temporary)) {}
  [[nodiscard]] Result<void> flush();
  [[nodiscard]] int link();  // an errno, or 0

  UniqueFd directory_;
  std::string name_;
  UniqueFd file_;
  std::string temporary_;  // empty: the file has no name yet
  std::uint64_t size_bytes_ = 0;
  std::uint64_t flushed_bytes_ = 0;  // that were given to the disk
  std::uint64_t written_bytes_ = 0;  // of these, that were waited for
};

}  // namespace appmesh::platform
