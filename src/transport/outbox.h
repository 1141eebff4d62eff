// What a connection still has to send, in order: small pieces lie together, so that several replies leave in one TLS
// record, and a large body stays where it was made. Empty, it owns next to no memory. Belongs to the connection's I/O
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace appmesh::transport {

class Outbox {
 public:
  // Bytes that are copied together with what is before them; 16 kB is a TLS record.
  static constexpr std::size_t kSmallBytes = 16UL * 1024;

  // One message: `head`, then `body` or, when that is set, `shared`. Its bytes leave after those of earlier messages.
  void add(std::string_view head, std::string body, std::shared_ptr<const std::string> shared = nullptr);

  [[nodiscard]] bool empty() const { return first_ == pieces_.size(); }
  [[nodiscard]] std::size_t messages() const { return messages_; }  // not yet sent to their last byte
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  // The bytes to send next, good until the next call of another member; not empty unless empty().
  [[nodiscard]] std::string_view front() const;
  void sent(std::size_t bytes);  // of front()
  void clear();
  // Forgets messages of which no byte has been offered to the stream yet.
  void drop_unbegun();

 private:
  struct Piece {
    std::string text;
    std::shared_ptr<const std::string> shared;  // when set, the bytes are here
    std::size_t start = 0;                      // the bytes before are sent, or lie in the piece before
    std::size_t messages = 0;                   // that end here
    bool continues = false;                     // its last message goes on in the next piece
    [[nodiscard]] std::string_view rest() const { return std::string_view(shared ? *shared : text).substr(start); }
  };
  std::string& open_piece(std::size_t more);  // that takes small bytes

  std::vector<Piece> pieces_;
  std::size_t first_ = 0;
  std::size_t messages_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace appmesh::transport
