#include <array>

#include <appmesh/wire/frame.h>

namespace appmesh::wire {
namespace {

std::uint32_t load(const char* bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

void store(char* out, std::uint32_t value) {
  for (int i = 3; i >= 0; --i) {
    out[i] = static_cast<char>(value & 0xFF);
    value >>= 8;
  }
}

}  // namespace

std::optional<std::uint32_t> read_frame_header(std::string_view bytes) {
  if (load(bytes.data()) != kFrameMagic) return std::nullopt;
  return load(bytes.data() + 4);
}

void write_frame_header(char* out, std::uint32_t length) {
  store(out, kFrameMagic);
  store(out + 4, length);
}

void append_frame_header(std::string& out, std::uint32_t length) {
  std::array<char, kFrameHeaderBytes> header;
  write_frame_header(header.data(), length);
  out.append(header.data(), header.size());
}

}  // namespace appmesh::wire
