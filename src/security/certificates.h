// The daemon's own certificate authority: EC P-256, ten years (docs/wire.md#tls). Called once at start,
// before any listener; one thread; blocks on the disk. Nothing that exists is ever overwritten, and a start that was
// interrupted is completed by the next one.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/time.h"

namespace appmesh::security {

// Names that the server certificate is good for.
struct HostNames {
  std::vector<std::string> dns;
  std::vector<std::string> addresses;
};
// localhost, 127.0.0.1, ::1, the host's name and the addresses of its interfaces (link-local ones left out).
[[nodiscard]] HostNames host_names();

// Makes what is missing of ca.pem, ca-key.pem, server.pem, server-key.pem, client.pem, client-key.pem in `directory`
// (0755; certificates 0644, keys 0600) and says which files it made. A certificate without its key is left alone.
// Errors: a certificate has to be signed and ca-key.pem is not there, or a key that does not belong to its certificate.
[[nodiscard]] Result<std::vector<std::filesystem::path>> ensure_certificates(const std::filesystem::path& directory,
                                                                             const HostNames& names,
                                                                             core::WallTime now);

}  // namespace appmesh::security
