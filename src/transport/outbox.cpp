#include "transport/outbox.h"

#include <algorithm>
#include <utility>

namespace appmesh::transport {
namespace {

constexpr std::size_t kKeptPieces = 2;  // of an empty box, so that a reply allocates its text alone

}  // namespace

std::string& Outbox::open_piece(std::size_t more) {
  const bool has_room = !empty() && !pieces_.back().shared && pieces_.back().text.size() + more <= kSmallBytes;
  if (!has_room) pieces_.emplace_back();
  return pieces_.back().text;
}

void Outbox::add(std::string_view head, std::string body, std::shared_ptr<const std::string> shared) {
  const std::string_view content = shared ? std::string_view(*shared) : std::string_view(body);
  std::string& out = open_piece(head.size() + std::min(content.size(), kSmallBytes / 4));
  out.append(head);
  // The record that the head begins is filled up, and what follows is not copied.
  const std::size_t room = out.size() < kSmallBytes ? kSmallBytes - out.size() : 0;
  const std::size_t beside_head = std::min(content.size(), room);
  out.append(content.substr(0, beside_head));
  ++messages_;
  bytes_ += head.size() + content.size();
  if (beside_head < content.size()) {
    Piece rest;
    rest.start = beside_head;
    if (shared) {
      rest.shared = std::move(shared);
    } else {
      rest.text = std::move(body);
    }
    pieces_.back().continues = true;
    pieces_.push_back(std::move(rest));
  }
  ++pieces_.back().messages;
}

std::string_view Outbox::front() const {
  return empty() ? std::string_view() : pieces_[first_].rest();
}

void Outbox::sent(std::size_t bytes) {
  bytes_ -= bytes;
  Piece& piece = pieces_[first_];
  piece.start += bytes;
  if (!piece.rest().empty()) return;
  messages_ -= piece.messages;
  piece = Piece();
  ++first_;
  if (empty()) {
    clear();
  } else if (first_ >= 64 && first_ * 2 >= pieces_.size()) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

void Outbox::drop_unbegun() {
  if (empty()) return;
  std::size_t end = first_ + 1;
  while (end < pieces_.size() && pieces_[end - 1].continues) ++end;
  for (std::size_t i = end; i < pieces_.size(); ++i) {
    messages_ -= pieces_[i].messages;
    bytes_ -= pieces_[i].rest().size();
  }
  pieces_.erase(pieces_.begin() + static_cast<std::ptrdiff_t>(end), pieces_.end());
}

void Outbox::clear() {
  pieces_.clear();
  if (pieces_.capacity() > kKeptPieces) pieces_.shrink_to_fit();
  first_ = messages_ = 0;
  bytes_ = 0;
}

}  // namespace appmesh::transport
