// How a command text becomes an argv: the quoting rules of POSIX 2.2 (XCU, "Quoting"), without expansions.
#include "core/app_definition.h"

namespace appmesh::core {

namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

class Splitter {
 public:
  explicit Splitter(std::string_view text) : text_(text) {}

  Result<std::vector<std::string>> split() {
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (is_blank(c)) {
        end_word();
        continue;
      }
      const char* problem = nullptr;
      switch (c) {
        case '\'':
          problem = take_single_quoted();
          break;
        case '"':
          problem = take_double_quoted();
          break;
        case '\\':
          problem = take_escaped();
          break;
        default:
          add(c);
      }
      if (problem != nullptr) return fail(ErrorKind::invalid_argument, problem);
    }
    end_word();
    if (words_.empty() || words_.front().empty()) return fail(ErrorKind::invalid_argument, "the command is empty");
    return std::move(words_);
  }

 private:
  void add(char c) {
    word_ += c;
    in_word_ = true;
  }
  void end_word() {
    if (in_word_) words_.push_back(std::move(word_));
    word_.clear();
    in_word_ = false;
  }
  const char* take_single_quoted() {
    const auto end = text_.find('\'', at_);
    if (end == std::string_view::npos) return "unbalanced single quote";
    word_ += text_.substr(at_, end - at_);
    in_word_ = true;
    at_ = end + 1;
    return nullptr;
  }
  const char* take_double_quoted() {
    in_word_ = true;
    while (at_ < text_.size()) {
      char c = text_[at_++];
      if (c == '"') return nullptr;
      // Inside double quotes a backslash is only special before these; elsewhere it stands for itself.
      if (c == '\\' && at_ < text_.size() && std::string_view("$`\"\\\n").find(text_[at_]) != std::string_view::npos) {
        c = text_[at_++];
        if (c == '\n') continue;
      }
      word_ += c;
    }
    return "unbalanced double quote";
  }
  const char* take_escaped() {
    if (at_ == text_.size()) return "ends with a lone backslash";
    const char c = text_[at_++];
    if (c != '\n') add(c);
    return nullptr;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::string word_;
  bool in_word_ = false;
  std::vector<std::string> words_;
};

}  // namespace

Result<std::vector<std::string>> split_command(std::string_view command) {
  return Splitter(command).split();
}

}  // namespace appmesh::core
