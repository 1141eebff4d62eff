#include <limits>

#include <appmesh/wire/msgpack.h>

namespace appmesh::wire {
namespace {

void append_number(std::string& out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = bytes; i-- > 0;) out.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
}

void append_tagged(std::string& out, unsigned tag, std::uint64_t value, std::size_t bytes) {
  out.push_back(static_cast<char>(tag));
  append_number(out, value, bytes);
}

std::int64_t sign_extended(std::uint64_t bits, std::size_t bytes) {
  if (bytes == 8) return static_cast<std::int64_t>(bits);
  const std::uint64_t sign = std::uint64_t{1} << (8 * bytes - 1);
  return static_cast<std::int64_t>((bits ^ sign) - sign);
}

}  // namespace

// 0 when the input ends before.
std::uint64_t MsgpackReader::load(std::size_t offset, std::size_t bytes) const {
  if (left() < offset + bytes) return 0;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes_[position_ + offset + i]);
  }
  return value;
}

MsgpackReader::Head MsgpackReader::head() const {
  using enum MsgpackType;
  if (at_end()) return {};
  const unsigned tag = static_cast<unsigned char>(bytes_[position_]);
  const auto sized = [&](MsgpackType type, std::size_t size_bytes, std::size_t more = 0) {
    return Head{type, 1 + size_bytes, load(1, size_bytes) + more, 0, false};
  };
  const auto number = [&](MsgpackType type, std::size_t bytes, bool is_signed = false) {
    const std::uint64_t bits = load(1, bytes);
    return Head{type, 1 + bytes, 0, is_signed ? static_cast<std::uint64_t>(sign_extended(bits, bytes)) : bits,
                is_signed};
  };
  Head result;
  if (tag <= 0x7F) {
    result = {integer, 1, 0, tag, false};
  } else if (tag <= 0x8F) {
    result = {map, 1, tag & 0x0FU, 0, false};
  } else if (tag <= 0x9F) {
    result = {array, 1, tag & 0x0FU, 0, false};
  } else if (tag <= 0xBF) {
    result = {text, 1, tag & 0x1FU, 0, false};
  } else if (tag >= 0xE0) {
    result = {integer, 1, 0, static_cast<std::uint64_t>(sign_extended(tag, 1)), true};
  } else {
    switch (tag) {
      case 0xC0:
        result = {nil, 1, 0, 0, false};
        break;
      case 0xC2:
      case 0xC3:
        result = {boolean, 1, 0, tag & 1U, false};
        break;
      case 0xC4:
      case 0xC5:
      case 0xC6:
        result = sized(binary, std::size_t{1} << (tag - 0xC4));
        break;
      case 0xC7:
      case 0xC8:
      case 0xC9:
        result = sized(extension, std::size_t{1} << (tag - 0xC7), 1);  // and the byte of its own type
        break;
      case 0xCA:
        result = number(real, 4);
        break;
      case 0xCB:
        result = number(real, 8);
        break;
      case 0xCC:
      case 0xCD:
      case 0xCE:
      case 0xCF:
        result = number(integer, std::size_t{1} << (tag - 0xCC));
        break;
      case 0xD0:
      case 0xD1:
      case 0xD2:
      case 0xD3:
        result = number(integer, std::size_t{1} << (tag - 0xD0), true);
        break;
      case 0xD4:
      case 0xD5:
      case 0xD6:
      case 0xD7:
      case 0xD8:
        result = {extension, 1, 1 + (std::uint64_t{1} << (tag - 0xD4)), 0, false};
        break;
      case 0xD9:
      case 0xDA:
      case 0xDB:
        result = sized(text, std::size_t{1} << (tag - 0xD9));
        break;
      case 0xDC:
      case 0xDD:
        result = sized(array, std::size_t{2} << (tag - 0xDC));
        break;
      case 0xDE:
      case 0xDF:
        result = sized(map, std::size_t{2} << (tag - 0xDE));
        break;
      default:  // 0xC1 is never used
        return {};
    }
  }
  if (result.head_bytes > left()) return {};
  const std::uint64_t rest = left() - result.head_bytes;
  const std::uint64_t needed = result.type == map ? 2 * result.length : result.length;
  if (needed > rest) return {};
  return result;
}

MsgpackType MsgpackReader::next() const {
  return head().type;
}

bool MsgpackReader::read_map(std::uint32_t& pairs) {
  const Head value = head();
  if (value.type != MsgpackType::map) return false;
  position_ += value.head_bytes;
  pairs = static_cast<std::uint32_t>(value.length);
  return true;
}

bool MsgpackReader::read_array(std::uint32_t& values) {
  const Head value = head();
  if (value.type != MsgpackType::array) return false;
  position_ += value.head_bytes;
  values = static_cast<std::uint32_t>(value.length);
  return true;
}

bool MsgpackReader::read_bytes(std::string_view& bytes) {
  const Head value = head();
  if (value.type != MsgpackType::text && value.type != MsgpackType::binary) return false;
  bytes = bytes_.substr(position_ + value.head_bytes, value.length);
  position_ += value.head_bytes + value.length;
  return true;
}

bool MsgpackReader::read_integer(std::int64_t& number) {
  const Head value = head();
  if (value.type != MsgpackType::integer) return false;
  if (!value.negative_is_set && value.bits > std::numeric_limits<std::int64_t>::max()) return false;
  number = static_cast<std::int64_t>(value.bits);
  position_ += value.head_bytes;
  return true;
}

bool MsgpackReader::read_boolean(bool& flag) {
  const Head value = head();
  if (value.type != MsgpackType::boolean) return false;
  flag = value.bits != 0;
  position_ += value.head_bytes;
  return true;
}

bool MsgpackReader::read_nil() {
  if (head().type != MsgpackType::nil) return false;
  ++position_;
  return true;
}

bool MsgpackReader::skip() {
  const std::size_t start = position_;
  // Counting the values to come instead of going down into them: depth costs nothing.
  for (std::uint64_t values = 1; values > 0; --values) {
    const Head value = head();
    if (value.type == MsgpackType::none) {
      position_ = start;
      return false;
    }
    position_ += value.head_bytes;
    if (value.type == MsgpackType::map) {
      values += 2 * value.length;
    } else if (value.type == MsgpackType::array) {
      values += value.length;
    } else {
      position_ += value.length;
    }
    if (values - 1 > left()) {
      position_ = start;
      return false;
    }
  }
  return true;
}

void append_map_head(std::string& out, std::uint32_t pairs) {
  if (pairs < 16) {
    out.push_back(static_cast<char>(0x80 | pairs));
  } else if (pairs <= 0xFFFF) {
    append_tagged(out, 0xDE, pairs, 2);
  } else {
    append_tagged(out, 0xDF, pairs, 4);
  }
}

void append_text(std::string& out, std::string_view text) {
  const std::size_t size = text.size();
  if (size < 32) {
    out.push_back(static_cast<char>(0xA0 | size));
  } else if (size <= 0xFF) {
    append_tagged(out, 0xD9, size, 1);
  } else if (size <= 0xFFFF) {
    append_tagged(out, 0xDA, size, 2);
  } else {
    append_tagged(out, 0xDB, size, 4);
  }
  out.append(text);
}

void append_binary_head(std::string& out, std::uint32_t bytes) {
  if (bytes <= 0xFF) {
    append_tagged(out, 0xC4, bytes, 1);
  } else if (bytes <= 0xFFFF) {
    append_tagged(out, 0xC5, bytes, 2);
  } else {
    append_tagged(out, 0xC6, bytes, 4);
  }
}

void append_integer(std::string& out, std::int64_t value) {
  const auto bits = static_cast<std::uint64_t>(value);
  if (value >= -32 && value <= 127) {
    out.push_back(static_cast<char>(bits & 0xFF));
  } else if (value >= 0) {
    if (value <= 0xFF) return append_tagged(out, 0xCC, bits, 1);
    if (value <= 0xFFFF) return append_tagged(out, 0xCD, bits, 2);
    if (value <= 0xFFFFFFFF) return append_tagged(out, 0xCE, bits, 4);
    append_tagged(out, 0xCF, bits, 8);
  } else {
    if (value >= std::numeric_limits<std::int8_t>::min()) return append_tagged(out, 0xD0, bits, 1);
    if (value >= std::numeric_limits<std::int16_t>::min()) return append_tagged(out, 0xD1, bits, 2);
    if (value >= std::numeric_limits<std::int32_t>::min()) return append_tagged(out, 0xD2, bits, 4);
    append_tagged(out, 0xD3, bits, 8);
  }
}

}  // namespace appmesh::wire
