// The frame of the TCP transport: a magic number and the length of what follows, both big-endian, eight bytes together.
// A frame of length zero ends a transfer of raw bytes. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace appmesh::wire {

inline constexpr std::uint32_t kFrameMagic = 0x07C707F8;
inline constexpr std::size_t kFrameHeaderBytes = 8;
inline constexpr std::size_t kMaxMessageBytes = 256UL * 1024 * 1024;  // both ways; longer ones end the connection
inline constexpr std::size_t kFileChunkBytes = 16UL * 1024 - 256;     // what a daemon puts into one frame of a file

// The length that the first kFrameHeaderBytes of `bytes` announce; nothing when they do not begin with the magic
// number. `bytes` must have that many.
[[nodiscard]] std::optional<std::uint32_t> read_frame_header(std::string_view bytes);

void write_frame_header(char* out, std::uint32_t length);  // kFrameHeaderBytes of them
void append_frame_header(std::string& out, std::uint32_t length);

}  // namespace appmesh::wire
