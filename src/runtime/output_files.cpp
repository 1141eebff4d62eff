#include "runtime/output_files.h"

#include <algorithm>
#include <cerrno>
#include <charconv>

#include <sys/stat.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "platform/file.h"

namespace appmesh::runtime {

namespace {

constexpr std::uint64_t kBlockBytes = 4096;
constexpr std::size_t kMaxListed = 4'000'000;
constexpr std::string_view kSuffix = ".log";

Result<std::uint64_t> file_size(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno(ErrorKind::internal, "fstat", errno);
  return static_cast<std::uint64_t>(status.st_size);
}

// The first byte at or after `position` that was not given back.
std::uint64_t first_kept(int fd, std::uint64_t position) {
  const off_t data = ::lseek(fd, static_cast<off_t>(position), SEEK_DATA);
  return data < 0 ? position : static_cast<std::uint64_t>(data);
}

}  // namespace

std::string OutputFiles::file(std::string_view app, core::RunNumber run) const {
  return fmt::format("{}/{}.{}{}", directory_.native(), app, run, kSuffix);
}

Result<platform::UniqueFd> OutputFiles::open_for_run(std::string_view app, core::RunNumber run) const {
  const std::string name = file(app, run);
  platform::UniqueFd fd(::open(name.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail_errno(ErrorKind::internal, "output file " + name, errno);
  return fd;
}

Result<OutputChunk> OutputFiles::read(std::string_view app, core::RunNumber run, std::uint64_t position,
                                      std::uint64_t max_bytes) const {
  const auto file = open_for_reading(app, run);
  if (!file) return std::unexpected(file.error());
  return read(*file, position, max_bytes);
}

Result<platform::UniqueFd> OutputFiles::open_for_reading(std::string_view app, core::RunNumber run) const {
  platform::UniqueFd fd(::open(file(app, run).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return fail_errno(errno == ENOENT ? ErrorKind::not_found : ErrorKind::internal, "output file", errno);
  return fd;
}

Result<OutputChunk> OutputFiles::read(const platform::UniqueFd& fd, std::uint64_t position,
                                      std::uint64_t max_bytes) const {
  const auto size = file_size(fd.get());
  if (!size) return std::unexpected(size.error());
  if (position > *size)
    return fail(ErrorKind::expectation_failed,
                fmt::format("position {} lies beyond the output's {} bytes", position, *size));

  OutputChunk chunk;
  chunk.size = *size;
  chunk.begin = position < *size ? std::min(first_kept(fd.get(), position), *size) : position;
  chunk.end = chunk.begin;
  const std::uint64_t wanted = std::min(max_bytes, *size - chunk.begin);
  if (wanted == 0) return chunk;
  chunk.bytes.resize(wanted);
  std::size_t done = 0;
  while (done < wanted) {
    const ssize_t got =
        ::pread(fd.get(), chunk.bytes.data() + done, wanted - done, static_cast<off_t>(chunk.begin + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(ErrorKind::internal, "read output", errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  chunk.bytes.resize(done);
  chunk.end = chunk.begin + done;
  return chunk;
}

std::uint64_t OutputFiles::size(std::string_view app, core::RunNumber run) const {
  struct stat status{};
  return ::stat(file(app, run).c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

bool OutputFiles::bound(std::string_view app, core::RunNumber run, std::uint64_t limit_bytes) const {
  if (size(app, run) <= limit_bytes) return true;
  const platform::UniqueFd fd(::open(file(app, run).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return true;
  const auto bytes = file_size(fd.get());
  if (!bytes || *bytes <= limit_bytes) return true;
  const std::uint64_t cut = (*bytes - limit_bytes) / kBlockBytes * kBlockBytes;
  if (cut == 0 || first_kept(fd.get(), 0) >= cut) return true;
  return ::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(cut)) == 0;
}

void OutputFiles::remove(std::string_view app, core::RunNumber run) const {
  ::unlink(file(app, run).c_str());
}

std::vector<OutputFiles::Entry> OutputFiles::list() const {
  std::vector<Entry> entries;
  const auto directory = platform::open_directory(directory_);
  if (!directory) return entries;
  const auto names = platform::list_directory(directory->get(), kMaxListed);
  if (!names) return entries;
  for (const auto& name : *names) {
    std::string_view rest = name;
    if (!rest.ends_with(kSuffix)) continue;
    rest.remove_suffix(kSuffix.size());
    const auto dot = rest.rfind('.');
    if (dot == std::string_view::npos || dot == 0) continue;
    Entry entry{std::string(rest.substr(0, dot)), 0};
    const std::string_view number = rest.substr(dot + 1);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), entry.run);
    if (error == std::errc{} && end == number.data() + number.size() && entry.run > 0)
      entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace appmesh::runtime
