#include "platform/new_file.h"

#include <cerrno>
#include <cstdio>
#include <utility>

#include <sys/file.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include "platform/file.h"
#include "platform/random.h"

namespace appmesh::platform {
namespace {

constexpr mode_t kFirstMode = 0600;
constexpr std::string_view kPrefix = ".appmesh-upload-";
constexpr std::size_t kMaxScannedEntries = 10'000;
constexpr std::uint64_t kFlushBytes = 8UL * 1024 * 1024;
constexpr std::uint64_t kMaxUnwrittenBytes = 64UL * 1024 * 1024;

// Left behind by a process that was killed: their locks went with it.
void remove_abandoned(int directory_fd) {
  const auto names = list_directory(directory_fd, kMaxScannedEntries);
  if (!names) return;
  for (const std::string& name : *names) {
    if (!name.starts_with(kPrefix)) continue;
    const UniqueFd file(::openat(directory_fd, name.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (file && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0) ::unlinkat(directory_fd, name.c_str(), 0);
  }
}

bool has_no_nameless_files(int error_number) {
  return error_number == EOPNOTSUPP || error_number == EISDIR || error_number == EINVAL;
}

}  // namespace

Result<NewFile> NewFile::create(UniqueFd directory, std::string name) {
  // The name is no one's to guess at; it is wanted for messages only until commit().
  UniqueFd file(::openat(directory.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, kFirstMode));
  if (file) return NewFile(std::move(directory), std::move(name), std::move(file), {});
  if (!has_no_nameless_files(errno)) return file_error("create", name, errno);
  return create_hidden(std::move(directory), std::move(name));
}

Result<NewFile> NewFile::create_hidden(UniqueFd directory, std::string name) {
  UniqueFd readable(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (readable) remove_abandoned(readable.get());
  std::string temporary = std::string(kPrefix) + random_hex(8);
  UniqueFd file(
      ::openat(directory.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFirstMode));
  if (!file) return file_error("create", name, errno);
  NewFile made(std::move(directory), std::move(name), std::move(file), std::move(temporary));
  if (::flock(made.file_.get(), LOCK_EX | LOCK_NB) != 0) return file_error("lock", made.name_, errno);
  return made;
}

NewFile::~NewFile() {
  if (directory_ && !temporary_.empty()) ::unlinkat(directory_.get(), temporary_.c_str(), 0);
}

Result<void> NewFile::append(std::string_view data) {
  if (auto written = write_all(file_.get(), data); !written) {
    written.error().message = name_ + ": " + written.error().message;
    return written;
  }
  size_bytes_ += data.size();
  return size_bytes_ - flushed_bytes_ >= kFlushBytes ? flush() : Result<void>();
}

// The disk works while more arrives, so that the sync at the end finds little left to do. A disk that is slower than
// the network is waited for: the page cache belongs to everybody.
Result<void> NewFile::flush() {
  ::sync_file_range(file_.get(), static_cast<off64_t>(flushed_bytes_),
                    static_cast<off64_t>(size_bytes_ - flushed_bytes_), SYNC_FILE_RANGE_WRITE);
  flushed_bytes_ = size_bytes_;
  if (flushed_bytes_ - written_bytes_ <= kMaxUnwrittenBytes) return {};
  const std::uint64_t length = flushed_bytes_ - written_bytes_ - kMaxUnwrittenBytes;
  const int waited =
      ::sync_file_range(file_.get(), static_cast<off64_t>(written_bytes_), static_cast<off64_t>(length),
                        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
  written_bytes_ += length;
  // What failed is told once: the fsync at the end would say nothing of it any more.
  if (waited != 0 && (errno == EIO || errno == ENOSPC || errno == EDQUOT)) return file_error("write", name_, errno);
  return {};
}

Result<void> NewFile::commit(const Attributes& attributes) {
  constexpr uid_t kKeep = static_cast<uid_t>(-1);
  if ((attributes.user || attributes.group) &&
      ::fchown(file_.get(), attributes.user.value_or(kKeep), attributes.group.value_or(kKeep)) != 0) {
    return file_error("change owner of", name_, errno);
  }
  if (attributes.mode && ::fchmod(file_.get(), *attributes.mode) != 0) {
    return file_error("change mode of", name_, errno);
  }
  if (auto synced = sync_fd(file_.get()); !synced) return synced;
  if (const int error_number = link(); error_number != 0) return file_error("create", name_, error_number);
  const UniqueFd directory(::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return {};  // it may be written to and not read: then its entry reaches the disk in its own time
  return sync_fd(directory.get());
}

int NewFile::link() {
  if (temporary_.empty()) {
    const std::string nameless = "/proc/self/fd/" + std::to_string(file_.get());
    return ::linkat(AT_FDCWD, nameless.c_str(), directory_.get(), name_.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
  }
  if (::renameat2(directory_.get(), temporary_.c_str(), directory_.get(), name_.c_str(), RENAME_NOREPLACE) == 0) {
    temporary_.clear();
    return 0;
  }
  // Some network file systems cannot rename without replacing; a hard link does not replace either.
  if (errno != EINVAL) return errno;
  return ::linkat(directory_.get(), temporary_.c_str(), directory_.get(), name_.c_str(), 0) == 0 ? 0 : errno;
}

}  // namespace appmesh::platform
