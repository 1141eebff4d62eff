#include "store/definition_store.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include "platform/file.h"
#include "store/definition_file.h"
#include "store/yaml.h"

namespace appmesh::store {
namespace {

using platform::UniqueFd;

constexpr std::size_t kMaxFiles = 100'000;
constexpr std::string_view kSuffix = ".yaml";

class YamlDefinitionStore final : public DefinitionStore {
 public:
  YamlDefinitionStore(std::filesystem::path directory, UniqueFd fd, const SecretBox& secrets)
      : directory_(std::move(directory)), fd_(std::move(fd)), secrets_(secrets), writer_([this] { run(); }) {}

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

  Loaded load_all() const override {
    Loaded loaded;
    auto names = platform::list_directory(fd_.get(), kMaxFiles);
    if (!names) {
      loaded.refused.push_back({directory_, names.error()});
      return loaded;
    }
    std::ranges::sort(*names);
    for (const auto& file : *names) {
      if (file.starts_with('.')) continue;
      const auto refuse = [&](Error error) { loaded.refused.push_back({directory_ / file, std::move(error)}); };
      if (file.ends_with(".yml")) refuse({ErrorKind::invalid_argument, "the file's name must end in .yaml", {}});
      if (!file.ends_with(kSuffix)) continue;
      const std::string name = file.substr(0, file.size() - kSuffix.size());
      auto text = platform::read_file_at(fd_.get(), file, kMaxYamlBytes);
      if (!text) {
        refuse(text.error());
        continue;
      }
      auto definition = from_file_text(*text, name, secrets_);
      if (definition) {
        loaded.definitions.push_back(std::move(*definition));
      } else {
        refuse(definition.error());
      }
    }
    return loaded;
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

  // Of several changes to one app only the last reaches the disk, and its outcome is theirs.
  void carry_out(std::vector<Change>& batch) {
    std::map<std::string_view, const Change*> last;
    for (const auto& change : batch) last[change.name] = &change;
    std::map<std::string_view, Result<void>> outcomes;
    std::vector<platform::NewContent> files;
    std::vector<std::string_view> written;
    bool erased = false;
    for (const auto& [name, change] : last) {
      if (!change->definition) {
        outcomes[name] = erase(change->name);
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
      auto results = platform::write_files_atomic_at(fd_.get(), files, 0600);
      for (std::size_t i = 0; i < written.size(); ++i) outcomes[written[i]] = std::move(results[i]);
    }
    const Result<void> synced = erased && files.empty() ? platform::sync_fd(fd_.get()) : Result<void>{};
    for (auto& change : batch) {
      if (!change.done) continue;
      const Result<void>& outcome = outcomes[change.name];
      change.done(outcome && !synced ? synced : outcome);
    }
  }

  Result<std::string> text_of(const core::AppDefinition& definition) const {
    if (auto named = core::check_app_name(definition.name); !named) return std::unexpected(named.error());
    return to_file_text(definition, secrets_);
  }

  Result<void> erase(const std::string& name) const {
    if (auto named = core::check_app_name(name); !named) return named;
    const std::string file = name + std::string{kSuffix};
    if (::unlinkat(fd_.get(), file.c_str(), 0) == 0 || errno == ENOENT) return {};
    return platform::file_error("remove", directory_ / file, errno);
  }

  const std::filesystem::path directory_;
  const UniqueFd fd_;
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

// What a killed writer left behind: written but never renamed, so nobody was told that it is there.
void remove_leftovers(int directory_fd) {
  const auto names = platform::list_directory(directory_fd, kMaxFiles);
  if (!names) return;
  for (const auto& name : *names) {
    if (name.starts_with('.') && name.ends_with(".tmp")) ::unlinkat(directory_fd, name.c_str(), 0);
  }
}

}  // namespace

Result<std::unique_ptr<DefinitionStore>> DefinitionStore::open(std::filesystem::path directory,
                                                               const SecretBox& secrets) {
  if (auto made = platform::make_dirs(directory, 0700); !made) return std::unexpected(made.error());
  auto fd = platform::open_directory(directory);
  if (!fd) return std::unexpected(fd.error());
  remove_leftovers(fd->get());
  return std::make_unique<YamlDefinitionStore>(std::move(directory), std::move(*fd), secrets);
}

}  // namespace appmesh::store
