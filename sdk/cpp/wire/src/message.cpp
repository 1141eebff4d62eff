#include <array>
#include <charconv>

#include <appmesh/wire/message.h>
#include <appmesh/wire/utf8.h>

namespace appmesh::wire {
namespace {

constexpr std::string_view kNoMap = "not a msgpack map with text keys";
constexpr std::string_view kCutOff = "a value is malformed or ends behind the message";
constexpr std::string_view kWrongType = "a field has the wrong type";
constexpr std::string_view kTooMany = "too many headers or query parameters";
constexpr std::string_view kTooLong = "path, headers and query are too long";
constexpr std::string_view kTrailing = "bytes follow the message";

// One message being read: the fields that both kinds have, and what has been used of the limits.
class Fields {
 public:
  Fields(std::string_view bytes, std::vector<std::unique_ptr<std::string>>& made) : reader_(bytes), made_(made) {
    made_.clear();
  }

  [[nodiscard]] bool begin() {
    if (!reader_.read_map(left_)) problem_ = kNoMap;
    return problem_.empty();
  }
  // The next key that has a value other than nil; false at the end and after a problem.
  [[nodiscard]] bool next(std::string_view& key) {
    while (problem_.empty() && left_ > 0) {
      --left_;
      if (!reader_.read_bytes(key)) {
        problem_ = reader_.next() == MsgpackType::none ? kCutOff : kNoMap;
        return false;
      }
      if (!reader_.read_nil()) return true;
    }
    if (problem_.empty() && !reader_.at_end()) problem_ = kTrailing;
    return false;
  }

  void body(std::string_view& value) {
    if (!reader_.read_bytes(value)) fail();
  }
  void text(std::string_view& value) {
    if (!read_text(value)) return fail();
    use(value.size());
  }
  void integer(int& value) {
    std::int64_t number = 0;
    if (!reader_.read_integer(number) || number < -1'000'000 || number > 1'000'000) return fail();
    value = static_cast<int>(number);
  }
  void pairs(std::vector<TextPair>& pairs) {
    std::uint32_t count = 0;
    if (!reader_.read_map(count)) return fail();
    pairs.clear();
    for (; count > 0 && problem_.empty(); --count) {
      TextPair pair;
      if (!reader_.read_bytes(pair.first)) return fail();
      if (reader_.read_nil()) continue;
      if (!read_text(pair.second)) return fail();
      if (pairs.size() == kMaxTextPairs) {
        problem_ = kTooMany;
        return;
      }
      use(pair.first.size() + pair.second.size());
      pairs.push_back(pair);
    }
  }
  void skip() {
    if (!reader_.skip()) problem_ = kCutOff;
  }

  [[nodiscard]] std::string_view problem() const { return problem_; }

 private:
  void fail() { problem_ = reader_.next() == MsgpackType::none ? kCutOff : kWrongType; }
  void use(std::size_t bytes) {
    used_ += bytes;
    if (used_ > kMaxTextBytes) problem_ = kTooLong;
  }
  [[nodiscard]] bool read_text(std::string_view& value) {
    if (reader_.read_bytes(value)) return true;
    bool flag = false;
    if (reader_.read_boolean(flag)) {
      value = flag ? "true" : "false";
      return true;
    }
    std::int64_t number = 0;
    if (!reader_.read_integer(number)) return false;
    std::array<char, 24> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    made_.push_back(std::make_unique<std::string>(digits.data(), end));
    value = *made_.back();
    return true;
  }

  MsgpackReader reader_;
  std::vector<std::unique_ptr<std::string>>& made_;
  std::uint32_t left_ = 0;
  std::size_t used_ = 0;
  std::string_view problem_;
};

}  // namespace

std::string_view parse_request(std::string_view bytes, Request& request) {
  request.uuid = request.request_uri = request.http_method = request.client_addr = request.body = {};
  request.headers.clear();
  request.query.clear();
  Fields fields(bytes, request.made);
  if (!fields.begin()) return fields.problem();
  for (std::string_view key; fields.next(key);) {
    if (key == "uuid") {
      fields.text(request.uuid);
    } else if (key == "request_uri") {
      fields.text(request.request_uri);
    } else if (key == "http_method") {
      fields.text(request.http_method);
    } else if (key == "client_addr") {
      fields.text(request.client_addr);
    } else if (key == "body") {
      fields.body(request.body);
    } else if (key == "headers") {
      fields.pairs(request.headers);
    } else if (key == "query" || key == "querys") {  // clients up to 1.5.9 wrote the second
      fields.pairs(request.query);
    } else {
      fields.skip();
    }
  }
  // It goes back as it came, and the answer must be text; the rest is looked at by whoever reads it.
  if (fields.problem().empty() && !is_utf8(request.uuid)) return "the uuid is not UTF-8";
  return fields.problem();
}

std::string_view parse_response(std::string_view bytes, Response& response) {
  response.uuid = response.request_uri = response.body_msg_type = response.body = {};
  response.http_status = 0;
  response.headers.clear();
  Fields fields(bytes, response.made);
  if (!fields.begin()) return fields.problem();
  for (std::string_view key; fields.next(key);) {
    if (key == "uuid") {
      fields.text(response.uuid);
    } else if (key == "request_uri") {
      fields.text(response.request_uri);
    } else if (key == "http_status") {
      fields.integer(response.http_status);
    } else if (key == "body_msg_type") {
      fields.text(response.body_msg_type);
    } else if (key == "body") {
      fields.body(response.body);
    } else if (key == "headers") {
      fields.pairs(response.headers);
    } else {
      fields.skip();
    }
  }
  return fields.problem();
}

}  // namespace appmesh::wire
