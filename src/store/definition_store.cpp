#include "store/definition_store.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include <sys/stat.h>

#include <appmesh/wire/json_text.h>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fcntl.h>
#include <unistd.h>

#include "platform/file.h"
#include "store/definition_file.h"
#include "store/yaml.h"

namespace appmesh::store {
namespace {

constexpr std::size_t kMaxFiles = 100'000;
constexpr std::string_view kSuffix = ".yaml";
constexpr std::string_view kOtherSuffix = ".yml";

// The daemon's own trouble with its own folder: a caller who lacks no right must not read that he does.
Error as_own(const Error& error) {
  if (error.kind == ErrorKind::insufficient_storage) return error;
  return {ErrorKind::internal, error.message, error.message};
}

// Of a message that begins with "line 12: ".
std::size_t line_of(std::string_view message) {
  constexpr std::string_view kStart = "line ";
  if (!message.starts_with(kStart)) return 0;
  std::size_t line = 0;
  const char* const first = message.data() + kStart.size();
  std::from_chars(first, message.data() + message.size(), line);
  return line;
}

// What a killed writer left behind: written but never renamed, so nobody was told that it is there.
void remove_leftovers(int directory_fd, std::vector<std::string>& names) {
  std::erase_if(names, [&](const std::string& name) {
    if (!name.starts_with('.') || !name.ends_with(".tmp")) return false;
    ::unlinkat(directory_fd, name.c_str(), 0);
    return true;
  });
}

class YamlDefinitionStore final : public DefinitionStore {
 public:
  YamlDefinitionStore(std::filesystem::path directory, const SecretBox& secrets)
      : directory_(std::move(directory)), secrets_(secrets), writer_([this] { run(); }) {}

  ~YamlDefinitionStore() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_one();
    writer_.join();
  }

  YamlDefinitionStore(const YamlDefinitionStore&) = delete;
  YamlDefinitionStore& operator=(const YamlDefinitionStore&) = delete;

  const std::filesystem::path& directory() const override { return directory_; }

  Result<void> make_folder() override { return platform::make_dirs(directory_, 0700); }

  Loaded load_all() const override {
    Loaded loaded;
    auto fd = platform::open_directory(directory_);
    auto names = fd ? platform::list_directory(fd->get(), kMaxFiles) : std::unexpected(fd.error());
    if (!names) {
      loaded.unreadable = names.error();
      return loaded;
    }
    remove_leftovers(fd->get(), *names);
    std::ranges::sort(*names);
    for (const auto& file : *names)
      if (!file.starts_with('.') && (file.ends_with(kSuffix) || file.ends_with(kOtherSuffix)))
        load_file(fd->get(), file, loaded);
    return loaded;
  }

  void load(std::vector<std::string> names, Reread done) override {
    ask({{}, nullptr, [this, names = std::move(names), done = std::move(done)](const Result<void>&) mutable {
           done(load_some(names));
         }});
  }

  std::string to_copy(const core::AppDefinition& definition) const override {
    auto object = core::write_definition(definition, core::SecretFields::include);
    seal_secrets(object, secrets_);
    std::string copy;
    wire::append_json_object(copy, object);
    if (definition.metadata.kind() != core::Metadata::Kind::none)
      wire::append_member(copy, "metadata", definition.metadata.json());
    return copy;
  }

  Result<core::AppDefinition> from_copy(const std::string& text) const override {
    boost::system::error_code error;
    auto value = wire::read_json(text, error);
    if (error || !value.is_object()) return fail(ErrorKind::internal, "the copy of a definition is damaged");
    auto& object = value.get_object();
    if (auto done = unseal_secrets(object, secrets_); !done) return std::unexpected(done.error());
    auto parsed = core::parse_definition(object, text);
    if (!parsed) return std::unexpected(parsed.error());
    return std::move(parsed->definition);
  }

  void save(std::shared_ptr<const core::AppDefinition> definition, Done done) override {
    std::string name = definition->name;
    ask({std::move(name), std::move(definition), std::move(done)});
  }

  void remove(std::string name, Done done) override { ask({std::move(name), nullptr, std::move(done)}); }

  void flush() override {
    std::unique_lock lock(mutex_);
    const std::uint64_t until = asked_;
    idle_.wait(lock, [&] { return finished_ >= until; });
  }

 private:
  struct Change {
    std::string name;
    std::shared_ptr<const core::AppDefinition> definition;  // null: remove
    Done done;
  };

  void ask(Change change) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(change));
      ++asked_;
    }
    work_.notify_one();
  }

  void run() {
    for (;;) {
      std::vector<Change> batch;
      {
        std::unique_lock lock(mutex_);
        work_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return;
        batch.swap(queue_);
      }
      carry_out(batch);
      {
        const std::lock_guard lock(mutex_);
        finished_ += batch.size();
      }
      idle_.notify_all();
    }
  }

  void load_file(int directory_fd, const std::string& file, Loaded& loaded) const {
    std::string name = file.substr(0, file.rfind('.'));
    if (!core::check_app_name(name)) name.clear();
    const auto refuse = [&](Error error) {
      const std::size_t line = line_of(error.message);
      if (line != 0) error.message.erase(0, error.message.find(": ") + 2);
      loaded.refused.push_back({directory_ / file, name, line, std::move(error)});
    };
    if (!file.ends_with(kSuffix)) return refuse({ErrorKind::invalid_argument, "the file's name must end in .yaml", {}});
    if (name.empty()) return refuse({ErrorKind::invalid_argument, "the file's name is no name of an application", {}});
    auto text = platform::read_file_at(directory_fd, file, kMaxYamlBytes);
    if (!text) return refuse(text.error());
    auto definition = from_file_text(*text, name, secrets_);
    if (!definition) return refuse(definition.error());
    loaded.definitions.push_back(std::move(*definition));
  }

  Loaded load_some(const std::vector<std::string>& names) const {
    Loaded loaded;
    auto fd = platform::open_directory(directory_);
    if (!fd) {
      loaded.unreadable = fd.error();
      return loaded;
    }
    for (const auto& name : names)
      for (const auto suffix : {kSuffix, kOtherSuffix}) {
        const std::string file = name + std::string{suffix};
        struct stat info{};
        if (::fstatat(fd->get(), file.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT) continue;
        load_file(fd->get(), file, loaded);
        break;
      }
    return loaded;
  }

  // Of several changes to one app only the last reaches the disk, and its outcome is theirs. The folder is opened for
  // each batch: it may have been exchanged, or be readable again.
  void carry_out(std::vector<Change>& batch) {
    std::map<std::string_view, const Change*> last;
    for (const auto& change : batch)
      if (!change.name.empty()) last[change.name] = &change;
    if (last.empty()) {
      for (auto& change : batch) change.done({});
      return;
    }
    const auto fd = platform::open_directory(directory_);
    std::map<std::string_view, Result<void>> outcomes;
    std::vector<platform::NewContent> files;
    std::vector<std::string_view> written;
    bool erased = false;
    for (const auto& [name, change] : last) {
      if (!fd) {
        const bool is_gone = !change->definition && fd.error().kind == ErrorKind::not_found;
        outcomes[name] = is_gone ? Result<void>{} : std::unexpected(as_own(fd.error()));
      } else if (!change->definition) {
        outcomes[name] = erase(fd->get(), change->name);
        erased = true;
      } else if (auto text = text_of(*change->definition)) {
        files.push_back({change->name + std::string{kSuffix}, std::move(*text)});
        written.push_back(name);
      } else {
        outcomes[name] = std::unexpected(text.error());
      }
    }
    // Writing syncs the directory, and with it what was erased before.
    if (!files.empty()) {
      auto results = platform::write_files_atomic_at(fd->get(), files, 0600);
      for (std::size_t i = 0; i < written.size(); ++i) {
        if (!results[i]) results[i] = std::unexpected(as_own(results[i].error()));
        outcomes[written[i]] = std::move(results[i]);
      }
    }
    const Result<void> synced = erased && files.empty() ? platform::sync_fd(fd->get()) : Result<void>{};
    for (auto& change : batch) {
      if (!change.done) continue;
      if (change.name.empty()) {
        change.done({});
        continue;
      }
      const Result<void>& outcome = outcomes[change.name];
      change.done(outcome && !synced ? synced : outcome);
    }
  }

  Result<std::string> text_of(const core::AppDefinition& definition) const {
    if (auto named = core::check_app_name(definition.name); !named) return std::unexpected(named.error());
    return to_file_text(definition, secrets_);
  }

  Result<void> erase(int directory_fd, const std::string& name) const {
    if (auto named = core::check_app_name(name); !named) return named;
    for (const auto suffix : {kOtherSuffix, kSuffix}) {
      const std::string file = name + std::string{suffix};
      if (::unlinkat(directory_fd, file.c_str(), 0) != 0 && errno != ENOENT)
        return std::unexpected(as_own(platform::file_error("remove", directory_ / file, errno).error()));
    }
    return {};
  }

  const std::filesystem::path directory_;
  const SecretBox& secrets_;

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable idle_;
  std::vector<Change> queue_;
  std::uint64_t asked_ = 0;
  std::uint64_t finished_ = 0;
  bool stopping_ = false;
  std::thread writer_;  // last: it uses all of the above
};

}  // namespace

std::unique_ptr<DefinitionStore> DefinitionStore::open(std::filesystem::path directory, const SecretBox& secrets) {
  return std::make_unique<YamlDefinitionStore>(std::move(directory), secrets);
}

}  // namespace appmesh::store
