// Files that follow an answer over TCP, in frames (docs/wire.md#tcp-files), to and from another daemon. Each
// holds the connection that it is on; everything happens on its I/O thread.
#pragma once

#include <memory>
#include <optional>

#include "api/body.h"
#include "transport/forward_frames.h"
#include "transport/forward_pool.h"

namespace appmesh::transport {

inline constexpr std::string_view kReceiveFileHeader = "X-Recv-File-Socket";
inline constexpr std::string_view kSendFileHeader = "X-Send-File-Socket";

// What the other daemon sends behind its answer.
class FramesSource final : public api::BodySource {
 public:
  FramesSource(ForwardPool::Lease lease, std::unique_ptr<FrameReader> frames)
      : lease_(std::in_place, std::move(lease)), frames_(std::move(frames)) {}

  [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return std::nullopt; }
  [[nodiscard]] boost::asio::awaitable<Result<std::string_view>> next() override;
  void cancel() override;

 private:
  std::optional<ForwardPool::Lease> lease_;
  std::unique_ptr<FrameReader> frames_;
};

// What the other daemon waits for behind its answer. It says no word when the file is stored, but stores it before it
// answers the next request: finish() asks it for something small, and so learns whether it has.
class FramesSink final : public api::BodySink {
 public:
  FramesSink(ForwardPool::Lease lease, std::unique_ptr<FrameReader> frames)
      : lease_(std::in_place, std::move(lease)), frames_(std::move(frames)) {}

  [[nodiscard]] boost::asio::awaitable<Result<void>> write(std::string_view piece) override;
  [[nodiscard]] boost::asio::awaitable<Result<void>> finish() override;

 private:
  std::optional<ForwardPool::Lease> lease_;
  std::unique_ptr<FrameReader> frames_;
};

}  // namespace appmesh::transport
