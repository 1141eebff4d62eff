// Frames of a WebSocket, whole and cut, unmasked in pieces.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include <appmesh/wire/websocket.h>

using namespace appmesh::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto check = [](bool good) {
    if (!good) std::abort();
  };
  std::string bytes(reinterpret_cast<const char*>(data), size);
  std::span<char> rest(bytes);
  while (!rest.empty()) {
    WebSocketHead head;
    const std::string_view view(rest.data(), rest.size());
    const WebSocketRead read = read_websocket_head(view, head);
    if (read != WebSocketRead::whole) break;
    check(head.head_bytes <= kMaxWebSocketHeadBytes && head.head_bytes <= view.size());
    for (std::size_t cut = 0; cut < head.head_bytes; ++cut) {
      WebSocketHead half;
      check(read_websocket_head(view.substr(0, cut), half) == WebSocketRead::incomplete);
    }
    if (head.is_final) {
      std::string out;
      append_websocket_head(out, head.opcode, head.payload_bytes, head.mask);
      check(out == view.substr(0, head.head_bytes));
    }
    rest = rest.subspan(head.head_bytes);
    if (head.payload_bytes > rest.size()) break;
    const auto payload = rest.first(static_cast<std::size_t>(head.payload_bytes));
    if (head.mask) {
      const std::string before(payload.begin(), payload.end());
      apply_websocket_mask(payload, *head.mask, 0);
      const std::size_t cut = payload.size() / 3;
      apply_websocket_mask(payload.first(cut), *head.mask, 0);
      apply_websocket_mask(payload.subspan(cut), *head.mask, cut);
      check(std::string_view(payload.data(), payload.size()) == before);
    }
    rest = rest.subspan(payload.size());
  }
  return 0;
}
