#include <cstring>

#include <appmesh/wire/websocket.h>

namespace appmesh::wire {
namespace {

bool is_known(unsigned opcode) {
  return opcode <= 2 || (opcode >= 8 && opcode <= 10);
}

}  // namespace

WebSocketRead read_websocket_head(std::string_view bytes, WebSocketHead& head) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.empty()) return WebSocketRead::incomplete;
  const unsigned opcode = at(0) & 0x0FU;
  if ((at(0) & 0x70U) != 0 || !is_known(opcode)) return WebSocketRead::malformed;
  if (bytes.size() < 2) return WebSocketRead::incomplete;
  head.opcode = static_cast<WebSocketOpcode>(opcode);
  head.is_final = (at(0) & 0x80U) != 0;
  const unsigned short_length = at(1) & 0x7FU;
  if (head.is_control() && (!head.is_final || short_length > kMaxWebSocketControlBytes)) {
    return WebSocketRead::malformed;
  }
  const std::size_t length_bytes = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
  const bool has_mask = (at(1) & 0x80U) != 0;
  head.head_bytes = 2 + length_bytes + (has_mask ? 4 : 0);
  if (bytes.size() < 2 + length_bytes) return WebSocketRead::incomplete;
  head.payload_bytes = length_bytes == 0 ? short_length : 0;
  for (std::size_t i = 0; i < length_bytes; ++i) head.payload_bytes = head.payload_bytes << 8 | at(2 + i);
  const std::uint64_t least = length_bytes == 2 ? 126 : length_bytes == 8 ? 0x10000 : 0;
  if (head.payload_bytes < least || head.payload_bytes >> 63 != 0) return WebSocketRead::malformed;
  if (bytes.size() < head.head_bytes) return WebSocketRead::incomplete;
  head.mask.reset();
  if (has_mask) {
    head.mask.emplace();
    std::memcpy(head.mask->data(), bytes.data() + head.head_bytes - 4, 4);
  }
  return WebSocketRead::whole;
}

void append_websocket_head(std::string& out, WebSocketOpcode opcode, std::uint64_t payload_bytes,
                           const std::optional<WebSocketMask>& mask) {
  const unsigned masked = mask ? 0x80U : 0;
  out.push_back(static_cast<char>(0x80U | static_cast<unsigned>(opcode)));
  std::size_t length_bytes = 0;
  if (payload_bytes < 126) {
    out.push_back(static_cast<char>(masked | payload_bytes));
  } else {
    length_bytes = payload_bytes <= 0xFFFF ? 2 : 8;
    out.push_back(static_cast<char>(masked | (length_bytes == 2 ? 126U : 127U)));
  }
  for (std::size_t i = length_bytes; i-- > 0;) out.push_back(static_cast<char>(payload_bytes >> (8 * i) & 0xFF));
  if (mask) out.append(mask->data(), mask->size());
}

void apply_websocket_mask(std::span<char> bytes, const WebSocketMask& mask, std::uint64_t position) {
  std::array<char, 8> turned;  // the mask twice, beginning where the payload stands
  for (std::size_t i = 0; i < turned.size(); ++i) turned[i] = mask[(position + i) % 4];
  std::uint64_t eight = 0;
  std::memcpy(&eight, turned.data(), sizeof eight);
  std::size_t done = 0;
  for (; done + 8 <= bytes.size(); done += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + done, sizeof word);
    word ^= eight;
    std::memcpy(bytes.data() + done, &word, sizeof word);
  }
  for (; done < bytes.size(); ++done) bytes[done] = static_cast<char>(bytes[done] ^ turned[done % 8]);
}

}  // namespace appmesh::wire
