// The socket side of the keeper: who may connect, one message in, messages out that never block. Owned by the Keeper;
// keeper thread only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "keeper/descriptor.h"
#include "keeper/protocol.h"

namespace appmesh::keeper {

// Listens on keeper.sock in the directory, replacing a file of that name. 0 or errno.
int listen_in(int directory, Descriptor& listener);

// A new peer with the keeper's own uid, or none. Others are closed and logged.
Descriptor accept_peer(const Descriptor& listener);

// One received datagram and its descriptors, which are closed with the next one unless taken.
class Inbox {
 public:
  enum class Received { message, nothing, closed };
  Received receive(int socket);
  void close_descriptors();

  const std::byte* bytes() const { return bytes_; }
  std::size_t size() const { return size_; }  // as sent: may be more than kMaxMessageBytes
  const int* descriptors() const { return descriptors_; }
  std::size_t descriptor_count() const { return descriptor_count_; }
  bool too_many_descriptors() const { return too_many_descriptors_; }
  // The descriptor is the caller's now.
  Descriptor take_descriptor(std::size_t index) {
    const int number = descriptors_[index];
    descriptors_[index] = -1;
    return Descriptor{number};
  }

 private:
  alignas(8) std::byte bytes_[kMaxMessageBytes] = {};
  std::size_t size_ = 0;
  int descriptors_[kMaxDescriptors] = {};
  std::size_t descriptor_count_ = 0;
  bool too_many_descriptors_ = false;
};

// At most one message waits for room in the socket; who wants to send another asks full() first.
class Outbox {
 public:
  bool full() const { return size_ != 0; }
  void clear() { size_ = 0; }

  // false: the connection is dead. Must not be called while full. The descriptors stay open until it is not full.
  bool send(int socket, const void* message, std::size_t size, const int* descriptors = nullptr,
            std::size_t descriptor_count = 0);
  // Tries again what waits. false: the connection is dead.
  bool flush(int socket);

 private:
  alignas(8) std::byte bytes_[sizeof(Run) + kMaxTagBytes] = {};
  std::size_t size_ = 0;
  int descriptors_[kMaxKept] = {};
  std::size_t descriptor_count_ = 0;
};

}  // namespace appmesh::keeper
