// Reading and writing msgpack (github.com/msgpack/msgpack/blob/master/spec.md) in place: texts that are read are views
// into the input, and nothing is allocated for what the input merely announces. One reader or writer at a time; no
// state is shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace appmesh::wire {

enum class MsgpackType : std::uint8_t {
  nil,
  boolean,
  integer,
  real,
  text,
  binary,
  array,
  map,
  extension,
  none  // the end of the input, or a byte that starts nothing
};

// A cursor over bytes that somebody else owns. Every read_*() returns false, and leaves the cursor where it was, when
// another type comes next or the value does not end within the input.
class MsgpackReader {
 public:
  explicit MsgpackReader(std::string_view bytes) : bytes_(bytes) {}

  [[nodiscard]] MsgpackType next() const;
  [[nodiscard]] bool at_end() const { return position_ == bytes_.size(); }
  [[nodiscard]] std::size_t position() const { return position_; }

  // A count that the rest of the input cannot hold (every value has a byte at least) is refused here, so a loop over it
  // is bounded by the input.
  [[nodiscard]] bool read_map(std::uint32_t& pairs);
  [[nodiscard]] bool read_array(std::uint32_t& values);
  [[nodiscard]] bool read_bytes(std::string_view& bytes);  // text or binary
  [[nodiscard]] bool read_integer(std::int64_t& value);    // false also above the range of std::int64_t
  [[nodiscard]] bool read_boolean(bool& value);
  [[nodiscard]] bool read_nil();
  // Whatever comes next, nested as deeply as it likes: neither stack nor heap grows with it, and the time is bounded by
  // the input.
  [[nodiscard]] bool skip();

 private:
  struct Head {
    MsgpackType type = MsgpackType::none;
    std::size_t head_bytes = 0;    // of the value's own head
    std::uint64_t length = 0;      // bytes of a text, binary or extension; members of a map or an array
    std::uint64_t bits = 0;        // of a number or a boolean
    bool negative_is_set = false;  // `bits` is a signed number
  };
  [[nodiscard]] Head head() const;
  [[nodiscard]] std::uint64_t load(std::size_t offset, std::size_t bytes) const;
  [[nodiscard]] std::size_t left() const { return bytes_.size() - position_; }

  std::string_view bytes_;
  std::size_t position_ = 0;
};

// Each appends the shortest form.
void append_map_head(std::string& out, std::uint32_t pairs);
void append_text(std::string& out, std::string_view text);
void append_binary_head(std::string& out, std::uint32_t bytes);  // that many bytes must follow
void append_integer(std::string& out, std::int64_t value);

}  // namespace appmesh::wire
