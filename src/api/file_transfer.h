// The bytes of a file on their way: a source that reads ahead no more than one piece, and a sink whose disk writes go
// on while the next piece arrives. Both belong to the executor of the connection; what may block runs on the worker.
// Memory for each is bounded by two pieces.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "api/beside.h"
#include "api/body.h"
#include "api/file_store.h"

namespace appmesh::api {

class FileSource final : public BodySource {
 public:
  // Sends `length` bytes from `offset`. `place` is held until the end.
  FileSource(OpenedFile file, std::uint64_t offset, std::uint64_t length, boost::asio::any_io_executor own,
             boost::asio::any_io_executor worker, std::shared_ptr<void> place);
  ~FileSource() override;

  [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return length_; }
  [[nodiscard]] boost::asio::awaitable<Result<std::string_view>> next() override;
  void cancel() override {}  // a read of the disk ends by itself

 private:
  std::shared_ptr<platform::UniqueFd> fd_;
  std::uint64_t offset_;
  std::uint64_t length_;
  std::uint64_t left_;
  boost::asio::any_io_executor worker_;
  Beside<std::string> reading_;
  std::string piece_;
  std::shared_ptr<void> place_;
};

class FileSink final : public BodySink {
 public:
  FileSink(std::shared_ptr<ReceivedFile> file, boost::asio::any_io_executor own, boost::asio::any_io_executor worker,
           std::shared_ptr<void> place);
  ~FileSink() override;  // gives the file up on the worker: that may take the disk a while

  // Errors: too_large beyond kMaxUploadBytes, insufficient_storage, what else the disk says.
  [[nodiscard]] boost::asio::awaitable<Result<void>> write(std::string_view piece) override;
  [[nodiscard]] boost::asio::awaitable<Result<void>> finish() override;

 private:
  boost::asio::awaitable<Result<void>> flush();
  boost::asio::awaitable<Result<void>> join();

  std::shared_ptr<ReceivedFile> file_;
  boost::asio::any_io_executor worker_;
  Beside<std::string> writing_;  // gives back the memory of what it has written
  std::string buffer_;
  std::string spare_;
  std::uint64_t received_bytes_ = 0;
  std::shared_ptr<void> place_;
};

}  // namespace appmesh::api
