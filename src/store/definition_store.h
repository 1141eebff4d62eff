// App definitions on disk: one YAML file per app, HOME/work/apps/<name>.yaml, written to a temporary name, fsynced,
// renamed, directory fsynced. People may edit the files while the daemon is down or before a reload. Owned by the
// daemon; save() and remove() may be called from any thread: one writer thread does the disk work in batches (one
// directory sync per batch).
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/app_definition.h"
#include "core/error.h"
#include "store/secret_box.h"

namespace appmesh::store {

using Done = std::move_only_function<void(Result<void>)>;  // called once, on the writer thread

class DefinitionStore {
 public:
  struct Refused {
    std::filesystem::path file;
    Error error;
  };
  struct Loaded {
    std::vector<core::AppDefinition> definitions;
    std::vector<Refused> refused;  // a broken file is named and left alone; it never stops the others
  };

  // `secrets` seals sec_env at rest and outlives the store.
  static Result<std::unique_ptr<DefinitionStore>> open(std::filesystem::path directory, const SecretBox& secrets);
  virtual ~DefinitionStore() = default;

  [[nodiscard]] virtual Loaded load_all() const = 0;
  virtual void save(std::shared_ptr<const core::AppDefinition> definition, Done done) = 0;
  virtual void remove(std::string name, Done done) = 0;  // a missing file is success
  virtual void flush() = 0;                              // waits until everything asked for is on disk
};

}  // namespace appmesh::store
