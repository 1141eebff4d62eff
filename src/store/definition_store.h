// App definitions on disk: one YAML file per app, HOME/work/apps/<name>.yaml, written to a temporary name, fsynced,
// renamed, directory fsynced. People may edit the files while the daemon is down or before a reload. Owned by the
// daemon; save() and remove() may be called from any thread: one writer thread does the disk work in batches (one
// directory sync per batch).
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/app_definition.h"
#include "core/error.h"
#include "store/secret_box.h"

namespace appmesh::store {

using Done = std::move_only_function<void(Result<void>)>;  // called once, on the writer thread

class DefinitionStore {
 public:
  // A file that is there and cannot be used: it is named and left alone, and never stops the others.
  struct Refused {
    std::filesystem::path file;
    std::string name;      // of the app that it would define; empty: the file's name is none
    std::size_t line = 0;  // of the text, from 1; 0: not known
    Error error;
  };
  struct Loaded {
    std::vector<core::AppDefinition> definitions;
    std::vector<Refused> refused;
    std::optional<Error> unreadable;  // the folder itself: which files there are is not known
  };
  using Reread = std::move_only_function<void(Loaded)>;  // called once, on the writer thread

  // `secrets` seals sec_env at rest and outlives the store. The folder is opened when it is needed, so that one that
  // cannot be opened now is an error of each call and not of the daemon.
  static std::unique_ptr<DefinitionStore> open(std::filesystem::path directory, const SecretBox& secrets);
  virtual ~DefinitionStore() = default;

  // Makes the folder when it is missing.
  virtual Result<void> make_folder() = 0;
  [[nodiscard]] virtual Loaded load_all() const = 0;
  // The files of these apps again, as they are now; one that is missing is in neither list.
  virtual void load(std::vector<std::string> names, Reread done) = 0;
  virtual void save(std::shared_ptr<const core::AppDefinition> definition, Done done) = 0;
  virtual void remove(std::string name, Done done) = 0;  // a missing file is success
  virtual void flush() = 0;                              // waits until everything asked for is on disk
  [[nodiscard]] virtual const std::filesystem::path& directory() const = 0;

  // A definition as a text that may be kept elsewhere, secrets sealed; and back.
  [[nodiscard]] virtual std::string to_copy(const core::AppDefinition& definition) const = 0;
  [[nodiscard]] virtual Result<core::AppDefinition> from_copy(const std::string& text) const = 0;
};

}  // namespace appmesh::store
