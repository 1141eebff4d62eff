// Time zones of the host: reads compiled zone files (TZif, RFC 8536) below /usr/share/zoneinfo, or $TZDIR, and makes
// the plain values that the core plans with. No state; any thread, but it reads files, so not the engine's while it
// works.
#pragma once

#include <string_view>

#include "core/error.h"
#include "core/zone.h"

namespace appmesh::platform {

// "+08", "-03:30" (east is positive), an IANA name like "Europe/Berlin", or empty for the host's own zone ($TZ, else
// /etc/localtime, else UTC). Changes are known until the year 2400, then the last offset stays.
// Errors: invalid_argument for what is none of these, not_found for a name without a file.
[[nodiscard]] Result<core::Zone> load_zone(std::string_view name);

// The contents of one TZif file, and a rule of POSIX's TZ variable ("CET-1CEST,M3.5.0,M10.5.0/3").
// Errors: invalid_argument.
[[nodiscard]] Result<core::Zone> parse_zone_file(std::string_view contents);
[[nodiscard]] Result<core::Zone> parse_zone_rule(std::string_view rule);

}  // namespace appmesh::platform
