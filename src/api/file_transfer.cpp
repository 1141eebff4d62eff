#include "api/file_transfer.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/uio.h>

#include <boost/asio/post.hpp>
#include <unistd.h>

namespace appmesh::api {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kReadBytes = 512UL * 1024;
constexpr std::size_t kWriteBytes = 512UL * 1024;
constexpr std::size_t kPieceBytes = 288UL * 1024;  // what a transport gives at once, with room to spare

std::unexpected<Error> read_failed(ssize_t count, int error_number) {
  if (count == 0) return fail(ErrorKind::internal, "the file became shorter while it was sent");
  return fail_errno(ErrorKind::internal, "read", error_number);
}

// Only what lies in the page cache already: the number of bytes, 0 or less when the disk would have to be asked.
ssize_t read_cached(int fd, std::string& buffer, std::uint64_t offset) {
  const iovec vector{.iov_base = buffer.data(), .iov_len = buffer.size()};
  return ::preadv2(fd, &vector, 1, static_cast<off64_t>(offset), RWF_NOWAIT);
}

Result<std::string> read_at(int fd, std::string buffer, std::uint64_t offset) {
  for (;;) {
    const ssize_t count = ::pread(fd, buffer.data(), buffer.size(), static_cast<off64_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return read_failed(count, errno);
    buffer.resize(static_cast<std::size_t>(count));
    return buffer;
  }
}

}  // namespace

FileSource::FileSource(OpenedFile file, std::uint64_t offset, std::uint64_t length, asio::any_io_executor own,
                       asio::any_io_executor worker, std::shared_ptr<void> place)
    : fd_(std::make_shared<platform::UniqueFd>(std::move(file.fd))),
      offset_(offset),
      length_(length),
      left_(length),
      worker_(worker),
      reading_(std::move(own), std::move(worker)),
      place_(std::move(place)) {}

FileSource::~FileSource() = default;

// What is in the page cache is read here, which costs less than a way to another thread and back; a disk is waited for
// on the worker.
asio::awaitable<Result<std::string_view>> FileSource::next() {
  if (left_ == 0) co_return std::string_view();
  piece_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kReadBytes, left_)));
  const ssize_t cached = read_cached(fd_->get(), piece_, offset_);
  if (cached > 0) {
    piece_.resize(static_cast<std::size_t>(cached));
  } else {
    reading_.start([fd = fd_, buffer = std::move(piece_), offset = offset_]() mutable {
      return read_at(fd->get(), std::move(buffer), offset);
    });
    auto read = co_await reading_.join();
    if (!read) co_return std::unexpected(std::move(read.error()));
    piece_ = std::move(*read);
  }
  offset_ += piece_.size();
  left_ -= piece_.size();
  co_return std::string_view(piece_);
}

FileSink::FileSink(std::shared_ptr<ReceivedFile> file, asio::any_io_executor own, asio::any_io_executor worker,
                   std::shared_ptr<void> place)
    : file_(std::move(file)), worker_(worker), writing_(std::move(own), std::move(worker)), place_(std::move(place)) {}

FileSink::~FileSink() {
  if (file_) asio::post(worker_, [file = std::move(file_), place = std::move(place_)]() mutable { file.reset(); });
}

asio::awaitable<Result<void>> FileSink::write(std::string_view piece) {
  if (piece.size() > kMaxUploadBytes - received_bytes_) {
    co_return fail(ErrorKind::too_large, "the file is longer than " + std::to_string(kMaxUploadBytes) + " bytes");
  }
  received_bytes_ += piece.size();
  if (buffer_.capacity() < kWriteBytes) buffer_.reserve(kWriteBytes + kPieceBytes);
  buffer_.append(piece);
  if (buffer_.size() < kWriteBytes) co_return Result<void>();
  co_return co_await flush();
}

asio::awaitable<Result<void>> FileSink::join() {
  if (!writing_.has_work()) co_return Result<void>();
  auto written = co_await writing_.join();
  if (!written) co_return std::unexpected(std::move(written.error()));
  spare_ = std::move(*written);
  co_return Result<void>();
}

asio::awaitable<Result<void>> FileSink::flush() {
  auto written = co_await join();
  if (!written || buffer_.empty()) co_return written;
  writing_.start(
      [file = file_, data = std::exchange(buffer_, std::exchange(spare_, {}))]() mutable -> Result<std::string> {
        auto appended = file->file.append(data);
        if (!appended) return std::unexpected(std::move(appended.error()));
        data.clear();
        return std::move(data);
      });
  co_return Result<void>();
}

asio::awaitable<Result<void>> FileSink::finish() {
  auto flushed = co_await flush();
  if (flushed) flushed = co_await join();
  if (!flushed) co_return flushed;
  writing_.start([file = file_]() -> Result<std::string> {
    auto committed = file->file.commit(file->attributes);
    if (!committed) return std::unexpected(std::move(committed.error()));
    return std::string();
  });
  co_return co_await join();
}

}  // namespace appmesh::api
